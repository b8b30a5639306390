//! The database on a file system that is full. Runs as root, in a mount namespace of its own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_store::{Db, Row, StoreError, Table, WriteError, WriteTxn};
use berth_sys::process::unshare_namespaces;
use berth_sys::rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use berth_sys::rustix::thread::UnshareFlags;

const ROWS: Table<u64, String> = Table::new("rows", 1);
/// Length of a row.
const LENGTH: usize = 3000;
/// Of so many operations one waits for the disk.
const SAMPLE: u64 = 50;
/// Bytes of the file system.
const SIZE: u64 = 24 << 20;

/// A small file system of its own, which goes with the thread's mount namespace.
struct Place {
    _directory: tempfile::TempDir,
    top: PathBuf,
}

impl Place {
    fn make(kind: &str) -> Self {
        unshare_namespaces(UnshareFlags::NEWNS).unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        // In memory: what is synced here is synced often.
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let top = directory.path().join("top");
        fs::create_dir(&top).unwrap();
        if kind == "tmpfs" {
            let size = std::ffi::CString::new(format!("size={SIZE}")).unwrap();
            mount("tmpfs", &top, "tmpfs", MountFlags::empty(), Some(&*size)).unwrap();
        } else {
            let image = directory.path().join("image");
            File::create(&image).unwrap().set_len(SIZE).unwrap();
            run(Command::new("mkfs.ext4")
                .args(["-q", "-m", "0"])
                .arg(&image));
            run(Command::new("mount")
                .args(["-o", "loop"])
                .args([&image, &top]));
        }
        Self {
            _directory: directory,
            top,
        }
    }

    /// Fills the file system but for so many bytes.
    fn fill_but(&self, left: u64) -> PathBuf {
        let path = self.top.join("filler");
        let mut file = File::create(&path).unwrap();
        let block = [7; 4096];
        while file.write_all(&block).is_ok() {}
        file.sync_all().ok();
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(left)).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        unmount(&self.top, UnmountFlags::DETACH).unwrap();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn add(db: &Db, number: u64) -> Result<(), WriteError<StoreError>> {
    let work = move |txn: &mut WriteTxn<'_>| {
        txn.claim_room()?;
        txn.put(&ROWS, &number, &"x".repeat(LENGTH))
    };
    if number.is_multiple_of(SAMPLE) {
        db.write(work)
    } else {
        db.write_lazy(work)
    }
}

fn count(db: &Db) -> u64 {
    let rows = db.read(|txn| txn.scan(&ROWS)).unwrap();
    assert!(rows.iter().all(|row| matches!(row, Row::Whole(..))));
    rows.len() as u64
}

/// With every amount of room that is left, from nothing upwards: additions are refused at some
/// point with the sentence for it and nothing else, reading and removing always work, and with room
/// again everything does, without a restart.
fn on(kind: &str) {
    let place = Place::make(kind);
    let path = place.top.join("meta.db");
    for step in 0..6_u64 {
        let left = step * step * 90_000;
        let _ = fs::remove_file(&path);
        let db = Db::open(&path).unwrap();
        for number in 0..step * 40 {
            add(&db, number).unwrap();
        }
        let filler = place.fill_but(left);
        let mut number = step * 40;
        let refused = loop {
            match add(&db, number) {
                Ok(()) => number += 1,
                Err(e) => break e,
            }
        };
        let full = matches!(refused, WriteError::Refused(StoreError::Full { .. }));
        assert!(full, "{kind}, {left} left, {number} rows: {refused:?}");
        assert!(refused.to_string().contains("no space left on device"));
        assert_eq!(count(&db), number);
        // What changes a row is not refused, and what removes one is not.
        for removed in 0..number {
            let last = number - 1;
            let kept = (removed.is_multiple_of(SAMPLE)).then(|| {
                db.write(move |txn| txn.put(&ROWS, &last, &"y".repeat(LENGTH)))
                    .unwrap_or_else(|e| panic!("{kind}, {left} left, changing: {e:?}"));
                db.write(move |txn| txn.remove(&ROWS, &removed))
            });
            let removed =
                kept.unwrap_or_else(|| db.write_lazy(move |txn| txn.remove(&ROWS, &removed)));
            assert!(removed.unwrap_or_else(|e| panic!("{kind}, {left} left, removing: {e:?}")));
        }
        assert_eq!(count(&db), 0);
        drop(db);
        // A start on the full disk.
        let db = Db::open(&path).unwrap();
        assert_eq!(count(&db), 0);
        fs::remove_file(filler).unwrap();
        add(&db, 0).unwrap();
    }
}

#[test]
fn a_full_ext4_refuses_what_adds_and_nothing_else() {
    on("ext4");
}

#[test]
fn a_full_tmpfs_refuses_what_adds_and_nothing_else() {
    on("tmpfs");
}

#[test]
fn a_database_cannot_be_made_on_a_full_disk_and_nothing_half_made_counts() {
    let place = Place::make("tmpfs");
    let filler = place.fill_but(64 << 10);
    let path: &Path = &place.top.join("meta.db");
    let error = Db::open(path).err().unwrap();
    assert!(matches!(error, StoreError::Create { .. }), "{error:?}");
    let text = berth_types::chain(&error);
    assert!(
        text.contains("meta.db") && text.contains("free space"),
        "{text}"
    );
    assert!(!path.exists());
    fs::remove_file(filler).unwrap();
    add(&Db::open(path).unwrap(), 1).unwrap();
}
