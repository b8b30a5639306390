//! The program against an engine of paper: canned answers over a real socket. What docker 28.2
//! printed for the same answers is recorded in `golden/docker.json`.

mod paper;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use paper::Engine;
use serde_json::Value;

const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

fn berth(engine: &Engine, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command
        .args(args)
        .env_clear()
        .env("BERTH_HOST", engine.host())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Docker's words with our name in them.
fn ours(text: &str) -> String {
    let mut text = text.to_owned();
    for (docker, berth) in [
        ("docker: ", "berth: "),
        ("'docker ", "'berth "),
        ("Usage:  docker", "Usage:  berth"),
        ("\tdocker ", "\tberth "),
        ("28.2.2", OWN_VERSION),
        // A slip of docker 28.2's own.
        ("SRun '", "Run '"),
        (
            "Failed to initialize: unable to resolve docker endpoint: ",
            "",
        ),
    ] {
        text = text.replace(docker, berth);
    }
    text
}

/// `version` without what the two programs say about themselves.
fn server_part(text: &str) -> &str {
    text.find("\nServer:").map_or(text, |at| &text[at..])
}

/// Times of creation change from run to run; the recording has `…` for them.
fn undated(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once("\"CreatedAt\":\"") {
        let end = tail.find('"').unwrap();
        assert!(tail[..end].ends_with(" +0000 UTC"), "{tail}");
        out += &format!("{head}\"CreatedAt\":\"…");
        rest = &tail[end..];
    }
    out + rest
}

#[test]
fn output_is_dockers_to_the_byte() {
    let engine = Engine::start();
    let recorded: Value = serde_json::from_str(include_str!("golden/docker.json")).unwrap();
    let mut differences = Vec::new();
    for case in recorded.as_array().unwrap() {
        let args: Vec<&str> = case["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a.as_str().unwrap())
            .collect();
        let output = berth(&engine, &args).output().unwrap();
        let part: fn(&str) -> &str = match args[..] {
            ["version"] => server_part,
            _ => |text| text,
        };
        let fine = [
            part(&undated(&text(&output.stdout))) == part(&ours(case["stdout"].as_str().unwrap())),
            text(&output.stderr).trim_end() == ours(case["stderr"].as_str().unwrap()).trim_end(),
            output.status.code() == case["code"].as_i64().map(|c| i32::try_from(c).unwrap()),
        ];
        if fine != [true; 3] {
            differences.push(format!(
                "berth {args:?} (exit {:?})\n--- stdout\n{}--- stderr\n{}\n=== docker (exit {})\n--- stdout\n{}--- stderr\n{}",
                output.status.code(),
                text(&output.stdout),
                text(&output.stderr),
                case["code"],
                case["stdout"].as_str().unwrap(),
                case["stderr"].as_str().unwrap(),
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

fn finish(mut command: Command, stdin: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn run_attaches_and_waits_before_it_starts() {
    let engine = Engine::start();
    let command = berth(
        &engine,
        &["run", "-i", "--rm", "--network", "none", "debian", "cat"],
    );
    let output = finish(command, b"hello");
    assert_eq!(text(&output.stdout), "hello");
    assert_eq!(
        text(&output.stderr),
        "WARNING: Your kernel does not support swap.\nto the other\n"
    );
    assert_eq!(output.status.code(), Some(3));
    let verbs: Vec<String> = engine
        .requests()
        .iter()
        .filter(|r| r.starts_with("POST"))
        .map(|r| {
            r.split(['?', ' ', '/'])
                .rfind(|w| paper::VERBS.contains(w))
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(verbs, ["create", "attach", "wait", "start"]);
    assert!(
        engine
            .requests()
            .iter()
            .any(|r| r.contains("wait?condition=removed"))
    );
}

#[test]
fn a_missing_image_is_pulled_and_the_container_created_again() {
    let engine = Engine::start();
    let output = berth(&engine, &["run", "-d", "absent"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("4f5e6d7c8b9a"));
    let stderr = text(&output.stderr);
    assert!(
        stderr.starts_with(
            "Unable to find image 'absent:latest' locally\nlatest: Pulling from library/absent\n"
        ),
        "{stderr}"
    );
    let never = berth(&engine, &["create", "--pull", "never", "missing"])
        .output()
        .unwrap();
    assert_eq!(never.status.code(), Some(125));
    assert!(text(&never.stderr).contains("No such image"));
}

#[test]
fn a_further_process_has_streams_and_an_exit_status() {
    let engine = Engine::start();
    let output = berth(&engine, &["exec", "-e", "A=b", "web", "sh", "-c", "x"])
        .output()
        .unwrap();
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("out\n".into(), "err\n".into())
    );
    assert_eq!(output.status.code(), Some(7));
    let typed = finish(berth(&engine, &["exec", "-i", "web", "cat"]), b"in");
    assert_eq!(text(&typed.stdout), "inout\n");
}

#[test]
fn files_are_copied_both_ways() {
    let engine = Engine::start();
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let out = berth(&engine, &["cp", "web:/etc/motd", &path("motd")])
        .output()
        .unwrap();
    assert_eq!(
        (text(&out.stderr), out.status.code()),
        (String::new(), Some(0))
    );
    assert_eq!(std::fs::read_to_string(path("motd")).unwrap(), "hello\n");
    let there = berth(&engine, &["cp", &path("motd"), "web:/etc"])
        .output()
        .unwrap();
    assert_eq!(
        (text(&there.stderr), there.status.code()),
        (String::new(), Some(0))
    );
    let gone = berth(&engine, &["cp", &path("nothing"), "web:/etc"])
        .output()
        .unwrap();
    assert!(text(&gone.stderr).contains("no such file or directory"));
    let (put, archive) = engine.put().unwrap();
    assert!(
        put.contains("path=/etc") || put.contains("path=%2Fetc"),
        "{put}"
    );
    assert!(put.contains("noOverwriteDirNonDir=true"), "{put}");
    let mut archive = tar::Archive::new(archive.as_slice());
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().into_owned())
        .collect();
    assert_eq!(names, [std::path::Path::new("motd")]);
}

#[test]
fn signals_reach_the_container() {
    let engine = Engine::start();
    engine.hold();
    let child = berth(&engine, &["run", "debian", "sleep", "9"])
        .spawn()
        .unwrap();
    engine.await_request("/start");
    let kill = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    assert!(
        engine
            .requests()
            .iter()
            .any(|r| r.contains("/kill?signal=SIGTERM"))
    );
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let engine = Engine::start();
    let mut child = berth(&engine, &["ps", "--no-trunc"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn what_keeps_a_container_from_starting_is_the_exit_status() {
    let engine = Engine::start();
    for (image, code, sentence) in [
        (
            "no-command",
            127,
            "berth: Error response from daemon: exec: \"nope\": executable file not found in $PATH",
        ),
        (
            "no-right",
            126,
            "berth: Error response from daemon: exec: \"/etc/passwd\": permission denied",
        ),
        (
            "taken",
            125,
            "berth: Error response from daemon: Conflict. The container name \"/x\" is already in use",
        ),
        (
            "missing",
            125,
            "Unable to find image 'missing:latest' locally\nberth: Error response from daemon: pull access denied for missing",
        ),
    ] {
        let output = berth(&engine, &["run", "-d", image]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{image}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(sentence), "{stderr}");
        assert!(
            stderr.ends_with("\n\nRun 'berth run --help' for more information\n"),
            "{stderr}"
        );
    }
}

#[test]
fn streams_of_a_log_are_told_apart() {
    let engine = Engine::start();
    let output = berth(&engine, &["logs", "--tail", "5", "-t", "web"])
        .output()
        .unwrap();
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("one\nthree\n".into(), "two\n".into())
    );
    let asked = engine
        .requests()
        .into_iter()
        .find(|r| r.contains("/logs?"))
        .unwrap();
    for part in ["stdout=1", "stderr=1", "tail=5", "timestamps=1"] {
        assert!(asked.contains(part), "{asked}");
    }
}

#[test]
fn timings_are_a_table_on_standard_error() {
    let engine = Engine::start();
    let output = berth(&engine, &["run", "-d", "--timings", "debian"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stderr = text(&output.stderr);
    for phase in [
        "PHASE",
        "connect",
        "create",
        "start",
        "total",
        "  clone           0.900",
        "  engine in all   5.123",
    ] {
        assert!(stderr.contains(phase), "{stderr}");
    }
}

#[test]
fn without_an_engine_it_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(["-H", "unix:///nonexistent.sock", "version"])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("Client:\n Version:           0."));
    assert!(text(&output.stderr).contains("unix:///nonexistent.sock"));
}
