//! A container's network and ports, as a request has them and as inspect and lists show them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use berth_api::container::HostConfig;
use berth_api::network::{
    EndpointSettings, NetworkSettings, NetworkingConfig, PortBinding, PortMap, PortSummary,
};
use berth_container::{Containers, HostSettings, Network, Record, exposed, parse_exposed};
use berth_network::{Endpoint, PortRange, PortRequest};
use berth_types::{ContainerId, ErrorKind};

use crate::config::{Config, DefaultNetwork};
use crate::rest::error::ApiError;

/// Networks that nobody has to make.
const PREDEFINED: [&str; 4] = ["none", "host", "default", "bridge"];

/// Reads the network mode. The container of `container:` has been looked up already.
pub fn mode(mode: &str, config: &Config) -> Result<Network, ApiError> {
    let no_bridge = config.default_network == DefaultNetwork::None;
    match mode {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        "" | "default" if no_bridge => Ok(Network::None),
        "bridge" if no_bridge => Err(ApiError::new(
            ErrorKind::NotFound,
            "network bridge not found: the engine was started with --bridge none",
        )),
        "" | "default" | "bridge" => Ok(Network::Bridge),
        other => match other.strip_prefix("container:") {
            Some(id) => id
                .parse::<ContainerId>()
                .map(Network::Container)
                .map_err(|e| ApiError::invalid(e.to_string())),
            None => Err(ApiError::not_built(format!("--network {other}"))),
        },
    }
}

/// Refuses wishes that a predefined network does not grant, and networks that are not predefined.
pub fn check_endpoints(networking: &NetworkingConfig) -> Result<(), ApiError> {
    for (name, endpoint) in &networking.endpoints_config {
        if !PREDEFINED.contains(&name.as_str()) && !name.starts_with("container:") {
            return Err(ApiError::not_built("a network of one's own"));
        }
        let ipam = endpoint.ipam_config.iter();
        let fixed = |i: &&berth_api::network::EndpointIpamConfig| {
            !i.ipv4_address.is_empty() || !i.ipv6_address.is_empty()
        };
        let wrong = |sentence: &str| {
            ApiError::invalid(format!(
                "invalid config for network {name}: invalid endpoint settings:\n{sentence}"
            ))
        };
        if ipam.clone().any(|i| fixed(&i)) {
            return Err(wrong(
                "user specified IP address is supported on user defined networks only",
            ));
        }
        if !endpoint.aliases.is_empty() && name != "none" {
            return Err(wrong(
                "network-scoped alias is supported only for containers in user defined networks",
            ));
        }
        for (set, what) in [
            (
                ipam.clone().any(|i| !i.link_local_ips.is_empty()),
                "a link-local address",
            ),
            (!endpoint.links.is_empty(), "--link"),
            (
                !endpoint.driver_opts.is_empty(),
                "a driver option of an endpoint",
            ),
        ] {
            if set {
                return Err(ApiError::not_built(what));
            }
        }
    }
    Ok(())
}

/// The hardware address that a request asks for, where the container gets a link.
pub fn mac(networking: &NetworkingConfig) -> Result<Option<[u8; 6]>, ApiError> {
    let endpoints = networking.endpoints_config.values();
    let Some(text) = endpoints.map(|e| &e.mac_address).find(|m| !m.is_empty()) else {
        return Ok(None);
    };
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let octet = |part: &&str| {
        (part.len() == 2)
            .then(|| u8::from_str_radix(part, 16).ok())
            .flatten()
    };
    let octets: Option<Vec<u8>> = parts.iter().map(octet).collect();
    octets
        .and_then(|o| <[u8; 6]>::try_from(o).ok())
        .map(Some)
        .ok_or_else(|| {
            ApiError::invalid(format!(
                "invalid MAC address: {text}: expected six pairs of hexadecimal digits, like 02:42:ac:11:00:02"
            ))
        })
}

/// Reads `PortBindings`. What names no address of the host is published on `default`.
pub fn ports(host: &HostConfig, default: Ipv4Addr) -> Result<Vec<PortRequest>, ApiError> {
    let wrong = |text: &str| ApiError::invalid(format!("invalid port specification: {text:?}"));
    let mut list = Vec::new();
    for (key, bindings) in &host.port_bindings {
        let (container_port, protocol) = match parse_exposed(key) {
            Some((first, last, protocol)) if first == last => (first, protocol),
            _ => return Err(wrong(key)),
        };
        let any = [PortBinding::default()];
        let bindings = match bindings {
            Some(bindings) if !bindings.is_empty() => bindings.as_slice(),
            // A port without bindings is published somewhere, as Docker has it.
            Some(_) => &any,
            None => continue,
        };
        for binding in bindings {
            list.push(PortRequest {
                protocol,
                container_port,
                host_address: host_address(&binding.host_ip, default)?,
                host_port: host_port(&binding.host_port)
                    .ok_or_else(|| wrong(&binding.host_port))?,
            });
        }
    }
    Ok(list)
}

fn host_address(text: &str, default: Ipv4Addr) -> Result<Ipv4Addr, ApiError> {
    if text.is_empty() {
        return Ok(default);
    }
    match text.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => Ok(address),
        Ok(IpAddr::V6(address)) => Err(ApiError::not_built(format!(
            "publishing on an IPv6 address ({address})"
        ))),
        Err(_) => Err(ApiError::invalid(format!(
            "invalid IP address in port binding: {text:?}"
        ))),
    }
}

fn host_port(text: &str) -> Option<PortRange> {
    if text.is_empty() {
        return Some(PortRange { first: 0, last: 0 });
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let any = first == 0 && last == 0;
    (any || (0 < first && first <= last)).then_some(PortRange { first, last })
}

/// The bindings as a request had them.
pub fn port_bindings(host: &HostSettings) -> PortMap {
    let mut map = PortMap::new();
    for port in &host.ports {
        let host_ip = match port.host_address {
            Ipv4Addr::UNSPECIFIED => String::new(),
            address => address.to_string(),
        };
        let PortRange { first, last } = port.host_port;
        let host_port = match (first, last) {
            (0, _) => String::new(),
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let key = format!("{}/{}", port.container_port, port.protocol.word());
        map.entry(key)
            .or_default()
            .get_or_insert_default()
            .push(PortBinding { host_ip, host_port });
    }
    map
}

/// The endpoint that a running container has on the default network.
fn endpoint(record: &Record) -> Option<&Endpoint> {
    record.state.endpoint.as_ref()
}

/// The networks of a container by name, with what it has on them.
pub fn endpoints(record: &Record, containers: &Containers) -> BTreeMap<String, EndpointSettings> {
    let network = record.host.network;
    if matches!(network, Network::Container(_)) {
        return BTreeMap::new();
    }
    let mut wire = EndpointSettings::default();
    if record.state.phase.is_live() {
        wire.network_id = containers.network_id(network).unwrap_or_default();
    }
    if let Some(mac) = record.host.mac {
        wire.mac_address = mac.map(|octet| format!("{octet:02x}")).join(":");
    }
    if let Some(endpoint) = endpoint(record) {
        wire.network_id.clone_from(&endpoint.network);
        wire.endpoint_id.clone_from(&endpoint.id);
        wire.gateway = endpoint.gateway.to_string();
        wire.ip_address = endpoint.address.to_string();
        wire.ip_prefix_len = i64::from(endpoint.prefix);
        wire.mac_address.clone_from(&endpoint.mac);
    }
    [(network.name(), wire)].into()
}

/// The network part of inspect.
pub fn network_settings(record: &Record, containers: &Containers) -> NetworkSettings {
    let mut settings = NetworkSettings {
        networks: endpoints(record, containers),
        ..NetworkSettings::default()
    };
    if let Some(init) = record.state.init.filter(|_| record.host.network.is_own()) {
        settings.sandbox_key = format!("/proc/{}/ns/net", init.pid);
    }
    let Some(endpoint) = endpoint(record) else {
        return settings;
    };
    settings.sandbox_id.clone_from(&endpoint.id);
    for (port, protocol) in exposed(&record.settings.exposed_ports) {
        let key = format!("{port}/{}", protocol.word());
        settings.ports.entry(key).or_default();
    }
    for port in &endpoint.published {
        let key = format!("{}/{}", port.container_port, port.protocol.word());
        let bindings = settings.ports.entry(key).or_default();
        bindings.get_or_insert_default().push(PortBinding {
            host_ip: port.host_address.to_string(),
            host_port: port.host_port.to_string(),
        });
    }
    settings
}

/// The ports in a list of containers.
pub fn port_summaries(record: &Record) -> Vec<PortSummary> {
    let Some(endpoint) = endpoint(record) else {
        return Vec::new();
    };
    let published = endpoint.published.iter().map(|port| PortSummary {
        ip: Some(port.host_address.to_string()),
        private_port: port.container_port,
        public_port: Some(port.host_port),
        protocol: port.protocol.word().to_owned(),
    });
    let only_exposed = exposed(&record.settings.exposed_ports)
        .into_iter()
        .filter(|(number, protocol)| {
            !endpoint
                .published
                .iter()
                .any(|p| p.container_port == *number && p.protocol == *protocol)
        })
        .map(|(number, protocol)| PortSummary {
            ip: None,
            private_port: number,
            public_port: None,
            protocol: protocol.word().to_owned(),
        });
    published.chain(only_exposed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_network::Protocol;

    fn read(key: &str, ip: &str, port: &str) -> Result<Vec<PortRequest>, String> {
        let binding = PortBinding {
            host_ip: ip.to_owned(),
            host_port: port.to_owned(),
        };
        let host = HostConfig {
            port_bindings: [(key.to_owned(), Some(vec![binding]))].into(),
            ..HostConfig::default()
        };
        ports(&host, Ipv4Addr::UNSPECIFIED).map_err(|e| format!("{e:?}"))
    }

    #[test]
    fn bindings_are_read_and_shown_as_they_were() {
        for (key, ip, port, range) in [
            ("80/tcp", "", "8080", (8080, 8080)),
            ("53/udp", "127.0.0.1", "", (0, 0)),
            ("80/tcp", "", "8000-8010", (8000, 8010)),
        ] {
            let list = read(key, ip, port).unwrap();
            assert_eq!((list[0].host_port.first, list[0].host_port.last), range);
            let host = HostSettings {
                ports: list,
                ..HostSettings::default()
            };
            let shown = port_bindings(&host);
            let binding = &shown[key].as_ref().unwrap()[0];
            assert_eq!(
                (binding.host_ip.as_str(), binding.host_port.as_str()),
                (ip, port)
            );
        }
        assert_eq!(read("80", "", "0").unwrap()[0].protocol, Protocol::Tcp);
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for (key, ip, port) in [
            ("x/tcp", "", "80"),
            ("80/quic", "", "80"),
            ("0/tcp", "", "80"),
            ("80/tcp", "1.2.3", "80"),
            ("80/tcp", "", "65536"),
            ("80/tcp", "", "9-8"),
            ("80/tcp", "::1", "80"),
        ] {
            assert!(read(key, ip, port).is_err(), "{key} {ip} {port}");
        }
    }

    #[test]
    fn hardware_addresses_have_six_octets() {
        let asked = |text: &str| {
            let endpoint = EndpointSettings {
                mac_address: text.to_owned(),
                ..EndpointSettings::default()
            };
            mac(&NetworkingConfig {
                endpoints_config: [("bridge".to_owned(), endpoint)].into(),
            })
        };
        assert_eq!(asked("").unwrap(), None);
        assert_eq!(
            asked("02:42:ac:11:00:FF").unwrap(),
            Some([2, 0x42, 0xac, 0x11, 0, 0xff])
        );
        for wrong in ["02:42", "02:42:ac:11:00:zz", "2:42:ac:11:0:1", "x"] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}
