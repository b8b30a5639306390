//! Verbs that cross domains: free functions over the services they name.

mod df;
mod info;

pub use df::{Sort, disk_usage};
pub use info::{info, version};
