//! Archives of images, made by hand: what is chosen of them, and what is refused.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use berth_image::{ImageError, Images, LoadOptions, Loaded};
use berth_storage::Storage;
use berth_store::Db;
use berth_types::{Caller, ErrorKind, Timestamp};
use berth_unpack::Unpacker;
use serde_json::{Value, json};
use sha2::Digest as _;

struct Engine {
    storage: Storage,
    images: Images,
}

fn open(root: &Path) -> Engine {
    let test = std::env::current_exe().unwrap();
    let helper = test.parent().and_then(Path::parent).unwrap();
    let db = Db::open(&root.join("meta.db")).unwrap();
    let unpacker = Unpacker::new(helper.join("berth-unpack"));
    let storage = Storage::open(root, db.clone(), unpacker).unwrap();
    let images = Images::open(db, storage.clone()).unwrap();
    Engine { storage, images }
}

fn digest(bytes: &[u8]) -> String {
    let hash = sha2::Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, &content[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// An OCI layout in the making.
#[derive(Default)]
struct Layout(Vec<(String, Vec<u8>)>);

impl Layout {
    fn blob(&mut self, kind: &str, content: Vec<u8>) -> Value {
        let digest = digest(&content);
        let size = content.len();
        self.0
            .push((format!("blobs/sha256/{}", &digest[7..]), content));
        json!({"mediaType": kind, "digest": digest, "size": size})
    }

    fn image(&mut self, architecture: &str, layer: &str) -> Value {
        let layer = tar(&[("file".to_owned(), layer.as_bytes().to_vec())]);
        let config = json!({"architecture": architecture, "os": "linux", "config": {"Env": null},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]}});
        let layer = self.blob("application/vnd.oci.image.layer.v1.tar", layer);
        let config = self.blob("c", config.to_string().into());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        let manifest = manifest.to_string().into();
        let mut entry = self.blob("application/vnd.oci.image.manifest.v1+json", manifest);
        entry["platform"] = json!({"architecture": architecture, "os": "linux"});
        entry
    }

    fn index(&mut self, entries: Vec<Value>) -> Value {
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        self.blob("application/vnd.oci.image.index.v1+json", index.into())
    }

    fn archive(mut self, entries: Vec<Value>) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        self.0.push(("index.json".to_owned(), index.into()));
        tar(&self.0)
    }
}

fn load(engine: &Engine, archive: &[u8]) -> Result<Vec<Loaded>, ImageError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(archive).unwrap();
    let again: OwnedFd = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .unwrap()
        .into();
    let options = LoadOptions {
        now: Timestamp::now(),
    };
    let caller = Caller::root();
    engine
        .images
        .load(&caller, again, || true, &options, |_| {})
}

fn clean(root: &Path, engine: &Engine, directories: usize) {
    assert_eq!(engine.storage.fsck().unwrap(), []);
    assert_eq!(engine.images.fsck().unwrap(), []);
    let found = fs::read_dir(root.join("overlay2")).unwrap().count();
    assert_eq!(found, directories);
}

#[test]
fn of_several_platforms_it_is_ours() {
    let place = tempfile::tempdir().unwrap();
    let engine = open(place.path());
    let ours = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    };
    let mut layout = Layout::default();
    let entries = vec![layout.image("s390x", "big"), layout.image(ours, "ours")];
    let mut index = layout.index(entries);
    index["annotations"] = json!({"io.containerd.image.name": "docker.io/library/multi:1",
        "org.opencontainers.image.ref.name": "1"});
    let plain = layout.image(ours, "plain");
    let loaded = load(&engine, &layout.archive(vec![index, plain])).unwrap();
    let names: Vec<String> = loaded[0].names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["multi:1"]);
    assert!(loaded[1].names.is_empty());
    assert_eq!(loaded[0].image.config.architecture, ours);
    clean(place.path(), &engine, 2);
}

#[test]
fn what_is_wrong_is_refused_whole() {
    let place = tempfile::tempdir().unwrap();
    let engine = open(place.path());
    let ours = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    };
    let refused = |archive: &[u8], part: &str| {
        let error = load(&engine, archive).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        clean(place.path(), &engine, 0);
    };

    let mut foreign = Layout::default();
    let good = foreign.image(ours, "good");
    let bad = foreign.image("s390x", "bad");
    refused(&foreign.archive(vec![good, bad]), "is for linux/s390x");

    let mut only = Layout::default();
    let bad = only.image("s390x", "bad");
    let index = only.index(vec![bad]);
    refused(&only.archive(vec![index]), "has no image for linux/");

    let mut deep = Layout::default();
    let image = deep.image(ours, "x");
    let inner = deep.index(vec![image]);
    let outer = deep.index(vec![inner]);
    refused(&deep.archive(vec![outer]), "index within an index");

    // The layer is a tar, and not the one that the configuration means.
    let mut swapped = Layout::default();
    let image = swapped.image(ours, "meant");
    let other = tar(&[("file".to_owned(), b"another".to_vec())]);
    swapped.0[0].1 = other;
    refused(&swapped.archive(vec![image]), "it is damaged");

    let mut escape = Layout::default();
    escape.image(ours, "x");
    let config = escape.0[1].0.clone();
    let list =
        json!([{"Config": config, "RepoTags": null, "Layers": ["../../../../../etc/passwd"]}]);
    escape
        .0
        .push(("manifest.json".to_owned(), list.to_string().into()));
    refused(&tar(&escape.0), "which it names");

    refused(
        &tar(&[("etc/x".to_owned(), vec![])]),
        "holds no saved images",
    );
    let huge = vec![b' '; 5 << 20];
    refused(&tar(&[("manifest.json".to_owned(), huge)]), "more than");
    refused(b"", "holds no saved images");
}
