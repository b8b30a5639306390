use berth_types::Timestamp;
use berth_types::launch::{Exec, ExitRecord, PROTOCOL_VERSION, ProcessIdentity, Started, Stdin};
use berth_types::oci::{ConsoleSize, Process};
use proptest::prelude::*;

use super::*;

fn messages() -> impl Strategy<Value = Message> {
    let want = (any::<[bool; 3]>(), any::<bool>()).prop_map(|([stdin, stdout, stderr], watch)| {
        let role = if watch { Role::Watch } else { Role::Follow };
        AttachWant {
            stdin,
            stdout,
            stderr,
            role,
            screen: false,
            announce: String::new(),
        }
    });
    prop_oneof![
        Just(Message::Hello),
        Just(Message::Status),
        Just(Message::Watch),
        any::<i32>().prop_map(Message::Signal),
        any::<i32>().prop_map(Message::Done),
        any::<u16>().prop_map(Message::Unsupported),
        ".{0,40}".prop_map(Message::Refused),
        proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Message::Filter),
        want.clone().prop_map(Message::Attach),
        (any::<[bool; 2]>(), proptest::option::of(want)).prop_map(|([terminal, input], parked)| {
            Message::Exec(Box::new(exec_request(terminal, input, parked)))
        }),
        any::<i32>().prop_map(Message::ExecExited),
        Just(Message::Terminal),
        (any::<Option<String>>(), sizes())
            .prop_map(|(exec, size)| { Message::Resize(Resize { exec, size }) }),
        proptest::option::of((sizes(), any::<[u32; 3]>())).prop_map(|state| {
            Message::TerminalState(
                state.map(|(size, [typing, watching, nanos])| TerminalState {
                    size,
                    input: Timestamp::NEVER,
                    output: Timestamp::from_nanos(i64::from(nanos)),
                    typing,
                    watching,
                }),
            )
        }),
        (any::<i32>(), any::<u64>(), any::<u32>()).prop_map(|(pid, start_time, nanos)| {
            let init = ProcessIdentity { pid, start_time };
            let at = Timestamp::from_nanos(i64::from(nanos));
            Message::Started(Running {
                monitor: init,
                started: Started {
                    init,
                    at,
                    phases: Vec::new(),
                },
            })
        }),
        (any::<i32>(), any::<bool>(), any::<Option<String>>()).prop_map(
            |(code, oom_killed, reason)| {
                let at = Timestamp::from_nanos(0);
                Message::Exited(ExitRecord {
                    version: 1,
                    code,
                    oom_killed,
                    at,
                    reason,
                })
            }
        ),
    ]
}

fn sizes() -> impl Strategy<Value = ConsoleSize> {
    any::<[u16; 2]>().prop_map(|[height, width]| ConsoleSize { height, width })
}

fn exec_request(terminal: bool, input: bool, parked: Option<AttachWant>) -> ExecRequest {
    let process = Process {
        terminal,
        args: vec!["a \u{fffd}\n".into()],
        ..Process::default()
    };
    let exec = Exec {
        id: "1".repeat(64),
        process,
        user: "me:us".into(),
        groups: vec!["them".into()],
        stdin: if input {
            Stdin::Pipe { once: true }
        } else {
            Stdin::Null
        },
    };
    ExecRequest { exec, parked }
}

proptest! {
    #[test]
    fn messages_survive_any_cutting(
        sent in proptest::collection::vec(messages(), 0..6),
        cuts in proptest::collection::vec(1_usize..50, 1..40),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|m| m.encode().unwrap()).collect();
        let (mut decoder, mut received) = (Decoder::new(), Vec::new());
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            decoder.push(piece);
            rest = after;
            while let Some(frame) = decoder.frame().unwrap() {
                received.push(Message::decode(frame).unwrap().unwrap());
            }
        }
        prop_assert_eq!(received, sent);
        prop_assert_eq!(decoder.wanted(), HEADER_LEN);
    }

    #[test]
    fn reading_what_is_wanted_stops_exactly_behind_each_frame(
        sent in proptest::collection::vec(messages(), 1..4),
        tail in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes: Vec<u8> = sent.iter().flat_map(|m| m.encode().unwrap()).collect();
        bytes.extend_from_slice(&tail);
        let mut rest = bytes.as_slice();
        for message in &sent {
            let mut decoder = Decoder::new();
            let frame = loop {
                let (piece, after) = rest.split_at(decoder.wanted());
                decoder.push(piece);
                rest = after;
                if let Some(frame) = decoder.frame().unwrap() {
                    break frame;
                }
            };
            prop_assert_eq!(&Message::decode(frame).unwrap().unwrap(), message);
        }
        prop_assert_eq!(rest, tail.as_slice());
    }

    #[test]
    fn garbage_is_an_error_or_a_message_and_never_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 0_u16..20,
    ) {
        let mut decoder = Decoder::new();
        decoder.push(&bytes);
        while let Ok(Some(frame)) = decoder.frame() {
            let _ = Message::decode(frame);
        }
        let _ = Message::decode(Frame::new(kind, bytes));
    }
}

#[test]
fn limits_and_versions_are_checked() {
    let mut decoder = Decoder::new();
    decoder.push(&[3, 0, 1, 0, 0, 0, 0x41, 0]);
    assert!(matches!(decoder.frame(), Err(FrameError::TooLong { length }) if length > BODY_MAX));
    assert!(Message::Filter(vec![0; BODY_MAX + 1]).encode().is_err());

    let mut frame = Message::Hello.frame().unwrap();
    frame.version = PROTOCOL_VERSION + 1;
    let refused = Message::decode(frame.clone());
    assert!(matches!(refused, Err(FrameError::Version { theirs }) if theirs == frame.version));
    let frame = Frame::new(1, b"GET / HT".to_vec());
    assert!(matches!(Message::decode(frame), Err(FrameError::Magic)));
    assert_eq!(Message::decode(Frame::new(999, Vec::new())).unwrap(), None);
}

#[test]
fn an_event_is_found_behind_answers() {
    let at = Timestamp::from_nanos(1);
    let record = ExitRecord {
        version: 1,
        code: 2,
        oom_killed: true,
        at,
        reason: None,
    };
    let mut bytes = Message::Done(0).encode().unwrap();
    bytes.extend(Message::Exited(record.clone()).encode().unwrap());
    let mut decoder = Decoder::new();
    let (head, tail) = bytes.split_at(20);
    decoder.push(head);
    assert_eq!(decoder.event().unwrap(), None);
    decoder.push(tail);
    assert_eq!(decoder.event().unwrap(), Some(Event::Exited(record)));
    assert_eq!(decoder.event().unwrap(), None);
}
