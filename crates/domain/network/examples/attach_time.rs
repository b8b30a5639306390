//! How long it takes to put a container on the network, to publish a port, and to take both away;
//! in network namespaces of its own. As root: `cargo run -p berth-network --example attach_time`.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use berth_network::{AttachRequest, NetworkConfig, Networks, PortRange, PortRequest, Protocol};
use berth_sys::netns;
use berth_types::{ContainerId, InstallId};

const RUNS: u8 = 100;

fn main() -> std::io::Result<()> {
    netns::create(measure).map(drop)
}

fn measure() -> std::io::Result<()> {
    let networks = Networks::open(NetworkConfig {
        install_id: InstallId::from_bytes([1; 4]),
        bridge: Some("docker0".to_owned()),
        address: None,
        pool: None,
        mtu: None,
        talk: true,
        masquerade: true,
        forward: true,
        firewall: true,
        spares: 0,
    });
    let port = |number: u8| PortRequest {
        protocol: Protocol::Tcp,
        container_port: 80,
        host_address: Ipv4Addr::UNSPECIFIED,
        host_port: PortRange {
            first: 8000 + u16::from(number),
            last: 8000 + u16::from(number),
        },
    };
    for (what, ports) in [("no port", 0), ("one port", 1), ("ten ports", 10)] {
        let (mut coming, mut going) = (Vec::new(), Vec::new());
        for number in 0..RUNS {
            let id = ContainerId::from_bytes([number; 32]);
            let request = AttachRequest {
                ports: (0..ports).map(port).collect(),
                ..AttachRequest::default()
            };
            let start = Instant::now();
            let attached = networks
                .attach(id, &request)
                .map_err(std::io::Error::other)?;
            coming.push(start.elapsed());
            let start = Instant::now();
            networks.detach(id);
            drop(attached);
            going.push(start.elapsed());
        }
        println!(
            "{what}: attach {}, detach {}",
            spread(coming),
            spread(going)
        );
    }
    networks.close();
    Ok(())
}

/// Median and extremes, in microseconds.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |place: usize| times.get(place).map_or(0, Duration::as_micros);
    let last = times.len().saturating_sub(1);
    format!("{} us [{}-{}]", at(last / 2), at(0), at(last))
}
