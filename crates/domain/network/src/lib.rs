//! The default network of an engine: a bridge, an address for every container, the way out, and
//! published ports.

mod bridge;
mod endpoint;
mod error;
mod firewall;
mod forwarder;
mod link;
mod network;
mod pool;
mod ports;
mod resolvers;
mod service;
mod spares;
mod subnet;
mod sysctl;
mod wait;
mod warnings;

pub use endpoint::{
    AttachRequest, Attachment, Endpoint, PortRange, PortRequest, Protocol, Published,
};
pub use error::NetworkError;
pub use service::{NetworkConfig, Networks, Resolvers, Summary};
