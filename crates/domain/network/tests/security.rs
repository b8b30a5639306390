//! The security gates of the design that live at this level, by their names.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use berth_network::{Attachment, Networks};
use berth_sys::netlink::route;
use berth_sys::netns;
use berth_sys::rustix::io::Errno;
use berth_sys::rustix::net::{
    self as raw, AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sockopt,
};
use support::*;

const ALL: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;
const TABLE: &str = "berth-abcd0102";

fn setting(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .trim()
        .to_owned()
}

/// CVE-2020-13401: a container tells the host, or another container, that it is a router.
#[test]
fn s11_a_container_is_nobodys_router() {
    on_a_host(|_| {
        let networks = Networks::open(config());
        let evil = attach(&networks, 1, &[]);
        let victim = attach(&networks, 2, &[]);
        for (family, name, value) in [
            ("ipv6", "accept_ra", "0"),
            ("ipv6", "accept_redirects", "0"),
            ("ipv4", "accept_redirects", "0"),
            ("ipv4", "secure_redirects", "0"),
        ] {
            let path = format!("/proc/sys/net/{family}/conf/docker0/{name}");
            assert_eq!(setting(&path), value, "{path}");
        }
        let inside = netns::within(&victim.namespace, || {
            let accept = setting("/proc/sys/net/ipv6/conf/eth0/accept_ra");
            let addresses = fs::read_to_string("/proc/thread-self/net/if_inet6")?;
            Ok((accept, addresses))
        });
        let (accept, addresses) = inside.unwrap();
        assert_eq!(accept, "0");
        assert!(!addresses.contains("eth0"), "{addresses}");

        // With IPv6 of its own, by whatever privilege.
        let arm = || {
            fs::write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0")?;
            fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0")
        };
        netns::within(&evil.namespace, arm).unwrap();
        let before = routes();
        advertise(&evil);
        let neighbour = || netns::within(&victim.namespace, || Ok(routes())).unwrap();
        assert_eq!(
            (routes(), neighbour().learned),
            (before.clone(), String::new())
        );
        // What it sent is what a host without these settings believes.
        fs::write("/proc/sys/net/ipv6/conf/docker0/disable_ipv6", "0").unwrap();
        advertise(&evil);
        assert_eq!(routes(), before);
        fs::write("/proc/sys/net/ipv6/conf/docker0/accept_ra", "2").unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while routes() == before {
            assert!(Instant::now() < end, "the advertisement is not one");
            advertise(&evil);
        }
    });
}

#[derive(Debug, Clone, PartialEq)]
struct Routes {
    ipv4: Vec<route::Route>,
    /// IPv6 routes by a router's word.
    learned: String,
}

/// Of this thread's namespace.
fn routes() -> Routes {
    let ipv4 = route::routes(&mut route::open().unwrap()).unwrap();
    let all = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    // RTF_ADDRCONF or RTF_DEFAULT in the flags, the ninth word.
    let learned = |line: &&str| {
        let word = line.split_whitespace().nth(8);
        let flags = word.and_then(|word| u32::from_str_radix(word, 16).ok());
        flags.is_some_and(|flags| flags & 0x0005_0000 != 0)
    };
    let learned = all.lines().filter(learned).collect();
    Routes { ipv4, learned }
}

/// Sends all nodes on the bridge a router advertisement with a lifetime and a prefix. The kernel
/// fills in the checksum.
fn advertise(from: &Attachment) {
    let mut message = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([3, 4, 64, 0xc0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend("2001:db8::".parse::<Ipv6Addr>().unwrap().octets());
    let all_nodes = "ff02::1".parse().unwrap();
    let sent = netns::within(&from.namespace, || {
        let link = route::link_named(&mut route::open()?, "eth0")?.unwrap();
        let (family, protocol) = (AddressFamily::INET6, Some(ipproto::ICMPV6));
        let socket = raw::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        sockopt::set_ipv6_multicast_hops(&socket, 255)?;
        let to = SocketAddrV6::new(all_nodes, 0, 0, link.index);
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            // The link's own address comes when the kernel has time.
            match raw::sendto(&socket, &message, SendFlags::empty(), &to) {
                Err(Errno::ADDRNOTAVAIL) if Instant::now() < end => std::thread::yield_now(),
                result => return Ok(result.map(drop)?),
            }
        }
    });
    sent.unwrap();
}

#[test]
fn s11_a_container_speaks_with_its_own_address_only() {
    on_a_host(|_| {
        let networks = Networks::open(config());
        let evil = attach(&networks, 1, &[]);
        let listener = UdpSocket::bind((ALL, 7777)).unwrap();
        listener
            .set_read_timeout(Some(Duration::from_millis(400)))
            .unwrap();
        let other = Ipv4Addr::new(10, 66, 6, 6);
        let say = |source: Ipv4Addr| {
            netns::within(&evil.namespace, || {
                UdpSocket::bind((source, 0))?.send_to(b"x", to(BRIDGE, 7777))
            })
        };
        ip(
            &evil.namespace,
            &["address", "add", "10.66.6.6/32", "dev", "eth0"],
        );
        say(evil.endpoint.address).unwrap();
        listener.recv_from(&mut [0; 8]).unwrap();
        say(other).unwrap();
        assert!(listener.recv_from(&mut [0; 8]).is_err(), "as {other}");
        say(evil.endpoint.address).unwrap();
        listener.recv_from(&mut [0; 8]).unwrap();
    });
}

/// Runs `ip` in a namespace.
fn ip(namespace: impl AsFd, words: &[&str]) {
    let status = netns::within(namespace, || Command::new("ip").args(words).status());
    assert!(status.unwrap().success(), "ip {words:?}");
}

/// Makes a machine send what is for 127.0.0.1 to its gateway.
fn divert_loopback(namespace: impl AsFd) {
    ip(
        &namespace,
        &["address", "delete", "127.0.0.1/8", "dev", "lo"],
    );
    let divert = || fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1");
    netns::within(&namespace, divert).unwrap();
}

/// CVE-2020-8558 and moby's 45610: what listens on the host's loopback is the host's alone, even
/// while ports are published there.
#[test]
fn s12_nobody_else_reaches_the_hosts_loopback() {
    on_a_host(|lan| {
        let networks = Networks::open(config());
        let server = attach(&networks, 1, &[publish(LOCAL, 8080, 80)]);
        let evil = attach(&networks, 2, &[]);
        serve(&server.namespace, 80);
        let own = TcpListener::bind((LOCAL, 7000)).unwrap();
        assert_eq!(
            setting("/proc/sys/net/ipv4/conf/docker0/route_localnet"),
            "1"
        );
        ask(to(LOCAL, 8080)).unwrap();
        divert_loopback(&evil.namespace);
        divert_loopback(&lan.namespace);
        for port in [7000, 8080] {
            assert!(
                ask_from(&evil.namespace, to(LOCAL, port)).is_err(),
                "container, {port}"
            );
            assert!(
                ask_from(&lan.namespace, to(LOCAL, port)).is_err(),
                "neighbour, {port}"
            );
        }
        own.set_nonblocking(true).unwrap();
        assert!(own.accept().is_err(), "a connection came through");
    });
}

/// CVE-2025-54388 and 54410: what is not published is not reached, before and after others
/// reload the firewall, and across a restart of the engine.
#[test]
fn s12_a_container_is_reached_by_its_published_ports_only() {
    on_a_host(|lan| {
        let networks = Networks::open(config());
        let server = attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        serve(&server.namespace, 80);
        let check = |when: &str| {
            let published = ask_from(&lan.namespace, to(HOST, 8080));
            published.unwrap_or_else(|error| panic!("{when}: {error}"));
            let direct = ask_from(&lan.namespace, to(server.endpoint.address, 80));
            assert!(direct.is_err(), "{when}: reached without being published");
        };
        check("at first");
        let table = nft(&["list", "table", "ip", TABLE]);
        nft(&["flush", "ruleset"]);
        let end = Instant::now() + Duration::from_secs(10);
        while !nft(&["list", "ruleset"]).contains(&table) {
            assert!(Instant::now() < end, "the table stays away");
        }
        check("after a reload");
        drop(networks);
        check("without an engine");
        let again = Networks::open(config());
        check("before adoption");
        again.adopt(id(1), &server.endpoint).unwrap();
        again.sweep(&BTreeSet::from([id(1)]));
        check("after a restart");
    });
}
