//! The ground an engine of a test stands on: a directory, namespaces and cgroups of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::census::{self, Census};
use crate::cgroup::Scope;
use crate::guardian::Guardian;
use crate::programs::program;

/// Names another directory for the engines' roots: short, and on a file system that can hold
/// an overlay's upper directory.
const ROOTS_VARIABLE: &str = "BERTH_TEST_ROOT";
/// Short, because the address of a Unix socket has 108 bytes at most.
const ROOTS: &str = "/var/tmp";

/// Joins the cgroups whose files are named before `--`, then becomes what follows it.
const ENTER: &str =
    r#"while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@""#;

/// What tells a client of other engines.
const CLIENT_VARIABLES: [&str; 5] = [
    "BERTH_HOST",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_API_VERSION",
    "DOCKER_TLS_VERIFY",
];

#[derive(Debug)]
pub(crate) struct Ground {
    root: PathBuf,
    pub(crate) scope: Scope,
    pub(crate) guardian: Guardian,
}

impl Ground {
    /// Makes it, with the engine's configuration file, and with an uplink where one is asked for.
    pub(crate) fn make(configuration: &str, uplink: bool) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let tag = format!("{}-{number}", std::process::id());
        let roots =
            std::env::var_os(ROOTS_VARIABLE).map_or_else(|| PathBuf::from(ROOTS), PathBuf::from);
        let root = roots.join(format!("bt-{tag}"));
        if let Err(error) = fs::create_dir(&root) {
            panic!("cannot make {} for the engine: {error}", root.display());
        }
        fs::create_dir(root.join("client")).expect("the root is ours");
        fs::write(root.join("daemon.json"), configuration).expect("the root is ours");
        let scope = Scope::create(&format!("berth-test-{tag}"));
        let guardian = Guardian::start(&root, &scope, uplink);
        Self {
            root,
            scope,
            guardian,
        }
    }

    /// A path below the root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// `berthd` in the namespaces and cgroups, with its own roots and socket. What is spawned is
    /// the engine itself, since nothing in between forks.
    pub(crate) fn engine(&self, data_root: &Path) -> Command {
        let inside = self.guardian.command(&program("berthd"));
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", ENTER, "sh"])
            .args(self.scope.entrances())
            .arg("--");
        command.arg(inside.get_program()).args(inside.get_args());
        command
            .arg("--data-root")
            .arg(data_root)
            .arg("--exec-root")
            .arg(self.path("run"));
        command.arg("--pidfile").arg(self.path("berthd.pid"));
        command.arg("--config-file").arg(self.path("daemon.json"));
        command.arg("-H").arg(self.address());
        command.args(["--cgroup-parent", &self.scope.parent()]);
        command
    }

    /// The engine's address, as `-H` takes it.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.path("berth.sock").display())
    }

    /// All the engine has written.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.path("engine.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The stock docker CLI, to be run against the engine.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Command {
        self.client(Path::new("docker"), arguments)
    }

    /// `berth`, to be run against the engine.
    pub(crate) fn berth(&self, arguments: &[&str]) -> Command {
        self.client(&program("berth"), arguments)
    }

    /// A client that knows nothing of the user's own contexts and settings.
    fn client(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        for name in CLIENT_VARIABLES {
            command.env_remove(name);
        }
        command.env("DOCKER_CONFIG", self.path("client"));
        command.arg("-H").arg(self.address()).args(arguments);
        command
    }

    /// Everything there is at this moment.
    pub(crate) fn census(&self) -> Census {
        let directories =
            ["data/overlay2", "data/containers", "run/containers"].map(|name| self.path(name));
        let directories: Vec<&Path> = directories.iter().map(PathBuf::as_path).collect();
        Census::of_engine(self.guardian.id(), &self.scope, &directories)
    }

    /// What is still there of an engine that has ended.
    pub(crate) fn remains(&self) -> Vec<String> {
        let processes = self
            .scope
            .processes()
            .into_iter()
            .map(|(id, line)| format!("process {id} {line}"));
        let groups = self
            .scope
            .groups()
            .into_iter()
            .map(|group| format!("cgroup {}", group.display()));
        let mounts = [None, Some(self.guardian.id())]
            .into_iter()
            .flat_map(|process| self.mounts_of(process));
        processes
            .chain(groups)
            .chain(mounts.map(|mount| format!("mount {mount}")))
            .collect()
    }

    /// Mounts below the root in the namespace of a process (`None`: the test itself).
    fn mounts_of(&self, process: Option<u32>) -> Vec<String> {
        let process = process.map_or_else(|| "self".to_owned(), |id| id.to_string());
        let root = format!("{}/", self.root.display());
        census::mounts(&process)
            .into_iter()
            // The other machine's namespace belongs to the ground itself.
            .filter(|mount| mount.starts_with(&root) && !mount.ends_with("/machine (nsfs)"))
            .collect()
    }

    /// Ends everything by force and removes all files; what stays is returned.
    pub(crate) fn raze(&mut self) -> Vec<String> {
        let mut stuck = Vec::new();
        if !self.scope.kill() {
            stuck.push("processes that SIGKILL does not end".to_owned());
        }
        stuck.extend(
            self.scope
                .remove()
                .iter()
                .map(|group| format!("cgroup {} stays", group.display())),
        );
        self.guardian.dismiss();
        let mounts = self.mounts_of(None);
        if !mounts.is_empty() {
            stuck.push(format!(
                "the directory stays for the mounts in it: {}",
                mounts.join(", ")
            ));
        } else if let Err(error) = fs::remove_dir_all(&self.root) {
            stuck.push(format!(
                "{} cannot be removed: {error}",
                self.root.display()
            ));
        }
        stuck
    }
}
