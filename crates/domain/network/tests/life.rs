//! How the network comes, goes, and stays: restarts, flushes, conflicts, ends.

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use berth_network::{AttachRequest, NetworkConfig, Networks, PortRange, PortRequest, Protocol};
use berth_sys::netlink::route;
use berth_sys::netns;
use support::*;

const ALL: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const TABLE: &str = "berth-abcd0102";

/// Waits for what another thread brings about.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn an_open_connection_outlives_the_engine() {
    on_a_host(|lan| {
        let networks = Networks::open(config());
        let server = attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        let listener =
            netns::within(&server.namespace, || TcpListener::bind("0.0.0.0:80")).unwrap();
        let mut client =
            netns::within(&lan.namespace, || TcpStream::connect(to(HOST, 8080))).unwrap();
        let (mut answering, _) = listener.accept().unwrap();
        let mut say = |word: &[u8]| {
            client.write_all(word).unwrap();
            let mut heard = vec![0; word.len()];
            answering.read_exact(&mut heard).unwrap();
            assert_eq!(heard, word);
        };
        say(b"before");
        // The engine is killed: nothing is given back.
        drop(networks);
        say(b"between");
        let again = Networks::open(config());
        say(b"opened");
        netns::within(&lan.namespace, || TcpStream::connect(to(HOST, 8080))).unwrap();
        again.adopt(id(1), &server.endpoint).unwrap();
        again.sweep(&BTreeSet::from([id(1)]));
        say(b"adopted");
        netns::within(&lan.namespace, || TcpStream::connect(to(HOST, 8080))).unwrap();

        // What was adopted is somebody's.
        let endpoints = again.summary().unwrap().endpoints;
        assert_eq!(endpoints, [(id(1), server.endpoint.clone())]);
        let second = attach(&again, 2, &[]);
        assert_eq!(second.endpoint.address, Ipv4Addr::new(172, 17, 0, 3));
        let error = again
            .attach(id(3), &request(&[publish(ALL, 8080, 80)]))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("Bind for 0.0.0.0:8080 failed: port is already allocated"),
            "{error}"
        );
        again.adopt(id(4), &server.endpoint).unwrap_err();
    });
}

#[test]
fn a_sweep_ends_what_nobody_has_any_more() {
    on_a_host(|_| {
        let networks = Networks::open(config());
        let stays = attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        let goes = attach(&networks, 2, &[publish(ALL, 8081, 80)]);
        serve(&stays.namespace, 80);
        serve(&goes.namespace, 80);
        drop(networks);
        let again = Networks::open(config());
        again.adopt(id(1), &stays.endpoint).unwrap();
        ask(to(HOST, 8081)).unwrap();
        again.sweep(&BTreeSet::from([id(1)]));
        assert!(ask(to(HOST, 8081)).is_err());
        ask(to(HOST, 8080)).unwrap();
        assert!(links().contains(&stays.endpoint.link));
        assert!(
            !links().contains(&goes.endpoint.link),
            "held by its namespace only"
        );
    });
}

#[test]
fn what_others_flush_is_put_back() {
    on_a_host(|lan| {
        let networks = Networks::open(config());
        let server = attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        serve(&server.namespace, 80);
        let whole = nft(&["list", "table", "ip", TABLE]);
        let is_whole = || nft(&["list", "ruleset"]).contains(&whole);
        nft(&["flush", "ruleset"]);
        eventually("the table after a flush", is_whole);
        ask_from(&lan.namespace, to(HOST, 8080)).unwrap();
        nft(&["delete", "table", "ip", TABLE]);
        eventually("the table after a deletion", is_whole);
        nft(&["flush", "chain", "ip", TABLE, "into"]);
        eventually("the rules of a chain", is_whole);
        nft(&["delete", "element", "ip", TABLE, "ports", "{ tcp . 8080 }"]);
        eventually("a published port", is_whole);
        ask_from(&lan.namespace, to(HOST, 8080)).unwrap();
        // What is given back stays away.
        networks.detach(id(1));
        nft(&["flush", "ruleset"]);
        eventually("the table without ports", || {
            nft(&["list", "ruleset"]).contains(TABLE)
        });
        assert!(ask_from(&lan.namespace, to(HOST, 8080)).is_err());
        // Handles are new ones each time a table is made: it was made once, and not for ever.
        let handles = nft(&["-a", "list", "table", "ip", TABLE]);
        assert!(ask_from(&lan.namespace, to(HOST, 8080)).is_err());
        assert_eq!(nft(&["-a", "list", "table", "ip", TABLE]), handles);
    });
}

#[test]
fn the_table_says_what_it_should_beside_others() {
    on_a_host(|_| {
        nft(&["add", "table", "inet", "firewalld"]);
        nft(&[
            "add",
            "chain",
            "inet",
            "firewalld",
            "pass",
            "{ type filter hook forward priority 0; policy drop; }",
        ]);
        let before = nft(&["list", "ruleset"]);
        let networks = Networks::open(config());
        let udp = PortRequest {
            protocol: Protocol::Udp,
            ..publish(HOST, 53, 53)
        };
        attach(&networks, 1, &[publish(ALL, 8080, 80), udp]);
        let listed = nft(&["list", "table", "ip", TABLE]);
        for line in [
            "elements = { tcp . 8080 : 172.17.0.2 . 80 }",
            "elements = { 192.0.2.2 . udp . 53 : 172.17.0.2 . 53 }",
            "iifname != \"lo\" ip daddr 127.0.0.0/8 drop",
            "iifname != \"lo\" ip saddr 127.0.0.0/8 drop",
            "dnat ip to ip daddr . meta l4proto . th dport map @addressed",
            "fib daddr type local dnat ip to meta l4proto . th dport map @ports",
            "oifname \"docker0\" jump into",
            "iifname \"docker0\" ct state invalid drop",
            "ct state established,related accept",
            "ct status dnat accept",
            "oifname != \"docker0\" ip saddr 172.17.0.0/16 masquerade",
            "oifname \"docker0\" ip saddr 127.0.0.0/8 masquerade",
        ] {
            assert!(listed.contains(line), "{line:?} is not in {listed}");
        }
        let warnings = networks.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("inet firewalld")
                && warnings[0].contains("iifname docker0 accept")
        );
        networks.detach(id(1));
        networks.close();
        assert_eq!(nft(&["list", "ruleset"]), before);
        assert!(!links().contains(&"docker0".to_owned()));
    });
}

#[test]
fn without_a_firewall_no_table_is_made() {
    on_a_host(|_| {
        let networks = Networks::open(NetworkConfig {
            firewall: false,
            ..config()
        });
        attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        assert_eq!(nft(&["list", "ruleset"]), "");
        assert_eq!(networks.warnings().len(), 1);
    });
}

#[test]
fn ports_that_others_have() {
    on_a_host(|_| {
        let networks = Networks::open(config());
        let refusal = |port: PortRequest| {
            let error = networks.attach(id(9), &request(&[port])).unwrap_err();
            let sentence = error.to_string();
            assert!(
                sentence
                    .starts_with("driver failed programming external connectivity on endpoint "),
                "{sentence}"
            );
            sentence
        };
        let _server = attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        for address in [ALL, HOST, Ipv4Addr::LOCALHOST] {
            let sentence = refusal(publish(address, 8080, 80));
            let expected = format!("Bind for {address}:8080 failed: port is already allocated");
            assert!(sentence.ends_with(&expected), "{sentence}");
        }
        // Of the same number, but another protocol.
        attach(
            &networks,
            2,
            &[PortRequest {
                protocol: Protocol::Udp,
                ..publish(ALL, 8080, 80)
            }],
        );
        let other = TcpListener::bind("0.0.0.0:8090").unwrap();
        let sentence = refusal(publish(ALL, 8090, 80));
        assert!(
            sentence.contains("failed to bind host port 0.0.0.0:8090/tcp: address already in use"),
            "{sentence}"
        );
        let sentence = refusal(publish(Ipv4Addr::new(10, 9, 9, 9), 80, 80));
        assert!(
            sentence.contains("cannot assign requested address"),
            "{sentence}"
        );
        // The remains of an ended connection are nobody.
        let ended = TcpListener::bind("0.0.0.0:8095").unwrap();
        let mut client = TcpStream::connect(to(HOST, 8095)).unwrap();
        drop(ended.accept().unwrap());
        client.read_to_end(&mut Vec::new()).unwrap();
        drop((client, ended));
        attach(&networks, 3, &[publish(ALL, 8095, 80)]);
        networks.detach(id(3));
        // And the other way round.
        assert!(TcpListener::bind("0.0.0.0:8080").is_err());
        // What failed took nothing: neither an address nor a part of its ports.
        assert_eq!(networks.summary().unwrap().endpoints.len(), 2);
        let both = [publish(ALL, 8091, 80), publish(ALL, 8090, 81)];
        networks.attach(id(9), &request(&both)).unwrap_err();
        drop(other);
        attach(&networks, 9, &both);
        networks.detach(id(1));
        attach(&networks, 1, &[publish(ALL, 8080, 80)]);
    });
}

#[test]
fn ranges_and_ports_of_the_kernels_choice() {
    on_a_host(|_| {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40003").unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_local_reserved_ports", "40001").unwrap();
        let _other = TcpListener::bind("0.0.0.0:40002").unwrap();
        let networks = Networks::open(config());
        let wanted = |first, last| PortRequest {
            host_port: PortRange { first, last },
            ..publish(ALL, 0, 80)
        };
        let got = |number, first, last| {
            let request = request(&[wanted(first, last)]);
            networks
                .attach(id(number), &request)
                .map(|attachment| attachment.endpoint.published[0].host_port)
        };
        assert_eq!(got(1, 0, 0).unwrap(), 40_000);
        assert_eq!(got(2, 0, 0).unwrap(), 40_003);
        let error = got(3, 0, 0).unwrap_err().to_string();
        assert!(
            error.contains("no free port from 40000 to 40003"),
            "{error}"
        );
        networks.detach(id(1));
        assert_eq!(got(3, 0, 0).unwrap(), 40_000);
        assert_eq!(got(4, 8000, 8001).unwrap(), 8000);
        assert_eq!(got(5, 8000, 8001).unwrap(), 8001);
        let error = got(6, 8000, 8001).unwrap_err().to_string();
        assert!(
            error.ends_with("Bind for 0.0.0.0:8000-8001 failed: all ports are allocated"),
            "{error}"
        );
    });
}

#[test]
fn addresses_run_out_and_come_back() {
    on_a_host(|_| {
        let networks = Networks::open(NetworkConfig {
            address: Some((Ipv4Addr::new(10, 9, 0, 1), 24)),
            pool: Some((Ipv4Addr::new(10, 9, 0, 4), 31)),
            ..config()
        });
        let first = attach(&networks, 1, &[]);
        let second = attach(&networks, 2, &[]);
        assert_eq!(
            [first.endpoint.address, second.endpoint.address].map(|a| a.octets()[3]),
            [4, 5]
        );
        let error = networks
            .attach(id(3), &AttachRequest::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no available IPv4 addresses on this network's address pools: bridge"),
            "{error}"
        );
        let fixed = |last| AttachRequest {
            address: Some(Ipv4Addr::new(10, 9, 0, last)),
            mac: Some([2, 1, 2, 3, 4, 5]),
            ..AttachRequest::default()
        };
        assert!(
            networks
                .attach(id(3), &fixed(4))
                .unwrap_err()
                .to_string()
                .starts_with("Address already in use")
        );
        assert!(
            networks.attach(id(3), &fixed(1)).is_err(),
            "the bridge's own"
        );
        let outside = networks.attach(id(3), &fixed(77)).unwrap();
        assert_eq!(outside.endpoint.mac, "02:01:02:03:04:05");
        networks.detach(id(1));
        assert_eq!(
            attach(&networks, 4, &[]).endpoint.address,
            first.endpoint.address
        );
    });
}

#[test]
fn a_hundred_at_once() {
    on_a_host(|_| {
        let networks = Networks::open(config());
        let start = Instant::now();
        let attached: Vec<_> = std::thread::scope(|scope| {
            let one = |number: u8| {
                let networks = &networks;
                scope.spawn(move || {
                    attach(
                        networks,
                        number,
                        &[
                            publish(ALL, 0, 80),
                            publish(ALL, 9000 + u16::from(number), 81),
                        ],
                    )
                })
            };
            let threads: Vec<_> = (1..=100).map(one).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        println!("100 containers on the network after {:?}", start.elapsed());
        let addresses: BTreeSet<_> = attached.iter().map(|one| one.endpoint.address).collect();
        let ports: BTreeSet<_> = attached
            .iter()
            .flat_map(|one| &one.endpoint.published)
            .map(|port| port.host_port)
            .collect();
        assert_eq!((addresses.len(), ports.len()), (100, 200));
        let last = &attached[99].namespace;
        let listener = netns::within(last, || TcpListener::bind("0.0.0.0:81")).unwrap();
        drop(TcpStream::connect(to(HOST, 9100)).unwrap());
        // A socket would keep the namespace, and with it the link.
        drop(listener);
        (1..=100).for_each(|number| networks.detach(id(number)));
        drop(attached);
        eventually("links without their namespaces", || {
            links() == ["lo", "uplink", "docker0"]
        });
        networks.close();
        assert_eq!(links(), ["lo", "uplink"]);
        assert_eq!(nft(&["list", "ruleset"]), "");
    });
}

#[test]
fn a_bridge_that_is_there_is_taken_up_as_it_is() {
    on_a_host(|_| {
        let mut socket = route::open().unwrap();
        socket
            .transact(vec![route::make_bridge(
                "docker0",
                [2, 0, 0, 0, 0, 1],
                1500,
            )])
            .unwrap();
        let link = route::link_named(&mut socket, "docker0").unwrap().unwrap();
        let address = route::Address {
            link: link.index,
            address: Ipv4Addr::new(10, 8, 0, 1),
            prefix: 24,
        };
        socket.transact(vec![route::add_address(&address)]).unwrap();
        let networks = Networks::open(config());
        let one = attach(&networks, 1, &[]);
        assert_eq!(one.endpoint.address, Ipv4Addr::new(10, 8, 0, 2));
        networks.detach(id(1));
        drop(one);
        networks.close();
        assert!(
            links().contains(&"docker0".to_owned()),
            "it is not ours to remove"
        );

        let other = NetworkConfig {
            address: Some((Ipv4Addr::new(10, 7, 0, 1), 24)),
            ..config()
        };
        let networks = Networks::open(other);
        let error = networks
            .attach(id(1), &AttachRequest::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("10.8.0.1/24") && error.contains("--bip"),
            "{error}"
        );
        assert!(networks.warnings()[0].contains("10.8.0.1/24"));
        assert_eq!(networks.summary(), None);
    });
}

#[test]
fn a_name_that_is_no_bridges_and_a_subnet_that_is_in_use() {
    on_a_host(|lan| {
        let named = |name: &str| {
            Networks::open(NetworkConfig {
                bridge: Some(name.to_owned()),
                ..config()
            })
        };
        for (name, word) in [
            ("uplink", "no bridge"),
            ("a name", "is no name"),
            ("much-too-long-a-name", "is no name"),
        ] {
            let error = named(name)
                .attach(id(1), &AttachRequest::default())
                .unwrap_err()
                .to_string();
            assert!(error.contains(word), "{error}");
        }
        // A route of the host is in the way of the usual subnet.
        let mut socket = route::open().unwrap();
        let uplink = route::link_named(&mut socket, "uplink").unwrap().unwrap();
        let address = route::Address {
            link: uplink.index,
            address: Ipv4Addr::new(172, 17, 5, 1),
            prefix: 24,
        };
        socket.transact(vec![route::add_address(&address)]).unwrap();
        let networks = Networks::open(config());
        let one = attach(&networks, 1, &[]);
        assert_eq!(one.endpoint.address, Ipv4Addr::new(172, 18, 0, 2));
        serve(&lan.namespace, 9000);
        ask_from(&one.namespace, to(LAN, 9000)).unwrap();
        // The next engine takes the bridge up and does not choose again.
        drop(networks);
        let again = Networks::open(config());
        assert_eq!(
            again.summary().unwrap().subnet,
            (Ipv4Addr::new(172, 18, 0, 0), 16)
        );
    });
}

#[test]
fn a_thousand_ports_of_one_container() {
    on_a_host(|_| {
        let networks = Networks::open(config());
        let ports: Vec<PortRequest> = (20_000..21_200)
            .map(|port| publish(ALL, port, port))
            .collect();
        let server = attach(&networks, 1, &ports);
        serve(&server.namespace, 21_199);
        ask(to(HOST, 21_199)).unwrap();
        nft(&["flush", "ruleset"]);
        eventually("all the ports", || {
            nft(&["list", "ruleset"]).matches("tcp . 2").count() == ports.len()
        });
        networks.detach(id(1));
        assert!(!nft(&["list", "ruleset"]).contains("tcp . 2"));
    });
}

#[test]
fn a_bridge_that_somebody_removes_is_made_again() {
    on_a_host(|lan| {
        let networks = Networks::open(config());
        let old = attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        serve(&old.namespace, 80);
        let mut socket = route::open().unwrap();
        let bridge = route::link_named(&mut socket, "docker0").unwrap().unwrap();
        socket
            .transact(vec![route::remove_link(bridge.index)])
            .unwrap();
        assert!(ask(to(HOST, 8080)).is_err());
        let new = attach(&networks, 2, &[]);
        assert_eq!(new.endpoint.gateway, BRIDGE);
        for address in [HOST, Ipv4Addr::LOCALHOST] {
            ask(to(address, 8080)).unwrap();
        }
        ask_from(&lan.namespace, to(HOST, 8080)).unwrap();
        ask_from(&new.namespace, to(old.endpoint.address, 80)).unwrap();
    });
}

#[test]
fn an_engine_that_knows_not_who_runs_leaves_everything() {
    on_a_host(|_| {
        let networks = Networks::open(config());
        let server = attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        serve(&server.namespace, 80);
        drop(networks);
        // It ends before it has looked.
        Networks::open(config()).close();
        ask(to(HOST, 8080)).unwrap();
        // It could not take the container up.
        let again = Networks::open(config());
        again.sweep(&BTreeSet::from([id(1)]));
        again.close();
        assert!(links().contains(&server.endpoint.link));
        again.detach(id(1));
        again.close();
        assert!(!links().contains(&"docker0".to_owned()));
    });
}

#[test]
fn a_link_made_ahead_is_a_link_like_any_other_and_goes_with_its_engine() {
    on_a_host(|lan| {
        let ahead = || NetworkConfig {
            spares: 2,
            ..config()
        };
        let spare_links = || {
            let links = route::links(&mut route::open().unwrap()).unwrap();
            let spare = links.into_iter().filter(|l| l.alias.ends_with(":spare"));
            spare.map(|link| link.name).collect::<BTreeSet<_>>()
        };
        let networks = Networks::open(ahead());
        assert!(spare_links().is_empty());
        networks.sweep(&BTreeSet::new());
        eventually("two links", || spare_links().len() == 2);
        eventually("an empty namespace", || networks.take_empty().is_some());
        let before = spare_links();
        let first = attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        assert!(before.contains(&first.endpoint.link));
        assert_eq!(first.endpoint.address, Ipv4Addr::new(172, 17, 0, 2));
        serve(&first.namespace, 80);
        ask_from(&lan.namespace, to(HOST, 8080)).unwrap();
        ask(to(first.endpoint.address, 80)).unwrap();
        networks.refill();
        eventually("another one", || spare_links().len() == 2);

        // Without the bridge they are of no use, and another one has them back.
        let mut socket = route::open().unwrap();
        let bridge = route::link_named(&mut socket, "docker0").unwrap().unwrap();
        socket
            .transact(vec![route::remove_link(bridge.index)])
            .unwrap();
        let second = attach(&networks, 2, &[]);
        ask_from(&second.namespace, to(first.endpoint.address, 80)).unwrap();

        // Killed: the kernel takes them, or the next engine does.
        let left = spare_links();
        drop(networks);
        let again = Networks::open(ahead());
        again.adopt(id(1), &first.endpoint).unwrap();
        again.adopt(id(2), &second.endpoint).unwrap();
        again.sweep(&BTreeSet::from([id(1), id(2)]));
        assert!(left.is_disjoint(&links().into_iter().collect()));
        eventually("new ones", || spare_links().len() == 2);
        again.detach(id(1));
        again.detach(id(2));
        drop((first.namespace, second.namespace));
        again.close();
        assert!(spare_links().is_empty());
    });
}
