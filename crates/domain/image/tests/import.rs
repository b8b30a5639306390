//! Importing real archives through the real unpacking helper. Runs as root.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use berth_image::{FAILPOINTS, Filter, Image, ImageError, Images, ImportOptions};
use berth_storage::{FindingKind, Storage};
use berth_store::{Db, Table, failpoint};
use berth_types::{Caller, Digest, ErrorKind, Scope, Timestamp};
use berth_unpack::Unpacker;

const DIRECTORY: &str = "BERTH_TEST_DIRECTORY";

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

struct Engine {
    db: Db,
    storage: Storage,
    images: Images,
}

fn open(root: &Path) -> Engine {
    let db = Db::open(&root.join("meta.db")).unwrap();
    let storage = Storage::open(root, db.clone(), unpacker()).unwrap();
    let images = Images::open(db.clone(), storage.clone()).unwrap();
    Engine {
        db,
        storage,
        images,
    }
}

fn archive(content: &str) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    let mut tar = tar::Builder::new(&mut file);
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "etc/content", content.as_bytes())
        .unwrap();
    tar.into_inner().unwrap().flush().unwrap();
    // A second opening of the same file, which reads from its beginning.
    use std::os::fd::AsRawFd;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .unwrap()
        .into()
}

fn options(reference: Option<&str>, now: i64) -> ImportOptions {
    ImportOptions {
        reference: reference.map(|text| text.parse().unwrap()),
        message: None,
        changes: Vec::new(),
        platform: None,
        now: Timestamp::from_nanos(now),
    }
}

fn import(engine: &Engine, content: &str, reference: Option<&str>, now: i64) -> Arc<Image> {
    engine
        .images
        .import(
            &Caller::root(),
            archive(content),
            || true,
            options(reference, now),
        )
        .unwrap()
}

fn student() -> Caller {
    let scope: Scope = serde_json::from_value("lab:student".into()).unwrap();
    Caller {
        scope,
        uid: None,
        pid: None,
    }
}

fn sound(engine: &Engine) {
    assert_eq!(engine.storage.fsck().unwrap(), []);
    assert_eq!(engine.images.fsck().unwrap(), []);
}

fn directories(root: &Path) -> usize {
    fs::read_dir(root.join("overlay2")).unwrap().count()
}

#[test]
fn an_import_is_an_image_and_survives() {
    let place = tempfile::tempdir().unwrap();
    let engine = open(place.path());
    let mut options = options(Some("user/app"), 1_500_000_000);
    options.changes = vec![
        "CMD [\"/bin/app\"]".into(),
        "ENV A=1".into(),
        "LABEL k=v".into(),
    ];
    options.platform = Some("linux/arm64".into());
    let image = engine
        .images
        .import(&Caller::root(), archive("x"), || true, options)
        .unwrap();
    assert_eq!(
        image.document,
        format!(
            "{{\"created\":\"1970-01-01T00:00:01.5Z\",\"architecture\":\"arm64\",\"os\":\"linux\",\
             \"config\":{{\"Env\":[\"A=1\"],\"Cmd\":[\"/bin/app\"],\"Labels\":{{\"k\":\"v\"}}}},\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{}\"]}},\
             \"history\":[{{\"created\":\"1970-01-01T00:00:01.5Z\",\"comment\":\"Imported from -\"}}],\
             \"comment\":\"Imported from -\"}}",
            Digest::from_sha256(*image.layers[0].as_bytes())
        )
    );
    assert_eq!((image.size, image.layers.len()), (1, 1));
    let file = engine
        .storage
        .paths()
        .layer(image.top().unwrap())
        .join("etc/content");
    assert_eq!(fs::read_to_string(file).unwrap(), "x");
    sound(&engine);
    drop(engine);

    let engine = open(place.path());
    for name in [
        "user/app",
        "docker.io/user/app:latest",
        &image.id.to_string(),
        &image.id.hex()[..8],
    ] {
        assert_eq!(
            engine.images.resolve(&Caller::root(), name).unwrap(),
            image,
            "{name}"
        );
    }
    let listed = engine.images.list(&Caller::root(), &Filter::default());
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].references[0].to_string(), "user/app:latest");
    sound(&engine);
}

#[test]
fn a_name_moves_and_the_old_image_stays() {
    let place = tempfile::tempdir().unwrap();
    let engine = open(place.path());
    let old = import(&engine, "same", Some("app:1"), 1);
    let new = import(&engine, "same", Some("app:1"), 2);
    assert_ne!(old.id, new.id);
    assert_eq!(old.layers, new.layers);
    assert_eq!(directories(place.path()), 1);
    let resolve = |name: &str| engine.images.resolve(&Caller::root(), name).unwrap().id;
    assert_eq!(
        (resolve("app:1"), resolve(&old.id.to_string())),
        (new.id, old.id)
    );
    let dangling = Filter {
        dangling: Some(true),
        ..Filter::default()
    };
    let listed = engine.images.list(&Caller::root(), &dangling);
    assert_eq!(
        listed.iter().map(|l| l.image.id).collect::<Vec<_>>(),
        [old.id]
    );
    assert!(engine.storage.remove_layer(old.layers[0]).is_err());
    sound(&engine);
}

#[test]
fn another_scope_has_its_own_images() {
    let place = tempfile::tempdir().unwrap();
    let engine = open(place.path());
    let roots = import(&engine, "root's", Some("app"), 1);
    let missing = engine.images.resolve(&student(), "app").unwrap_err();
    assert_eq!(missing.to_string(), "No such image: app:latest");
    assert!(
        engine
            .images
            .list(&student(), &Filter::default())
            .is_empty()
    );
    let options = options(Some("app"), 1);
    let theirs = engine
        .images
        .import(&student(), archive("root's"), || true, options)
        .unwrap();
    assert_eq!(roots.id, theirs.id);
    assert_eq!(
        engine.images.resolve(&student(), "app").unwrap().owner,
        student().scope
    );
    assert_eq!(
        engine.images.resolve(&Caller::root(), "app").unwrap().owner,
        Scope::root()
    );
    assert_eq!(
        engine
            .images
            .list(&Caller::root(), &Filter::default())
            .len(),
        2
    );
    sound(&engine);
}

#[test]
fn what_is_wrong_is_refused_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let engine = open(place.path());
    let refused = |archive: OwnedFd, change: &dyn Fn(&mut ImportOptions)| {
        let mut options = options(Some("app"), 1);
        change(&mut options);
        engine
            .images
            .import(&Caller::root(), archive, || true, options)
            .unwrap_err()
            .kind()
    };
    let digest = format!("app@sha256:{}", "0".repeat(64));
    assert_eq!(
        refused(archive("x"), &|o| o.reference =
            Some(digest.parse().unwrap())),
        ErrorKind::Invalid
    );
    assert_eq!(
        refused(archive("x"), &|o| o.changes = vec!["FOO".into()]),
        ErrorKind::Invalid
    );
    assert_eq!(
        refused(archive("x"), &|o| o.platform = Some("plan9".into())),
        ErrorKind::Invalid
    );
    let garbage: OwnedFd = File::open(std::env::current_exe().unwrap()).unwrap().into();
    assert_eq!(refused(garbage, &|_| {}), ErrorKind::Invalid);
    assert_eq!(directories(place.path()), 0);
    sound(&engine);
}

#[test]
fn a_pin_needs_an_image() {
    let place = tempfile::tempdir().unwrap();
    let engine = open(place.path());
    let image = import(&engine, "x", None, 1);
    let pinned = Arc::clone(&image);
    engine
        .db
        .write(move |txn| Images::pin(txn, &pinned, "container:1"))
        .unwrap();
    sound(&engine);
    let (scope, id) = (image.owner.clone(), image.id);
    assert!(
        engine
            .db
            .write(move |txn| Images::unpin(txn, &scope, id, "container:1"))
            .unwrap()
    );
    let gone = Image {
        id: Digest::from_sha256([0; 32]),
        ..(*image).clone()
    };
    let pin = engine
        .db
        .write(move |txn| Images::pin(txn, &gone, "container:1"));
    assert!(matches!(pin.unwrap_err().flatten(), ImageError::Gone(_)));
}

#[test]
fn a_damaged_row_costs_one_image() {
    const IMAGES: Table<(String, Digest), bool> = Table::new("image.images", 1);
    let place = tempfile::tempdir().unwrap();
    let engine = open(place.path());
    let good = import(&engine, "good", Some("good"), 1);
    let damaged = import(&engine, "damaged", Some("damaged"), 1);
    let key = ("root".to_owned(), damaged.id);
    engine
        .db
        .write(move |txn| txn.put(&IMAGES, &key, &true))
        .unwrap();
    drop(engine);
    let engine = open(place.path());
    assert_eq!(
        engine.images.resolve(&Caller::root(), "good").unwrap(),
        good
    );
    let missing = engine
        .images
        .resolve(&Caller::root(), "damaged")
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    // Its layer is not given up: someone may repair the row.
    assert!(engine.storage.layer(damaged.layers[0]).is_ok());
    let findings = engine.images.fsck().unwrap();
    assert_eq!(
        findings.iter().map(|f| f.kind).collect::<Vec<_>>(),
        [FindingKind::DamagedRow]
    );
}

/// Not a test of its own: what the killed process runs.
#[test]
fn child() {
    let Some(root) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let engine = open(Path::new(&root));
    import(&engine, "content", Some("app"), 1);
}

#[test]
fn after_a_kill_anywhere_an_import_is_whole_or_was_never_there() {
    let everywhere = FAILPOINTS
        .iter()
        .chain(berth_storage::FAILPOINTS)
        .chain(berth_store::FAILPOINTS);
    for name in everywhere {
        for passing in 1..=3 {
            let place = tempfile::tempdir().unwrap();
            let killed = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--test-threads=1"])
                .env(DIRECTORY, place.path())
                .env(failpoint::VARIABLE, format!("{name}:{passing}"))
                .output()
                .unwrap();
            let is_killed = killed.status.signal() == Some(9);
            assert!(is_killed || killed.status.success(), "{name}: {killed:?}");
            let engine = open(place.path());
            sound(&engine);
            let whole = engine.images.resolve(&Caller::root(), "app").is_ok();
            assert_eq!(
                directories(place.path()),
                usize::from(whole),
                "{name}:{passing}"
            );
            assert!(is_killed || whole);
            if *name == "image.import.after-commit" && passing == 1 {
                assert!(is_killed && whole);
            }
            if *name == "image.import.after-ingest" && passing == 1 {
                assert!(is_killed && !whole);
            }
            import(&engine, "content", Some("app"), 1);
            sound(&engine);
            assert_eq!(directories(place.path()), 1);
        }
    }
}
