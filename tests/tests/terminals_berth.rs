//! Terminals by `berth` itself: what its users see, and what it leaves behind.

use std::process::Command;
use std::time::Duration;

use berth_testkit::{Engine, wait_until};
use berth_tests::{IDLE, IMAGE, converse, detached, expect_size, inspect};

/// A shell with a terminal, that nobody is attached to.
fn seat(engine: &Engine, name: &str) {
    let head = ["run", "-dit", "--network", "none", "--name", name, IMAGE];
    engine.berth(&head).ok();
}

#[test]
fn a_shell_is_left_and_found_again_as_it_was() {
    let engine = Engine::with_busybox();
    let run = ["run", "-it", "--network", "none", "--name", "box", IMAGE];
    let mut first = engine.berth_on_terminal(&run);
    first.expect("# ");
    expect_size(&mut first, "24 80");
    first.resize(30, 90);
    expect_size(&mut first, "30 90");
    converse(&mut first, "before");
    first.send("\x10\x11");
    assert_eq!(first.finish().0, 0);
    assert_eq!(inspect(&engine, "box", "{{.State.Status}}"), "running");

    // Whoever comes late sees what is there without a key being typed.
    let mut one = engine.berth_on_terminal(&["attach", "box"]);
    one.expect("before42");
    let mut other = engine.berth_on_terminal(&["attach", "--detach-keys", "ctrl-a,x", "box"]);
    other.expect("before42");
    converse(&mut one, "both");
    other.expect("both42");
    other.send("\x01x");
    let (status, said) = other.finish();
    assert!(said.contains("read escape sequence"), "{said}");
    assert_eq!(status, 1);
    one.send("exit 9\r");
    assert_eq!(one.finish().0, 9);

    let mut again = engine.berth_on_terminal(&["start", "-ai", "box"]);
    again.expect("# ");
    converse(&mut again, "again");
    again.send("exit 4\r");
    assert_eq!(again.finish().0, 4);
}

#[test]
fn a_further_process_has_a_terminal_of_its_own() {
    let engine = Engine::with_busybox();
    detached(&engine, "box", &[], IDLE);
    let exec = ["exec", "-it", "-e", "WORD=env", "-w", "/tmp", "box", "sh"];
    let mut shell = engine.berth_on_terminal(&exec);
    shell.expect("# ");
    shell.send("pwd; echo $WORD$((40+2)); stty size\r");
    shell.expect("/tmp");
    shell.expect("env42");
    shell.expect("24 80");
    shell.send("exit 6\r");
    assert_eq!(shell.finish().0, 6);

    let output = engine.berth(&["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (output.stdout.trim(), output.stderr.trim(), output.status),
        ("out", "err", 3)
    );
    let missing = engine.berth(&["exec", "box", "no-such-program"]);
    assert_eq!(missing.status, 127, "{missing}");
    engine
        .berth(&["exec", "-d", "box", "sh", "-c", "echo there > /tmp/file"])
        .ok();
    wait_until("the detached process", Duration::from_secs(30), || {
        let read = engine.berth(&["exec", "box", "cat", "/tmp/file"]);
        (read.stdout.trim() == "there").then_some(())
    });
}

#[test]
fn a_client_that_is_ended_leaves_the_container_alone() {
    let engine = Engine::with_busybox();
    seat(&engine, "box");
    let mut client = engine.berth_on_terminal(&["attach", "box"]);
    client.expect("# ");
    converse(&mut client, "here");
    let ended = Command::new("kill")
        .args(["-TERM", &client.id().to_string()])
        .status()
        .unwrap();
    assert!(ended.success());
    assert_eq!(client.finish().0, 143);
    assert_eq!(inspect(&engine, "box", "{{.State.Status}}"), "running");
}
