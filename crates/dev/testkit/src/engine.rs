//! One engine of a test: its life, its clients, and the proof that nothing of it is left.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use crate::builder::EngineBuilder;
use crate::cgroup;
use crate::command::{self, Output};
use crate::fuse::HungFiles;
use crate::ground::Ground;
use crate::http;
use crate::programs::require_root;
use crate::rootfs::busybox_rootfs_tar;
use crate::wait::{Watchdog, try_until};

mod clients;
mod proof;

/// An engine answers within this time, or never.
const START_LIMIT: Duration = Duration::from_secs(300);
/// An engine that was asked to end does so within this time.
const STOP_LIMIT: Duration = Duration::from_secs(300);

/// The address of the engine's host on the uplink.
pub const HOST: &str = "192.0.2.1";
/// The address of the other machine on the uplink.
pub const MACHINE: &str = "192.0.2.2";
/// What the uplink carries at most, in bytes.
pub const UPLINK_MTU: u32 = 1400;
/// The name server of the engine's host; nobody serves there.
pub const NAME_SERVER: &str = "192.0.2.53";

/// The image of [`Engine::with_busybox`].
const IMAGE: &str = "busybox:test";

/// A running (or, after [`Engine::kill9`] or [`Engine::terminate`], stopped) engine.
///
/// Dropping it removes its containers, ends it, and panics when anything of it is left: a
/// process, a cgroup or a mount. Then it removes all its files.
#[derive(Debug)]
pub struct Engine {
    ground: Ground,
    settings: EngineBuilder,
    child: Option<Child>,
    _watchdog: Watchdog,
}

impl Engine {
    /// Starts an engine with no image in it.
    pub fn start() -> Self {
        EngineBuilder::new().start()
    }

    /// Starts an engine that has the image `busybox:test`; see [`busybox_rootfs_tar`].
    pub fn with_busybox() -> Self {
        let engine = Self::start();
        engine.import_busybox();
        engine
    }

    /// As [`Engine::with_busybox`], with the default network and another machine on the uplink;
    /// see [`EngineBuilder::network`].
    pub fn with_network() -> Self {
        let engine = EngineBuilder::new().network().start();
        engine.import_busybox();
        engine
    }

    /// Makes everything an engine needs, without starting it.
    pub(crate) fn prepare(settings: EngineBuilder) -> Self {
        require_root();
        let ground = Ground::make(&settings.configuration, settings.network);
        let watchdog =
            Watchdog::start(thread::current().name().unwrap_or("a test"), settings.limit);
        Self {
            ground,
            settings,
            child: None,
            _watchdog: watchdog,
        }
    }

    /// Starts the engine on its roots, which it may have used before, and waits until it answers.
    ///
    /// # Panics
    /// When it runs already, ends by itself, or does not answer in time.
    pub fn start_again(&mut self) {
        if let Err(reason) = self.try_start() {
            panic!("{reason}; its log:\n{}", self.log());
        }
    }

    fn try_start(&mut self) -> Result<(), String> {
        if self.child.is_some() {
            return Err("the engine runs already".to_owned());
        }
        self.child = Some(self.spawn());
        let socket = self.socket();
        let answered = try_until(START_LIMIT, || {
            if let Ok(Some(status)) = self.child.as_mut()?.try_wait() {
                self.child = None;
                return Some(Err(format!("the engine ended by itself ({status})")));
            }
            let response = http::request(&socket, "GET", "/_ping", None).ok()?;
            (response.status == 200).then_some(Ok(()))
        });
        answered.unwrap_or_else(|| {
            Err(format!(
                "the engine did not answer within {} s",
                START_LIMIT.as_secs()
            ))
        })
    }

    /// Runs the engine until it ends, which it is expected to do.
    pub(crate) fn run_to_the_end(&mut self) -> Output {
        let mut child = self.spawn();
        let Some(status) = try_until(STOP_LIMIT, || child.try_wait().transpose()) else {
            self.child = Some(child);
            panic!(
                "the engine was expected to refuse, and runs on; its log:\n{}",
                self.log()
            );
        };
        let status = status
            .expect("a child of ours can be waited for")
            .code()
            .unwrap_or(-1);
        Output {
            command: "berthd".to_owned(),
            status,
            stdout: String::new(),
            stderr: self.log(),
        }
    }

    fn spawn(&self) -> Child {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.ground.path("engine.log"));
        let log = log.expect("the root is ours");
        let mut command = self.ground.engine(&self.data_root());
        if !self.settings.network {
            command.args(["--bridge", "none"]);
        }
        command
            .args(&self.settings.arguments)
            .env_remove("BERTH_HOST")
            .env_remove("DOCKER_HOST");
        command.envs(
            self.settings
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        );
        command
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::null());
        command
            .stdout(log.try_clone().expect("a file can be duplicated"))
            .stderr(log);
        let spawned = match &self.settings.faults {
            Some(faults) => faults.listen_to(|| command.spawn()),
            None => command.spawn(),
        };
        match spawned {
            Ok(child) => child,
            Err(error) => panic!("cannot start {}: {error}", command::shown(&command)),
        }
    }

    /// Imports the image `busybox:test`, whose command is a shell. Not by a client, which would be
    /// most of the time that many a test takes.
    ///
    /// # Panics
    /// When the engine does not take it.
    pub fn import_busybox(&self) {
        let archive = fs::read(busybox_rootfs_tar()).expect("the archive was just made");
        let (repository, tag) = IMAGE.split_once(':').unwrap_or((IMAGE, ""));
        let path = format!(
            "/images/create?fromSrc=-&repo={repository}&tag={tag}&changes=CMD%20%5B%22%2Fbin%2Fsh%22%5D"
        );
        let body = Some(("application/x-tar", archive.as_slice()));
        let answer = http::exchange(&self.socket(), "POST", &path, body);
        let taken = matches!(&answer, Ok(answer) if answer.status == 200);
        assert!(
            taken,
            "import: {answer:?}; the engine's log:\n{}",
            self.log()
        );
    }

    /// Kills the engine, and only it, without warning.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when the child has been reaped, which only we do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the engine to end; its containers go on.
    ///
    /// # Panics
    /// When it does not end in time, or not with status 0.
    pub fn terminate(&mut self) {
        if let Err(reason) = self.try_terminate() {
            panic!("{reason}; its log:\n{}", self.log());
        }
    }

    fn try_terminate(&mut self) -> Result<(), String> {
        let Some(child) = self.child.as_mut() else {
            return Ok(());
        };
        cgroup::signal(child.id(), "TERM");
        let status = try_until(STOP_LIMIT, || child.try_wait().transpose());
        match status {
            Some(Ok(status)) => {
                self.child = None;
                if status.success() {
                    Ok(())
                } else {
                    Err(format!("the engine ended with {status}"))
                }
            }
            Some(Err(error)) => Err(format!("waiting for the engine failed: {error}")),
            None => {
                self.kill9();
                Err(format!(
                    "the engine did not end within {} s",
                    STOP_LIMIT.as_secs()
                ))
            }
        }
    }

    /// [`Engine::terminate`], then [`Engine::start_again`].
    pub fn restart(&mut self) {
        self.terminate();
        self.start_again();
    }

    /// Waits for the engine to end by itself, as at a failpoint, and returns its status (128+n
    /// after signal n).
    ///
    /// # Panics
    /// When it goes on.
    pub fn wait_for_end(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let child = self.child.as_mut().expect("the engine runs");
        let Some(status) = try_until(STOP_LIMIT, || child.try_wait().transpose()) else {
            panic!(
                "the engine was expected to end, and goes on; its log:\n{}",
                self.log()
            );
        };
        self.child = None;
        let status = status.expect("a child of ours can be waited for");
        status
            .code()
            .or(status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1)
    }

    /// Changes a variable of the environment for later starts; `None` removes it.
    pub fn set_env(&mut self, name: &str, value: Option<&str>) {
        self.settings.environment.retain(|(known, _)| known != name);
        self.settings
            .environment
            .extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// The engine's process id.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The address of its socket, as `-H` and `DOCKER_HOST` take it.
    pub fn docker_host(&self) -> String {
        self.ground.address()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.ground.path("berth.sock")
    }

    /// Its `--data-root`.
    pub fn data_root(&self) -> PathBuf {
        self.settings
            .data_root
            .clone()
            .unwrap_or_else(|| self.ground.path("data"))
    }

    /// Its `--exec-root`.
    pub fn exec_root(&self) -> PathBuf {
        self.ground.path("run")
    }

    /// A directory for the test's own files; it goes when the engine goes.
    pub fn scratch(&self) -> PathBuf {
        let path = self.ground.path("scratch");
        fs::create_dir_all(&path).expect("the root is ours");
        path
    }

    /// All the engine has logged so far, over all its starts.
    pub fn log(&self) -> String {
        self.ground.log()
    }

    /// Mounts a file system where the engine sees it that stops answering when it is told to.
    ///
    /// # Panics
    /// When the kernel has no FUSE.
    pub fn hung_files(&self) -> HungFiles {
        HungFiles::mount(self.scratch().join("hung"), self.ground.guardian.id())
    }

    /// The processes of the engine, its monitors and its containers, with their command lines.
    pub fn processes(&self) -> Vec<(u32, String)> {
        self.ground.scope.processes().into_iter().collect()
    }
}
