//! System call filters: from a profile in the OCI's words to a loaded BPF program.
//!
//! [`compile()`] is pure and turns a [`Profile`] into a [`Filter`]; the filter travels to the
//! process it is for as bytes, and [`Filter::load`] installs it there. Compiling once and caching
//! the bytes is the point: a container start only pays for the load.

pub mod ask;
mod checks;
mod compile;
mod emit;
mod filter;
mod profile;
mod ranges;
mod simulate;

pub use compile::{CompileError, compile};
pub use filter::{Filter, FilterError, Instruction, MAX_INSTRUCTIONS};
pub use profile::{Action, Condition, Operator, Profile, Rule};
