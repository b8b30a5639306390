//! The engine itself: ping, version and info.

mod info;
mod ping;
mod version;

pub use info::{
    AddressPool, Commit, ContainerdInfo, ContainerdNamespaces, DeviceInfo, FirewallInfo, Info,
    NriInfo, PluginsInfo,
};
pub use info::{IndexInfo, PeerNode, RegistryServiceConfig, Runtime, SwarmInfo};
pub use ping::{Ping, header};
pub use version::{Version, VersionComponent, VersionPlatform};
