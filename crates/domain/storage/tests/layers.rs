//! Layers, snapshots and their removal on a real file system, with the real unpacking helper.
//! Runs as root: layers have owners and device nodes.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_storage::{FAILPOINTS, FindingKind, Layer, Storage, StorageError, claims};
use berth_store::{Db, Row, StoreError, Table, failpoint};
use berth_types::{ContainerId, ErrorKind, LayerId};
use berth_unpack::Unpacker;

const DIRECTORY: &str = "BERTH_TEST_DIRECTORY";

/// `berth-unpack` beside the test programs.
fn unpacker() -> Unpacker {
    let test = std::env::current_exe().unwrap();
    let helper = test
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("berth-unpack");
    assert!(
        helper.exists(),
        "build it first: cargo build --release -p berth-unpack"
    );
    Unpacker::new(helper)
}

fn open(root: &Path) -> (Db, Storage) {
    let db = Db::open(&root.join("meta.db")).unwrap();
    let storage = Storage::open(root, db.clone(), unpacker()).unwrap();
    (db, storage)
}

/// An archive with one file of this name and content.
fn archive(place: &Path, name: &str, content: &str) -> File {
    let path = place.join("archive.tar");
    let mut tar = tar::Builder::new(File::create(&path).unwrap());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o640);
    header.set_uid(1234);
    header.set_cksum();
    tar.append_data(&mut header, name, content.as_bytes())
        .unwrap();
    tar.into_inner().unwrap().flush().unwrap();
    File::open(path).unwrap()
}

fn ingest(storage: &Storage, owner: &str, name: &str, parent: Option<&Layer>) -> Layer {
    let place = tempfile::tempdir().unwrap();
    let archive = archive(place.path(), name, "content");
    storage
        .ingest_layer(owner, archive.into(), parent.map(|layer| layer.id))
        .unwrap()
}

fn container(byte: u8) -> ContainerId {
    ContainerId::from_bytes([byte; 32])
}

fn reserve(db: &Db, id: ContainerId, top: LayerId) -> Result<(), StorageError> {
    db.write(move |txn| Storage::reserve(txn, id, Some(top)))
        .map_err(|e| e.flatten())
}

fn condemn(db: &Db, id: ContainerId) {
    db.write(move |txn| Storage::condemn(txn, id)).unwrap();
}

fn release(db: &Db, layer: LayerId, owner: &'static str) -> bool {
    db.write(move |txn| claims::release(txn, layer, owner))
        .unwrap()
}

fn overlay(root: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(root.join("overlay2"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn layers_are_kept_once_and_survive() {
    let place = tempfile::tempdir().unwrap();
    let (db, storage) = open(place.path());
    let base = ingest(&storage, "a", "etc/base", None);
    let again = ingest(&storage, "b", "etc/base", None);
    assert_eq!(base, again);
    assert_eq!(base.chain_id(), base.diff_id);
    let top = ingest(&storage, "a", "top", Some(&base));
    assert_ne!(top.chain_id(), top.diff_id);
    assert_eq!((top.depth, top.parent, top.bytes), (2, Some(base.id), 7));
    let file = storage.paths().layer(base.id).join("etc/base");
    let stat = fs::metadata(&file).unwrap();
    assert_eq!((stat.uid(), stat.mode() & 0o7777), (1234, 0o640));
    assert!(
        storage
            .paths()
            .layer(base.id)
            .join("../journal.gz")
            .metadata()
            .unwrap()
            .len()
            > 0
    );
    assert_eq!(overlay(place.path()).len(), 2);
    assert_eq!(storage.fsck().unwrap(), []);
    drop((db, storage));
    let (_db, storage) = open(place.path());
    assert_eq!(storage.chain(top.id).unwrap(), [base, top]);
}

#[test]
fn a_bad_archive_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (_db, storage) = open(place.path());
    let path = place.path().join("garbage");
    fs::write(&path, vec![b'x'; 5000]).unwrap();
    let garbage = File::open(path).unwrap();
    let error = storage.ingest_layer("a", garbage.into(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(overlay(place.path()).is_empty());
    let absent = LayerId::from_bytes([9; 32]);
    let tar = archive(place.path(), "a", "b");
    let error = storage
        .ingest_layer("a", tar.into(), Some(absent))
        .unwrap_err();
    assert!(matches!(error, StorageError::NoLayer(id) if id == absent));
}

#[test]
fn what_is_claimed_stays() {
    let place = tempfile::tempdir().unwrap();
    let (db, storage) = open(place.path());
    let base = ingest(&storage, "image:base", "base", None);
    let top = ingest(&storage, "image:top", "top", Some(&base));
    let in_use = |layer: &Layer| match storage.remove_layer(layer.id) {
        Err(StorageError::LayerInUse { owners, .. }) => owners,
        other => panic!("{other:?}"),
    };
    assert_eq!(in_use(&top), ["image:top"]);
    assert_eq!(
        in_use(&base),
        ["image:base".to_owned(), format!("layer:{}", top.id)]
    );
    reserve(&db, container(1), top.id).unwrap();
    assert!(release(&db, top.id, "image:top"));
    assert_eq!(in_use(&top), [format!("container:{}", container(1))]);
    condemn(&db, container(1));
    assert!(release(&db, base.id, "image:base"));
    // The layer below goes with it.
    storage.remove_layer(top.id).unwrap();
    assert!(matches!(
        storage.layer(base.id),
        Err(StorageError::NoLayer(_))
    ));
    assert!(overlay(place.path()).is_empty());
    assert!(matches!(
        reserve(&db, container(2), top.id),
        Err(StorageError::NoLayer(_))
    ));
    // And it can come again.
    ingest(&storage, "a", "base", None);
}

#[test]
fn a_snapshot_comes_and_goes() {
    let place = tempfile::tempdir().unwrap();
    let (db, storage) = open(place.path());
    let base = ingest(&storage, "a", "base", None);
    let top = ingest(&storage, "a", "top", Some(&base));
    let id = container(7);
    assert!(matches!(
        storage.prepare(id),
        Err(StorageError::NoSnapshot(_))
    ));
    reserve(&db, id, top.id).unwrap();
    let snapshot = storage.prepare(id).unwrap();
    assert_eq!(
        snapshot.lower,
        [
            storage.paths().layer(top.id),
            storage.paths().layer(base.id)
        ]
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode(&snapshot.upper), mode(&snapshot.work)),
        (0o755, 0o700)
    );
    assert_eq!(mode(&place.path().join("overlay2")), 0o710);
    fs::set_permissions(&snapshot.upper, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(snapshot.upper.join("file"), "12345").unwrap();
    assert_eq!(storage.prepare(id).unwrap(), snapshot);
    assert_eq!(mode(&snapshot.upper), 0o700);
    let usage = storage.usage(id).unwrap();
    assert_eq!((usage.bytes, usage.inodes, usage.complete), (5, 1, true));
    let state = storage.make_state(id).unwrap();
    fs::write(state.join("exit.json"), "{}").unwrap();
    assert_eq!(storage.fsck().unwrap(), []);

    condemn(&db, id);
    assert!(matches!(
        storage.prepare(id),
        Err(StorageError::NoSnapshot(_))
    ));
    assert_eq!(storage.fsck().unwrap()[0].kind, FindingKind::Leftover);
    storage.collect(id).unwrap();
    storage.collect(id).unwrap();
    assert!(!snapshot.upper.exists() && !state.exists());
    assert_eq!(storage.usage(id).unwrap().inodes, 0);
    assert_eq!(storage.fsck().unwrap(), []);
}

#[test]
fn opening_clears_up_what_is_ours_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let (db, storage) = open(place.path());
    let layer = ingest(&storage, "a", "base", None);
    let (kept, condemned) = (container(1), container(2));
    for id in [kept, condemned] {
        reserve(&db, id, layer.id).unwrap();
        storage.prepare(id).unwrap();
        storage.make_state(id).unwrap();
    }
    condemn(&db, condemned);
    drop((db, storage));
    let overlay_path = place.path().join("overlay2");
    let ours = [
        "tmp-0123456789abcdef".to_owned(),
        format!("removing-{}-0123456789abcdef", container(3)),
        container(4).to_string(),
    ];
    let foreign = ["lost+found", "tmp-mine"];
    for name in ours.iter().map(String::as_str).chain(foreign) {
        fs::create_dir_all(overlay_path.join(name).join("diff")).unwrap();
    }
    let (_db, storage) = open(place.path());
    let mut expected = vec![layer.id.to_string(), kept.to_string()];
    expected.extend(foreign.map(str::to_owned));
    expected.sort();
    assert_eq!(overlay(place.path()), expected);
    assert!(storage.paths().state(kept).exists());
    assert!(!storage.paths().state(condemned).exists());
    let findings = storage.fsck().unwrap();
    assert_eq!(findings.len(), foreign.len(), "{findings:?}");
}

#[test]
fn a_damaged_row_is_found_and_its_directory_kept() {
    const LAYERS: Table<LayerId, bool> = Table::new("storage.layers", 1);
    const NO_LAYERS: Table<String, bool> = Table::new("storage.layers", 1);
    let place = tempfile::tempdir().unwrap();
    let (db, storage) = open(place.path());
    let damaged = ingest(&storage, "a", "damaged", None);
    let id = damaged.id;
    db.write(move |txn| txn.put(&LAYERS, &id, &true)).unwrap();
    drop((db, storage));
    let (db, storage) = open(place.path());
    assert!(storage.paths().layer(id).exists());
    assert!(matches!(
        storage.layer(id),
        Err(StorageError::Store(StoreError::Row { .. }))
    ));
    let kinds: Vec<_> = storage
        .fsck()
        .unwrap()
        .into_iter()
        .map(|f| f.kind)
        .collect();
    assert!(kinds.contains(&FindingKind::DamagedRow), "{kinds:?}");
    // A row that does not even say which layer it was: nothing unknown is removed.
    db.write(|txn| txn.put(&NO_LAYERS, "?", &true)).unwrap();
    drop((db, storage));
    let orphan = place.path().join("overlay2").join(container(4).to_string());
    fs::create_dir(&orphan).unwrap();
    let _opened = open(place.path());
    assert!(orphan.exists());
}

#[test]
fn a_root_of_another_database_is_refused() {
    let place = tempfile::tempdir().unwrap();
    drop(open(place.path()));
    fs::remove_file(place.path().join("meta.db")).unwrap();
    let orphan = place.path().join("overlay2").join(container(4).to_string());
    fs::create_dir(&orphan).unwrap();
    let db = Db::open(&place.path().join("meta.db")).unwrap();
    let error = Storage::open(place.path(), db, unpacker()).err().unwrap();
    assert!(matches!(error, StorageError::ForeignRoot { .. }), "{error}");
    assert!(orphan.exists());
}

#[test]
fn stale_claims_are_dropped_with_their_layers() {
    let place = tempfile::tempdir().unwrap();
    let (_db, storage) = open(place.path());
    let base = ingest(&storage, "image:kept", "base", None);
    let top = ingest(&storage, "import:gone", "top", Some(&base));
    storage
        .drop_claims(|owner| owner.starts_with("import:"))
        .unwrap();
    assert!(matches!(
        storage.layer(top.id),
        Err(StorageError::NoLayer(_))
    ));
    assert_eq!(storage.layer(base.id).unwrap(), base);
    assert_eq!(storage.fsck().unwrap(), []);
}

/// Not a test of its own: what the killed process runs.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let root = PathBuf::from(directory);
    let (db, storage) = open(&root);
    let base = ingest(&storage, "a", "base", None);
    let top = ingest(&storage, "a", "top", Some(&base));
    let id = container(1);
    reserve(&db, id, top.id).unwrap();
    storage.prepare(id).unwrap();
    storage.make_state(id).unwrap();
    condemn(&db, id);
    storage.collect(id).unwrap();
    release(&db, top.id, "a");
    storage.remove_layer(top.id).unwrap();
    let other = ingest(&storage, "a", "other", Some(&base));
    let claim = (other.id, "a".to_owned());
    let given_up = storage.retire(move |_| Ok::<_, StorageError>(((), vec![claim])));
    let ((), retired) = given_up.unwrap();
    storage.discard(retired);
}

#[test]
fn after_a_kill_anywhere_the_root_is_sound_and_the_work_can_be_repeated() {
    for name in FAILPOINTS {
        for passing in 1..=2 {
            let place = tempfile::tempdir().unwrap();
            let child = |armed: Option<String>| {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--exact", "child", "--test-threads=1"]);
                command.env(DIRECTORY, place.path());
                if let Some(armed) = armed {
                    command.env(failpoint::VARIABLE, armed);
                }
                command.output().unwrap()
            };
            let killed = child(Some(format!("{name}:{passing}")));
            let once = !name.contains("ingest");
            assert_eq!(
                killed.status.signal(),
                (!once || passing == 1).then_some(9),
                "{name}"
            );
            {
                let (db, storage) = open(place.path());
                assert_eq!(storage.fsck().unwrap(), [], "{name}:{passing}");
                const LAYERS: Table<LayerId, Layer> = Table::new("storage.layers", 1);
                let rows = db.read(|txn| txn.scan(&LAYERS)).unwrap();
                assert!(rows.iter().all(|row| matches!(row, Row::Whole(..))));
            }
            let repeated = child(None);
            assert!(repeated.status.success(), "{name}: {repeated:?}");
            let (_db, storage) = open(place.path());
            assert_eq!(storage.fsck().unwrap(), []);
            assert_eq!(overlay(place.path()).len(), 1);
        }
    }
}
