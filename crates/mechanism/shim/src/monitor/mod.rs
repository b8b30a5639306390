//! The monitor's life, from its first instruction to its last.

mod attach;
mod bus;
mod connection;
mod control;
mod ending;
mod further;
mod input;
mod launch;
mod oom;
mod outgoing;
mod screen;
mod session;
mod terminal;
mod watched;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use berth_shim::{PROGRAM_NAME, SPARE_ARGUMENT};
use berth_sys::rustix::fs::{Mode, OFlags, open};
use berth_sys::rustix::process::{Signal, chdir, getpid, set_child_subreaper, setsid};
use berth_sys::title::LastArgument;
use berth_sys::{memory, rustix, spawn};

use bus::Bus;

/// Signals that somebody may send to everything on the machine, and those of a failed write. The
/// monitor ends when its container ends; who wants that sooner signals the container.
const ABSORBED: [Signal; 6] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::PIPE,
    Signal::XFSZ,
];

/// Makes the kernel take almost anything before a monitor when memory runs out: without it nobody
/// would know how its container ended.
const OOM_SCORE: &str = "-998";

pub fn main() -> ExitCode {
    let control = match settle_in() {
        Ok(control) => control,
        Err(error) => {
            eprintln!("berth-shim is started by berthd, with a socket as standard input: {error}");
            return ExitCode::FAILURE;
        }
    };
    // A spare is told late whose monitor it is. One that cannot show it is as good.
    let title = std::env::args().nth(1).filter(|arg| arg == SPARE_ARGUMENT);
    let title = title.and_then(|arg| LastArgument::find(arg.len()).ok());
    let Some((launched, epoll, control)) = launch::launch(control, title) else {
        return ExitCode::FAILURE;
    };
    // Not earlier: the container's init would inherit it. A refusal costs a little safety only.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    memory::release_unused();
    Bus::new(launched, control).run(epoll);
    ExitCode::SUCCESS
}

/// Leaves the engine's session and takes the control socket off descriptor 0. The standard
/// library's own handle is not used: it would allocate a buffer for good.
fn settle_in() -> std::io::Result<UnixStream> {
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    if rustix::net::sockopt::socket_domain(&control)? != rustix::net::AddressFamily::UNIX {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let null = dev_null(OFlags::RDWR)?;
    rustix::stdio::dup2_stdin(null)?;
    // Refused to a process that leads a group already, which is just as well.
    let _ = setsid();
    chdir("/")?;
    rustix::thread::set_name(&std::ffi::CString::new(PROGRAM_NAME)?)?;
    // What the container's processes leave behind becomes our child, and is reaped.
    set_child_subreaper(Some(getpid()))?;
    spawn::absorb_signals(&ABSORBED.map(Signal::as_raw))?;
    Ok(control.into())
}

fn dev_null(access: OFlags) -> std::io::Result<OwnedFd> {
    Ok(open("/dev/null", access | OFlags::CLOEXEC, Mode::empty())?)
}
