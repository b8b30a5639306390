//! Names in containers, when only the host itself reaches its name server. In a mount namespace
//! of its own, where the host's `/etc/resolv.conf` is another.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use berth_network::Networks;
use berth_sys::netns;
use support::*;

const INSIDE: &str = "BERTH_TEST_INSIDE";

/// A name server on the host's loopback that answers in capitals, over both protocols.
fn name_server() {
    let questions = UdpSocket::bind("127.0.0.53:53").unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = questions.recv_from(&mut buffer) {
            let _ = questions.send_to(&buffer[..length].to_ascii_uppercase(), client);
        }
    });
    let connections = TcpListener::bind("127.0.0.53:53").unwrap();
    std::thread::spawn(move || {
        for mut stream in connections.incoming().flatten() {
            let mut message = [0; 5];
            while stream.read_exact(&mut message).is_ok() {
                let _ = stream.write_all(&message.to_ascii_uppercase());
            }
        }
    });
}

#[test]
fn questions_go_by_way_of_the_bridge_to_the_hosts_loopback() {
    if std::env::var_os(INSIDE).is_none() {
        let own = std::env::current_exe().unwrap();
        let name = "questions_go_by_way_of_the_bridge_to_the_hosts_loopback";
        let inside = Command::new("unshare")
            .args(["-m", "--"])
            .arg(own)
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .unwrap();
        assert!(inside.success());
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resolv.conf");
    std::fs::write(&file, "nameserver 127.0.0.53\nsearch lan.example\n").unwrap();
    let mounted = |what: &str, on: &str| {
        let status = Command::new("mount")
            .args(["--bind", what, on])
            .status()
            .unwrap();
        assert!(status.success(), "{what} on {on}");
    };
    mounted(file.to_str().unwrap(), "/etc/resolv.conf");

    on_a_host(|lan| {
        let networks = Networks::open(config());
        let client = attach(&networks, 1, &[]);
        name_server();
        let resolvers = networks.resolvers();
        assert_eq!(resolvers.servers, [BRIDGE.to_string()]);
        assert_eq!(resolvers.search, ["lan.example"]);

        let asker = |namespace| {
            let socket = netns::within(namespace, || UdpSocket::bind("0.0.0.0:0")).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(600)))
                .unwrap();
            socket
        };
        let inside = asker(&client.namespace);
        let mut answer = [0; 16];
        for question in [&b"one"[..], b"other"] {
            inside.send_to(question, to(BRIDGE, 53)).unwrap();
            let (length, server) = inside.recv_from(&mut answer).unwrap();
            assert_eq!(&answer[..length], question.to_ascii_uppercase());
            assert_eq!(server, to(BRIDGE, 53));
        }
        let mut stream =
            netns::within(&client.namespace, || TcpStream::connect(to(BRIDGE, 53))).unwrap();
        for question in [b"\x00\x03abc", b"\x00\x03xyz"] {
            stream.write_all(question).unwrap();
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, question.to_ascii_uppercase()[..]);
        }
        // A neighbour of the host is nobody's client.
        let outside = asker(&lan.namespace);
        outside.send_to(b"mine?", to(BRIDGE, 53)).unwrap();
        assert!(outside.recv_from(&mut answer).is_err());
        networks.detach(id(1));
        networks.close();
        assert!(
            UdpSocket::bind((BRIDGE, 53)).is_err(),
            "the address is gone with the bridge"
        );
    });
}
