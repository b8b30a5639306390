//! HTTP over Unix sockets: connections, bodies, hijacked streams.

mod body;
mod hangup;
pub mod hijack;
mod lane;
mod query;
mod server;

pub use body::{Body, Broken, Sender, breakable, channel, empty, full, send_blocking};
pub use lane::Lane;
pub use query::Query;
pub use server::{Listener, serve};
