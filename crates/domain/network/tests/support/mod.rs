//! A host with a network of its own for each test: namespaces, no programs.
//!
//! ```text
//! lan 192.0.2.9 ── uplink 192.0.2.2 [host] docker0 172.17.0.1 ── containers
//! ```

#![allow(dead_code)]

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use berth_network::{
    AttachRequest, Attachment, NetworkConfig, NetworkError, Networks, PortRange, PortRequest,
    Protocol,
};
use berth_sys::netlink::route;
use berth_sys::netlink::socket::Socket;
use berth_sys::netns;
use berth_types::{ContainerId, InstallId};

/// The host's address on the uplink.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The other machine on the uplink; the host's way out.
pub const LAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// The bridge's address.
pub const BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
/// How long an answer may take; also how long silence is waited for.
const PATIENCE: Duration = Duration::from_millis(400);
const UPLINK_INDEX: u32 = 16;

/// Runs a test on a host of its own.
pub fn on_a_host(test: impl FnOnce(&Lan) + Send) {
    let run = netns::create(|| {
        // A thread with room for a test, which inherits the namespace.
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let lan = Lan::make();
                test(&lan);
            });
            thread
                .join()
                .map_err(|_| io::Error::other("the test failed"))
        })
    });
    run.map(drop).unwrap();
}

/// The same on a host whose firewall sees what passes between a bridge's ports, and on one whose
/// firewall does not: `br_netfilter` may be there or not.
pub fn on_hosts_of_both_sorts(test: impl Fn(&Lan) + Send + Sync) {
    for seen in ["1", "0"] {
        on_a_host(|lan| {
            let setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
            if std::path::Path::new(setting).exists() {
                std::fs::write(setting, seen).unwrap();
            }
            test(lan);
        });
    }
}

/// Another machine on the host's uplink.
pub struct Lan {
    pub namespace: OwnedFd,
}

impl Lan {
    fn make() -> Self {
        let host = netns::current().unwrap();
        let mut socket = route::open().unwrap();
        let up = vec![route::set_up(1)];
        socket.transact(up.clone()).unwrap();
        let (namespace, mut inside) = netns::create(route::open).unwrap();
        let pair = route::Pair {
            name: "eth0",
            index: UPLINK_INDEX,
            mac: [2, 0, 0, 0, 0, 9],
            mtu: 1400,
            peer: "uplink",
            namespace: host.as_fd(),
        };
        inside.transact(up).unwrap();
        inside.transact(vec![route::make_pair(&pair)]).unwrap();
        address(&mut inside, UPLINK_INDEX, LAN);
        let uplink = route::link_named(&mut socket, "uplink").unwrap().unwrap();
        socket.transact(vec![route::set_up(uplink.index)]).unwrap();
        address(&mut socket, uplink.index, HOST);
        // The kernel notices the carrier now, and not when it has time.
        route::link_numbered(&mut inside, UPLINK_INDEX).unwrap();
        route::link_numbered(&mut socket, uplink.index).unwrap();
        // Each sends the other what it has no route for.
        inside
            .transact(vec![route::add_default_route(HOST, UPLINK_INDEX)])
            .unwrap();
        socket
            .transact(vec![route::add_default_route(LAN, uplink.index)])
            .unwrap();
        Self { namespace }
    }
}

fn address(socket: &mut Socket, link: u32, address: Ipv4Addr) {
    let prefix = 24;
    let address = route::Address {
        link,
        address,
        prefix,
    };
    socket.transact(vec![route::add_address(&address)]).unwrap();
}

/// As `dockerd` is without flags.
pub fn config() -> NetworkConfig {
    NetworkConfig {
        install_id: InstallId::from_bytes([0xab, 0xcd, 0x01, 0x02]),
        bridge: Some("docker0".to_owned()),
        address: None,
        pool: None,
        mtu: None,
        talk: true,
        masquerade: true,
        forward: true,
        firewall: true,
        spares: 0,
    }
}

pub fn id(number: u8) -> ContainerId {
    ContainerId::from_bytes([number; 32])
}

pub fn publish(address: Ipv4Addr, port: u16, container_port: u16) -> PortRequest {
    PortRequest {
        protocol: Protocol::Tcp,
        container_port,
        host_address: address,
        host_port: PortRange {
            first: port,
            last: port,
        },
    }
}

pub fn request(ports: &[PortRequest]) -> AttachRequest {
    AttachRequest {
        ports: ports.to_vec(),
        ..AttachRequest::default()
    }
}

pub fn attach(networks: &Networks, number: u8, ports: &[PortRequest]) -> Attachment {
    networks
        .attach(id(number), &request(ports))
        .unwrap_or_else(|error| panic!("{}", sentence(&error)))
}

pub fn sentence(error: &NetworkError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A server in a namespace that tells who asks.
pub fn serve(namespace: impl AsFd, port: u16) {
    let listener = netns::within(namespace, || TcpListener::bind(("0.0.0.0", port))).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let peer = stream
                .peer_addr()
                .map(|peer| peer.ip().to_string())
                .unwrap_or_default();
            let _ = stream.write_all(peer.as_bytes());
        }
    });
}

/// A server that says back what it hears, over UDP.
pub fn echo(namespace: impl AsFd, port: u16, word: &'static str) {
    let socket = netns::within(namespace, || UdpSocket::bind(("0.0.0.0", port))).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(word.as_bytes(), peer);
        }
    });
}

pub fn to(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), port)
}

/// Asks a server of [`serve`] from this thread's namespace: who it says we are.
pub fn ask(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(answer),
    }
}

/// The same from another namespace.
pub fn ask_from(namespace: impl AsFd, server: SocketAddr) -> io::Result<String> {
    netns::within(namespace, || ask(server))
}

/// Runs `nft` with words, and returns what it prints.
pub fn nft(words: &[&str]) -> String {
    let output = std::process::Command::new("nft")
        .args(words)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "nft {words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Names of the links of this namespace.
pub fn links() -> Vec<String> {
    let links = route::links(&mut route::open().unwrap()).unwrap();
    links.into_iter().map(|link| link.name).collect()
}
