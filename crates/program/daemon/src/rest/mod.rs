//! The Docker Engine API: routes, and the border between its wire types and the domains.

mod containers;
pub mod convert;
mod error;
mod images;
mod logs;
mod networks;
mod reply;
mod router;
mod system;

pub use containers::ContainersApi;
pub use images::{IMPORTS, ImagesApi};
pub use networks::NetworksApi;
pub use router::Api;
pub use system::SystemApi;
