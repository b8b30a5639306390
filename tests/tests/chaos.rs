//! The engine is killed at random instants under load. Whatever was acknowledged before is true
//! afterwards, and fsck finds nothing.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use berth_testkit::{Engine, wait_until};
use berth_tests::IMAGE;

/// Kills in one test.
const ROUNDS: u64 = 8;
/// Clients that work at the same time.
const CLIENTS: u32 = 4;

/// What is known of a container: the last verb that was acknowledged, and whether another was
/// under way when the engine was killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Created,
    Started,
    Removed,
}

/// One request; none where the engine was killed on the way.
fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Option<u16> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Makes, starts and removes containers until the engine is gone. Each step that is begun is
/// reported first as under way and then as done.
fn work(socket: &Path, name: &str, report: &mpsc::Sender<(String, Known, bool)>) {
    for number in 0.. {
        let name = format!("{name}-{number}");
        let create = format!(
            r#"{{"Image":"{IMAGE}","Cmd":["sleep","1000"],"HostConfig":{{"NetworkMode":"none"}}}}"#
        );
        let steps = [
            (
                Known::Created,
                "POST",
                format!("/containers/create?name={name}"),
                create.as_str(),
                201,
            ),
            (
                Known::Started,
                "POST",
                format!("/containers/{name}/start"),
                "",
                204,
            ),
            (
                Known::Removed,
                "DELETE",
                format!("/containers/{name}?force=1"),
                "",
                204,
            ),
        ];
        // Every third container stays, so that there is something to adopt.
        let keep = number % 3 == 2;
        for (known, method, path, body, expected) in steps {
            if keep && known == Known::Removed {
                continue;
            }
            report.send((name.clone(), known, false)).unwrap();
            match ask(socket, method, &path, body) {
                Some(status) if status == expected => {
                    report.send((name.clone(), known, true)).unwrap()
                }
                Some(status) => panic!("{method} {path}: {status}"),
                None => return,
            }
        }
    }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_true_after_it() {
    let mut engine = Engine::with_busybox();
    let seed = u64::from(std::process::id());
    for round in 0..ROUNDS {
        // A simple generator is enough to spread the instants; the seed is printed on failure.
        let noise = (seed + round).wrapping_mul(6_364_136_223_846_793_005) >> 33;
        let instant = Duration::from_millis(40 + noise % 400);
        let (sender, receiver) = mpsc::channel();
        let socket = engine.socket();
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (socket, sender) = (socket.clone(), sender.clone());
                scope.spawn(move || work(&socket, &format!("r{round}c{client}"), &sender));
            }
            drop(sender);
            // The clients' reports are the clock's witness: nothing is waited for but time.
            let end = std::time::Instant::now() + instant;
            let mut reports = Vec::new();
            while let Some(left) = end.checked_duration_since(std::time::Instant::now()) {
                reports.extend(receiver.recv_timeout(left).ok());
            }
            engine.kill9();
            reports.extend(receiver.iter());
            check(
                &mut engine,
                &reports,
                &format!("seed {seed}, round {round}, {instant:?}"),
            );
        });
    }
}

fn check(engine: &mut Engine, reports: &[(String, Known, bool)], context: &str) {
    engine.start_again();
    let mut acknowledged: BTreeMap<&str, Option<Known>> = BTreeMap::new();
    let mut under_way: BTreeMap<&str, Known> = BTreeMap::new();
    for (name, known, done) in reports {
        let entry = acknowledged.entry(name).or_default();
        if *done {
            *entry = Some(*known);
            under_way.remove(name.as_str());
        } else {
            under_way.insert(name, *known);
        }
    }
    let list = engine.request("GET", "/containers/json?all=1", None).json();
    let states: BTreeMap<String, String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            let name = c["Names"][0]
                .as_str()
                .unwrap()
                .trim_start_matches('/')
                .to_owned();
            (name, c["State"].as_str().unwrap().to_owned())
        })
        .collect();
    for (name, known) in &acknowledged {
        let state = states.get(*name).map(String::as_str);
        let allowed: &[Option<&str>] = match (known, under_way.get(name)) {
            (None, _) => &[None, Some("created")],
            (Some(Known::Created), None) => &[Some("created")],
            (Some(Known::Created), _) => &[Some("created"), Some("running")],
            (Some(Known::Started), None) => &[Some("running")],
            // A forced removal kills first.
            (Some(Known::Started), _) => &[Some("running"), Some("exited"), None],
            (Some(Known::Removed), _) => &[None],
        };
        assert!(
            allowed.contains(&state),
            "{context}: {name} was {known:?}, is {state:?}"
        );
    }
    wait_until("fsck is clean", Duration::from_secs(20), || {
        (engine.request("GET", "/berth/fsck", None).json()["clean"] == true).then_some(())
    });
}
