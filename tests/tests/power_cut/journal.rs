//! What was begun and what was acknowledged, kept outside of the machine whose power goes: each
//! line is with the host before the request is sent, and again before the next one is.
//!
//! ```text
//! do CLIENT NUMBER VERB ARGUMENTS     about to be asked for
//! ok CLIENT NUMBER [RESULT]           acknowledged, or found to have happened after a cut
//! no CLIENT NUMBER                    refused, or found not to have happened
//! ```

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

/// One request that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// A container of this name from this image, whose program ends with this status.
    Create(String, String, u8),
    /// Start it and wait for its end.
    Run(String),
    /// Another name for it.
    Rename(String, String),
    /// An image of it.
    Commit(String, String),
    /// Remove it.
    Remove(String),
    /// An image under this name, made from this seed.
    Load(String, u64),
    /// Another name for an image.
    Tag(String, String),
    /// Take a name off an image.
    Untag(String),
}

impl Verb {
    fn parse(words: &[&str]) -> Option<Self> {
        let own = |text: &&str| (*text).to_owned();
        Some(match words {
            ["create", name, image, status] => {
                Self::Create(own(name), own(image), status.parse().ok()?)
            }
            ["run", name] => Self::Run(own(name)),
            ["rename", name, other] => Self::Rename(own(name), own(other)),
            ["commit", name, image] => Self::Commit(own(name), own(image)),
            ["remove", name] => Self::Remove(own(name)),
            ["load", image, seed] => Self::Load(own(image), seed.parse().ok()?),
            ["tag", image, other] => Self::Tag(own(image), own(other)),
            ["untag", image] => Self::Untag(own(image)),
            _ => return None,
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Create(name, image, status) => format!("create {name} {image} {status}"),
            Self::Run(name) => format!("run {name}"),
            Self::Rename(name, other) => format!("rename {name} {other}"),
            Self::Commit(name, image) => format!("commit {name} {image}"),
            Self::Remove(name) => format!("remove {name}"),
            Self::Load(image, seed) => format!("load {image} {seed}"),
            Self::Tag(image, other) => format!("tag {image} {other}"),
            Self::Untag(image) => format!("untag {image}"),
        }
    }
}

/// A container that has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Box {
    /// Id of the image it was made from; empty for the one that all have.
    pub image: String,
    /// What its program ends with.
    pub status: u8,
    /// Whether it ran to its end, so that this is known.
    pub ran: bool,
    /// Whether a run of it was cut off.
    pub cut: bool,
}

/// What has to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// Containers by name.
    pub boxes: BTreeMap<String, Box>,
    /// Ids of images by name.
    pub images: BTreeMap<String, String>,
}

impl World {
    /// Whether a container was made from the image with this id.
    pub fn uses(&self, id: &str) -> bool {
        self.boxes.values().any(|container| container.image == id)
    }

    /// What an acknowledged request changed; `result` is an image's id or empty.
    fn apply(&mut self, verb: &Verb, result: &str) {
        match verb {
            Verb::Create(name, image, status) => {
                let container = Box {
                    image: self.images.get(image).cloned().unwrap_or_default(),
                    status: *status,
                    ran: false,
                    cut: false,
                };
                self.boxes.insert(name.clone(), container);
            }
            Verb::Run(name) => {
                if let Some(container) = self.boxes.get_mut(name) {
                    container.ran = result != "cut";
                    container.cut = result == "cut";
                }
            }
            Verb::Rename(name, other) => {
                if let Some(container) = self.boxes.remove(name) {
                    self.boxes.insert(other.clone(), container);
                }
            }
            Verb::Remove(name) => drop(self.boxes.remove(name)),
            Verb::Commit(_, image) | Verb::Load(image, _) => {
                self.images.insert(image.clone(), result.to_owned());
            }
            Verb::Tag(image, other) => {
                if let Some(id) = self.images.get(image).cloned() {
                    self.images.insert(other.clone(), id);
                }
            }
            Verb::Untag(image) => drop(self.images.remove(image)),
        }
    }
}

/// What one client has had acknowledged, and the request of its that was cut off.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// Number of its next request.
    pub next: u64,
    /// What it was told.
    pub world: World,
    /// The request whose answer never came.
    pub open: Option<(u64, Verb)>,
}

/// The journal, being written.
pub struct Journal {
    file: Mutex<File>,
}

impl Journal {
    /// Opens it for what follows.
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(path);
        Self {
            file: Mutex::new(file.expect("the journal lies in a shared directory")),
        }
    }

    fn line(&self, text: String) {
        let mut file = self.file.lock().expect("nobody panics with it");
        file.write_all(format!("{text}\n").as_bytes())
            .expect("the journal can be written");
    }

    /// A request is about to be sent.
    pub fn begun(&self, name: &str, client: &mut Client, verb: Verb) {
        self.line(format!("do {name} {} {}", client.next, verb.text()));
        client.open = Some((client.next, verb));
        client.next += 1;
    }

    /// The open request was acknowledged, or is found to have happened.
    pub fn happened(&self, name: &str, client: &mut Client, result: &str) {
        if let Some((number, verb)) = client.open.take() {
            self.line(format!("ok {name} {number} {result}"));
            client.world.apply(&verb, result);
        }
    }

    /// The open request was refused, or is found not to have happened.
    pub fn did_not_happen(&self, name: &str, client: &mut Client) {
        if let Some((number, _)) = client.open.take() {
            self.line(format!("no {name} {number}"));
        }
    }
}

/// Reads a journal: each client by its name.
pub fn read(text: &str) -> BTreeMap<String, Client> {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, name, number, rest @ ..] = &words[..] else {
            panic!("no line of a journal: {line:?}");
        };
        let number: u64 = number.parse().expect("requests are numbered");
        let client = clients.entry((*name).to_owned()).or_default();
        match *what {
            "do" => {
                let verb = Verb::parse(rest).unwrap_or_else(|| panic!("no verb: {line:?}"));
                client.open = Some((number, verb));
                client.next = number + 1;
            }
            "ok" => {
                let (_, verb) = client.open.take().expect("it was begun");
                client
                    .world
                    .apply(&verb, rest.first().copied().unwrap_or_default());
            }
            _ => client.open = None,
        }
    }
    clients
}
