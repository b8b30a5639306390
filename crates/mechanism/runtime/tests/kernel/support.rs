//! A container as an engine would ask for it, on a busybox root, and what came out of it.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use berth_runtime::{Running, StartRequest, Stdio, start};
use berth_sys::cgroup::{Cgroup, Layout};
use berth_sys::pidfd::{self, Exit};
use berth_sys::rustix::pipe::{PipeFlags, pipe_with};
use berth_sys::seccomp::Filter;
use berth_types::launch::{Bundle, Rootfs, StartFailure};
use berth_types::oci::{
    Capabilities, DeviceRule, Linux, Mount, Namespace, NamespaceKind, Process, Resources, Root,
    Spec, User,
};

const APPLETS: [&str; 18] = [
    "cat", "chmod", "dd", "echo", "grep", "hostname", "id", "ip", "ls", "mkdir", "mount",
    "readlink", "sh", "sleep", "stat", "touch", "true", "umount",
];

/// A container that is not started yet, with its files; they are removed at the end.
pub struct Case {
    /// Directory of this case on the host.
    pub dir: PathBuf,
    /// The layer that becomes the container's root.
    pub image: PathBuf,
    pub bundle: Bundle,
    pub filter: Option<Filter>,
    group: String,
}

/// What a container left behind.
#[derive(Debug)]
pub struct Outcome {
    pub output: String,
    pub exit: Exit,
    pub oom_killed: bool,
}

impl Case {
    /// A container with Docker's default settings.
    pub fn new(name: &str) -> Self {
        let unique = format!("{}{name}", prefix(std::process::id()));
        let dir = std::env::temp_dir().join(&unique);
        let image = dir.join("image");
        for directory in ["bin", "dev", "etc", "proc", "sys", "tmp", "root"] {
            fs::create_dir_all(image.join(directory)).unwrap();
        }
        fs::copy("/bin/busybox", image.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", image.join("bin").join(applet)).unwrap();
        }
        fs::write(
            image.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
        )
        .unwrap();
        fs::write(
            image.join("etc/group"),
            "root:x:0:\napp:x:1001:\nextra:x:2000:app\n",
        )
        .unwrap();
        for directory in ["upper", "work"] {
            fs::create_dir(dir.join(directory)).unwrap();
        }
        let group = format!("/{unique}");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let bundle = Bundle {
            spec: spec(&format!("{group}/container")),
            rootfs: Rootfs::Overlay {
                lower: vec![text(&image)],
                upper: text(&dir.join("upper")),
                work: text(&dir.join("work")),
                volatile: false,
            },
            user: String::new(),
            groups: Vec::new(),
            make_cwd: false,
        };
        Self {
            dir,
            image,
            bundle,
            filter: None,
            group,
        }
    }

    pub fn linux(&mut self) -> &mut Linux {
        &mut self.bundle.spec.linux
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.bundle.spec.process
    }

    /// Takes a namespace out: the container shares the host's.
    pub fn share(&mut self, kind: NamespaceKind) -> &mut Self {
        self.linux().namespaces.retain(|n| n.kind != kind);
        if kind == NamespaceKind::Uts {
            self.bundle.spec.hostname.clear();
        }
        self
    }

    pub fn mount(
        &mut self,
        kind: &str,
        source: impl AsRef<Path>,
        destination: &str,
        options: &str,
    ) {
        let source = source.as_ref().to_str().unwrap();
        self.bundle
            .spec
            .mounts
            .push(mount(kind, source, destination, options));
    }

    pub fn script(&mut self, script: &str) -> &mut Self {
        self.process().args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        self
    }

    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.process().args = args.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    /// Starts it; the file reads its output.
    pub fn start(&self) -> Result<(Running, File), StartFailure> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let stdio = Stdio {
            stdin: File::open("/dev/null").unwrap().into(),
            stdout: write.try_clone().unwrap(),
            stderr: write,
        };
        let request = StartRequest {
            bundle: &self.bundle,
            filter: self.filter.as_ref(),
            stdio: Some(stdio),
        };
        Ok((start(request)?, File::from(read)))
    }

    /// Starts it, waits for its end, and takes everything down.
    pub fn run(&self) -> Result<Outcome, StartFailure> {
        let (running, mut file) = self.start()?;
        let mut output = String::new();
        file.read_to_string(&mut output).unwrap();
        Ok(finish(running, output))
    }

    /// The output of a script that must succeed.
    pub fn output(&mut self, script: &str) -> String {
        let outcome = self
            .script(script)
            .run()
            .unwrap_or_else(|f| panic!("{f:?}"));
        assert_eq!(outcome.exit, Exit::Code(0), "{script}: {}", outcome.output);
        outcome.output
    }

    /// The failure of a container that must not start.
    pub fn failure(&self) -> StartFailure {
        match self.run() {
            Ok(outcome) => panic!("started: {outcome:?}"),
            Err(failure) => failure,
        }
    }

    /// The container's control group directories on the host.
    pub fn groups(&self) -> Vec<PathBuf> {
        let relative = self.bundle.spec.linux.cgroups_path.trim_start_matches('/');
        let layout = Layout::detect().unwrap();
        layout
            .trees
            .iter()
            .map(|t| t.mount_point.join(relative))
            .collect()
    }
}

/// Waits for the end and takes everything down; checks that it can be.
pub fn finish(running: Running, output: String) -> Outcome {
    let exit = pidfd::wait(running.init_pidfd.as_fd()).unwrap();
    let oom_killed = running.cgroup.oom_kills().unwrap() > 0;
    running.cgroup.kill_all().unwrap();
    running.cgroup.remove().unwrap();
    Outcome {
        output,
        exit,
        oom_killed,
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        for tree in Layout::detect().unwrap().trees {
            let group = tree.mount_point.join(self.group.trim_start_matches('/'));
            match fs::remove_dir(&group) {
                Err(e) if group.exists() && !std::thread::panicking() => panic!("{group:?}: {e}"),
                _ => {}
            }
        }
        if let Err(e) = fs::remove_dir_all(&self.dir)
            && !std::thread::panicking()
        {
            panic!("{:?}: {e}", self.dir);
        }
    }
}

/// What the names of everything begin with that the case of process `pid` makes.
fn prefix(pid: u32) -> String {
    format!("berth-test-{pid}-")
}

/// Removes what the case of process `pid`, which has ended badly, has left.
pub fn sweep(pid: u32) {
    let of_case = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|e| e.file_name().into_string().ok());
        names
            .filter(|n| n.starts_with(&prefix(pid)))
            .collect::<Vec<_>>()
    };
    for tree in Layout::detect().unwrap().trees {
        for name in of_case(&tree.mount_point) {
            let Ok(group) = Cgroup::open(&format!("/{name}")) else {
                continue;
            };
            let _ = group.kill_all().and_then(|()| group.remove());
        }
    }
    for name in of_case(&std::env::temp_dir()) {
        let _ = fs::remove_dir_all(std::env::temp_dir().join(name));
    }
}

fn mount(kind: &str, source: &str, destination: &str, options: &str) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.split(',').map(str::to_owned).collect(),
    }
}

const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const MASKED: [&str; 9] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

fn spec(cgroup: &str) -> Spec {
    let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let capabilities = strings(&DEFAULT_CAPABILITIES);
    let kinds = [
        NamespaceKind::Mount,
        NamespaceKind::Network,
        NamespaceKind::Uts,
        NamespaceKind::Pid,
        NamespaceKind::Ipc,
        NamespaceKind::Cgroup,
    ];
    Spec {
        oci_version: "1.2.0".to_owned(),
        process: Process {
            user: User::default(),
            args: strings(&["/bin/true"]),
            env: strings(&["PATH=/usr/bin:/bin"]),
            cwd: "/".to_owned(),
            capabilities: Some(Capabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                permitted: capabilities,
                ..Capabilities::default()
            }),
            ..Process::default()
        },
        root: Root::default(),
        hostname: "box".to_owned(),
        mounts: vec![
            mount("proc", "proc", "/proc", "nosuid,noexec,nodev"),
            mount(
                "tmpfs",
                "tmpfs",
                "/dev",
                "nosuid,strictatime,mode=755,size=65536k",
            ),
            mount(
                "devpts",
                "devpts",
                "/dev/pts",
                "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
            ),
            mount("sysfs", "sysfs", "/sys", "nosuid,noexec,nodev,ro"),
            mount(
                "cgroup",
                "cgroup",
                "/sys/fs/cgroup",
                "ro,nosuid,noexec,nodev",
            ),
            mount("mqueue", "mqueue", "/dev/mqueue", "nosuid,noexec,nodev"),
            mount(
                "tmpfs",
                "shm",
                "/dev/shm",
                "nosuid,noexec,nodev,mode=1777,size=67108864",
            ),
        ],
        linux: Linux {
            namespaces: kinds.map(|kind| Namespace { kind, path: None }).to_vec(),
            cgroups_path: cgroup.to_owned(),
            resources: Resources {
                devices: vec![DeviceRule {
                    access: "rwm".to_owned(),
                    ..DeviceRule::default()
                }],
                ..Resources::default()
            },
            masked_paths: strings(&MASKED),
            readonly_paths: strings(&READ_ONLY),
            ..Linux::default()
        },
        ..Spec::default()
    }
}

/// A descriptor that stays open across a clone and would be inherited by an execve.
pub fn leak(path: &str) -> OwnedFd {
    let fd: OwnedFd = File::open(path).unwrap().into();
    berth_sys::rustix::io::fcntl_setfd(&fd, berth_sys::rustix::io::FdFlags::empty()).unwrap();
    fd
}
