//! What crosses the seam between a container and its network: plain data.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

/// A protocol that ports are published of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The word on the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Ports of the host that one may be chosen from: both ends belong to it. `0..=0` for any free
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

/// A port to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRequest {
    /// The protocol.
    pub protocol: Protocol,
    /// The port inside the container.
    pub container_port: u16,
    /// The host's address; 0.0.0.0 for all of them.
    pub host_address: Ipv4Addr,
    /// The host's port.
    pub host_port: PortRange,
}

/// A port that is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The protocol.
    pub protocol: Protocol,
    /// The port inside the container.
    pub container_port: u16,
    /// The host's address; 0.0.0.0 for all of them.
    pub host_address: Ipv4Addr,
    /// The host's port.
    pub host_port: u16,
}

/// What a container asks its network for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachRequest {
    /// A certain address; none for the next free one.
    pub address: Option<Ipv4Addr>,
    /// A certain hardware address; none for one that follows from the address.
    pub mac: Option<[u8; 6]>,
    /// Ports to publish.
    pub ports: Vec<PortRequest>,
}

/// A container's place on its network. It lives as long as the run; the container keeps it in its
/// runtime directory, where the next engine finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Id of the network: 64 hexadecimal digits.
    pub network: String,
    /// Id of the endpoint: likewise.
    pub id: String,
    /// The host's end of the link.
    pub link: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// Bits of the network's prefix.
    pub prefix: u8,
    /// The way out.
    pub gateway: Ipv4Addr,
    /// Hardware address, `02:42:…`.
    pub mac: String,
    /// The ports that are published.
    pub published: Vec<Published>,
}

/// A network namespace that is ready for a container, with its place on the network.
#[derive(Debug)]
pub struct Attachment {
    /// The namespace. It is gone with the last descriptor and process.
    pub namespace: OwnedFd,
    /// The place on the network.
    pub endpoint: Endpoint,
}
