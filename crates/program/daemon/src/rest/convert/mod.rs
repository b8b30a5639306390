//! The only place where wire types and domain types meet.

mod commit;
mod create;
mod image;
mod inspect;
mod listed;
pub mod mounts;
mod network;
mod summary;
mod update;

pub use commit::commit_config;
pub use create::{check_platform, create_request};
pub use image::{
    history_item, image_filter, image_inspect, image_prune_filter, image_summary, removal_items,
};
pub use inspect::inspect;
pub use listed::Listed;
pub use summary::{ImageNames, summary};
pub use update::{change, restart_policy};
