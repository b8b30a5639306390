//! Ports, endpoints and the network part of a container (`EndpointSettings`, `PortMap`,
//! `NetworkingConfig`, `NetworkSettings`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::nil;

/// `PortMap`: from `port/protocol` to the host's addresses. `None` is an exposed port that is
/// not published, which Docker writes as `null`.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

/// `PortBinding`: one address of the host that leads to a port of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PortBinding {
    /// The host's address; empty for all.
    pub host_ip: String,
    /// The host's port or range as text; empty or `0` for any free one.
    pub host_port: String,
}

/// `PortSummary`: one port in a list of containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PortSummary {
    /// The host's address, where published.
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The port inside the container.
    pub private_port: u16,
    /// The port on the host, where published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    #[serde(rename = "Type")]
    pub protocol: String,
}

/// `NetworkingConfig`: the networks a new container joins, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkingConfig {
    /// Wishes per network.
    pub endpoints_config: BTreeMap<String, EndpointSettings>,
}

/// `EndpointSettings`: a container's place in one network; wishes in a request, facts in an
/// answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EndpointSettings {
    /// Addresses the user asked for.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointIpamConfig>,
    /// Containers linked into this network.
    #[serde(serialize_with = "nil::list")]
    pub links: Vec<String>,
    /// Further names, as the user gave them.
    #[serde(serialize_with = "nil::list")]
    pub aliases: Vec<String>,
    /// Link-layer address; empty when not connected or not asked for.
    pub mac_address: String,
    /// Options for the network driver.
    #[serde(serialize_with = "nil::map")]
    pub driver_opts: BTreeMap<String, String>,
    /// The highest of a container's endpoints gives its default gateway.
    pub gw_priority: i64,
    /// Id of the network.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// Id of this endpoint; empty when not connected.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// IPv4 gateway.
    pub gateway: String,
    /// IPv4 address.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// IPv4 prefix length in bits.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: i64,
    /// IPv6 gateway.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// IPv6 address.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// IPv6 prefix length in bits.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: i64,
    /// Every name the network's DNS answers for this endpoint.
    #[serde(rename = "DNSNames", serialize_with = "nil::list")]
    pub dns_names: Vec<String>,
}

/// `EndpointIPAMConfig`: addresses the user asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointIpamConfig {
    /// The IPv4 address.
    #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
    pub ipv4_address: String,
    /// The IPv6 address.
    #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
    pub ipv6_address: String,
    /// Link-local addresses.
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Vec::is_empty")]
    pub link_local_ips: Vec<String>,
}

/// `NetworkSettings`: the network of an inspected container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// Id of the network namespace.
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    /// Path of the network namespace.
    pub sandbox_key: String,
    /// Exposed and published ports.
    pub ports: PortMap,
    /// The endpoints, by the network's name.
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// The network part of an entry in a list of containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkSettingsSummary {
    /// The endpoints, by the network's name.
    pub networks: BTreeMap<String, EndpointSettings>,
}
