//! Verbs that cross domains: free functions over the services they name.

mod info;

pub use info::{info, version};
