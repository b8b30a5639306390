//! The requests of Docker's own client, recorded, against ours.
//!
//! `tests/golden/create/*.json` hold the arguments and the body that docker 28.2 sent for them,
//! called with `HOME=/root` and `$CWD` for its working directory, which is `tests/golden/files`.
//! Zero, empty and absent mean the same on this wire, so they are left out of the comparison; the
//! order of `Binds` is not defined by Docker's client.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::request;
use crate::command::create;
use crate::options::flags::CreateFlags;
use crate::options::sources::Surroundings;

struct Recorded;

impl Surroundings for Recorded {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    fn read(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(golden().join("files").join(path))
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from("$CWD")
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn parse(args: &[&str]) -> Result<CreateFlags, String> {
    let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
    create::USAGE
        .parse("create", &args)
        .map_err(|exit| exit.message)
}

/// Drops what means "not said", and sorts what has no order.
fn essence(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) => {
            let kept: serde_json::Map<_, _> = fields
                .into_iter()
                .filter_map(|(key, value)| {
                    // The elements of these are sets of their keys; an empty list says something.
                    let keep = matches!(
                        key.as_str(),
                        "ExposedPorts"
                            | "Volumes"
                            | "EndpointsConfig"
                            | "MaskedPaths"
                            | "ReadonlyPaths"
                            | "Init"
                    );
                    let mut kept = if keep && !value.is_null() {
                        Some(value)
                    } else {
                        essence(value)
                    }?;
                    if let ("Binds", Value::Array(binds)) = (key.as_str(), &mut kept) {
                        binds.sort_by_key(ToString::to_string);
                    }
                    if key == "EndpointsConfig"
                        && let Value::Object(endpoints) = &mut kept
                    {
                        for endpoint in endpoints.values_mut() {
                            *endpoint = essence(endpoint.take()).unwrap_or_default();
                        }
                    }
                    let empty = kept.as_object().is_some_and(serde_json::Map::is_empty);
                    (!empty).then_some((key, kept))
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => {
            // An element keeps its place: zero in a list says something.
            let kept = items.into_iter().map(|i| match i {
                Value::Object(_) | Value::Array(_) => essence(i).unwrap_or_default(),
                other => other,
            });
            let kept: Vec<Value> = kept.collect();
            (kept != [Value::from(0), Value::from(0)]).then_some(Value::Array(kept))
        }
        Value::Null | Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Number(number) if number.as_i64() == Some(0) => None,
        other => Some(other),
    }
}

#[test]
fn bodies_are_those_of_docker() {
    let mut compared = 0;
    for entry in std::fs::read_dir(golden().join("create")).unwrap() {
        let path = entry.unwrap().path();
        let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let args: Vec<&str> = recorded["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a.as_str().unwrap())
            .collect();
        let ours = parse(&args).and_then(|flags| request(&flags, &Recorded));
        if args.contains(&"--platform") {
            assert!(ours.unwrap_err().contains("--platform is not built yet"));
            continue;
        }
        let ours = ours.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let ours = serde_json::to_value(&ours).unwrap();
        assert_eq!(
            essence(ours),
            essence(recorded["body"].clone()),
            "{} {args:?}",
            path.display()
        );
        compared += 1;
    }
    assert!(compared > 30, "only {compared} recordings");
}

#[test]
fn contradictions_are_refused_in_dockers_words() {
    for (args, sentence) in [
        (
            &["--rm", "--restart", "always"][..],
            "conflicting options: cannot specify both --restart and --rm",
        ),
        (
            &["--restart", ":3"],
            "invalid restart policy format: no policy provided before colon",
        ),
        (
            &["--restart", "on-failure:x"],
            "invalid restart policy format: maximum retry count must be an integer",
        ),
        (
            &["--no-healthcheck", "--health-cmd", "x"],
            "--no-healthcheck conflicts with --health-* options",
        ),
        (
            &["--health-retries", "-1"],
            "--health-retries cannot be negative",
        ),
        (
            &["--log-driver", "none", "--log-opt", "a=b"],
            "invalid logging opts for driver none",
        ),
        (
            &["--memory-swappiness", "101"],
            "invalid value: 101. Valid memory swappiness range is 0-100",
        ),
        (&["--pid", "foo"], "--pid: invalid PID mode"),
        (&["--cgroupns", "foo"], "--cgroupns: invalid CGROUP mode"),
        (
            &["--security-opt", "foo"],
            "Invalid --security-opt: \"foo\"",
        ),
        (
            &["--security-opt", "seccomp=nosuch"],
            "opening seccomp profile (nosuch) failed: open nosuch: no such file or directory",
        ),
        (
            &["--env-file", "nosuch"],
            "open nosuch: no such file or directory",
        ),
        (&["-v", ""], "invalid empty volume spec"),
        (&["--network", ""], "no name set for network"),
        (
            &["--network", "a", "--network", "a"],
            "network \"a\" is specified multiple times",
        ),
        (
            &["--network", "none", "--network-alias", "a"],
            "network-scoped aliases are only supported for user-defined networks",
        ),
        (
            &["--network", "host", "--network", "net2"],
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ),
        (&["--mac-address", "x"], "x is not a valid mac address"),
        (&["--device", "a:b:c:d"], "bad format for path: a:b:c:d"),
        (&["--storage-opt", "x"], "invalid storage option"),
    ] {
        let args = [args, &["debian"]].concat();
        let found = parse(&args).and_then(|flags| request(&flags, &Recorded));
        assert_eq!(found.unwrap_err(), sentence, "{args:?}");
    }
}

#[test]
fn flags_that_cannot_be_read_are_refused_in_dockers_words() {
    for (args, sentence) in [
        (&["--bogus", "x"][..], "unknown flag: --bogus"),
        (&["-Z", "x"], "unknown shorthand flag: 'Z' in -Z"),
        (&["--name"], "flag needs an argument: --name"),
        (
            &["-m", "x", "debian"],
            "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'",
        ),
        (
            &["--cpus", "x", "debian"],
            "invalid argument \"x\" for \"--cpus\" flag: failed to parse x as a rational number",
        ),
        (
            &["--rm=maybe", "debian"],
            "invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
        (
            &["-e", "", "debian"],
            "invalid argument \"\" for \"-e, --env\" flag: invalid environment variable: ",
        ),
        (
            &["-a", "x", "debian"],
            "invalid argument \"x\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
        ),
        (
            &["--dns", "x", "debian"],
            "invalid argument \"x\" for \"--dns\" flag: IP address is not correctly formatted: x",
        ),
        (
            &["--mount", "type=x", "debian"],
            "invalid argument \"type=x\" for \"--mount\" flag: target is required",
        ),
        (
            &["--health-interval", "1", "debian"],
            "invalid argument \"1\" for \"--health-interval\" flag: time: missing unit in duration \"1\"",
        ),
    ] {
        let message = parse(args).unwrap_err();
        assert_eq!(message.lines().next().unwrap(), sentence, "{args:?}");
        assert!(
            message.ends_with("Usage:  berth create [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'berth create --help' for more information"),
            "{message}"
        );
    }
}

#[test]
fn dashes_belong_to_whom_they_should() {
    let flags = parse(&[
        "-it",
        "--memory-swap",
        "-1",
        "--name",
        "--rm",
        "-e=A=b",
        "debian",
        "ls",
        "--rm",
        "-la",
        "--",
    ])
    .unwrap();
    assert!(flags.interactive && flags.tty && !flags.rm);
    assert_eq!(flags.memory_swap, Some(-1));
    assert_eq!(flags.name.as_deref(), Some("--rm"));
    assert_eq!(flags.env, ["A=b"]);
    assert_eq!(flags.arguments, ["debian", "ls", "--rm", "-la", "--"]);
    let flags = parse(&[
        "--rm",
        "--rm=false",
        "--name",
        "a",
        "--name",
        "b",
        "--",
        "img",
        "-x",
    ])
    .unwrap();
    assert!(!flags.rm);
    assert_eq!(flags.name.as_deref(), Some("b"));
    assert_eq!(flags.arguments, ["img", "-x"]);
}
