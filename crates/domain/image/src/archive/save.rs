//! Writing images to a stream whose length is known before its first byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use berth_storage::archive::{END, Entry, padding};
use berth_types::{Caller, Digest, ImageReference, LayerId};
use serde_json::{Value, json};

use super::{BLOBS, CONFIG, FULL_NAME, INDEX, LAYER, MANIFEST, REF_NAME};
use crate::error::ImageError;
use crate::events;
use crate::index::Index;
use crate::publish::Hold;
use crate::record::{Image, digest_of};
use crate::service::Inner;

const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// An image, and the names that it is saved under.
struct Selected {
    image: Arc<Image>,
    names: BTreeSet<ImageReference>,
}

/// What a file of the archive holds.
enum Content {
    Layer(LayerId, u64),
    Text(String),
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Self::Layer(_, length) => *length,
            Self::Text(text) => text.len() as u64,
        }
    }
}

/// Files by path; sorted, so blobs come first.
type Files = BTreeMap<String, Content>;

pub(crate) fn save<W: Write>(
    inner: &Arc<Inner>,
    caller: &Caller,
    names: &[String],
    open: impl FnOnce(u64) -> W,
) -> Result<(), ImageError> {
    let selected = select(&inner.index(), caller, names)?;
    let mut hold = Hold::new(inner)?;
    for Selected { image, .. } in &selected {
        if let Some(top) = image.top()
            && hold.take(top)?.is_none()
        {
            return Err(ImageError::Gone(image.id));
        }
    }
    let files = files(inner, &selected)?;
    let directories = ["blobs/", BLOBS];
    let header = |path: &String, content: &Content| {
        Entry::file(path.as_bytes(), content.length(), FILE_MODE).header()
    };
    let head: Vec<u8> = directories
        .iter()
        .flat_map(|path| Entry::directory(path.as_bytes(), DIRECTORY_MODE).header())
        .collect();
    let body: u64 = files
        .iter()
        .map(|(path, content)| {
            let length = content.length();
            header(path, content).len() as u64 + length + padding(length).len() as u64
        })
        .sum();
    let mut sink = open(head.len() as u64 + body + END.len() as u64);
    let lost = |source| ImageError::Io {
        operation: "write the archive".to_owned(),
        source,
    };
    sink.write_all(&head).map_err(lost)?;
    for (path, content) in &files {
        sink.write_all(&header(path, content)).map_err(lost)?;
        match content {
            Content::Text(text) => sink.write_all(text.as_bytes()).map_err(lost)?,
            Content::Layer(id, _) => {
                let mut stream = inner.storage.layer_stream(*id)?;
                io::copy(&mut stream, &mut sink).map_err(lost)?;
            }
        }
        sink.write_all(padding(content.length())).map_err(lost)?;
    }
    sink.write_all(&END).map_err(lost)?;
    sink.flush().map_err(lost)?;
    for Selected { image, .. } in &selected {
        events::publish(&inner.db, image, "save", &image.id.to_string());
    }
    Ok(())
}

/// The images that the names mean. A repository without a tag means all of its tags; an id means
/// an image without a name.
fn select(index: &Index, caller: &Caller, names: &[String]) -> Result<Vec<Selected>, ImageError> {
    let mut selected: Vec<Selected> = Vec::new();
    let mut add = |image: Arc<Image>, name: Option<ImageReference>| {
        let known = |s: &&mut Selected| s.image.id == image.id && s.image.owner == image.owner;
        match selected.iter_mut().find(known) {
            Some(known) => known.names.extend(name),
            None => selected.push(Selected {
                image,
                names: name.into_iter().collect(),
            }),
        }
    };
    for name in names {
        let image = index.resolve(caller, name);
        let reference = name.parse::<ImageReference>().ok();
        let repository = reference
            .as_ref()
            .filter(|r| r.tag().is_none() && r.digest().is_none())
            .map(ImageReference::familiar_name);
        let mut tags: Vec<(ImageReference, Arc<Image>)> = Vec::new();
        if let Some(repository) = repository {
            for image in index.visible(caller).filter(|i| i.owner == caller.scope) {
                let names = index.references_of(image).into_iter();
                let of_it = names.filter(|r| r.familiar_name() == repository);
                tags.extend(of_it.map(|r| (r, Arc::clone(image))));
            }
        }
        if !tags.is_empty() {
            tags.into_iter()
                .for_each(|(name, image)| add(image, Some(name)));
            continue;
        }
        let image = image?;
        let reference = reference.map(ImageReference::or_latest);
        let is_name = reference
            .as_ref()
            .is_some_and(|r| index.references_of(&image).contains(r));
        add(image, reference.filter(|_| is_name));
    }
    Ok(selected)
}

/// Everything that the archive holds.
fn files(inner: &Inner, selected: &[Selected]) -> Result<Files, ImageError> {
    let mut files = Files::new();
    let mut lengths: BTreeMap<Digest, u64> = BTreeMap::new();
    let (mut index, mut list) = (Vec::new(), Vec::new());
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for Selected { image, names } in selected {
        let chain = match image.top() {
            Some(top) => inner.storage.chain(top)?,
            None => Vec::new(),
        };
        let mut layers = Vec::new();
        for layer in &chain {
            let length = match lengths.get(&layer.diff_id) {
                Some(length) => *length,
                None => inner.storage.layer_stream(layer.id)?.length,
            };
            lengths.insert(layer.diff_id, length);
            files
                .entry(blob(&layer.diff_id))
                .or_insert(Content::Layer(layer.id, length));
            layers.push(descriptor(LAYER, &layer.diff_id, length));
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &image.id, image.document.len() as u64),
            "layers": layers,
        });
        let manifest = manifest.to_string();
        index.extend(index_entries(&manifest, image, names));
        files.insert(blob(&digest_of(&manifest)), Content::Text(manifest));
        files.insert(blob(&image.id), Content::Text(image.document.clone()));
        let tags: Vec<String> = names.iter().map(ToString::to_string).collect();
        list.push(json!({
            "Config": blob(&image.id),
            "RepoTags": (!tags.is_empty()).then_some(tags),
            "Layers": chain.iter().map(|layer| blob(&layer.diff_id)).collect::<Vec<_>>(),
        }));
        let top = chain.last().map(|layer| layer.diff_id.hex());
        for name in names {
            let tag = name.tag().unwrap_or_default().to_owned();
            let tags = repositories.entry(name.familiar_name()).or_default();
            tags.insert(tag, top.clone().unwrap_or_default());
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": index});
    let mut text = |path: &str, value: Value| {
        files.insert(path.to_owned(), Content::Text(value.to_string()));
    };
    text("index.json", index);
    text("manifest.json", Value::Array(list));
    text("oci-layout", json!({"imageLayoutVersion": "1.0.0"}));
    if !repositories.is_empty() {
        text("repositories", json!(repositories));
    }
    Ok(files)
}

/// The manifest once for each name, or once without.
fn index_entries(manifest: &str, image: &Image, names: &BTreeSet<ImageReference>) -> Vec<Value> {
    let mut plain = descriptor(MANIFEST, &digest_of(manifest), manifest.len() as u64);
    let mut platform = json!({"architecture": image.config.architecture, "os": image.config.os});
    if !image.config.variant.is_empty() {
        platform["variant"] = image.config.variant.clone().into();
    }
    plain["platform"] = platform;
    if names.is_empty() {
        return vec![plain];
    }
    let named = names.iter().map(|name| {
        let tag = name.tag().unwrap_or_default();
        let whole = format!("{}/{}:{tag}", name.domain(), name.path());
        let mut entry = plain.clone();
        entry["annotations"] = json!({FULL_NAME: whole, REF_NAME: tag});
        entry
    });
    named.collect()
}

fn blob(digest: &Digest) -> String {
    format!("{BLOBS}{}", digest.hex())
}

fn descriptor(kind: &str, digest: &Digest, size: u64) -> Value {
    json!({"mediaType": kind, "digest": digest.to_string(), "size": size})
}
