//! The default network of an engine: a bridge, an address for every container, the way out, and
//! published ports.

mod endpoint;
mod error;
mod service;

pub use endpoint::{
    AttachRequest, Attachment, Endpoint, PortRange, PortRequest, Protocol, Published,
};
pub use error::NetworkError;
pub use service::{NetworkConfig, Networks, Resolvers, Summary};
