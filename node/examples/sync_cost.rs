//! The cost of a sync, by preparation of the file: the benchmark of `docs/adr/0010-storage.md`.
//!
//! ```text
//! cargo run --release -p stateraft-node --example sync_cost -- [DIRECTORY]
//! ```
//!
//! Prints one JSON object per line, with times in microseconds.

#![allow(clippy::print_stdout, reason = "an example for the command line")]

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

const RECORDS: usize = 600;
const RECORD_SIZES: [usize; 3] = [128, 4096, 16_384];

fn main() -> io::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    for size in RECORD_SIZES {
        for zeroed in [false, true] {
            let mut took = measure(Path::new(&directory), size, zeroed)?;
            took.sort_unstable();
            let line = serde_json::json!({
                "record_bytes": size,
                "file": if zeroed { "zeroed" } else { "growing" },
                "p50_us": took[RECORDS / 2].as_micros(),
                "p99_us": took[RECORDS * 99 / 100].as_micros(),
            });
            println!("{line}");
        }
    }
    Ok(())
}

fn measure(directory: &Path, size: usize, zeroed: bool) -> io::Result<Vec<Duration>> {
    let mut file: File = tempfile::tempfile_in(directory)?;
    if zeroed {
        file.write_all(&vec![0; size * RECORDS])?;
    }
    file.sync_all()?;
    let record = vec![b'x'; size];
    let mut took = Vec::with_capacity(RECORDS);
    for place in 0..RECORDS {
        let begun = Instant::now();
        file.write_all_at(&record, (place * size) as u64)?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    Ok(took)
}
