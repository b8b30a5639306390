//! Attached clients under the real monitor. Runs as root.

mod harness;

use std::io::{Read, Write};
use std::net::Shutdown;

use berth_shim::protocol::LOST_STREAM;
use berth_shim::{AttachWant, Role};
use berth_types::launch::{LogTarget, Stdin};

use harness::{ALL, NOTHING, OUTPUT, PATIENCE, Place, exit_of, numbers, read_to_end, stream};

/// More than all buffers between the program and a client hold together.
const PLENTY: u32 = 600_000;

#[test]
fn a_parked_client_misses_nothing() {
    let place = Place::new("seq 1 200000; echo done >&2");
    let (mut task, mut clients) = place.start_with(&[OUTPUT, OUTPUT, NOTHING]).unwrap();
    let expected = numbers(200_000);
    assert!(expected.len() > 1 << 20);
    let (first, rest) = clients.split_at_mut(1);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| read_to_end(&mut rest[0]));
        let framed = read_to_end(&mut first[0]);
        assert!(stream(1, &framed) == expected);
        assert_eq!(stream(2, &framed), b"done\n");
        assert!(stream(1, &other.join().unwrap()) == expected);
    });
    assert_eq!(read_to_end(&mut clients[2]), b"");
    assert_eq!(exit_of(&mut task).unwrap().code, 0);
    assert_eq!(place.log().lines().count(), 200_001);
}

#[test]
fn a_client_that_does_not_read_stops_the_program_and_loses_nothing() {
    let mut place = Place::new(&format!("seq 1 {PLENTY}; echo done >&2"));
    place.request.launch.log = LogTarget::None;
    let stdout = AttachWant {
        stderr: false,
        ..OUTPUT
    };
    let (mut task, mut clients) = place.start_with(&[stdout]).unwrap();
    // Nothing has ended as long as nobody reads.
    let mut link = task.take_link().unwrap();
    let waited = link.set_nonblocking(false).and_then(|()| {
        link.set_read_timeout(Some(std::time::Duration::from_millis(300)))?;
        link.read(&mut [0])
    });
    assert_eq!(waited.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert!(stream(1, &read_to_end(&mut clients[0])) == numbers(PLENTY));
    link.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!read_to_end(&mut link).is_empty());
    task.reap();
    assert_eq!(place.exit_record().unwrap().code, 0);
}

#[test]
fn a_following_client_that_leaves_lets_the_program_go_on() {
    let place = Place::new(&format!("seq 1 {PLENTY}"));
    let (mut task, clients) = place.start_with(&[OUTPUT]).unwrap();
    drop(clients);
    assert_eq!(exit_of(&mut task).unwrap().code, 0);
    assert_eq!(place.log().lines().count(), PLENTY as usize);
}

#[test]
fn a_watcher_never_stops_the_program_and_learns_what_it_missed() {
    let mut place = Place::new(&format!("seq 1 {PLENTY}; read line; echo end"));
    place.request.launch.stdin = Stdin::Pipe { once: true };
    let watcher = AttachWant {
        role: Role::Watch,
        ..OUTPUT
    };
    let input = AttachWant {
        stdin: true,
        ..NOTHING
    };
    let (mut task, mut clients) = place.start_with(&[watcher, input]).unwrap();
    // The program comes to its `read` although the watcher has read nothing.
    let last = format!("{{\"log\":\"{PLENTY}\\n\"");
    wait_for(|| {
        place
            .log()
            .lines()
            .last()
            .is_some_and(|line| line.starts_with(&last))
    });
    let (watched, typing) = clients.split_at_mut(1);
    let mut framed = Vec::new();
    let mut piece = vec![0; 1 << 16];
    // What had been queued is read; then there is room, and the program says one thing more.
    watched[0]
        .set_read_timeout(Some(std::time::Duration::from_millis(300)))
        .unwrap();
    while let Ok(count @ 1..) = watched[0].read(&mut piece) {
        framed.extend_from_slice(&piece[..count]);
    }
    typing[0].write_all(b"\n").unwrap();
    watched[0].set_read_timeout(Some(PATIENCE)).unwrap();
    framed.extend(read_to_end(&mut watched[0]));
    let seen = stream(1, &framed);
    assert!(seen.ends_with(b"end\n"));
    let lost = stream(LOST_STREAM, &framed);
    let lost: u64 = lost
        .chunks_exact(8)
        .map(|n| u64::from_le_bytes(n.try_into().unwrap()))
        .sum();
    assert!(lost > 0);
    assert_eq!(seen.len() as u64 + lost, numbers(PLENTY).len() as u64 + 4);
    assert_eq!(exit_of(&mut task).unwrap().code, 0);
}

#[test]
fn half_close_ends_the_input_and_not_the_output() {
    let mut place = Place::new("cat; echo after; echo closed >&2");
    place.request.launch.stdin = Stdin::Pipe { once: true };
    let (mut task, mut clients) = place.start_with(&[ALL]).unwrap();
    let client = &mut clients[0];
    let sent = numbers(100_000);
    let framed = std::thread::scope(|scope| {
        let mut writer = client.try_clone().unwrap();
        let sent = &sent;
        scope.spawn(move || {
            writer.write_all(sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        read_to_end(client)
    });
    assert!(stream(1, &framed) == [&sent[..], b"after\n"].concat());
    assert_eq!(stream(2, &framed), b"closed\n");
    assert_eq!(exit_of(&mut task).unwrap().code, 0);
}

#[test]
fn input_that_is_not_for_once_stays_open_for_the_next_client() {
    let mut place = Place::new("read a; read b; echo $a $b; exec sleep 1000");
    place.request.launch.stdin = Stdin::Pipe { once: false };
    let (mut task, mut clients) = place.start_with(&[ALL]).unwrap();
    clients[0].write_all(b"one\n").unwrap();
    clients[0].shutdown(Shutdown::Write).unwrap();
    let mut second = task
        .attach(AttachWant {
            stdout: false,
            ..ALL
        })
        .unwrap();
    second.write_all(b"two\n").unwrap();
    drop(second);
    let mut framed = [0; 16];
    clients[0].read_exact(&mut framed).unwrap();
    assert_eq!(&framed, b"\x01\0\0\0\0\0\0\x08one two\n");
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn input_that_the_program_does_not_read_waits_with_the_client() {
    let script = "trap 'wc -c; exit 0' USR1; echo ready; while :; do sleep 1 & wait $!; done";
    let mut place = Place::new(script);
    place.request.launch.stdin = Stdin::Pipe { once: true };
    let (mut task, mut clients) = place.start_with(&[ALL]).unwrap();
    let client = &mut clients[0];
    let mut ready = [0; 14];
    client.read_exact(&mut ready).unwrap();
    let sent = numbers(PLENTY);
    let framed = std::thread::scope(|scope| {
        let mut writer = client.try_clone().unwrap();
        let sent = &sent;
        let writing = scope.spawn(move || {
            writer.write_all(sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        // The pipe and the sockets are full long before all is sent.
        assert!(!writing.is_finished());
        task.signal(10).unwrap();
        let framed = read_to_end(client);
        writing.join().unwrap();
        framed
    });
    assert_eq!(stream(1, &framed), format!("{}\n", sent.len()).into_bytes());
    assert_eq!(exit_of(&mut task).unwrap().code, 0);
}

#[test]
fn unread_input_does_not_cost_the_output() {
    let mut place = Place::new("echo first; sleep 0.2; echo last");
    place.request.launch.stdin = Stdin::Pipe { once: true };
    let (mut task, mut clients) = place.start_with(&[ALL]).unwrap();
    clients[0].write_all(&vec![b'x'; 150_000]).unwrap();
    assert_eq!(stream(1, &read_to_end(&mut clients[0])), b"first\nlast\n");
    assert_eq!(exit_of(&mut task).unwrap().code, 0);
}

/// Waits for something that no descriptor tells of.
fn wait_for(mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE);
        let pause = berth_sys::rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        let _ = berth_sys::rustix::event::poll(&mut [], Some(&pause));
    }
}
