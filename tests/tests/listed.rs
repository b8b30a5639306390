//! A list is put together from entries that are kept with the containers' snapshots. After every
//! kind of change it says what a list says that is made from nothing: the one with sizes.

use berth_testkit::{Engine, EngineBuilder};
use berth_tests::IMAGE;
use serde_json::Value;

/// The newest version, and that of a client whose answers are shaped otherwise.
const PREFIXES: [&str; 2] = ["", "/v1.41"];
/// Reads until a list was not overtaken by the clock; each is off by a second at most.
const READS: usize = 50;

fn list(engine: &Engine, prefix: &str, query: &str) -> Vec<Value> {
    let path = format!("{prefix}/containers/json?all=1{query}");
    let answer = engine.request("GET", &path, None);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let list: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
    let without_sizes = |mut entry: Value| {
        let object = entry.as_object_mut().unwrap();
        let counted = object.remove("SizeRw").is_some() | object.remove("SizeRootFs").is_some();
        assert_eq!(counted, query.contains("size"), "{path}: {entry}");
        entry
    };
    list.into_iter().map(without_sizes).collect()
}

/// Compares the list with one made from nothing, twice for each version: what was kept by the
/// first read is found by the second. Returns the newest version's.
#[track_caller]
fn compared(engine: &Engine, after: &str) -> Vec<Value> {
    let mut newest = Vec::new();
    for prefix in [PREFIXES, PREFIXES].concat() {
        let mut seen = None;
        for _ in 0..READS {
            let ready = list(engine, prefix, "");
            let anew = list(engine, prefix, "&size=1");
            let same = ready == anew;
            seen = Some((ready, anew));
            if same {
                break;
            }
        }
        let (ready, anew) = seen.unwrap();
        assert_eq!(ready, anew, "after {after}, {prefix}");
        if prefix.is_empty() {
            newest = ready;
        }
    }
    newest
}

#[track_caller]
fn done(engine: &Engine, arguments: &[&str]) {
    let output = engine.docker(arguments);
    assert_eq!(output.status, 0, "{arguments:?}: {output}");
}

/// One entry by the container's name.
#[track_caller]
fn entry<'a>(list: &'a [Value], name: &str) -> &'a Value {
    let named = |entry: &&Value| entry["Names"][0] == format!("/{name}");
    list.iter().find(named).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn kept_entries_say_what_new_ones_do() {
    let engine = EngineBuilder::new().network().start();
    engine.import_busybox();
    let step = |arguments: &[&str], expected: &[(&str, &str, &str)]| {
        done(&engine, arguments);
        let list = compared(&engine, &arguments.join(" "));
        for (name, key, value) in expected {
            let seen = &entry(&list, name)[*key];
            assert_eq!(seen, value, "after {arguments:?}");
        }
        list
    };
    compared(&engine, "nothing");
    // Labels that read like what stands in the gaps of a kept entry, and like JSON.
    let odd = ["--label", "a=\u{1}image", "--label", "b=\u{1}status"];
    let odd = [
        odd,
        ["--label", "c=\"Status\":\"\"", "--label", "d=\u{1}\""],
    ]
    .concat();
    let create = ["create", "--name", "odd", "--network", "none"];
    step(
        &[&create[..], &odd, &[IMAGE, "sleep", "1 000"]].concat(),
        &[],
    );

    let run = [
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1:0:80",
        "-v",
        "/tmp:/t",
    ];
    let list = step(
        &[&run[..], &["--label", "k=v", IMAGE, "sleep", "1000"]].concat(),
        &[("web", "State", "running"), ("odd", "State", "created")],
    );
    let web = entry(&list, "web");
    assert_eq!(web["Ports"][0]["PrivatePort"], 80, "{web}");
    let address = &web["NetworkSettings"]["Networks"]["bridge"]["IPAddress"];
    assert_ne!(address, "", "{web}");
    step(&["pause", "web"], &[("web", "State", "paused")]);
    step(&["unpause", "web"], &[("web", "State", "running")]);
    step(&["rename", "web", "www"], &[("www", "State", "running")]);
    step(
        &["update", "--memory", "64m", "--memory-swap", "64m", "www"],
        &[],
    );
    step(
        &["restart", "-t", "0", "www"],
        &[("www", "State", "running")],
    );
    let list = step(&["kill", "www"], &[("www", "State", "exited")]);
    let www = entry(&list, "www");
    assert!(
        www["Status"].as_str().unwrap().starts_with("Exited (137)"),
        "{www}"
    );
    assert_eq!(www["Ports"], Value::Array(Vec::new()), "{www}");
    step(&["start", "www"], &[("www", "State", "running")]);

    // It ends, is started again by its policy, and ends for good.
    let policy = ["run", "-d", "--name", "again", "--restart", "on-failure:1"];
    done(
        &engine,
        &[&policy[..], &["--network", "none", IMAGE, "false"]].concat(),
    );
    step(&["wait", "again"], &[]);

    // The image's name goes, comes back, and means another image.
    let id = entry(&list, "www")["ImageID"].as_str().unwrap().to_owned();
    step(&["tag", IMAGE, "other:1"], &[("www", "Image", IMAGE)]);
    step(
        &["rmi", IMAGE],
        &[("www", "Image", &id), ("odd", "Image", &id)],
    );
    step(
        &["tag", "other:1", IMAGE],
        &[("www", "Image", IMAGE), ("odd", "Image", IMAGE)],
    );
    step(&["commit", "odd", "busybox:test"], &[("www", "Image", &id)]);
    step(&["rm", "-f", "www"], &[]);

    let both = list_names(&engine, "&filters={\"label\":[\"c\"]}");
    assert_eq!(both, ["/odd"]);
    assert_eq!(list_names(&engine, "&limit=1"), ["/again"]);
    // What another engine finds on the disk.
    let mut engine = engine;
    engine.kill9();
    engine.start_again();
    compared(&engine, "another engine");
}

fn list_names(engine: &Engine, query: &str) -> Vec<String> {
    let list = list(engine, "", query);
    let name = |entry: &Value| entry["Names"][0].as_str().unwrap().to_owned();
    list.iter().map(name).collect()
}
