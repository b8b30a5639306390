//! What has to hold of an engine that came up after a cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use berth_testkit::wait_until;
use serde_json::Value;

use crate::BASE;
use crate::journal::{Client, Journal, Verb};
use crate::parts::sha256;
use crate::requests::Api;

/// What follows an answer, and what a start leaves for later, is done within this time.
const SETTLE: Duration = Duration::from_secs(60);

/// What the engine says it has.
struct Seen {
    boxes: BTreeMap<String, Value>,
    images: BTreeMap<String, String>,
    ids: BTreeSet<String>,
}

impl Seen {
    fn ask(api: &Api) -> Self {
        let mut boxes = BTreeMap::new();
        for item in list(&api.get("/containers/json?all=1")) {
            let name = item["Names"][0].as_str().unwrap_or_default();
            let name = name.trim_start_matches('/').to_owned();
            let details = api.get(&format!("/containers/{name}/json"));
            boxes.insert(name, details);
        }
        let (mut images, mut ids) = (BTreeMap::new(), BTreeSet::new());
        for item in list(&api.get("/images/json?all=1")) {
            let id = item["Id"].as_str().unwrap_or_default().to_owned();
            for name in list(&item["RepoTags"]) {
                images.insert(name.as_str().unwrap_or_default().to_owned(), id.clone());
            }
            ids.insert(id);
        }
        Self { boxes, images, ids }
    }

    fn phase(&self, name: &str) -> Option<&str> {
        self.boxes.get(name)?["State"]["Status"].as_str()
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Checks everything, and settles what became of the requests that were cut off.
pub fn check(api: &Api, root: &Path, clients: &mut BTreeMap<String, Client>, journal: &Journal) {
    let mut report = Value::Null;
    let clean = wait_for(|| {
        report = api.get("/berth/fsck");
        report["clean"] == true
    });
    assert!(clean, "fsck: {report:#}");
    let seen = Seen::ask(api);
    for (name, client) in clients.iter_mut() {
        settle(&seen, name, client, journal);
    }
    let expected: BTreeSet<&String> = clients
        .values()
        .flat_map(|c| c.world.boxes.keys())
        .collect();
    let found: BTreeSet<&String> = seen.boxes.keys().collect();
    assert_eq!(found, expected, "other containers than were acknowledged");
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    for client in clients.values() {
        expected.extend(client.world.images.clone());
    }
    let base = seen
        .images
        .get(BASE)
        .cloned()
        .expect("the first image is there");
    expected.insert(BASE.to_owned(), base.clone());
    assert_eq!(seen.images, expected, "other images than were acknowledged");
    let named: BTreeSet<String> = expected.values().cloned().collect();
    assert_eq!(seen.ids, named, "images without a name");
    for client in clients.values() {
        for (name, known) in &client.world.boxes {
            let (phase, state) = (seen.phase(name), &seen.boxes[name]["State"]);
            let status = state["ExitCode"].as_u64();
            let image = Some(&known.image).filter(|image| !image.is_empty());
            let image = image.unwrap_or(&base);
            assert_eq!(seen.boxes[name]["Image"], *image, "image of {name}");
            if known.ran {
                let told = (phase, status);
                assert_eq!(
                    told,
                    (Some("exited"), Some(u64::from(known.status))),
                    "{name}: {state}"
                );
            } else if !known.cut {
                assert_eq!(phase, Some("created"), "{name}: {state}");
            }
        }
    }
    check_bytes(api, &expected);
    check_files(root);
}

/// What became of the request that was cut off.
fn settle(seen: &Seen, name: &str, client: &mut Client, journal: &Journal) {
    let Some((_, verb)) = client.open.clone() else {
        return;
    };
    let result = match &verb {
        Verb::Create(container, ..) => seen.phase(container).map(|phase| {
            assert_eq!(phase, "created", "{verb:?}");
            String::new()
        }),
        Verb::Run(container) => match seen.phase(container) {
            Some("created") => None,
            Some("exited") => Some("cut".to_owned()),
            other => panic!("{verb:?}: {other:?}"),
        },
        Verb::Rename(old, new) => {
            let there = (seen.boxes.contains_key(old), seen.boxes.contains_key(new));
            assert!(there.0 != there.1, "{verb:?}: {there:?}");
            there.1.then(String::new)
        }
        Verb::Remove(container) => (!seen.boxes.contains_key(container)).then(String::new),
        Verb::Commit(_, image) | Verb::Load(image, _) => seen.images.get(image).cloned(),
        Verb::Tag(_, other) => seen.images.contains_key(other).then(String::new),
        Verb::Untag(image) => (!seen.images.contains_key(image)).then(String::new),
    };
    if let (Verb::Load(image, seed), Some(id)) = (&verb, &result) {
        assert_eq!(*id, crate::parts::image(image, *seed).1, "{verb:?}");
    }
    match result {
        Some(result) => journal.happened(name, client, &result),
        None => journal.did_not_happen(name, client),
    }
}

/// Every blob of every image is what its name says: the configuration, and each layer as it is
/// put together again from its directory.
fn check_bytes(api: &Api, images: &BTreeMap<String, String>) {
    let names: Vec<&str> = images.keys().map(String::as_str).collect();
    let bytes = api.save(&names);
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut blobs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in archive.entries().expect("it is an archive") {
        let mut entry = entry.expect("it is whole");
        let path = entry.path().expect("it has a name").display().to_string();
        let Some(digest) = path.strip_prefix("blobs/sha256/").filter(|d| d.len() == 64) else {
            continue;
        };
        let digest = digest.to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("it is whole");
        assert_eq!(sha256(&content), digest, "the bytes of {path}");
        blobs.insert(digest, content);
    }
    for (name, id) in images {
        let hex = id.trim_start_matches("sha256:");
        let config = blobs
            .get(hex)
            .unwrap_or_else(|| panic!("{name}: no configuration {id}"));
        let config: Value = serde_json::from_slice(config).expect("it is JSON");
        for layer in list(&config["rootfs"]["diff_ids"]) {
            let hex = layer
                .as_str()
                .unwrap_or_default()
                .trim_start_matches("sha256:");
            assert!(blobs.contains_key(hex), "{name}: no layer {layer}");
        }
    }
}

/// Nothing half-made lies about, also where fsck does not look.
fn check_files(root: &Path) {
    let is_leftover = |name: &str| name.ends_with(".new") || name.starts_with("tmp-");
    let mut found = Vec::new();
    let containers = names(&root.join("containers"));
    let states = containers.iter().map(|id| root.join("containers").join(id));
    for directory in states.chain([root.to_owned(), root.join("overlay2")]) {
        let left = names(&directory)
            .into_iter()
            .filter(|name| is_leftover(name));
        found.extend(left.map(|name| directory.join(name)));
    }
    found.extend(
        names(&root.join("tmp"))
            .into_iter()
            .map(|name| root.join("tmp").join(name)),
    );
    assert!(found.is_empty(), "left over: {found:?}");
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn wait_for(mut is_so: impl FnMut() -> bool) -> bool {
    let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until("the engine is clean", SETTLE, || is_so().then_some(()));
    }));
    waited.is_ok()
}
