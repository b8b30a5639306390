//! The only place where wire types and domain types meet.

mod create;
mod image;
mod inspect;
mod mounts;
mod network;
mod summary;

pub use create::{check_platform, create_request};
pub use image::{image_filter, image_inspect, image_summary};
pub use inspect::inspect;
pub use summary::summary;
