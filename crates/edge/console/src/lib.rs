//! A person's terminal, joined to a container's.
//!
//! - [`terminal`]: is there one, how large is it, and raw mode with a way back;
//! - [`converse`]: the user's keys go to the container and its output comes here, to the last byte;
//! - [`table`]: columns; [`progress`]: a bar for work of known size; [`page`]: text that is drawn
//!   again and again in the same place.
//!
//! It knows the engine only by its API, and prints nothing but what it is given.

pub mod converse;
pub mod error;
mod input;
mod modes;
mod output;
pub mod page;
pub mod progress;
pub mod table;
pub mod terminal;

pub use converse::{Ended, Leave, Options, Typing, converse, show};
pub use error::ConsoleError;
pub use terminal::{Raw, Size, Sizes, Stream};
