//! A database that is old, damaged, another's or missing: the engine refuses to start with a
//! sentence that says what, where and what to do, and touches nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_store::{Db, Table};
use berth_sys::process::unshare_namespaces;
use berth_sys::rustix::mount::{
    MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_remount,
};
use berth_sys::rustix::thread::UnshareFlags;
use berth_testkit::{Engine, EngineBuilder};
use berth_tests::IMAGE;
use serde_json::{Value, json};

/// A data root with an image and a container in it, and how it was one commit earlier.
struct Root {
    engine: Engine,
    root: PathBuf,
    whole: Vec<u8>,
    earlier: Vec<u8>,
}

impl Root {
    fn make() -> Self {
        let mut engine = Engine::with_busybox();
        let create = |name| {
            let list = ["create", "--name", name, "--network", "none", IMAGE, "true"];
            engine.docker(&list).ok();
        };
        create("first");
        let root = engine.data_root();
        let database = root.join("meta.db");
        engine.terminate();
        let earlier = fs::read(&database).unwrap();
        engine.start_again();
        let list = [
            "create",
            "--name",
            "second",
            "--network",
            "none",
            IMAGE,
            "true",
        ];
        engine.docker(&list).ok();
        engine.restart();
        engine.terminate();
        let whole = fs::read(&database).unwrap();
        Self {
            engine,
            root,
            whole,
            earlier,
        }
    }

    fn database(&self) -> PathBuf {
        self.root.join("meta.db")
    }

    /// Everything below the root but the database: paths, inodes, sizes.
    fn files(&self) -> BTreeMap<PathBuf, (u64, u64)> {
        let mut found = BTreeMap::new();
        let mut pending = vec![self.root.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                if metadata.is_dir() {
                    pending.push(path.clone());
                }
                if !path.to_string_lossy().contains("meta.db") {
                    let length = if metadata.is_dir() { 0 } else { metadata.len() };
                    found.insert(path, (metadata.ino(), length));
                }
            }
        }
        found
    }

    /// Puts the whole database back.
    fn restore(&self) {
        let database = self.database();
        let _ = fs::remove_dir(&database);
        let _ = fs::remove_file(&database);
        fs::write(&database, &self.whole).unwrap();
    }

    /// The engine refuses with these words, and touches nothing: neither what the database knew nor a
    /// byte of what is in its place.
    #[track_caller]
    fn refuses(&self, what: &str, words: &[&str]) {
        let before = (self.files(), fs::read(self.database()).ok());
        let refused = EngineBuilder::new().data_root(&self.root).refused();
        let said = &refused.stderr;
        assert_eq!(refused.status, 1, "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        let root = self.root.to_string_lossy();
        for word in [&[&*root][..], words].concat() {
            assert!(said.contains(word), "{what}: no {word:?} in: {said}");
        }
        let after = (self.files(), fs::read(self.database()).ok());
        assert!(before.0 == after.0, "{what}: something was touched");
        assert!(before.1 == after.1, "{what}: the database was touched");
    }

    fn with_schema(&self, schema: u64) {
        const META: Table<String, Value> = Table::new("berth.meta", 1);
        self.restore();
        let db = Db::open(&self.database()).unwrap();
        let row = json!({"schema": schema, "install_id": db.install_id(), "created": 0});
        db.write(move |txn| txn.put(&META, "meta", &row)).unwrap();
    }
}

#[test]
fn what_is_not_the_database_of_the_root_is_refused() {
    let mut root = Root::make();
    let database = root.database();

    root.with_schema(0);
    root.refuses(
        "an older schema",
        &["schema version 0", "start the older Berth"],
    );
    root.with_schema(99);
    root.refuses(
        "a newer schema",
        &["schema version 99", "start the newer Berth"],
    );

    let damaged = [
        "damaged",
        "restore it from a copy",
        "move the whole data root away",
    ];
    let put = |bytes: &[u8]| {
        let _ = fs::remove_dir(&database);
        fs::write(&database, bytes).unwrap();
    };
    put(&[]);
    root.refuses("an empty file", &damaged);
    for length in [3, 100, 4096] {
        put(&root.whole[..length]);
        root.refuses(&format!("{length} bytes of it"), &damaged);
    }
    // Behind a whole header there is enough for a recovery to begin. The last page may be one that
    // nothing is in: without it nothing is lost.
    for length in [8192, 16384, root.whole.len() / 2] {
        put(&root.whole[..length]);
        root.refuses(&format!("{length} bytes of it"), &damaged);
    }
    put(&vec![0; root.whole.len()]);
    root.refuses("nothing but zeros", &damaged);
    put(b"some text, and no database");
    root.refuses("text", &damaged);
    let flipped = |places: &mut dyn Iterator<Item = usize>| {
        let mut bytes = root.whole.clone();
        places.for_each(|at| bytes[at] ^= 0x5a);
        bytes
    };
    put(&flipped(&mut (0..9)));
    root.refuses("another beginning", &damaged);
    put(&flipped(&mut (64..320)));
    root.refuses("a damaged header", &damaged);
    put(&flipped(&mut (4096..root.whole.len()).step_by(64)));
    root.refuses("damaged pages", &damaged);
    fs::remove_file(&database).unwrap();
    fs::create_dir(&database).unwrap();
    root.refuses("a directory", &["damaged", "it is a directory"]);

    fs::remove_dir(&database).unwrap();
    root.refuses("none", &["is missing", "put the database back"]);
    assert!(!database.exists(), "a new one was made");
    drop(Db::open(&database).unwrap());
    root.refuses(
        "another's",
        &[
            "belongs to the database with install id",
            "put the meta.db back",
        ],
    );
    root.restore();
    let identity = root.root.join("install-id");
    let id = fs::read(&identity).unwrap();
    fs::remove_file(&identity).unwrap();
    root.refuses(
        "a root without identity",
        &["install-id is missing", "write that id into it"],
    );
    fs::write(&identity, id).unwrap();
    put(&root.earlier);
    root.refuses("an old copy", &["is an old copy", "put the newest back"]);

    // And with the right one everything is there.
    root.restore();
    root.engine.start_again();
    let names = root.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(names.lines(), ["second", "first"]);
    root.engine.assert_consistent();
}

#[test]
fn a_read_only_disk_is_said() {
    // The namespace is this thread's, and everything it starts is in it.
    unshare_namespaces(UnshareFlags::NEWNS).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    let root = Root::make();
    let read_only = |path: &Path| {
        mount_bind(path, path).unwrap();
        mount_remount(path, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    };
    read_only(&root.root);
    root.refuses(
        "a read-only disk",
        &[
            "cannot open the database",
            "writable",
            "Read-only file system",
        ],
    );
    assert!(
        Command::new("umount")
            .arg(&root.root)
            .status()
            .unwrap()
            .success()
    );
}
