//! The Docker Engine API: routes, and the border between its wire types and the domains.

mod attach;
mod containers;
pub mod convert;
mod error;
mod exec;
mod images;
mod logs;
mod networks;
mod pull;
mod reply;
mod router;
mod system;
mod terminals;

pub use containers::ContainersApi;
pub use exec::ExecApi;
pub use images::{IMPORTS, ImagesApi};
pub use networks::NetworksApi;
pub use router::Api;
pub use system::SystemApi;
