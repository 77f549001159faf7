/* Preloaded into a server: every sync takes as long as a file says (milliseconds, in SLOW_SYNC_FILE),
   and O_DIRECT is refused, so that every durable write ends with a sync. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void delay(void) {
    const char *path = getenv("SLOW_SYNC_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    long milliseconds = 0;
    if (!file) return;
    if (fscanf(file, "%ld", &milliseconds) != 1) milliseconds = 0;
    fclose(file);
    struct timespec rest = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&rest, &rest) && errno == EINTR) {}
}

int fdatasync(int file) { delay(); return syscall(SYS_fdatasync, file); }
int fsync(int file) { delay(); return syscall(SYS_fsync, file); }

static int open_at(int dir, const char *path, int flags, int mode) {
    if (flags & O_DIRECT) { errno = EINVAL; return -1; }
    return syscall(SYS_openat, dir, path, flags, mode);
}

#define MODE() (va_start(rest, flags), mode = va_arg(rest, int), va_end(rest), mode)
int open(const char *path, int flags, ...) { va_list rest; int mode; return open_at(AT_FDCWD, path, flags, MODE()); }
int open64(const char *path, int flags, ...) { va_list rest; int mode; return open_at(AT_FDCWD, path, flags, MODE()); }
int openat(int dir, const char *path, int flags, ...) { va_list rest; int mode; return open_at(dir, path, flags, MODE()); }
int openat64(int dir, const char *path, int flags, ...) { va_list rest; int mode; return open_at(dir, path, flags, MODE()); }
