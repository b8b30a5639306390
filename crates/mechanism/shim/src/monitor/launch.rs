//! From the first frame on the control socket to a running container, or to nothing.

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use berth_runtime::{StartRequest, Stdio};
use berth_shim::log::{self, Writer};
use berth_shim::protocol::{Channel, ChannelError, Message, Running};
use berth_shim::{AttachWant, LaunchRequest, SOCKET_NAME, exit_record};
use berth_sys::cgroup::Cgroup;
use berth_sys::epoll::Epoll;
use berth_sys::rustix::fs::{AtFlags, OFlags, unlinkat};
use berth_sys::rustix::io::ioctl_fionbio;
use berth_sys::rustix::pipe::{PipeFlags, pipe_with};
use berth_sys::seccomp::Filter;
use berth_sys::title::LastArgument;
use berth_sys::{process, socket};
use berth_types::launch::{LogTarget, ProcessIdentity, StartFailure, StartFailureKind, Stdin};

use super::dev_null;
use super::input::Input;
use super::session::{INIT, Session};

/// Most events that the loop takes at a time.
const EVENTS_MAX: usize = 16;

/// `/proc/PID/oom_score_adj` of a container whose specification does not say.
const CONTAINER_OOM_SCORE: i32 = 0;

/// A running container and everything that its monitor holds for it.
pub struct Launched {
    pub running: Running,
    pub init: OwnedFd,
    pub cgroup: Cgroup,
    pub parked: Vec<(AttachWant, UnixStream)>,
    pub durable_exit: bool,
    pub place: Place,
    pub session: Session,
    /// The OOM score of the container.
    pub oom_score: i32,
}

/// The container's directories, and what is open there.
pub struct Place {
    pub state: OwnedFd,
    pub runtime: OwnedFd,
    pub listener: UnixListener,
    pub log: Option<Writer>,
}

/// The monitor's ends of the container's standard streams.
pub struct Streams {
    /// Where input is written; none for a container that reads `/dev/null`.
    pub input: Option<OwnedFd>,
    /// Whether the first client that ends its input ends the container's.
    pub input_once: bool,
    /// Standard output and standard error.
    pub output: [OwnedFd; 2],
}

/// What arrived on the control socket.
struct Order {
    request: LaunchRequest,
    filter: Option<Filter>,
    state: OwnedFd,
    runtime: OwnedFd,
    parked: Vec<UnixStream>,
}

/// Starts the container that the engine asks for, and gives the control socket back, and a loop to
/// wait in, which is made while a failure can still be told. None when
/// it does not run; the engine has been told why then, if it still listens, and nothing is left.
/// `title` is where the container's id goes, in a monitor that was spawned without one.
pub fn launch(
    control: UnixStream,
    title: Option<LastArgument>,
) -> Option<(Launched, Epoll, UnixStream)> {
    let mut channel = Channel::new(control);
    let order = match receive(&mut channel) {
        Ok(order) => order,
        Err(error) => {
            refuse(&mut channel, &error);
            return None;
        }
    };
    if let Some(title) = title {
        let _ = title.replace(order.request.launch.id.to_string().as_bytes());
    }
    let epoll = Epoll::new(EVENTS_MAX).map_err(|e| failure("make an event loop", &e));
    match epoll.and_then(|epoll| Ok((start(order)?, epoll))) {
        Ok((mut launched, epoll)) => {
            let started = Message::Started(launched.running.clone());
            // An engine that is gone by now finds the container when it comes back.
            let _ = channel.send(&started, &[launched.init.as_fd()]);
            // Where the time went is of interest once, and not worth memory for good.
            launched.running.started.phases = Vec::new();
            Some((launched, epoll, channel.into_socket()))
        }
        Err(failure) => {
            let _ = channel.send(&Message::Failed(failure), &[]);
            None
        }
    }
}

fn receive(channel: &mut Channel) -> Result<Order, ChannelError> {
    let mut descriptors = Vec::new();
    let Message::Hello = channel.receive(&mut descriptors)? else {
        return Err(ChannelError::Unexpected);
    };
    channel.send(&Message::Hello, &[])?;
    let Message::Launch(request) = channel.receive(&mut descriptors)? else {
        return Err(ChannelError::Unexpected);
    };
    let Message::Filter(program) = channel.receive(&mut descriptors)? else {
        return Err(ChannelError::Unexpected);
    };
    if descriptors.len() != request.parked.len() + 2 {
        return Err(ChannelError::Unexpected);
    }
    let mut descriptors = descriptors.into_iter();
    let (Some(state), Some(runtime)) = (descriptors.next(), descriptors.next()) else {
        return Err(ChannelError::Unexpected);
    };
    let filter = (!program.is_empty())
        .then(|| Filter::from_bytes(&program))
        .transpose();
    Ok(Order {
        request: *request,
        filter: filter.map_err(|_| ChannelError::Unexpected)?,
        state,
        runtime,
        parked: descriptors.map(UnixStream::from).collect(),
    })
}

/// Says why there is no container. An engine of another version sees that in the header.
fn refuse(channel: &mut Channel, error: &ChannelError) {
    if !matches!(error, ChannelError::Io(_)) {
        let text = format!(
            "the launch request cannot be used: {}",
            berth_types::chain(error)
        );
        let _ = channel.send(&Message::Refused(text), &[]);
    }
}

fn start(order: Order) -> Result<Launched, StartFailure> {
    let Order {
        request: LaunchRequest { mut launch, parked },
        filter,
        ..
    } = order;
    let process = &mut launch.bundle.spec.process;
    let oom_score = *process.oom_score_adj.get_or_insert(CONTAINER_OOM_SCORE);
    let (mut session, stdio) = if process.terminal {
        (Session::new(INIT, Input::coming(), [None, None]), None)
    } else {
        let (streams, stdio) =
            open_streams(launch.stdin).map_err(|e| failure("open the standard streams", &e))?;
        (streams.session(INIT), Some(stdio))
    };
    let name = log::file_name(&launch.id);
    let place = Place::open(order.state, order.runtime, name, &launch.log)?;

    let request = StartRequest {
        bundle: &launch.bundle,
        filter: filter.as_ref(),
        stdio,
    };
    let started = berth_runtime::start(request).and_then(|mut started| {
        match complete(&mut started, &mut session) {
            Ok(monitor) => Ok((monitor, started)),
            Err(failure) => {
                let _ = started.cgroup.kill_all();
                let _ = started.cgroup.remove();
                Err(failure)
            }
        }
    });
    match started {
        Ok((monitor, started)) => Ok(Launched {
            running: Running {
                monitor,
                started: started.started,
            },
            init: started.init_pidfd,
            cgroup: started.cgroup,
            parked: parked.into_iter().zip(order.parked).collect(),
            durable_exit: launch.durable_exit,
            place,
            session,
            oom_score,
        }),
        Err(failure) => {
            place.discard();
            Err(failure)
        }
    }
}

/// Gives the session its terminal, and finds out who this monitor is.
fn complete(
    started: &mut berth_runtime::Running,
    session: &mut Session,
) -> Result<ProcessIdentity, StartFailure> {
    let terminal = match started.terminal.take() {
        Some(master) => session
            .set_terminal(master, true)
            .map_err(|e| failure("keep the terminal", &e)),
        None => Ok(()),
    };
    let pid = std::process::id().cast_signed();
    terminal.and_then(|()| {
        process::identity(pid).map_err(|e| failure("read the monitor's own start time", &e))
    })
}

impl Place {
    fn open(
        state: OwnedFd,
        runtime: OwnedFd,
        log_name: String,
        log: &LogTarget,
    ) -> Result<Self, StartFailure> {
        exit_record::remove(&state).map_err(|e| failure("remove the last exit record", &e))?;
        let log = match *log {
            LogTarget::None => None,
            LogTarget::JsonFile {
                max_size,
                max_files,
            } => {
                let log = Writer::open(state.as_fd(), log_name, max_size, max_files);
                Some(log.map_err(|e| failure("open the container's log", &e))?)
            }
        };
        match listen(runtime.as_fd()) {
            Ok(listener) => Ok(Self {
                state,
                runtime,
                listener,
                log,
            }),
            Err(error) => {
                log.into_iter().for_each(Writer::discard_empty);
                Err(failure("listen on the monitor's socket", &error))
            }
        }
    }

    /// Leaves nothing of a container that did not start.
    fn discard(self) {
        let _ = unlinkat(&self.runtime, SOCKET_NAME, AtFlags::empty());
        self.log.into_iter().for_each(Writer::discard_empty);
    }
}

/// How long another monitor may take to show that it listens.
const OTHER_WITHIN: Duration = Duration::from_secs(1);

/// Makes the monitor's socket. One that is there already is taken over only from a dead monitor.
fn listen(runtime: BorrowedFd<'_>) -> io::Result<UnixListener> {
    let listener = match socket::bind_at(runtime, SOCKET_NAME) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            match socket::connect_at(runtime, SOCKET_NAME, OTHER_WITHIN) {
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                _ => return Err(error),
            }
            unlinkat(runtime, SOCKET_NAME, AtFlags::empty())?;
            socket::bind_at(runtime, SOCKET_NAME)?
        }
        listener => listener?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Makes the pipes. Only the monitor's ends are nonblocking: a program that finds its standard
/// streams so would be surprised.
pub fn open_streams(stdin: Stdin) -> io::Result<(Streams, Stdio)> {
    let (input, stdin, input_once) = match stdin {
        Stdin::Null => (None, dev_null(OFlags::RDONLY)?, false),
        Stdin::Pipe { once } => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            ioctl_fionbio(&write, true)?;
            (Some(write), read, once)
        }
    };
    let (out_read, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (err_read, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    ioctl_fionbio(&out_read, true)?;
    ioctl_fionbio(&err_read, true)?;
    let streams = Streams {
        input,
        input_once,
        output: [out_read, err_read],
    };
    Ok((
        streams,
        Stdio {
            stdin,
            stdout,
            stderr,
        },
    ))
}

pub fn failure(what: &str, why: &dyn Display) -> StartFailure {
    let message = format!("cannot {what} for the container: {why}");
    StartFailure {
        kind: StartFailureKind::Internal,
        message,
    }
}
