//! Calls of the engine that fail when a test says so: the N-th one that wants room on the disk
//! below a directory finds none, or the N-th sync fails.
//!
//! The engine is started by a thread with a filter (`berth_sys::seccomp::ask`), which it inherits,
//! and its monitors and helpers do. Before each call that may need room they wait for another
//! thread of the test, which counts the calls over all of them, so that "the N-th" is one place in
//! what the engine does, and lets them happen or fail.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use berth_sys::arch::Arch;
use berth_sys::rustix::fs::OFlags;
use berth_sys::rustix::io::Errno;
use berth_sys::seccomp::ask::{Answer, Call, Listener};

/// Calls by where their file is: in this argument, as a descriptor.
const BY_DESCRIPTOR: [(&str, usize); 14] = [
    ("write", 0),
    ("pwrite64", 0),
    ("writev", 0),
    ("pwritev", 0),
    ("pwritev2", 0),
    ("ftruncate", 0),
    ("fallocate", 0),
    ("sendfile", 0),
    ("copy_file_range", 2),
    ("splice", 2),
    ("fsetxattr", 0),
    ("fsync", 0),
    ("fdatasync", 0),
    ("syncfs", 0),
];
/// As a path in this argument, relative to the descriptor in the one before.
const BY_PATH_AT: [(&str, usize); 8] = [
    ("openat", 1),
    // Where it may make a file, which only the caller's memory tells.
    (OPENAT2, 1),
    ("mkdirat", 1),
    ("mknodat", 1),
    ("symlinkat", 2),
    ("linkat", 3),
    ("renameat", 3),
    ("renameat2", 3),
];
/// As a path in this argument.
const BY_PATH: [(&str, usize); 6] = [
    ("mkdir", 0),
    ("symlink", 1),
    ("link", 1),
    ("rename", 1),
    ("lsetxattr", 0),
    ("setxattr", 0),
];
const OPENAT2: &str = "openat2";
/// Which of its arguments points at `struct open_how`, whose first word are the flags.
const OPEN_HOW: usize = 2;
/// Makes a file system: an overlay makes directories in its work directory then.
const FSCONFIG: &str = "fsconfig";
/// `FSCONFIG_CMD_CREATE`, its second argument.
const MAKES: u64 = 6;
/// The helper that does nothing but write files of containers and layers.
const UNPACKER: &str = "berth-unpack";
const SYNCS: [&str; 3] = ["fsync", "fdatasync", "syncfs"];
/// Longest path that is read from a caller.
const PATH_MAX: usize = 4096;

/// Which calls fail, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The N-th call that wants room finds none, whatever it is.
    NoRoomOnce,
    /// Nor does any later one, but those on the database, whose room is reserved.
    NoRoomFrom,
    /// The N-th sync fails with an I/O error.
    NoSyncOnce,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    /// Calls that still happen before the fault.
    before: u64,
    /// What failed.
    failed: Vec<String>,
}

#[derive(Debug)]
struct State {
    below: PathBuf,
    armed: Option<Armed>,
}

/// The calls of an engine; see the module and [`crate::EngineBuilder::faults`].
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<State>>);

impl Faults {
    /// Of files below `directory`; other calls are not counted. Nothing fails yet.
    pub fn below(directory: &Path) -> Self {
        Self(Arc::new(Mutex::new(State {
            below: directory.to_owned(),
            armed: None,
        })))
    }

    /// Runs `start` on a thread of its own, and listens to whatever that starts until this process
    /// ends.
    ///
    /// # Panics
    /// When the kernel has no such filters.
    pub(crate) fn listen_to<T: Send>(&self, start: impl FnOnce() -> T + Send) -> T {
        let calls: Vec<&str> = BY_DESCRIPTOR
            .iter()
            .chain(&BY_PATH_AT)
            .chain(&BY_PATH)
            .map(|(name, _)| *name)
            .filter(|name| *name != "openat")
            .chain([FSCONFIG])
            .collect();
        let faults = self.clone();
        let (listening, listeners) = std::sync::mpsc::channel::<Listener>();
        thread::spawn(move || {
            if let Ok(listener) = listeners.recv() {
                faults.serve(&listener);
            }
        });
        let started = thread::scope(|scope| {
            let starter = scope.spawn(move || {
                let listener = Listener::install(&calls);
                let listener = listener.expect("the kernel has seccomp filters that ask");
                listening
                    .send(listener)
                    .expect("the thread was just started");
                start()
            });
            starter.join()
        });
        started.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on calls are counted, and the `number`-th (from 1) fails.
    pub fn arm(&self, fault: Fault, number: u64) {
        self.state().armed = Some(Armed {
            fault,
            before: number - 1,
            failed: Vec::new(),
        });
    }

    /// Everything works again. What failed since [`Faults::arm`]: the call, its file, its caller.
    pub fn disarm(&self) -> Vec<String> {
        self.state()
            .armed
            .take()
            .map_or_else(Vec::new, |armed| armed.failed)
    }

    fn serve(&self, listener: &Listener) {
        loop {
            let call = match listener.next() {
                Ok(call) => call,
                // A caller that was killed, or a signal.
                Err(error) if matches!(error.raw_os_error(), Some(2 | 4)) => continue,
                Err(_) => return,
            };
            let answer = self.decide(&call);
            if listener.answer(&call, answer).is_err() {
                return;
            }
        }
    }

    fn decide(&self, call: &Call) -> Answer {
        let mut state = self.state();
        let State { below, armed } = &mut *state;
        let Some(armed) = armed else {
            return Answer::Happen;
        };
        let Some((name, file)) = target(call) else {
            return Answer::Happen;
        };
        let wanted = match armed.fault {
            Fault::NoSyncOnce => SYNCS.contains(&name),
            Fault::NoRoomOnce => !SYNCS.contains(&name) && armed.failed.is_empty(),
            Fault::NoRoomFrom => {
                let database = file.file_name().is_some_and(|n| n == "meta.db");
                !SYNCS.contains(&name) && (!database || name == "fallocate")
            }
        };
        let once = armed.fault != Fault::NoRoomFrom && !armed.failed.is_empty();
        let caller = fs::read_to_string(format!("/proc/{}/comm", call.thread));
        let caller = caller.unwrap_or_default();
        let caller = caller.trim_end();
        // What is unpacked into a container lies below a mount that is nowhere else.
        let counts = name == FSCONFIG
            || file.starts_with(&*below)
            || caller == UNPACKER && file.is_absolute();
        if !wanted || once || !counts {
            return Answer::Happen;
        }
        if armed.before > 0 {
            armed.before -= 1;
            return Answer::Happen;
        }
        let caller = fs::read_to_string(format!("/proc/{}/comm", call.thread));
        let caller = caller.unwrap_or_default();
        armed.failed.push(format!(
            "{name} {} by {}",
            file.display(),
            caller.trim_end()
        ));
        let error = match armed.fault {
            Fault::NoSyncOnce => Errno::IO,
            Fault::NoRoomOnce | Fault::NoRoomFrom => Errno::NOSPC,
        };
        Answer::Fail(error.raw_os_error())
    }
}

/// What is called, and on which file; nothing where that cannot be seen.
fn target(call: &Call) -> Option<(&'static str, PathBuf)> {
    let named = |list: &'static [(&'static str, usize)]| {
        let is = |name: &str| Arch::NATIVE.syscall_number(name) == Some(call.number);
        list.iter().find(|(name, _)| is(name)).copied()
    };
    let link = |what: &str| fs::read_link(format!("/proc/{}/{what}", call.thread)).ok();
    let descriptor = |index: usize| {
        let number = *call.arguments.get(index)? as u32 as i32;
        if number < 0 {
            link("cwd")
        } else {
            link(&format!("fd/{number}"))
        }
    };
    if let Some((name, index)) = named(&BY_DESCRIPTOR) {
        return Some((name, descriptor(index)?));
    }
    if Arch::NATIVE.syscall_number(FSCONFIG) == Some(call.number) {
        let makes = call.arguments.get(1) == Some(&MAKES);
        return makes.then(|| (FSCONFIG, PathBuf::from("a file system")));
    }
    if let Some((name, index)) = named(&BY_PATH_AT) {
        if name == OPENAT2 && !makes_a_file(call.thread, *call.arguments.get(OPEN_HOW)?) {
            return None;
        }
        let path = text(call.thread, *call.arguments.get(index)?)?;
        return Some((name, descriptor(index - 1)?.join(path)));
    }
    let (name, index) = named(&BY_PATH)?;
    let path = text(call.thread, *call.arguments.get(index)?)?;
    Some((name, link("cwd")?.join(path)))
}

/// Whether the `struct open_how` at an address of a thread asks for a new file.
fn makes_a_file(thread: u32, how: u64) -> bool {
    let mut flags = [0; size_of::<u64>()];
    let memory = File::open(format!("/proc/{thread}/mem"));
    let read = memory.and_then(|memory| memory.read_exact_at(&mut flags, how));
    let flags = OFlags::from_bits_retain(u64::from_ne_bytes(flags) as u32);
    read.is_ok() && (flags.contains(OFlags::CREATE) || flags.contains(OFlags::TMPFILE))
}

/// The text at an address of a thread.
fn text(thread: u32, address: u64) -> Option<PathBuf> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = vec![0; PATH_MAX];
    let mut length = memory.read_at(&mut bytes, address).unwrap_or(0);
    if length == 0 {
        // The text may end close to the end of what is mapped.
        let page = usize::try_from(PATH_MAX as u64 - address % PATH_MAX as u64).ok()?;
        length = memory.read_at(bytes.get_mut(..page)?, address).ok()?;
    }
    let end = bytes.get(..length)?.iter().position(|byte| *byte == 0)?;
    Some(PathBuf::from(
        String::from_utf8_lossy(bytes.get(..end)?).into_owned(),
    ))
}
