//! The monitor of one container, as the engine sees it: the protocol on its sockets, the
//! [`Launcher`] that starts or finds monitors, the exit record, and the writer of the log.
//!
//! The program `berth-shim` is the other half of this package. One runs per container; it is the
//! parent of the container's init, holds its standard streams, log and exit record, and outlives
//! the engine. This library knows the protocol only: it never starts a container itself and does
//! not touch the runtime.

pub mod exit_record;
pub mod fake;
pub mod launcher;
pub mod log;
pub mod protocol;

mod client;

pub use client::ShimLauncher;
pub use launcher::{AdoptError, ExecTask, LaunchError, Launcher, Placement, Task};
pub use protocol::{AttachWant, ExecRequest, LaunchRequest, Role, TerminalState};

/// The monitor's listening socket in the runtime directory of its container, mode 0600.
pub const SOCKET_NAME: &str = "monitor.sock";

/// What `ps` shows as the monitor's program name, and its `comm`.
pub const PROGRAM_NAME: &str = "berth-shim";

/// The argument of a monitor that waits for a container, as long as the id that takes its place.
pub const SPARE_ARGUMENT: &str = "spare                                                           ";
const _: () = assert!(SPARE_ARGUMENT.len() == 64);
