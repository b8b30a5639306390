//! The harness of black-box tests: an engine of its own for every test, the stock docker CLI and
//! `berth` against it, and a proof afterwards that nothing of it is left on the host.
//!
//! ```no_run
//! let engine = berth_testkit::Engine::with_busybox();
//! let out = engine.docker(&["run", "--rm", "--network", "none", "busybox:test", "echo", "hello"]);
//! assert_eq!(out.ok(), "hello\n");
//! ```
//!
//! Every engine lives in a mount and a network namespace of its own, with its roots in one short
//! directory and everything it starts below one cgroup. A guardian process holds the namespaces;
//! it notices when the test dies in whatever way and kills what is below the cgroup.
//!
//! Tests run as root, and fail rather than skip when something they need is missing.

mod builder;
mod census;
mod cgroup;
mod command;
mod engine;
mod faults;
mod fuse;
mod ground;
mod guardian;
mod http;
mod programs;
mod pty;
mod rootfs;
pub mod validate;
mod wait;

pub use builder::EngineBuilder;
pub use census::Census;
pub use command::{Background, Output};
pub use engine::{Engine, HOST, MACHINE, NAME_SERVER, UPLINK_MTU};
pub use faults::{Fault, Faults};
pub use fuse::HungFiles;
pub use http::{Response, exchange};
pub use programs::{program, require_root};
pub use pty::Terminal;
pub use rootfs::busybox_rootfs_tar;
pub use wait::{Watchdog, wait_until};
