//! The container's own terminal.

mod harness;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use berth_shim::{AttachWant, Role, Task};
use berth_types::oci::ConsoleSize;
use harness::*;

const SIZE: ConsoleSize = ConsoleSize {
    height: 31,
    width: 97,
};

/// A place whose container has a terminal.
fn place(script: &str) -> Place {
    let mut place = Place::new(script);
    with_devpts(&mut place);
    let process = &mut place.request.launch.bundle.spec.process;
    process.terminal = true;
    process.console_size = Some(SIZE);
    place
}

fn attach(task: &dyn Task, want: AttachWant) -> UnixStream {
    let client = task.attach(want).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Reads up to and with `end`.
fn until(client: &mut UnixStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&bytes).contains(end) {
        let count = client
            .read(&mut piece)
            .unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)));
        assert!(count > 0, "ended: {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn watcher(announce: &str) -> AttachWant {
    AttachWant {
        role: Role::Watch,
        screen: true,
        announce: announce.to_owned(),
        ..OUTPUT
    }
}

#[test]
fn a_terminal_is_one_and_controls_its_session() {
    let script = "busybox tty; busybox stty size; echo console >/dev/console; echo tty >/dev/tty; \
                  set -m; busybox sleep 1000 & jobs; kill %1; exit 5";
    let place = place(script);
    let (mut task, mut clients) = place.start_with(&[ALL]).unwrap();
    let text = String::from_utf8(read_to_end(&mut clients[0])).unwrap();
    let expected = "/dev/pts/0\r\n31 97\r\nconsole\r\ntty\r\n";
    assert!(text.starts_with(expected), "{text:?}");
    assert!(text.contains("Running"), "{text:?}");
    assert!(!text.contains("job control"), "{text:?}");
    assert_eq!(exit_of(&mut task).unwrap().code, 5);
    assert!(
        place
            .log()
            .contains("/dev/pts/0\\r\\n\",\"stream\":\"stdout\"")
    );
}

#[test]
fn several_clients_share_one_terminal() {
    let place = place("exec busybox sh");
    let (mut task, mut clients) = place.start_with(&[ALL]).unwrap();
    let mut second = attach(&*task, ALL);
    second.write_all(b"echo from-$((1+1))\n").unwrap();
    until(&mut clients[0], "from-2");
    until(&mut second, "from-2");
    // Half a close ends neither the terminal nor the other's typing.
    second.shutdown(Shutdown::Write).unwrap();
    clients[0].write_all(b"echo from-$((2+2))\n").unwrap();
    until(&mut second, "from-4");
    let state = task.terminal().unwrap().unwrap();
    assert_eq!((state.size, state.typing, state.watching), (SIZE, 2, 0));
    assert!(state.input.is_set() && state.output.is_set());
    clients[0].write_all(b"exit 4\n").unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 4);
}

#[test]
fn a_resize_reaches_the_program() {
    let place =
        place("trap 'busybox stty size' WINCH; echo ready; while :; do busybox sleep 0.1; done");
    let (mut task, mut clients) = place.start_with(&[ALL]).unwrap();
    until(&mut clients[0], "ready");
    let size = ConsoleSize {
        height: 12,
        width: 34,
    };
    task.resize(None, size).unwrap();
    until(&mut clients[0], "12 34");
    assert_eq!(task.terminal().unwrap().unwrap().size, size);
    let strange = task.resize(Some("nobody"), size).unwrap_err();
    assert_eq!(strange.raw_os_error(), Some(3));
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn a_container_without_a_terminal_has_no_size() {
    let place = Place::new("exec busybox sleep 1000");
    let mut task = place.start();
    assert_eq!(task.terminal().unwrap(), None);
    let error = task.resize(None, SIZE).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(25));
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn a_big_paste_arrives_whole_and_stops_nobody() {
    const LINES: u32 = 16 << 10;
    let script = "busybox stty -echo; echo ready; busybox sleep 1; busybox head -n 16384 | busybox md5sum; \
                  read end; exit 6";
    let place = place(script);
    let (mut task, mut clients) = place.start_with(&[ALL]).unwrap();
    until(&mut clients[0], "ready");
    let paste: Vec<u8> = (0..LINES)
        .flat_map(|n| format!("{n:063}\n").into_bytes())
        .collect();
    assert_eq!(paste.len(), 1 << 20);
    let mut typing = clients[0].try_clone().unwrap();
    let typist = std::thread::spawn(move || typing.write_all(&paste).unwrap());
    // The monitor answers while the program sleeps on its input.
    assert!(task.terminal().unwrap().is_some());
    let text = until(&mut clients[0], "-");
    typist.join().unwrap();
    let expected = std::process::Command::new("sh")
        .args([
            "-c",
            "i=0; seq 0 16383 | awk '{printf \"%063d\\n\", $1}' | md5sum",
        ])
        .output()
        .unwrap();
    let expected = String::from_utf8(expected.stdout).unwrap();
    assert_eq!(
        text.split_whitespace().next(),
        expected.split_whitespace().next()
    );
    clients[0].write_all(b"\n").unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 6);
}

#[test]
fn the_last_words_are_not_lost() {
    let place = place("busybox seq 1 3000; exit 9");
    let (mut task, mut clients) = place.start_with(&[OUTPUT]).unwrap();
    let text = String::from_utf8(read_to_end(&mut clients[0])).unwrap();
    assert!(
        text.ends_with("2999\r\n3000\r\n"),
        "{:?}",
        &text[text.len() - 40..]
    );
    assert_eq!(exit_of(&mut task).unwrap().code, 9);
}

#[test]
fn a_late_joiner_sees_the_screen_and_is_announced() {
    let place = place("busybox printf 'first\\r\\n\\033[31mred\\033[m'; exec busybox cat");
    let (mut task, mut clients) = place.start_with(&[ALL]).unwrap();
    until(&mut clients[0], "red");
    let mut late = attach(&*task, watcher("trainer is watching"));
    let screen = until(&mut late, "red");
    assert!(
        screen.contains("\x1b[J") && screen.contains("first"),
        "{screen:?}"
    );
    until(&mut clients[0], "[trainer is watching]\r\n");
    clients[0].write_all(b"typed\n").unwrap();
    until(&mut late, "typed");
    let state = task.terminal().unwrap().unwrap();
    assert_eq!((state.typing, state.watching), (1, 1));
    drop(late);
    until(&mut clients[0], "[trainer is watching: ended]\r\n");
    assert!(!place.log().contains("trainer"), "never into the log");
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn a_slow_watcher_stops_nobody_and_is_redrawn() {
    let place = place("busybox seq 1 100000; echo the end; exec busybox cat");
    let mut request = watcher("");
    request.screen = true;
    let (mut task, mut clients) = place.start_with(&[OUTPUT, request]).unwrap();
    until(&mut clients[0], "the end");
    let text = until(&mut clients[1], "the end");
    assert!(text.contains("\x1b[J"), "redrawn");
    assert!(!text.contains("90000\r"), "the middle was skipped");
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}
