//! The process is killed at each failpoint; what it reported is in the file.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use berth_store::{Db, FAILPOINTS, Row, Table, failpoint};

const ROWS: Table<u64, String> = Table::new("rows", 1);
const DIRECTORY: &str = "BERTH_TEST_DIRECTORY";
const PASSING: u64 = 7;

/// Not a test of its own: what the killed process runs.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let db = Db::open(&Path::new(&directory).join("meta.db")).unwrap();
    let mut report = std::fs::File::create(Path::new(&directory).join("report")).unwrap();
    for i in 0..100_u64 {
        db.write(move |txn| txn.put(&ROWS, &i, &"row".to_owned()))
            .unwrap();
        writeln!(report, "{i}").unwrap();
    }
}

#[test]
fn what_was_reported_is_there_after_a_kill() {
    for name in FAILPOINTS {
        let directory = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .env(failpoint::VARIABLE, format!("{name}:{PASSING}"))
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "{name}");
        let report = std::fs::read_to_string(directory.path().join("report")).unwrap();
        let reported = report.lines().count() as u64;
        assert_eq!(reported, PASSING - 1, "{name}");
        let db = Db::open(&directory.path().join("meta.db")).unwrap();
        let rows = db.read(|txn| txn.scan(&ROWS)).unwrap();
        let committed = if name.ends_with("after") {
            PASSING
        } else {
            PASSING - 1
        };
        assert_eq!(rows.len() as u64, committed, "{name}");
        assert!(rows.iter().all(|row| matches!(row, Row::Whole(..))));
        db.write(|txn| txn.put(&ROWS, &1000, &String::new()))
            .unwrap();
    }
}
