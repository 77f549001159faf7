// The log grid: the visible part of a long log.

import { LogWindow } from '/ui/js/log-grid/window.js';

/** A window with room for five entries of a log of the indexes 11 to 40. */
function long() {
  const shown = new LogWindow();
  shown.fit({ lowest: 11, last: 40, count: 5 });
  return shown;
}

/** @type {PageTests} */
export const tests = {
  window_follows_the_last_entries_until_the_reader_moves_it(equal) {
    const shown = long();
    equal(shown.indexes, [36, 37, 38, 39, 40]);
    shown.fit({ lowest: 11, last: 41, count: 5 });
    equal([shown.from, shown.to], [37, 41]);
    shown.shift(-1);
    shown.fit({ lowest: 11, last: 50, count: 5 });
    equal([shown.from, shown.to], [33, 37]);
    shown.follow();
    equal([shown.from, shown.to], [46, 50]);
    // A window that the reader moved to the end follows again.
    shown.shift(-1);
    shown.shift(Infinity);
    shown.fit({ lowest: 11, last: 51, count: 5 });
    equal([shown.from, shown.to], [47, 51]);
  },
  window_moves_to_the_ends_and_not_beyond_them(equal) {
    const shown = long();
    const moves = [-Infinity, -1, 1, Infinity, 1].map((by) => {
      shown.shift(by);
      return [shown.from, shown.to];
    });
    equal(moves, [
      [11, 15],
      [11, 15],
      [15, 19],
      [36, 40],
      [36, 40],
    ]);
  },
  entry_of_a_violation_is_revealed(equal) {
    const shown = long();
    shown.reveal(38);
    equal(shown.from, 36);
    shown.reveal(20);
    equal([shown.from, shown.to], [19, 23]);
  },
  short_log_is_whole(equal) {
    const shown = new LogWindow();
    shown.fit({ lowest: 1, last: 0, count: 5 });
    equal([shown.isWhole, shown.indexes], [true, [1]]);
    equal(long().isWhole, false);
  },
};
