//! Networks (`/networks`), ports, endpoints and the network part of a container
//! (`EndpointSettings`, `PortMap`, `NetworkingConfig`, `NetworkSettings`).

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

/// `NetworkSummary`: one entry of `GET /networks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkSummary {
    /// Name, unique on this engine.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// `local`.
    pub scope: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// Whether containers get IPv4 addresses.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// Whether containers get IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Where addresses come from.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// Whether there is no way out.
    pub internal: bool,
    /// Swarm: whether ordinary containers may join.
    pub attachable: bool,
    /// Swarm: whether it is the routing mesh.
    pub ingress: bool,
    /// Network that lends its configuration.
    pub config_from: ConfigReference,
    /// Whether it only lends its configuration.
    pub config_only: bool,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Swarm: the nodes of an overlay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerInfo>,
}

/// `NetworkInspect`: `GET /networks/{id}`, the summary with who is on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkInspect {
    /// See [`NetworkSummary`], also for what follows.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// `local`.
    pub scope: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// Whether containers get IPv4 addresses.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// Whether containers get IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Where addresses come from.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// Whether there is no way out.
    pub internal: bool,
    /// Swarm: whether ordinary containers may join.
    pub attachable: bool,
    /// Swarm: whether it is the routing mesh.
    pub ingress: bool,
    /// Network that lends its configuration.
    pub config_from: ConfigReference,
    /// Whether it only lends its configuration.
    pub config_only: bool,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Swarm: the nodes of an overlay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerInfo>,
    /// The endpoints, by the container's id.
    pub containers: BTreeMap<String, EndpointResource>,
    /// Swarm: services.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, serde_json::Value>,
    /// How many addresses are in use; since 1.52.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<NetworkStatus>,
}

/// `IPAM`: where a network's addresses come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ipam {
    /// `default`.
    pub driver: String,
    /// Options of that driver.
    #[serde(serialize_with = "nil::map")]
    pub options: BTreeMap<String, String>,
    /// Subnets.
    #[serde(serialize_with = "nil::list")]
    pub config: Vec<IpamConfig>,
}

/// `IPAMConfig`: one subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IpamConfig {
    /// Address and prefix.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    /// The part of it that addresses are given from.
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
    /// The way out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Addresses that are somebody else's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub auxiliary_addresses: BTreeMap<String, String>,
}

/// `ConfigReference`: the network whose configuration this one has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ConfigReference {
    /// Its name; empty for none.
    pub network: String,
}

/// `PeerInfo`: a node of a swarm's overlay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PeerInfo {
    /// Name of the node.
    pub name: String,
    /// Its address.
    #[serde(rename = "IP")]
    pub ip: String,
}

/// `EndpointResource`: a container on a network, as the network shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct EndpointResource {
    /// The container's name, without a slash.
    pub name: String,
    /// Id of the endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// Hardware address.
    pub mac_address: String,
    /// Address and prefix.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// Address and prefix; empty without IPv6.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

/// `NetworkStatus`: what is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkStatus {
    /// Addresses.
    #[serde(rename = "IPAM")]
    pub ipam: IpamStatus,
}

/// `IPAMStatus`: addresses in use, by subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IpamStatus {
    /// By `address/prefix`.
    pub subnets: BTreeMap<String, SubnetStatus>,
}

/// `SubnetStatus`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubnetStatus {
    /// Addresses that cannot be given any more, those of the network itself among them.
    #[serde(rename = "IPsInUse")]
    pub ips_in_use: u64,
    /// Addresses that can.
    #[serde(rename = "DynamicIPsAvailable")]
    pub dynamic_ips_available: u64,
}
