//! The Docker Engine API: routes, and the border between its wire types and the domains.

mod commit;
mod containers;
pub mod convert;
mod error;
mod image_archives;
mod image_changes;
mod images;
mod logs;
mod reply;
mod router;
mod system;
mod until;

pub use containers::ContainersApi;
pub use images::{IMPORTS, ImagesApi};
pub use router::Api;
pub use system::SystemApi;
