//! Containers under the real monitor: starting, ending, being found again. Runs as root.

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use berth_shim::protocol::{CONNECTIONS_MAX, Frame, Message};
use berth_shim::{AdoptError, LaunchError, Launcher, SOCKET_NAME, SPARE_ARGUMENT};
use berth_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use berth_sys::rustix::fs::{FlockOperation, flock};
use berth_sys::{pidfd, process, socket};
use berth_types::launch::{PROTOCOL_VERSION, StartFailureKind, Stdin};

use harness::{ALL, NOTHING, OUTPUT, PATIENCE, Place, exit_of, read_to_end, stream};

#[test]
fn output_is_logged_and_the_exit_recorded() {
    let place = Place::new("echo out; echo '<err>' >&2; printf unfinished; exit 3");
    let mut task = place.start();
    let record = exit_of(&mut task).unwrap();
    assert_eq!(
        (record.code, record.oom_killed, &record.reason),
        (3, false, &None)
    );
    assert_eq!(place.exit_record(), Some(record.clone()));
    assert!(record.at >= task.started().at);
    assert!(!place.socket().exists());

    let log = place.log();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].ends_with(",\"berth\":1}"));
    let with = |text: &str| lines.iter().any(|line| line.starts_with(text));
    assert!(with(r#"{"log":"out\n","stream":"stdout","time":""#));
    assert!(with(
        r#"{"log":"\u003cerr\u003e\n","stream":"stderr","time":""#
    ));
    assert!(with(r#"{"log":"unfinished","stream":"stdout","time":""#));
    assert_eq!(
        task.signal(15).unwrap_err().raw_os_error(),
        Some(3),
        "ESRCH"
    );
}

fn wait_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(std::time::Instant::now() < end, "it does not come"),
        }
        std::thread::yield_now();
    }
}

/// Our children with this argument.
fn named(argument: &str) -> Vec<i32> {
    let me = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|t| t.split(' ').nth(1));
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        parent == Some(me.as_str()) && line.split(|b| *b == 0).any(|w| w == argument.as_bytes())
    };
    numbers.filter(is_it).collect()
}

#[test]
fn a_spare_monitor_becomes_a_containers_and_a_dead_one_is_replaced() {
    let place = Place::new("exec sleep 1000");
    let launcher = place.launcher_with(1);
    let spare = || wait_until(|| named(SPARE_ARGUMENT).first().copied());
    let first = spare();
    pidfd::send_signal(pidfd::open(first).unwrap(), 9).unwrap();
    let another = || named(SPARE_ARGUMENT).into_iter().find(|pid| *pid != first);

    // A spare can be seen somewhat before it can be taken: who comes in between gets a new one.
    let (mut task, second) = wait_until(|| {
        let second = wait_until(another);
        let mut task = launcher.launch(&place.request, None, Vec::new()).unwrap();
        if task.monitor().pid == second {
            return Some((task, second));
        }
        task.signal(9).unwrap();
        exit_of(&mut task).unwrap();
        None
    });
    assert_eq!(named(&place.id.to_string()), [second]);
    assert!(![first, second].contains(&spare()));
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
    launcher.close();
    assert!(named(SPARE_ARGUMENT).is_empty());
}

#[test]
fn signals_reach_init_and_show_in_the_code() {
    let place = Place::new("trap 'exit 9' TERM; echo ready; while :; do sleep 1 & wait $!; done");
    let (mut task, mut clients) = place.start_with(&[OUTPUT]).unwrap();
    let mut ready = [0; 14];
    clients[0].read_exact(&mut ready).unwrap();
    task.signal(0).unwrap();
    assert_eq!(
        task.signal(4000).unwrap_err().raw_os_error(),
        Some(22),
        "EINVAL"
    );
    task.signal(15).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 9);

    let place = Place::new("exec sleep 1000");
    let mut task = place.start();
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn a_command_that_is_not_there_leaves_nothing() {
    let mut place = Place::new("");
    place.request.launch.bundle.spec.process.args = vec!["/bin/absent".into()];
    let Err(LaunchError::Start(failure)) = place.start_with(&[OUTPUT]) else {
        panic!("started")
    };
    assert_eq!(failure.kind, StartFailureKind::CommandNotFound);
    assert!(
        failure.message.contains("/bin/absent"),
        "{}",
        failure.message
    );
    assert!(!place.socket().exists());
    assert_eq!(fs::read_dir(place.state()).unwrap().count(), 0);
    assert!(matches!(
        place.launcher().adopt(&place.id),
        Err(AdoptError::Gone(_))
    ));
    assert_eq!(place.groups(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_container_outlives_its_engine_and_is_found_again() {
    let mut place = Place::new("read line; echo got $line; exit 5");
    place.request.launch.stdin = Stdin::Pipe { once: true };
    let first = place.start();
    let (started, monitor) = (first.started().clone(), first.monitor());
    drop(first);

    let mut found = place.launcher().adopt(&place.id).unwrap();
    let same = (found.started().init, found.started().at, found.monitor());
    assert_eq!(same, (started.init, started.at, monitor));
    let mut client = found.attach(ALL).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"something\n").unwrap();
    assert_eq!(stream(1, &read_to_end(&mut client)), b"got something\n");
    assert_eq!(exit_of(&mut found).unwrap().code, 5);
    assert_eq!(place.exit_record().unwrap().code, 5);
    assert!(matches!(
        place.launcher().adopt(&place.id),
        Err(AdoptError::Gone(_))
    ));
}

#[test]
fn a_killed_monitor_takes_its_container_along() {
    let place = Place::new("exec sleep 1000");
    let mut task = place.start();
    let init = pidfd::open(task.started().init.pid).unwrap();
    let monitor = pidfd::open(task.monitor().pid).unwrap();
    assert_eq!(
        process::identity(task.monitor().pid).unwrap(),
        task.monitor()
    );
    pidfd::send_signal(&monitor, 9).unwrap();
    assert_eq!(exit_of(&mut task), None, "the link ends without news");
    let limit = Timespec::try_from(PATIENCE).unwrap();
    let mut dead = [PollFd::new(&init, PollFlags::IN)];
    assert_eq!(
        poll(&mut dead, Some(&limit)).unwrap(),
        1,
        "init is killed by the kernel"
    );
    assert_eq!(place.exit_record(), None);
    assert!(matches!(
        place.launcher().adopt(&place.id),
        Err(AdoptError::Gone(_))
    ));
    // The next engine's sweep would do this.
    for group in place.groups() {
        harness::remove_group(&group);
    }
    // A start in the same place is not hindered by the dead monitor's socket.
    let mut again = place.start();
    again.signal(9).unwrap();
    assert_eq!(exit_of(&mut again).unwrap().code, 137);
}

#[test]
fn what_init_leaves_running_is_killed_and_does_not_delay_the_exit() {
    let mut place = Place::new("sleep 1000 & echo before; exit 4");
    let namespaces = &mut place.request.launch.bundle.spec.linux.namespaces;
    namespaces.retain(|n| n.kind != berth_types::oci::NamespaceKind::Pid);
    let (mut task, mut clients) = place.start_with(&[OUTPUT]).unwrap();
    assert_eq!(stream(1, &read_to_end(&mut clients[0])), b"before\n");
    assert_eq!(exit_of(&mut task).unwrap().code, 4);
}

#[test]
fn strangers_and_nonsense_are_turned_away_one_by_one() {
    let place = Place::new("exec sleep 1000");
    let mut task = place.start();
    let connect = || {
        let directory = socket::open_directory(place.socket().parent().unwrap()).unwrap();
        let socket = socket::connect_at(directory.as_fd(), SOCKET_NAME, PATIENCE).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let hello = Message::Hello.encode().unwrap();

    let mut foreign = connect();
    let mut frame = Message::Hello.frame().unwrap();
    frame.version = PROTOCOL_VERSION + 1;
    foreign.write_all(&frame.encode().unwrap()).unwrap();
    let refusal = read_to_end(&mut foreign);
    assert_eq!(refusal[..4], [2, 0, 1, 0], "REFUSED, version 1");
    assert!(String::from_utf8_lossy(&refusal[8..]).contains("version 2"));

    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[255; 64],
        &Message::Status.encode().unwrap(),
    ] {
        let mut socket = connect();
        socket.write_all(nonsense).unwrap();
        assert_eq!(read_to_end(&mut socket), b"");
    }

    let mut unknown = connect();
    unknown.write_all(&hello).unwrap();
    unknown
        .write_all(&Frame::new(777, vec![1, 2, 3]).encode().unwrap())
        .unwrap();
    let mut answer = [0; 16 + 10];
    unknown.read_exact(&mut answer).unwrap();
    assert_eq!(answer[16..], Message::Unsupported(777).encode().unwrap());

    // As many as may be, and then one more.
    let mut many: Vec<_> = (0..CONNECTIONS_MAX + 16).map(|_| connect()).collect();
    for socket in &mut many {
        let _ = socket.write_all(&hello);
    }
    assert_eq!(read_to_end(many.last_mut().unwrap()), b"");
    assert!(task.attach(NOTHING).is_err());
    drop((many, unknown));
    // The places are free again once the monitor has heard that the others left.
    let signal = [hello, Message::Signal(9).encode().unwrap()].concat();
    let mut answers = [0; 16 + 12];
    let start = std::time::Instant::now();
    while start.elapsed() < PATIENCE {
        let mut last = connect();
        if last
            .write_all(&signal)
            .and_then(|()| last.read_exact(&mut answers))
            .is_ok()
        {
            break;
        }
    }
    assert_eq!(answers[16..], Message::Done(0).encode().unwrap());
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn a_container_has_one_monitor_at_a_time() {
    let place = Place::new("sleep 1000");
    let mut task = place.start();
    let second = place.start_with(&[]).err().unwrap();
    assert!(matches!(second, LaunchError::Directory { .. }), "{second}");
    task.signal(9).unwrap();
    assert_eq!(exit_of(&mut task).unwrap().code, 137);
}

#[test]
fn a_monitor_on_its_way_is_waited_for() {
    let place = Place::new("true");
    let directory = place.socket().parent().unwrap().to_owned();
    let held = socket::open_directory(&directory).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let (launcher, id) = (place.launcher(), place.id);
    let looking = std::thread::spawn(move || launcher.adopt(&id).err());
    // The lock is held: whatever the time, nobody may be told that the container is gone.
    let limit = Timespec {
        tv_sec: 0,
        tv_nsec: 200_000_000,
    };
    let _ = poll(&mut [], Some(&limit));
    assert!(!looking.is_finished());
    drop(held);
    assert!(matches!(looking.join().unwrap(), Some(AdoptError::Gone(_))));
}
