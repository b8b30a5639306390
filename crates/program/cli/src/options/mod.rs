//! What `create` and `run` take: read as typed, then resolved into what was meant.

pub mod csv;
pub mod device;
pub mod flags;
pub mod moment;
pub mod mount;
pub mod network;
pub mod port;
pub mod resolve;
pub mod security;
pub mod sources;
pub mod value;
