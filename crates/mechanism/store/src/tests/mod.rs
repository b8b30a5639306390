//! The store above real files and above a disk that fails.

mod crash;

use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Db, ReadTxn, Row, StoreError, Table, WriteError, WriteTxn};

const NUMBERS: Table<String, u64> = Table::new("numbers", 1);

/// The closures' own error.
#[derive(Debug)]
enum Refused {
    No,
    Store,
}

impl From<StoreError> for Refused {
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.db");
    (directory, path)
}

fn put(db: &Db, key: &str, value: u64) -> Result<(), WriteError<StoreError>> {
    let key = key.to_owned();
    db.write(move |txn| txn.put(&NUMBERS, &key, &value))
}

fn get(db: &Db, key: &str) -> Option<u64> {
    db.read(|txn: &ReadTxn| txn.get(&NUMBERS, key)).unwrap()
}

/// Keeps the writer busy until the returned sender is used, so that what follows is one batch.
fn hold(db: &Db) -> (mpsc::Sender<()>, thread::JoinHandle<()>) {
    let (started, is_started) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let db = db.clone();
    let waiting = thread::spawn(move || {
        db.write(move |_: &mut WriteTxn<'_>| {
            started.send(()).unwrap();
            released.recv().unwrap();
            Ok::<_, StoreError>(())
        })
        .unwrap();
    });
    is_started.recv().unwrap();
    (release, waiting)
}

/// Polls a future once, which puts its operation into the queue.
macro_rules! enqueue {
    ($future:ident) => {
        let mut $future = pin!($future);
        let mut context = Context::from_waker(Waker::noop());
        assert!($future.as_mut().poll(&mut context).is_pending());
    };
}

/// The result of a future whose operation is done.
macro_rules! result {
    ($future:ident) => {
        match $future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("not answered"),
        }
    };
}

#[test]
fn rows_and_identity_survive_reopening() {
    let (_directory, path) = place();
    let id = {
        let db = Db::open(&path).unwrap();
        put(&db, "a", 1).unwrap();
        put(&db, "b", 2).unwrap();
        assert!(db.write(|txn| txn.remove(&NUMBERS, "a")).unwrap());
        assert!(!db.write(|txn| txn.remove(&NUMBERS, "a")).unwrap());
        db.write_lazy(|txn| txn.put(&NUMBERS, "lazy", &3)).unwrap();
        db.install_id()
    };
    let db = Db::open(&path).unwrap();
    assert_eq!(db.install_id(), id);
    let rows = db.read(|txn| txn.scan(&NUMBERS)).unwrap();
    assert_eq!(
        rows,
        [
            Row::Whole("b".to_owned(), 2),
            Row::Whole("lazy".to_owned(), 3)
        ]
    );
}

#[test]
fn what_waits_is_one_commit_and_a_refusal_takes_back_only_its_own() {
    let (_directory, path) = place();
    let db = Db::open(&path).unwrap();
    let (release, waiting) = hold(&db);
    let announced = Arc::new(Mutex::new(Vec::new()));
    let hook = |name: &'static str| {
        let announced = Arc::clone(&announced);
        Box::new(move || announced.lock().unwrap().push(name))
    };
    let (first_hook, refused_hook, last_hook) = (hook("first"), hook("refused"), hook("last"));

    let first = db.write_async(move |txn| {
        txn.on_commit(first_hook);
        txn.put(&NUMBERS, "x", &1)
    });
    let refused = db.write_async(move |txn| {
        txn.on_commit(refused_hook);
        txn.put(&NUMBERS, "x", &2)?;
        txn.put(&NUMBERS, "x", &3)?;
        txn.put(&NUMBERS, "y", &2)?;
        txn.remove(&NUMBERS, "x")?;
        Err::<(), _>(Refused::No)
    });
    let panics = db.write_async(move |txn| {
        txn.put(&NUMBERS, "x", &4)?;
        if txn.get(&NUMBERS, "x")? == Some(4) {
            panic!("on purpose");
        }
        Ok::<_, StoreError>(())
    });
    let last = db.write_async(move |txn| {
        txn.on_commit(last_hook);
        assert_eq!(txn.get(&NUMBERS, "y")?, None);
        txn.get(&NUMBERS, "x")
    });
    let before = db.stats();
    {
        enqueue!(first);
        enqueue!(refused);
        enqueue!(panics);
        enqueue!(last);
        release.send(()).unwrap();
        waiting.join().unwrap();
        // One more behind them: when it is answered, they are.
        put(&db, "end", 0).unwrap();
        assert!(result!(first).is_ok());
        assert!(matches!(
            result!(refused),
            Err(WriteError::Refused(Refused::No))
        ));
        assert!(matches!(
            result!(panics),
            Err(WriteError::Store(StoreError::Panicked { message })) if message == "on purpose"
        ));
        assert_eq!(result!(last).unwrap(), Some(1));
    }
    assert_eq!(*announced.lock().unwrap(), ["first", "last"]);
    assert_eq!((get(&db, "x"), get(&db, "y")), (Some(1), None));
    let after = db.stats();
    assert_eq!(after.operations - before.operations, 5);
    assert!(after.commits - before.commits <= 2, "{before:?} {after:?}");
}

#[test]
fn the_queue_is_bounded_and_order_is_kept() {
    let (_directory, path) = place();
    let db = Db::open(&path).unwrap();
    let writers: Vec<_> = (0..8)
        .map(|w| {
            let db = db.clone();
            thread::spawn(move || {
                for i in 0..100 {
                    let key = format!("w{w}");
                    db.write(move |txn| {
                        assert_eq!(txn.get(&NUMBERS, &key)?.unwrap_or(0), i);
                        txn.put(&NUMBERS, &key, &(i + 1))
                    })
                    .unwrap();
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|w| w.join().unwrap());
    assert_eq!(get(&db, "w7"), Some(100));
    assert!(db.stats().commits <= db.stats().operations);
}

#[test]
fn one_damaged_row_is_one_finding() {
    const NEWER: Table<String, u64> = Table::new("numbers", 2);
    const OTHER: Table<String, Value> = Table::new("numbers", 1);
    const NO_TEXT: Table<u64, u64> = Table::new("numbers", 1);
    let (_directory, path) = place();
    let db = Db::open(&path).unwrap();
    put(&db, "good", 7).unwrap();
    db.write(|txn| {
        txn.put(&NEWER, "newer", &8)?;
        txn.put(&OTHER, "other", &Value::Bool(true))?;
        txn.put(&NO_TEXT, &u64::MAX, &9)
    })
    .unwrap();
    let mut found: Vec<_> = db
        .read(|txn| txn.scan(&NUMBERS))
        .unwrap()
        .into_iter()
        .map(|row| match row {
            Row::Whole(key, value) => format!("{key}={value}"),
            Row::Damaged { key, reason, .. } => format!("{key:?}: {reason}"),
        })
        .collect();
    found.sort();
    assert_eq!(found.len(), 4);
    assert_eq!(found[3], "good=7");
    assert!(found[0].starts_with("None: its key"), "{found:?}");
    assert!(
        found[1].contains("newer Berth (version 2, this one reads 1)"),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("Some(\"other\"): its content"),
        "{found:?}"
    );
    assert!(matches!(
        db.read(|txn| txn.get(&NUMBERS, "other")),
        Err(StoreError::Row {
            table: "numbers",
            ..
        })
    ));
}

#[test]
fn pairs_are_found_by_their_first_half() {
    const PAIRS: Table<(String, String), u64> = Table::new("pairs", 1);
    let (_directory, path) = place();
    let db = Db::open(&path).unwrap();
    let rows = db
        .write(|txn| {
            for (a, b) in [("a", "1"), ("a", "2"), ("ab", "3"), ("b", "4")] {
                txn.put(&PAIRS, &(a.to_owned(), b.to_owned()), &0)?;
            }
            txn.scan_prefix(&PAIRS, &"a".to_owned())
        })
        .unwrap();
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_second_engine_is_told_so() {
    let (_directory, path) = place();
    let first = Db::open(&path).unwrap();
    assert!(matches!(Db::open(&path), Err(StoreError::Locked { .. })));
    let clone = first.clone();
    drop(first);
    assert!(matches!(Db::open(&path), Err(StoreError::Locked { .. })));
    drop(clone);
    Db::open(&path).unwrap();
}

#[test]
fn a_newer_file_is_left_untouched() {
    const META: Table<String, Value> = Table::new("berth.meta", 1);
    let (_directory, path) = place();
    let db = Db::open(&path).unwrap();
    db.write(|txn| {
        txn.put(
            &META,
            "meta",
            &serde_json::json!({"schema": 99, "new": true}),
        )
    })
    .unwrap();
    drop(db);
    let before = fs::read(&path).unwrap();
    let error = Db::open(&path).err().unwrap();
    assert!(
        matches!(error, StoreError::Newer { found: 99, .. }),
        "{error:?}"
    );
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_damaged_file_is_refused_and_kept() {
    let (_directory, path) = place();
    let db = Db::open(&path).unwrap();
    for i in 0..200 {
        put(&db, &format!("key {i}"), i).unwrap();
    }
    drop(db);
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    let step = whole.len() / 61;
    for at in (0..whole.len()).step_by(step) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        match Db::open(&path) {
            // The byte was in a page that is not in use.
            Ok(db) => assert_eq!(db.read(|txn| txn.scan(&NUMBERS)).unwrap().len(), 200),
            Err(e) => {
                assert!(
                    matches!(e, StoreError::Damaged { .. } | StoreError::Open { .. }),
                    "{e:?}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    for bytes in [
        &whole[..whole.len() / 2],
        &whole[..3],
        b"no database at all, but some text",
    ] {
        fs::write(&path, bytes).unwrap();
        let error = Db::open(&path).err().unwrap();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert!(fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn an_announcement_cannot_write_and_may_hold_the_last_handle() {
    let (_directory, path) = place();
    let db = Db::open(&path).unwrap();
    let inner = db.clone();
    let (told, tell) = mpsc::channel();
    db.write(move |txn| {
        txn.on_commit(Box::new(move || {
            let reentrant = matches!(put(&inner, "x", 1), Err(WriteError::Store(e)) if matches!(e, StoreError::Reentrant));
            told.send((reentrant, inner)).unwrap();
        }));
        txn.put(&NUMBERS, "y", &1)
    })
    .unwrap();
    let (reentrant, last) = tell.recv().unwrap();
    assert!(reentrant);
    drop(db);
    let moved = last.clone();
    // The writer's thread drops the last handle and ends.
    let future = last.write_async(move |txn| {
        drop(moved);
        txn.put(&NUMBERS, "z", &1)
    });
    {
        enqueue!(future);
    }
    drop(last);
}
