//! What is left after power cuts and failing disks.

use std::collections::BTreeMap;

use berth_types::ErrorKind;
use proptest::prelude::*;

use super::{NUMBERS, Refused, get, put};
use crate::simulated::Disk;
use crate::{Db, Row, StoreError, WriteError};

type Model = BTreeMap<String, u64>;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Durable,
    Lazy,
    Refuse,
}

/// Sets (or removes) a few keys at once, so that half an operation would show.
#[derive(Debug, Clone)]
struct Step {
    keys: Vec<u8>,
    value: Option<u64>,
    kind: Kind,
}

fn step() -> impl Strategy<Value = Step> {
    let kind =
        prop_oneof![3 => Just(Kind::Durable), 1 => Just(Kind::Lazy), 1 => Just(Kind::Refuse)];
    let keys = proptest::collection::vec(0..12_u8, 1..6);
    (keys, proptest::option::weighted(0.7, any::<u64>()), kind)
        .prop_map(|(keys, value, kind)| Step { keys, value, kind })
}

fn perform(db: &Db, step: &Step) -> Result<(), WriteError<Refused>> {
    let Step { keys, value, kind } = step.clone();
    let work = move |txn: &mut crate::WriteTxn<'_>| {
        for key in &keys {
            // Long keys make several pages, so that commits have something to tear.
            let key = format!("{key:0600}");
            match value {
                Some(value) => txn.put(&NUMBERS, &key, &value)?,
                None => {
                    txn.remove(&NUMBERS, &key)?;
                }
            }
        }
        if matches!(kind, Kind::Refuse) {
            Err(Refused::No)
        } else {
            Ok(())
        }
    };
    match kind {
        Kind::Lazy => db.write_lazy(work),
        _ => db.write(work),
    }
}

fn expect(model: &mut Model, step: &Step) {
    for key in &step.keys {
        let key = format!("{key:0600}");
        match step.value {
            Some(value) => model.insert(key, value),
            None => model.remove(&key),
        };
    }
}

fn content(db: &Db) -> Model {
    db.read(|txn| txn.scan(&NUMBERS))
        .unwrap()
        .into_iter()
        .map(|row| match row {
            Row::Whole(key, value) => (key, value),
            Row::Damaged { hex, reason, .. } => panic!("{hex}: {reason}"),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..Default::default() })]

    /// The power goes at any write or sync. Afterwards the database is as after some operation,
    /// and not one before the last that was answered as durable.
    #[test]
    fn an_answered_operation_survives_a_power_cut(
        steps in proptest::collection::vec(step(), 1..24),
        healthy in 0..160_u64,
        seed in any::<u64>(),
    ) {
        let disk = Disk::new();
        let db = disk.open().unwrap();
        disk.fail(healthy, u64::MAX);
        let mut states = vec![Model::new()];
        let mut durable = 0;
        for step in &steps {
            let mut next = states.last().unwrap().clone();
            // Removing what is not there writes nothing, so nothing waits for the disk.
            let writes = step.value.is_some()
                || step.keys.iter().any(|key| next.contains_key(&format!("{key:0600}")));
            let result = perform(&db, step);
            if matches!(step.kind, Kind::Refuse) {
                if result.is_err_and(|e| matches!(e, WriteError::Store(_))) {
                    break;
                }
                continue;
            }
            expect(&mut next, step);
            states.push(next);
            match result {
                Ok(()) if writes && matches!(step.kind, Kind::Durable) => durable = states.len() - 1,
                Ok(()) => {}
                Err(_) => break,
            }
        }
        let mut random = seed | 1;
        let after = disk.after_power_cut(|| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random & 1 == 1
        });
        drop(db);
        let db = after.open().unwrap();
        let found = content(&db);
        prop_assert!(
            states[durable..].contains(&found),
            "{found:?} is none of {:?}", &states[durable..]
        );
        // And it goes on from there.
        put(&db, "next", 1).unwrap();
        prop_assert_eq!(get(&db, "next"), Some(1));
    }

    /// The disk fails a while and then works again. Whatever was answered holds, in the open
    /// database and after reopening, and nothing that was reported as failed is there.
    #[test]
    fn a_failing_disk_is_told_and_survived(
        before in proptest::collection::vec(step(), 0..6),
        during in proptest::collection::vec(step(), 1..8),
        healthy in 0..12_u64,
        failures in 1..12_u64,
    ) {
        let disk = Disk::new();
        let db = disk.open().unwrap();
        let mut model = Model::new();
        let mut diverged = false;
        for step in &before {
            if perform(&db, step).is_ok() {
                expect(&mut model, step);
            }
        }
        disk.fail(healthy, failures);
        // What was lazy is not lost by a failure either.
        for step in &during {
            match perform(&db, step) {
                Ok(()) => expect(&mut model, step),
                Err(WriteError::Refused(_)) => {}
                Err(WriteError::Store(StoreError::Diverged { .. })) => diverged = true,
                Err(WriteError::Store(e)) => {
                    let known = matches!(e.kind(), ErrorKind::Unavailable)
                        || matches!(e, StoreError::Open { .. });
                    prop_assert!(known, "{e:?}");
                }
            }
        }
        disk.fail(u64::MAX, 0);
        match put(&db, "after", 1) {
            Ok(()) => {
                prop_assert!(!diverged);
                model.insert("after".to_owned(), 1);
                prop_assert_eq!(&content(&db), &model);
            }
            Err(WriteError::Store(StoreError::Diverged { .. })) => return Ok(()),
            Err(e) => prop_assert!(false, "{e:?}"),
        }
        drop(db);
        prop_assert_eq!(content(&disk.open().unwrap()), model);
    }
}

#[test]
fn a_full_disk_refuses_one_write_and_takes_the_next() {
    let disk = Disk::new();
    let db = disk.open().unwrap();
    put(&db, "a", 1).unwrap();
    disk.fail(0, 1);
    let Err(WriteError::Store(error)) = put(&db, "b", 2) else {
        panic!("written to a full disk")
    };
    assert!(matches!(error, StoreError::Commit { .. }), "{error:?}");
    assert_eq!((get(&db, "a"), get(&db, "b")), (Some(1), None));
    put(&db, "b", 3).unwrap();
    assert_eq!(get(&db, "b"), Some(3));
}

#[test]
fn an_unknown_outcome_is_said_and_settled_later() {
    let disk = Disk::new();
    let db = disk.open().unwrap();
    put(&db, "a", 1).unwrap();
    disk.fail(0, u64::MAX);
    let Err(WriteError::Store(error)) = put(&db, "b", 2) else {
        panic!("written to no disk")
    };
    assert!(matches!(error, StoreError::Unsettled { .. }), "{error:?}");
    disk.fail(u64::MAX, 0);
    put(&db, "c", 3).unwrap();
    assert_eq!(
        (get(&db, "a"), get(&db, "b"), get(&db, "c")),
        (Some(1), None, Some(3))
    );
}

/// A removed container's directories were listed as left over until the next start, because the
/// failed commit of somebody else had taken the lazy end of the removal back.
#[test]
fn a_lazy_operation_outlives_the_failed_commit_of_another() {
    for healthy in 0..3 {
        for failures in [1, 2, 6] {
            let disk = Disk::new();
            let db = disk.open().unwrap();
            put(&db, "garbage", 1).unwrap();
            db.write_lazy(|txn| txn.remove(&NUMBERS, "garbage"))
                .unwrap();
            disk.fail(healthy, failures);
            put(&db, "other", 2).ok();
            disk.fail(u64::MAX, 0);
            put(&db, "after", 3).unwrap();
            assert_eq!(get(&db, "garbage"), None, "{healthy} {failures}");
        }
    }
}

/// A simulated engine whose disk was full for a moment could read nothing for ever: every request
/// reads before it writes, and only a write opened the file again.
#[test]
fn what_could_not_be_opened_after_a_failed_write_is_opened_by_a_read() {
    let disk = Disk::new();
    let db = disk.open().unwrap();
    put(&db, "a", 1).unwrap();
    disk.fail(0, u64::MAX);
    let failed = put(&db, "b", 2);
    assert!(matches!(
        failed,
        Err(WriteError::Store(StoreError::Unsettled { .. }))
    ));
    db.read(|txn| txn.scan(&NUMBERS)).unwrap_err();
    disk.fail(u64::MAX, 0);
    assert_eq!(content(&db)["a"], 1);
    put(&db, "c", 3).unwrap();
    assert_eq!(content(&db)["c"], 3);
}
