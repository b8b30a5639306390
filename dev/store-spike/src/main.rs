//! redb behind `berth-store` beside SQLite, with the same rows and the same promise: an operation
//! is answered when it is on the disk.
//!
//! `store-spike DIRECTORY` measures all in turn, interleaved, and prints a table. `store-spike hold
//! ENGINE FILE` writes until it is killed, for the measurement of recovery.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use berth_store::{Db, Row, StoreError, Table};
use rusqlite::{Connection, params};

/// As many bytes as a container's record has.
const ROW_BYTES: usize = 2000;
/// Operations of one measurement of latency.
const OPERATIONS: u64 = 400;
/// Rows of the large file.
const ROWS: u64 = 10_000;
/// Rows in one commit while the large file is filled.
const FILL: u64 = 250;
/// Operations in one commit at most: that of `berth-store`.
const BATCH: usize = 256;
const ROUNDS: usize = 5;

const TABLE: Table<u64, String> = Table::new("containers", 1);

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// What the engine uses.
    Store,
    /// redb without the check of every page when it is opened.
    Redb,
    /// The same with redb's own means against slow recovery.
    Quick,
    Wal,
    Delete,
}

const KINDS: [Kind; 5] = [
    Kind::Store,
    Kind::Redb,
    Kind::Quick,
    Kind::Wal,
    Kind::Delete,
];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Store => "berth-store",
            Self::Redb => "redb",
            Self::Quick => "redb-quick",
            Self::Wal => "sqlite-wal",
            Self::Delete => "sqlite-delete",
        }
    }
}

fn row(number: u64) -> String {
    let mut text = format!("{{\"name\":\"container-{number}\",\"labels\":\"");
    while text.len() < ROW_BYTES - 2 {
        text.push_str("abcdefghij");
    }
    text.truncate(ROW_BYTES - 2);
    text.push_str("\"}");
    text
}

/// A store that several threads write to, each operation durable.
#[derive(Clone)]
enum Store {
    Store(Db),
    /// A thread that commits what waits, as `berth-store` does.
    Thread(Sender<Job>, Arc<Mutex<Option<std::thread::JoinHandle<()>>>>),
}

struct Job {
    first: u64,
    rows: u64,
    done: Sender<()>,
}

fn connect(kind: Kind, path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    let journal = if kind == Kind::Wal { "WAL" } else { "DELETE" };
    connection.pragma_update(None, "journal_mode", journal)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.execute(
        "CREATE TABLE IF NOT EXISTS containers (id INTEGER PRIMARY KEY, row BLOB NOT NULL)",
        [],
    )?;
    Ok(connection)
}

fn serve(mut connection: Connection, jobs: Receiver<Job>) -> Result<(), Error> {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let Ok(next) = jobs.try_recv() else { break };
            batch.push(next);
        }
        let txn = connection.transaction()?;
        {
            let mut put = txn.prepare_cached("REPLACE INTO containers (id, row) VALUES (?, ?)")?;
            for job in &batch {
                for number in job.first..job.first + job.rows {
                    put.execute(params![number as i64, row(number).as_bytes()])?;
                }
            }
        }
        txn.commit()?;
        for job in batch {
            let _ = job.done.send(());
        }
    }
    Ok(())
}

const PLAIN: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("containers");

fn plain(path: &Path) -> Result<redb::Database, Error> {
    Ok(redb::Database::builder()
        .set_cache_size(8 << 20)
        .create(path)?)
}

fn serve_redb(database: &redb::Database, quick: bool, jobs: Receiver<Job>) -> Result<(), Error> {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let Ok(next) = jobs.try_recv() else { break };
            batch.push(next);
        }
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(quick);
        {
            let mut table = txn.open_table(PLAIN)?;
            for job in &batch {
                for number in job.first..job.first + job.rows {
                    table.insert(number, row(number).as_bytes())?;
                }
            }
        }
        txn.commit()?;
        for job in batch {
            let _ = job.done.send(());
        }
    }
    Ok(())
}

fn rows_of_redb(database: &redb::Database) -> Result<usize, Error> {
    use redb::ReadableDatabase as _;
    let table = database.begin_read()?.open_table(PLAIN)?;
    let mut rows = Vec::new();
    for entry in table.range::<u64>(..)? {
        let (id, row) = entry?;
        rows.push((id.value(), row.value().to_vec()));
    }
    Ok(rows
        .iter()
        .filter(|(_, row)| row.len() == ROW_BYTES)
        .count())
}

impl Store {
    fn open(kind: Kind, path: &Path) -> Result<Self, Error> {
        if kind == Kind::Store {
            return Ok(Self::Store(Db::open(path)?));
        }
        let (sender, jobs) = channel();
        let thread = if let Kind::Redb | Kind::Quick = kind {
            let database = plain(path)?;
            let quick = kind == Kind::Quick;
            std::thread::spawn(move || serve_redb(&database, quick, jobs).expect("redb"))
        } else {
            let connection = connect(kind, path)?;
            std::thread::spawn(move || serve(connection, jobs).expect("sqlite"))
        };
        Ok(Self::Thread(sender, Arc::new(Mutex::new(Some(thread)))))
    }

    fn put(&self, first: u64, rows: u64) -> Result<(), Error> {
        match self {
            Self::Store(db) => {
                db.write(move |txn| {
                    for number in first..first + rows {
                        txn.put(&TABLE, &number, &row(number))?;
                    }
                    Ok::<_, StoreError>(())
                })
                .map_err(|e| e.flatten())?;
            }
            Self::Thread(jobs, _) => {
                let (done, wait) = channel();
                jobs.send(Job { first, rows, done })?;
                wait.recv()?;
            }
        }
        Ok(())
    }

    fn close(self) {
        if let Self::Thread(jobs, thread) = self {
            drop(jobs);
            let thread = thread.lock().expect("lock").take();
            if let Some(thread) = thread {
                thread.join().expect("writer");
            }
        }
    }
}

fn count(db: &Db) -> Result<usize, StoreError> {
    let rows = db.read(|txn| txn.scan(&TABLE))?;
    Ok(rows.iter().filter(|r| matches!(r, Row::Whole(..))).count())
}

fn rows_of(connection: &Connection) -> Result<usize, Error> {
    let mut query = connection.prepare("SELECT id, row FROM containers")?;
    let rows = query.query_map([], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Vec<u8>>(1)?)))?;
    // Kept, as the engine keeps its records.
    let rows: Vec<(i64, Vec<u8>)> = rows.collect::<Result<_, _>>()?;
    Ok(rows
        .iter()
        .filter(|(_, row)| row.len() == ROW_BYTES)
        .count())
}

fn latency(kind: Kind, path: &Path, writers: u64) -> Result<Vec<Duration>, Error> {
    let store = Store::open(kind, path)?;
    let mut threads = Vec::new();
    for writer in 0..writers {
        let store = store.clone();
        threads.push(std::thread::spawn(move || {
            let mut waits = Vec::new();
            for i in 0..OPERATIONS / writers {
                let start = Instant::now();
                store.put(writer * 1_000_000 + i, 1).expect("put");
                waits.push(start.elapsed());
            }
            waits
        }));
    }
    let mut waits = Vec::new();
    for thread in threads {
        waits.extend(thread.join().expect("writer"));
    }
    store.close();
    Ok(waits)
}

fn size(path: &Path) -> u64 {
    ["", "-wal", "-shm", "-journal"]
        .iter()
        .filter_map(|suffix| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            std::fs::metadata(PathBuf::from(name)).ok()
        })
        .map(|meta| meta.len())
        .sum()
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(PathBuf::from(name));
    }
}

/// Private memory of this process, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    line.and_then(|l| l.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

/// Drops the kernel's cached pages of a file.
fn forget(path: &Path) -> Result<(), Error> {
    let file = std::fs::File::open(path)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

/// In a process of its own: writes single rows over and over until it is killed.
fn hold(kind: Kind, path: &Path) -> Result<(), Error> {
    let store = Store::open(kind, path)?;
    println!("ready");
    for i in (0..ROWS).cycle() {
        store.put(i, 1)?;
    }
    Ok(())
}

/// In a process of its own: opens a file and reads it.
fn open(kind: Kind, path: &Path) -> Result<(), Error> {
    let before = resident();
    let start = Instant::now();
    let (opened, read, rows);
    if let Kind::Redb | Kind::Quick = kind {
        let database = plain(path)?;
        opened = start.elapsed();
        rows = rows_of_redb(&database)?;
        read = start.elapsed() - opened;
        println!(
            "{} {} {rows} {}",
            opened.as_micros(),
            read.as_micros(),
            resident() - before
        );
    } else if kind == Kind::Store {
        let db = Db::open(path)?;
        opened = start.elapsed();
        rows = count(&db)?;
        read = start.elapsed() - opened;
        println!(
            "{} {} {rows} {}",
            opened.as_micros(),
            read.as_micros(),
            resident() - before
        );
    } else {
        let connection = connect(kind, path)?;
        // SQLite recovers with the first read.
        connection.query_row("SELECT count(*) FROM containers WHERE id < 2", [], |_| {
            Ok(())
        })?;
        opened = start.elapsed();
        rows = rows_of(&connection)?;
        read = start.elapsed() - opened;
        println!(
            "{} {} {rows} {}",
            opened.as_micros(),
            read.as_micros(),
            resident() - before
        );
    }
    Ok(())
}

fn reopen(kind: Kind, path: &Path) -> Result<[u64; 4], Error> {
    forget(path)?;
    let output = Command::new(std::env::current_exe()?)
        .args(["open", kind.name()])
        .arg(path)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<u64> = text
        .split_whitespace()
        .filter_map(|w| w.parse().ok())
        .collect();
    let numbers: [u64; 4] = numbers
        .try_into()
        .map_err(|_| format!("{kind}: {text}", kind = kind.name()))?;
    assert_eq!(numbers[2], ROWS, "{} lost rows", kind.name());
    Ok(numbers)
}

fn median(mut list: Vec<u64>) -> u64 {
    list.sort_unstable();
    list[list.len() / 2]
}

fn kind(name: &str) -> Result<Kind, Error> {
    let found = KINDS.into_iter().find(|k| k.name() == name);
    found.ok_or_else(|| format!("there is no {name}").into())
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["hold", name, path] => return hold(kind(name)?, Path::new(path)),
        ["open", name, path] => return open(kind(name)?, Path::new(path)),
        [directory] => measure(Path::new(directory)),
        _ => Err("usage: store-spike DIRECTORY".into()),
    }
}

fn measure(directory: &Path) -> Result<(), Error> {
    let path = |kind: Kind, what: &str| directory.join(format!("spike-{}-{what}.db", kind.name()));
    println!(
        "{} operations of {ROW_BYTES} bytes, {ROUNDS} rounds, interleaved",
        OPERATIONS
    );
    for writers in [1, 8] {
        let mut waits = [const { Vec::new() }; KINDS.len()];
        for _ in 0..ROUNDS {
            for (index, kind) in KINDS.into_iter().enumerate() {
                let path = path(kind, "latency");
                remove(&path);
                let list = latency(kind, &path, writers)?;
                waits[index].extend(list.iter().map(|d| d.as_micros() as u64));
                remove(&path);
            }
        }
        for (kind, mut list) in KINDS.into_iter().zip(waits) {
            list.sort_unstable();
            let at = |percent: usize| list[list.len() * percent / 100];
            println!(
                "{writers} writers {:14} median {:6} us  p90 {:6} us  p99 {:6} us",
                kind.name(),
                at(50),
                at(90),
                at(99)
            );
        }
    }
    for kind in KINDS {
        let path = path(kind, "large");
        remove(&path);
        let store = Store::open(kind, &path)?;
        for first in (0..ROWS).step_by(FILL as usize) {
            store.put(first, FILL)?;
        }
        let filled = size(&path);
        store.close();
        println!(
            "{:14} {ROWS} rows: {} KiB open, {} KiB closed",
            kind.name(),
            filled / 1024,
            size(&path) / 1024
        );
    }
    let mut clean = [const { Vec::new() }; KINDS.len()];
    let mut killed = [const { Vec::new() }; KINDS.len()];
    for round in 0..ROUNDS {
        for (index, kind) in KINDS.into_iter().enumerate() {
            let path = path(kind, "large");
            clean[index].push(reopen(kind, &path)?);
            let mut child = Command::new(std::env::current_exe()?)
                .args(["hold", kind.name()])
                .arg(&path)
                .stdout(Stdio::null())
                .spawn()?;
            std::thread::sleep(Duration::from_millis(700 + 37 * round as u64));
            child.kill()?;
            child.wait()?;
            killed[index].push(reopen(kind, &path)?);
        }
    }
    for (index, kind) in KINDS.into_iter().enumerate() {
        let column = |list: &[[u64; 4]], at: usize| median(list.iter().map(|n| n[at]).collect());
        println!(
            "{:14} open {:6} us after a close, {:6} us after kill -9; all rows {:6} us; memory {:5} KiB; file {} KiB",
            kind.name(),
            column(&clean[index], 0),
            column(&killed[index], 0),
            column(&clean[index], 1),
            column(&clean[index], 3),
            size(&path(kind, "large")) / 1024,
        );
        remove(&path(kind, "large"));
    }
    Ok(())
}
