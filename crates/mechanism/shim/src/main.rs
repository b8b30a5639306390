//! `berth-shim <container id>`: the monitor of one container.
//!
//! One process, one thread, one event loop. It is started by the engine with a control socket as
//! descriptor 0 (the argument is for people who read `ps`), starts the container, and from then
//! on needs nobody:
//!
//! ```text
//! launch ──► run ─────────────────► end ───────────────► gone
//!   │         pump output to log      drain the pipes
//!   │         and clients, input      flush the clients
//!   │         to the program          write exit.json
//!   └► FAILED, and nothing is left    tell who watches
//! ```
//!
//! The engine may die and come back at any time. If the monitor itself is killed, the kernel
//! kills the container's init, which asked for that at its birth.

mod monitor;

fn main() -> std::process::ExitCode {
    monitor::main()
}
