//! Prints how long an operation waits for the disk, with one writer and with several:
//! `cargo run --release -p berth-store --example commit_latency [DIRECTORY]`.

use std::path::Path;
use std::time::{Duration, Instant};

use berth_store::{Db, StoreError, Table};

const ROWS: Table<(u64, u64), String> = Table::new("rows", 1);
const OPERATIONS: u64 = 400;
const ROW_BYTES: usize = 2000;

fn main() -> Result<(), StoreError> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let path = Path::new(&directory).join("commit-latency.db");
    let db = Db::open(&path)?;
    for writers in [1, 8, 64] {
        let before = db.stats().commits;
        let start = Instant::now();
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let db = db.clone();
                std::thread::spawn(move || work(&db, writer, OPERATIONS / writers))
            })
            .collect();
        let mut waits: Vec<Duration> = threads
            .into_iter()
            .filter_map(|t| t.join().ok())
            .flatten()
            .collect();
        waits.sort();
        let elapsed = start.elapsed();
        let at = |part: usize| {
            waits
                .get(waits.len() * part / 100)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "{writers} writers: {} operations, {} commits, median {:?}, p99 {:?}, {:.0} operations/s",
            waits.len(),
            db.stats().commits - before,
            at(50),
            at(99),
            waits.len() as f64 / elapsed.as_secs_f64()
        );
    }
    drop(db);
    // Nothing depends on the file being gone.
    let _ = std::fs::remove_file(&path);
    Ok(())
}

fn work(db: &Db, writer: u64, operations: u64) -> Vec<Duration> {
    (0..operations)
        .filter_map(|i| {
            let start = Instant::now();
            let row = "x".repeat(ROW_BYTES);
            db.write(move |txn| txn.put(&ROWS, &(writer, i), &row))
                .ok()?;
            Some(start.elapsed())
        })
        .collect()
}
