//! A machine whose power goes, seen from inside: `power_cut DISK JOURNAL SEED ROUND load|end`.
//!
//! Starts the engine on the disk as the last cut left it, checks that everything acknowledged is
//! there and nothing else, and then works until the power goes. The host keeps the journal and
//! pulls the plug (`cargo xtask soak power`). With `end` it stops behind the check.

mod check;
mod journal;
mod parts;
mod requests;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use berth_testkit::{EngineBuilder, busybox_rootfs_tar};

use journal::{Client, Journal, Verb, World};
use parts::Random;
use requests::{Answer, Api};

/// The image that containers are made from.
const BASE: &str = "base:1";
/// Clients that work at the same time.
const CLIENTS: u64 = 3;
/// Containers, and names of images, that a client keeps at most.
const KEPT: usize = 4;
/// Between two marks in the output, by which the host chooses the instant.
const TICK: Duration = Duration::from_millis(25);
/// The power goes long before this.
const LIMIT: Duration = Duration::from_secs(300);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, disk, journal_path, seed, round, manner] = &arguments[..] else {
        panic!("usage: power_cut DISK JOURNAL SEED ROUND load|end; see `cargo xtask soak power`");
    };
    let number = |text: &String| text.parse::<u64>().expect("a number");
    let (seed, round) = (number(seed), number(round));
    let root = Path::new(disk).join("berth");
    let begun = Instant::now();
    let engine = EngineBuilder::new().data_root(&root).start();
    let api = Api::new(&engine.socket());
    let journal = Journal::open(Path::new(journal_path));
    let history = std::fs::read_to_string(journal_path).expect("the host keeps the journal");
    let mut clients = journal::read(&history);
    for number in 0..CLIENTS {
        clients.entry(format!("c{number}")).or_default();
    }
    let started = begun.elapsed();
    if api
        .get("/images/json")
        .as_array()
        .is_some_and(Vec::is_empty)
    {
        assert_eq!(history, "", "everything is gone");
        let archive = std::fs::read(busybox_rootfs_tar()).expect("it was made");
        api.import(BASE, &archive);
    }
    check::check(&api, &root, &mut clients, &journal);
    println!(
        "CHECKED round {round}: started in {} ms, checked in {} ms, {} containers, {} images",
        started.as_millis(),
        (begun.elapsed() - started).as_millis(),
        clients.values().map(|c| c.world.boxes.len()).sum::<usize>(),
        clients
            .values()
            .map(|c| c.world.images.len())
            .sum::<usize>(),
    );
    if manner == "load" {
        load(&api, clients, &journal, seed.wrapping_add(round << 32));
        println!("NOT CUT within {} s", LIMIT.as_secs());
        std::process::exit(1);
    }
    // The machine goes down with what is left.
    std::process::exit(0);
}

/// Works until the power goes.
fn load(
    api: &Api,
    clients: std::collections::BTreeMap<String, Client>,
    journal: &Journal,
    seed: u64,
) {
    let done = AtomicU64::new(0);
    let (_running, over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        for (number, (name, client)) in clients.into_iter().enumerate() {
            let random = Random::new(seed.wrapping_mul(31).wrapping_add(number as u64));
            let done = &done;
            scope.spawn(move || work(api, &name, client, journal, random, done));
        }
        let begun = Instant::now();
        for tick in 1_u64.. {
            println!("TICK {tick};");
            // Nobody sends: this is a clock.
            let _ = over.recv_timeout(TICK);
            if begun.elapsed() > LIMIT {
                println!("NOT CUT within {} s", LIMIT.as_secs());
                std::process::exit(1);
            }
        }
    });
}

fn work(
    api: &Api,
    name: &str,
    mut client: Client,
    journal: &Journal,
    mut random: Random,
    done: &AtomicU64,
) {
    loop {
        let verb = choose(name, &client, &mut random);
        journal.begun(name, &mut client, verb.clone());
        match api.perform(&verb, &client.world) {
            Ok(Answer::Done(result)) => {
                journal.happened(name, &mut client, &result);
                let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                println!("DONE {count};");
            }
            Ok(Answer::Refused(why)) => {
                println!("REFUSED {verb:?}: {why}");
                std::process::exit(1);
            }
            Err(error) => {
                println!("NO ANSWER to {verb:?}: {error}");
                std::process::exit(1);
            }
        }
    }
}

/// What the client does next: something that works in its world.
fn choose(name: &str, client: &Client, random: &mut Random) -> Verb {
    let world = &client.world;
    let new = |kind: &str| format!("{name}-{kind}{}", client.next);
    let boxes: Vec<&String> = world.boxes.keys().collect();
    let images: Vec<&String> = world.images.keys().collect();
    let removable: Vec<&String> = images
        .iter()
        .copied()
        .filter(|image| can_go(world, image))
        .collect();
    for _ in 0..64 {
        let container = random.one_of(&boxes).map(|name| (*name).clone());
        let image = random.one_of(&images).map(|name| (*name).clone());
        let spare = random.one_of(&removable).map(|name| (*name).clone());
        let crowded = (boxes.len() >= KEPT, images.len() >= KEPT);
        match (random.below(11), container, image) {
            (0 | 1, _, from) if !crowded.0 => {
                // Images that were loaded have no program.
                let from = from.filter(|from| from.contains("-commit") && random.below(3) == 0);
                let status = u8::try_from(random.below(100)).unwrap_or(0);
                let from = from.unwrap_or_else(|| BASE.to_owned());
                return Verb::Create(new("box"), from, status);
            }
            (2 | 3, Some(container), _) => return Verb::Run(container),
            (4, Some(container), _) => return Verb::Rename(container, new("box")),
            (5 | 6, Some(container), _) if !crowded.1 => {
                return Verb::Commit(container, format!("{}:1", new("commit")));
            }
            (7, Some(container), _) => return Verb::Remove(container),
            (8, _, _) if !crowded.1 => {
                return Verb::Load(format!("{}:1", new("load")), random.next() >> 16);
            }
            (9, _, Some(image)) if !crowded.1 => {
                let kind = if image.contains("-commit") {
                    "commit"
                } else {
                    "load"
                };
                return Verb::Tag(image, format!("{}:1", new(kind)));
            }
            (10, _, _) => {
                if let Some(image) = spare {
                    return Verb::Untag(image);
                }
            }
            _ => {}
        }
    }
    Verb::Create(new("box"), BASE.to_owned(), 0)
}

/// Whether a name can be taken off without force: another is left, or nobody uses the image.
fn can_go(world: &World, name: &str) -> bool {
    let Some(id) = world.images.get(name) else {
        return false;
    };
    let names = world.images.values().filter(|other| *other == id).count();
    names > 1 || !world.uses(id)
}
