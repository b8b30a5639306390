//! A place for one container: roots, a busybox root file system, a control group, a launcher.
//! All of it is gone when the value is dropped, and what should have gone by itself is checked.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use berth_shim::protocol::{Decoder, Event};
use berth_shim::{AttachWant, LaunchError, LaunchRequest, Launcher, Role, ShimLauncher, Task};
use berth_sys::rustix::process::{Pid, Signal, kill_process};
use berth_types::ContainerId;
use berth_types::launch::{Bundle, ExitRecord, Launch, LogTarget, Rootfs, Stdin};
use berth_types::oci::{Linux, Mount, Namespace, NamespaceKind, Process, Spec};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const NOTHING: AttachWant = want(false, false);
pub const OUTPUT: AttachWant = want(false, true);
pub const ALL: AttachWant = want(true, true);

const fn want(stdin: bool, output: bool) -> AttachWant {
    AttachWant {
        stdin,
        stdout: output,
        stderr: output,
        role: Role::Follow,
        screen: false,
        announce: String::new(),
    }
}

pub struct Place {
    pub top: PathBuf,
    pub id: ContainerId,
    pub request: LaunchRequest,
}

impl Place {
    /// A place whose container runs the busybox shell with `script`.
    pub fn new(script: &str) -> Self {
        static NUMBER: AtomicU8 = AtomicU8::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [number; 32];
        bytes[..4].copy_from_slice(&std::process::id().to_le_bytes());
        let id = ContainerId::from_bytes(bytes);
        let top = std::env::temp_dir().join(format!("berth-shim-{}", id.short()));
        let rootfs = top.join("rootfs");
        for directory in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            fs::create_dir_all(rootfs.join(directory)).unwrap();
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
        for root in ["data", "run"] {
            fs::create_dir_all(top.join(root).join("containers").join(id.to_string())).unwrap();
        }
        let request = request(id, &rootfs, script);
        Self { top, id, request }
    }

    pub fn launcher(&self) -> ShimLauncher {
        self.launcher_with(0)
    }

    /// A launcher that keeps `spares` monitors ready.
    pub fn launcher_with(&self, spares: usize) -> ShimLauncher {
        let program = Path::new(env!("CARGO_BIN_EXE_berth-shim"));
        let (run, data) = (self.top.join("run"), self.top.join("data"));
        ShimLauncher::new(program, &run, &data, spares).unwrap()
    }

    pub fn start(&self) -> Box<dyn Task> {
        self.start_with(&[]).unwrap().0
    }

    /// Starts with parked clients, whose other ends are returned.
    pub fn start_with(
        &self,
        parked: &[AttachWant],
    ) -> Result<(Box<dyn Task>, Vec<UnixStream>), LaunchError> {
        let mut request = self.request.clone();
        request.parked = parked.to_vec();
        let (mut clients, mut sockets) = (Vec::new(), Vec::<OwnedFd>::new());
        for _ in parked {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_read_timeout(Some(PATIENCE)).unwrap();
            ours.set_write_timeout(Some(PATIENCE)).unwrap();
            clients.push(ours);
            sockets.push(theirs.into());
        }
        Ok((self.launcher().launch(&request, None, sockets)?, clients))
    }

    pub fn state(&self) -> PathBuf {
        self.top.join("data/containers").join(self.id.to_string())
    }

    pub fn socket(&self) -> PathBuf {
        self.top
            .join("run/containers")
            .join(self.id.to_string())
            .join("monitor.sock")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.state().join(format!("{}-json.log", self.id))).unwrap()
    }

    pub fn exit_record(&self) -> Option<ExitRecord> {
        berth_shim::exit_record::read(fs::File::open(self.state()).unwrap()).unwrap()
    }

    /// The directories of the container's control group that exist.
    pub fn groups(&self) -> Vec<PathBuf> {
        let name = self
            .request
            .launch
            .bundle
            .spec
            .linux
            .cgroups_path
            .trim_start_matches('/');
        let below = |top: &Path| top.join(name);
        let mut tops = vec![PathBuf::from("/sys/fs/cgroup")];
        tops.extend(
            fs::read_dir("/sys/fs/cgroup")
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path()),
        );
        tops.iter()
            .map(|top| below(top))
            .filter(|path| path.exists())
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let groups = self.groups();
        groups.iter().for_each(|group| remove_group(group));
        fs::remove_dir_all(&self.top).unwrap();
        if !std::thread::panicking() {
            assert_eq!(
                groups,
                Vec::<PathBuf>::new(),
                "control groups were left behind"
            );
        }
    }
}

/// Gives the container a `/dev` of its own with terminals in it.
pub fn with_devpts(place: &mut Place) {
    let mount = |destination: &str, kind: &str, options: &[&str]| Mount {
        destination: destination.into(),
        kind: kind.into(),
        source: kind.into(),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
    };
    place.request.launch.bundle.spec.mounts.extend([
        mount("/dev", "tmpfs", &["nosuid", "mode=755"]),
        mount(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
    ]);
}

/// Kills what is in a control group of a test and removes it.
pub fn remove_group(group: &Path) {
    for pid in fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
    {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = fs::remove_dir(group);
}

/// The exit that the link tells of; none when it just ends.
pub fn exit_of(task: &mut Box<dyn Task>) -> Option<ExitRecord> {
    let mut link = task.take_link().unwrap();
    link.set_nonblocking(false).unwrap();
    link.set_read_timeout(Some(PATIENCE)).unwrap();
    let bytes = read_to_end(&mut link);
    task.reap();
    let mut decoder = Decoder::new();
    decoder.push(&bytes);
    loop {
        match decoder.event().unwrap()? {
            Event::Exited(record) => return Some(record),
            Event::OomKilled(_) => {}
            Event::ExecExited(code) => panic!("a container's link told of a process: {code}"),
        }
    }
}

/// Everything up to the end; a reset is an end, too.
pub fn read_to_end(socket: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("after {} bytes: {error}", bytes.len()),
    }
    bytes
}

/// The bytes of one stream out of Docker's framing.
pub fn stream(number: u8, mut framed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [kind, 0, 0, 0, a, b, c, d, rest @ ..] = framed {
        let (data, after) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        if *kind == number {
            bytes.extend_from_slice(data);
        }
        framed = after;
    }
    assert_eq!(framed, b"", "the stream ends between frames");
    bytes
}

/// What `seq 1 last` prints.
pub fn numbers(last: u32) -> Vec<u8> {
    (1..=last)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect()
}

fn request(id: ContainerId, rootfs: &Path, script: &str) -> LaunchRequest {
    use NamespaceKind::{Ipc, Mount as Mounts, Network, Pid, Uts};
    let namespace = |kind| Namespace { kind, path: None };
    let spec = Spec {
        oci_version: "1.2.0".into(),
        process: Process {
            args: ["/bin/busybox", "sh", "-c", script]
                .map(String::from)
                .to_vec(),
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            ..Process::default()
        },
        hostname: "test".into(),
        mounts: vec![Mount {
            destination: "/proc".into(),
            kind: "proc".into(),
            source: "proc".into(),
            options: Vec::new(),
        }],
        linux: Linux {
            namespaces: [Pid, Network, Mounts, Ipc, Uts].map(namespace).to_vec(),
            cgroups_path: format!("/berth-shim-test-{}", id.short()),
            ..Linux::default()
        },
        ..Spec::default()
    };
    let bundle = Bundle {
        spec,
        rootfs: Rootfs::Directory(rootfs.to_str().unwrap().into()),
        user: String::new(),
        groups: Vec::new(),
        make_cwd: false,
    };
    let log = LogTarget::JsonFile {
        max_size: 64 << 20,
        max_files: 3,
    };
    let launch = Launch {
        id,
        bundle,
        log,
        stdin: Stdin::Null,
        durable_exit: true,
    };
    LaunchRequest {
        launch,
        parked: Vec::new(),
    }
}
