//! The Docker Engine API: routes, and the border between its wire types and the domains.

mod containers;
pub mod convert;
mod error;
mod files;
mod images;
mod logs;
mod pull;
mod reply;
mod router;
mod system;

pub use containers::ContainersApi;
pub use files::FilesApi;
pub use images::{IMPORTS, ImagesApi};
pub use router::Api;
pub use system::SystemApi;
