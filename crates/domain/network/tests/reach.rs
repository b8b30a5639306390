//! Who reaches whom: containers, the host, and another machine on the uplink.

mod support;

use std::net::Ipv4Addr;

use berth_network::{NetworkConfig, Networks};
use support::*;

const ALL: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[test]
fn a_container_has_an_address_and_a_way_out() {
    on_hosts_of_both_sorts(|lan| {
        let networks = Networks::open(config());
        let first = attach(&networks, 1, &[]);
        let second = attach(&networks, 2, &[]);
        assert_eq!(first.endpoint.address, Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(first.endpoint.mac, "02:42:ac:11:00:02");
        assert_eq!(
            (first.endpoint.gateway, first.endpoint.prefix),
            (BRIDGE, 16)
        );
        assert!(links().contains(&first.endpoint.link));

        serve(&lan.namespace, 9000);
        serve(&second.namespace, 80);
        // Out, with the host's address; to another container, with its own.
        assert_eq!(
            ask_from(&first.namespace, to(LAN, 9000)).unwrap(),
            HOST.to_string()
        );
        let neighbour = to(second.endpoint.address, 80);
        assert_eq!(ask_from(&first.namespace, neighbour).unwrap(), "172.17.0.2");
        assert_eq!(ask(neighbour).unwrap(), "172.17.0.1");
        // The uplink's MTU, not the usual one.
        assert_eq!(networks.summary().unwrap().mtu, 1400);
        networks.detach(id(1));
        networks.detach(id(2));
        networks.close();
    });
}

#[test]
fn a_published_port_answers_everybody() {
    on_hosts_of_both_sorts(|lan| {
        let networks = Networks::open(config());
        let server = attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        let client = attach(&networks, 2, &[]);
        serve(&server.namespace, 80);
        let lan_address = LAN.to_string();
        assert_eq!(
            ask_from(&lan.namespace, to(HOST, 8080)).unwrap(),
            lan_address
        );
        for address in [LOCAL, HOST, BRIDGE] {
            ask(to(address, 8080)).unwrap_or_else(|error| panic!("the host at {address}: {error}"));
        }
        for address in [HOST, BRIDGE] {
            for from in [&client, &server] {
                let who = from.endpoint.address;
                ask_from(&from.namespace, to(address, 8080))
                    .unwrap_or_else(|error| panic!("{who} at {address}: {error}"));
            }
        }
        networks.detach(id(1));
        assert!(ask(to(HOST, 8080)).is_err());
        assert!(ask_from(&lan.namespace, to(HOST, 8080)).is_err());
    });
}

#[test]
fn a_port_of_127_0_0_1_is_the_hosts_alone() {
    on_a_host(|lan| {
        let networks = Networks::open(config());
        let server = attach(&networks, 1, &[publish(LOCAL, 8080, 80)]);
        let client = attach(&networks, 2, &[]);
        serve(&server.namespace, 80);
        ask(to(LOCAL, 8080)).unwrap();
        assert!(ask(to(HOST, 8080)).is_err());
        assert!(ask_from(&lan.namespace, to(HOST, 8080)).is_err());
        assert!(ask_from(&client.namespace, to(BRIDGE, 8080)).is_err());
    });
}

#[test]
fn a_port_of_one_address_is_not_one_of_another() {
    on_a_host(|lan| {
        let networks = Networks::open(config());
        let server = attach(&networks, 1, &[publish(HOST, 8080, 80)]);
        serve(&server.namespace, 80);
        ask_from(&lan.namespace, to(HOST, 8080)).unwrap();
        ask(to(HOST, 8080)).unwrap();
        assert!(ask(to(LOCAL, 8080)).is_err());
        assert!(ask(to(BRIDGE, 8080)).is_err());
    });
}

#[test]
fn containers_that_may_not_talk_are_reached_by_their_published_ports_only() {
    on_hosts_of_both_sorts(|lan| {
        let networks = Networks::open(NetworkConfig {
            talk: false,
            ..config()
        });
        let server = attach(&networks, 1, &[publish(ALL, 8080, 80)]);
        let client = attach(&networks, 2, &[]);
        serve(&server.namespace, 80);
        serve(&server.namespace, 81);
        serve(&lan.namespace, 9000);
        assert!(ask_from(&client.namespace, to(server.endpoint.address, 80)).is_err());
        assert!(ask_from(&client.namespace, to(server.endpoint.address, 81)).is_err());
        ask_from(&client.namespace, to(HOST, 8080)).unwrap();
        ask_from(&client.namespace, to(LAN, 9000)).unwrap();
    });
}

#[test]
fn without_masquerading_containers_leave_with_their_own_address() {
    on_a_host(|lan| {
        let networks = Networks::open(NetworkConfig {
            masquerade: false,
            ..config()
        });
        let client = attach(&networks, 1, &[]);
        serve(&lan.namespace, 9000);
        assert_eq!(
            ask_from(&client.namespace, to(LAN, 9000)).unwrap(),
            "172.17.0.2"
        );
    });
}

#[test]
fn udp_is_published_and_old_streams_are_redirected() {
    on_a_host(|lan| {
        let networks = Networks::open(config());
        let udp = |port, container_port| berth_network::PortRequest {
            protocol: berth_network::Protocol::Udp,
            ..publish(ALL, port, container_port)
        };
        let client = berth_sys::netns::within(&lan.namespace, || {
            let socket = std::net::UdpSocket::bind("0.0.0.0:5000")?;
            socket.set_read_timeout(Some(std::time::Duration::from_millis(500)))?;
            Ok(socket)
        })
        .unwrap();
        let ask = || {
            client.send_to(b"?", to(HOST, 5353))?;
            let mut buffer = [0; 16];
            let (length, _) = client.recv_from(&mut buffer)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&buffer[..length]).into_owned())
        };
        assert!(ask().is_err());
        let first = attach(&networks, 1, &[udp(5353, 53)]);
        echo(&first.namespace, 53, "first");
        assert_eq!(ask().unwrap(), "first");
        networks.detach(id(1));
        let second = attach(&networks, 2, &[udp(5353, 53)]);
        echo(&second.namespace, 53, "second");
        assert_eq!(ask().unwrap(), "second");
    });
}
