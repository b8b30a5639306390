//! Further processes, with pipes and with terminals.

mod harness;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use berth_shim::protocol::{Decoder, Event};
use berth_shim::{AttachWant, ExecRequest, ExecTask, LaunchError, Task};
use berth_types::launch::{Exec, StartFailureKind, Stdin};
use berth_types::oci::{ConsoleSize, Process};
use harness::*;

/// A request that runs `script` in the busybox shell.
fn request(id: &str, script: &str) -> ExecRequest {
    let process = Process {
        args: ["/bin/busybox", "sh", "-c", script]
            .map(String::from)
            .to_vec(),
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        ..Process::default()
    };
    let exec = Exec {
        id: id.to_owned(),
        process,
        user: String::new(),
        groups: Vec::new(),
        stdin: Stdin::Pipe { once: true },
    };
    ExecRequest { exec, parked: None }
}

type Started = Result<(Box<dyn ExecTask>, UnixStream), LaunchError>;

fn start(task: &dyn Task, mut request: ExecRequest, want: AttachWant) -> Started {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    ours.set_write_timeout(Some(PATIENCE)).unwrap();
    request.parked = Some(want);
    Ok((task.exec(&request, None, Some(theirs.into()))?, ours))
}

fn code(exec: &mut Box<dyn ExecTask>) -> Option<i32> {
    let mut link = exec.take_link().unwrap();
    link.set_nonblocking(false).unwrap();
    link.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut decoder = Decoder::new();
    decoder.push(&read_to_end(&mut link));
    match decoder.event().unwrap()? {
        Event::ExecExited(code) => Some(code),
        Event::Exited(_) | Event::OomKilled(_) => {
            panic!("the link of a process told of the container")
        }
    }
}

fn terminal(id: &str, script: &str) -> ExecRequest {
    let mut request = request(id, script);
    request.exec.process.terminal = true;
    request.exec.process.console_size = Some(ConsoleSize {
        height: 31,
        width: 97,
    });
    request
}

#[test]
fn a_further_process_has_streams_and_a_code_of_its_own() {
    let place = Place::new("exec busybox sleep 1000");
    let mut task = place.start();
    let script = "busybox cat; echo out; echo err >&2; busybox seq 1 20000; exit 7";
    let (mut exec, mut client) = start(&*task, request("a", script), ALL).unwrap();
    assert!(exec.process().pid > 0);
    client.write_all(b"typed\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let framed = read_to_end(&mut client);
    let mut expected = b"typed\nout\n".to_vec();
    expected.extend(numbers(20000));
    assert_eq!(stream(1, &framed), expected);
    assert_eq!(stream(2, &framed), b"err\n");
    assert_eq!(code(&mut exec), Some(7));
    assert_eq!(place.log(), "", "only the container's own output is logged");
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn a_further_process_that_cannot_start_says_why() {
    let place = Place::new("exec busybox sleep 1000");
    let mut task = place.start();
    let mut missing = request("a", "");
    missing.exec.process.args = vec!["nothing".into()];
    let mut stranger = request("b", "");
    stranger.exec.user = "stranger".into();
    let mut plain = request("c", "");
    plain.exec.process.args = vec!["/etc".into()];
    for (request, kind) in [
        (missing, StartFailureKind::CommandNotFound),
        (stranger, StartFailureKind::UnknownUser),
        (plain, StartFailureKind::NotExecutable),
    ] {
        let Err(LaunchError::Start(failure)) = start(&*task, request, ALL) else {
            panic!("it started");
        };
        assert_eq!(failure.kind, kind, "{}", failure.message);
    }
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn further_processes_end_with_their_container() {
    let mut place = Place::new("exec busybox sleep 1000");
    with_devpts(&mut place);
    let mut task = place.start();
    let (mut exec, mut client) = start(
        &*task,
        request("a", "echo here; exec busybox sleep 1000"),
        ALL,
    )
    .unwrap();
    let mut first = [0; 13];
    client.read_exact(&mut first).unwrap();
    let (mut other, mut screen) = start(
        &*task,
        terminal("b", "echo here; exec busybox sleep 1000"),
        ALL,
    )
    .unwrap();
    let mut line = [0; 6];
    screen.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"here\r\n");
    task.signal(9).unwrap();
    assert_eq!(code(&mut exec), Some(137));
    assert_eq!(code(&mut other), Some(137));
    assert_eq!(read_to_end(&mut client), b"");
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn a_further_process_with_a_terminal() {
    let mut place = Place::new("exec busybox sleep 1000");
    with_devpts(&mut place);
    let mut task = place.start();
    let script = "busybox tty; busybox stty size; read line; echo got $line; exit 3";
    let (mut exec, mut client) = start(&*task, terminal("a", script), ALL).unwrap();
    let mut shown = [0; 19];
    client.read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b"/dev/pts/0\r\n31 97\r\n");
    task.resize(Some("a"), ConsoleSize::default()).unwrap();
    client.write_all(b"word\n").unwrap();
    assert_eq!(read_to_end(&mut client), b"word\r\ngot word\r\n");
    let gone = task.resize(Some("a"), ConsoleSize::default()).unwrap_err();
    assert_eq!(gone.raw_os_error(), Some(3), "ended");
    assert_eq!(code(&mut exec), Some(3));
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn a_container_that_stops_further_processes_does_not_stop_its_monitor() {
    // The shell stops everything but itself, again and again.
    let place = Place::new("while :; do kill -STOP -1; done");
    let mut task = place.start();
    std::thread::scope(|scope| {
        let task = &*task;
        let starting = scope.spawn(move || start(task, request("a", "echo out"), ALL).is_ok());
        for _ in 0..50 {
            task.terminal().unwrap();
        }
        task.signal(9).unwrap();
        // It came as far as its program or not; either way somebody was told.
        let _ = starting.join().unwrap();
    });
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn what_stays_behind_does_not_hold_a_further_process_up() {
    let place = Place::new("exec busybox sleep 1000");
    let mut task = place.start();
    let script = "busybox sleep 1000 & echo done";
    let (mut exec, mut client) = start(&*task, request("a", script), ALL).unwrap();
    assert_eq!(stream(1, &read_to_end(&mut client)), b"done\n");
    assert_eq!(code(&mut exec), Some(0));
    // One without a client, and one whose engine has gone.
    let mut quiet = task
        .exec(&request("b", "echo unheard; exit 8"), None, None)
        .unwrap();
    assert_eq!(code(&mut quiet), Some(8));
    drop(
        task.exec(&request("c", "echo unheard; exit 9"), None, None)
            .unwrap(),
    );
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}
