//! The Docker Engine API: routes, and the border between its wire types and the domains.

mod containers;
pub mod convert;
mod error;
mod events;
mod images;
mod life;
mod logs;
mod moment;
mod reply;
mod router;
mod stats;
mod system;

pub use containers::ContainersApi;
pub use images::{IMPORTS, ImagesApi};
pub use life::LifeApi;
pub use router::Api;
pub use system::SystemApi;
