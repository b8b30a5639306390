//! Clients that leave without a word, that send what nobody reads, and that come late.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use berth_testkit::{Engine, wait_until};
use berth_tests::{IMAGE, detached};

/// Sends a request and returns the connection once the headers of the answer are there.
#[track_caller]
fn begun(engine: &Engine, line: &str, headers: &str) -> UnixStream {
    let mut socket = UnixStream::connect(engine.socket()).expect("connect");
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time limit");
    write!(socket, "{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").expect("send a request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("the answer's headers");
        head.extend(byte);
    }
    socket
}

fn open_files(engine: &Engine) -> usize {
    let id = engine.id().expect("a running engine");
    fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}

#[test]
fn clients_that_leave_cost_nothing() {
    let engine = Engine::with_busybox();
    detached(&engine, "quiet", &[], "exec sleep 1000");
    engine
        .docker(&[
            "create",
            "--name",
            "idle",
            "--network",
            "none",
            IMAGE,
            "true",
        ])
        .ok();
    let before = open_files(&engine);
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    // More than may be parked before a start, and more than a monitor serves at once.
    for _ in 0..80 {
        let post = |path: &str, headers| drop(begun(&engine, &format!("POST {path}"), headers));
        post("/containers/quiet/wait", "Content-Length: 0\r\n");
        post(
            "/containers/idle/wait?condition=next-exit",
            "Content-Length: 0\r\n",
        );
        drop(begun(
            &engine,
            "GET /containers/quiet/logs?follow=1&stdout=1",
            "",
        ));
        post(
            "/containers/quiet/attach?stream=1&stdout=1&stdin=1",
            upgrade,
        );
        post("/containers/idle/attach?stream=1&stdout=1", upgrade);
        // Its end of input first, as the stock client does.
        let half = begun(
            &engine,
            "POST /containers/quiet/attach?stream=1&stdout=1",
            upgrade,
        );
        half.shutdown(std::net::Shutdown::Write).expect("shut down");
    }
    wait_until(
        "the engine to let go of them",
        Duration::from_secs(30),
        || (open_files(&engine) <= before + 4).then_some(()),
    );
    engine.docker(&["rm", "--force", "quiet", "idle"]).ok();
}

#[test]
fn output_survives_input_that_nobody_reads() {
    let engine = Engine::with_busybox();
    let tail = ["run", "--rm", "--interactive", "--network", "none", IMAGE];
    let docker = format!(
        "yes | docker --host {} {} sh -c 'read line; exec <&-; seq 1 200000; echo end'",
        engine.docker_host(),
        tail.join(" ")
    );
    for _ in 0..3 {
        let done = std::process::Command::new("sh")
            .args(["-c", &docker])
            .output()
            .expect("sh");
        let text = String::from_utf8_lossy(&done.stdout);
        assert!(
            text.ends_with("200000\nend\n"),
            "{} bytes, {:?}",
            text.len(),
            done.stderr
        );
        assert!(done.status.success(), "{done:?}");
    }
}

#[test]
fn a_replayed_log_begins_with_a_whole_frame() {
    let engine = Engine::with_busybox();
    detached(&engine, "big", &[], "seq 100000001 100300000");
    assert_eq!(engine.docker(&["wait", "big"]).text(), "0");
    let mut socket = begun(
        &engine,
        "POST /containers/big/attach?logs=1&stdout=1",
        "Connection: Upgrade\r\nUpgrade: tcp\r\n",
    );
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).expect("the log");
    let (mut at, mut last) = (0, &b""[..]);
    while at < bytes.len() {
        assert_eq!(bytes[at..at + 4], [1, 0, 0, 0], "at {at}");
        let length = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().expect("four bytes"));
        last = &bytes[at + 8..at + 8 + length as usize];
        at += 8 + length as usize;
    }
    assert_eq!(last, b"100300000\n");
    engine.docker(&["rm", "big"]).ok();
}

#[test]
fn a_stopping_engine_does_not_wait_for_followers() {
    let mut engine = Engine::with_busybox();
    detached(&engine, "on", &[], "exec sleep 1000");
    let mut follower = begun(&engine, "POST /containers/on/wait", "Content-Length: 0\r\n");
    engine.terminate();
    let mut rest = Vec::new();
    // Cut off: the end, or a reset.
    let _ = follower.read_to_end(&mut rest);
    engine.start_again();
    engine.docker(&["rm", "--force", "on"]).ok();
}
