//! A file system that stops answering: what a network file system does whose server is gone.
//!
//! ```text
//! /       a directory
//! /data   a file; whoever reads it waits
//! ```
//!
//! The kernel's questions are read and answered (`fuse(4)`, `linux/fuse.h`) until the file system
//! is told to hang; reads of `/data` are never answered. Who waits for a question that was read
//! sleeps uninterruptibly: not even SIGKILL ends that. Dropping the value closes the device, which
//! breaks the connection: everybody who waits gets an error.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use berth_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use berth_sys::rustix::fs::OFlags;

use crate::command::run;
use crate::wait::wait_until;

/// Between two looks whether the server shall end.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
/// Somebody waits within this time.
const LIMIT: Duration = Duration::from_secs(60);
/// Larger than any question: the kernel insists on room for its largest write.
const QUESTION_MAX: usize = 256 << 10;
const HEADER: usize = 40;
const ROOT: u64 = 1;
const DATA: u64 = 2;
const NOT_FOUND: i32 = 2;
const NOT_SUPPORTED: i32 = 38;

/// The mounted file system. See the module.
#[derive(Debug)]
pub struct HungFiles {
    path: PathBuf,
    namespace: u32,
    state: Arc<State>,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    hangs: AtomicBool,
    over: AtomicBool,
    unanswered: AtomicUsize,
}

impl HungFiles {
    /// Mounts one in the mount namespace of a process.
    pub(crate) fn mount(path: PathBuf, namespace: u32) -> Self {
        fs::create_dir_all(&path).expect("the root is ours");
        let mut options = OpenOptions::new();
        // A question that is announced may be taken back before it is read.
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        options.read(true).write(true).custom_flags(nonblocking);
        let device = options.open("/dev/fuse");
        let device = device.expect("the kernel has FUSE");
        let state = Arc::new(State::default());
        let (served, its) = (
            device.try_clone().expect("a descriptor can be duplicated"),
            Arc::clone(&state),
        );
        let server = std::thread::spawn(move || its.serve(served));
        let files = Self {
            path,
            namespace,
            state,
            server: Some(server),
        };
        let mut mount = files.inside("mount");
        mount
            .args(["-i", "-t", "fuse", "-o"])
            .arg("fd=0,rootmode=40000,user_id=0,group_id=0,allow_other")
            .arg("hung")
            .arg(&files.path)
            .stdin(Stdio::from(device));
        // By hand: its standard input is the device.
        let mounted = mount.output().expect("nsenter is installed");
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "mounting FUSE: {said}");
        files
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on nothing is answered.
    pub fn hang(&self) {
        self.state.hangs.store(true, Ordering::Relaxed);
    }

    /// Waits until `count` questions were read that are never answered.
    ///
    /// # Panics
    /// When nobody asks.
    pub fn wait_for_victims(&self, count: usize) {
        wait_until("somebody waits for the file system", LIMIT, || {
            (self.state.unanswered.load(Ordering::Relaxed) >= count).then_some(())
        });
    }

    /// Breaks the connection: everybody who waits gets an error.
    pub fn release(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            // It panics in no case, and if it does the device is closed as well.
            let _ = server.join();
        }
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.namespace.to_string(), "--"]);
        command.arg(program);
        command
    }
}

impl Drop for HungFiles {
    fn drop(&mut self) {
        self.release();
        // What cannot be unmounted is found by the engine's own proof.
        run(self.inside("umount").arg("--lazy").arg(&self.path));
    }
}

impl State {
    fn serve(&self, mut device: File) {
        let mut question = vec![0; QUESTION_MAX];
        while !self.over.load(Ordering::Relaxed) {
            let mut ready = [PollFd::new(&device, PollFlags::IN)];
            if !matches!(poll(&mut ready, Some(&LOOK_EVERY)), Ok(1)) {
                continue;
            }
            match device.read(&mut question) {
                Ok(length) => self.hear(&mut device, &question[..length]),
                // Not mounted yet, or a question that was taken back.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.raw_os_error() == Some(NOT_FOUND) => {}
                Err(_) => return,
            }
        }
    }

    fn hear(&self, device: &mut File, question: &[u8]) {
        const FORGET: u32 = 2;
        const READ: u32 = 15;
        const INTERRUPT: u32 = 36;
        const FORGET_MANY: u32 = 42;
        let word = |at: usize| u32::from_ne_bytes(bytes(question, at));
        let (operation, unique) = (word(4), u64::from_ne_bytes(bytes(question, 8)));
        match operation {
            FORGET | FORGET_MANY | INTERRUPT => {}
            READ => drop(self.unanswered.fetch_add(1, Ordering::Relaxed)),
            _ if self.hangs.load(Ordering::Relaxed) => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                let node = u64::from_ne_bytes(bytes(question, 16));
                let (error, body) = match answer(operation, node, &question[HEADER..]) {
                    Ok(body) => (0, body),
                    Err(error) => (-error, Vec::new()),
                };
                let mut reply = Vec::new();
                let length = u32::try_from(16 + body.len()).expect("answers are short");
                reply.extend(length.to_ne_bytes());
                reply.extend(error.to_ne_bytes());
                reply.extend(unique.to_ne_bytes());
                reply.extend(body);
                // Who asked may have been killed meanwhile.
                let _ = device.write(&reply);
            }
        }
    }
}

fn bytes<const N: usize>(question: &[u8], at: usize) -> [u8; N] {
    let part = question
        .get(at..at + N)
        .and_then(|part| part.try_into().ok());
    part.unwrap_or([0; N])
}

/// What the kernel gets to know, or an error number.
fn answer(operation: u32, node: u64, arguments: &[u8]) -> Result<Vec<u8>, i32> {
    match operation {
        // LOOKUP: the number, its generation, no validity at all, the attributes.
        1 if arguments.starts_with(b"data\0") => {
            Ok([words(&[DATA, 0, 0, 0, 0]), attributes(DATA)].concat())
        }
        1 => Err(NOT_FOUND),
        // GETATTR: as above.
        3 => Ok([words(&[0, 0]), attributes(node)].concat()),
        // OPEN: past the page cache, where a sleep could be killed. OPENDIR has nothing to say.
        14 => Ok(words(&[0, 1])),
        27 => Ok(words(&[0, 0])),
        // STATFS; the sizes of blocks and names are in the sixth and the seventh.
        17 => Ok(words(&[0, 0, 0, 0, 0, 255 << 32 | 4096, 4096, 0, 0, 0])),
        // RELEASE, FLUSH, READDIR, RELEASEDIR, ACCESS: done, and nothing to list.
        18 | 25 | 28 | 29 | 34 => Ok(Vec::new()),
        // INIT: the version, no read-ahead and no features, the largest write, a granularity.
        26 => Ok(words(&[31 << 32 | 7, 0, 4096 << 32, 1, 0, 0, 0, 0])),
        _ => Err(NOT_SUPPORTED),
    }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `struct fuse_attr`.
fn attributes(node: u64) -> Vec<u8> {
    let mode: u32 = if node == ROOT { 0o040_755 } else { 0o100_644 };
    let links: u32 = if node == ROOT { 2 } else { 1 };
    let mut text = words(&[node, 4096, 8, 0, 0, 0]);
    // Three times with their parts of a second, then mode, links, owner, group, device, block
    // size and flags.
    for word in [0, 0, 0, mode, links, 0, 0, 0, 4096, 0] {
        text.extend(word.to_ne_bytes());
    }
    text
}
