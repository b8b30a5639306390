//! The Docker Engine API: routes, and the border between its wire types and the domains.

mod attach;
mod commit;
mod containers;
pub mod convert;
mod error;
mod events;
mod exec;
mod files;
mod image_archives;
mod image_changes;
mod images;
mod life;
mod logs;
mod memory;
mod moment;
mod networks;
mod pull;
mod reply;
mod router;
mod stats;
mod system;
mod tasks;
mod terminals;

pub use containers::ContainersApi;
pub use exec::ExecApi;
pub use files::FilesApi;
pub use images::{IMPORTS, ImagesApi, SAVES};
pub use life::LifeApi;
pub use networks::NetworksApi;
pub use router::Api;
pub use system::SystemApi;
pub use tasks::alone;
