//! One engine of a test: its life, its clients, and the proof that nothing of it is left.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::builder::EngineBuilder;
use crate::census::Census;
use crate::cgroup;
use crate::command::{self, Background, Output};
use crate::fuse::HungFiles;
use crate::ground::Ground;
use crate::http::{self, Response};
use crate::programs::require_root;
use crate::pty::Terminal;
use crate::rootfs::busybox_rootfs_tar;
use crate::wait::{Watchdog, try_until};

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

/// Size of the terminals that clients are started on.
const ROWS: u16 = 24;
/// See [`ROWS`].
const COLUMNS: u16 = 80;

/// What follows an answer is done within this time.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// Looks at what is there, some milliseconds apart, that have to see the same.
const SAME_LOOKS: u32 = 15;
/// How long these are tried for.
const REST_LIMIT: Duration = Duration::from_secs(2);

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

    /// Runs the stock docker CLI against the engine.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> Output {
        command::run(&mut self.ground.docker(arguments))
    }

    /// Runs the stock docker CLI with a variable of its environment set.
    #[track_caller]
    pub fn docker_with(&self, variable: (&str, &str), arguments: &[&str]) -> Output {
        command::run(self.ground.docker(arguments).env(variable.0, variable.1))
    }

    /// Starts the stock docker CLI beside the test.
    #[track_caller]
    pub fn docker_beside(&self, arguments: &[&str]) -> Background {
        Background::start(&mut self.ground.docker(arguments))
    }

    /// Starts the stock docker CLI on a terminal of 24 rows and 80 columns.
    #[track_caller]
    pub fn docker_on_terminal(&self, arguments: &[&str]) -> Terminal {
        Terminal::start(&self.ground.docker(arguments), ROWS, COLUMNS)
    }

    /// Starts `berth` on a terminal of 24 rows and 80 columns.
    #[track_caller]
    pub fn berth_on_terminal(&self, arguments: &[&str]) -> Terminal {
        Terminal::start(&self.ground.berth(arguments), ROWS, COLUMNS)
    }

    /// Runs `berth` against the engine.
    #[track_caller]
    pub fn berth(&self, arguments: &[&str]) -> Output {
        command::run(&mut self.ground.berth(arguments))
    }

    /// Starts `berth` beside the test.
    #[track_caller]
    pub fn berth_beside(&self, arguments: &[&str]) -> Background {
        Background::start(&mut self.ground.berth(arguments))
    }

    /// Insists that disk, kernel and database agree (`berth system fsck`).
    ///
    /// # Panics
    /// When they do not, with every finding.
    #[track_caller]
    pub fn assert_consistent(&self) {
        if let Err(findings) = self.check_state() {
            panic!("{findings}");
        }
    }

    /// Cleaning up may follow an answer, so the check is repeated for a while.
    fn check_state(&self) -> Result<(), String> {
        let mut checked = self.berth(&["system", "fsck"]);
        try_until(SETTLE_LIMIT, || {
            if checked.status != 0 {
                checked = self.berth(&["system", "fsck"]);
            }
            (checked.status == 0).then_some(())
        })
        .ok_or_else(|| checked.to_string())
    }

    /// Insists that everything the engine has made is as it was at `before`, once it has cleaned
    /// up what its answers left to be cleaned up.
    ///
    /// # Panics
    /// When it does not get there, with every difference.
    #[track_caller]
    pub fn assert_unchanged_since(&self, before: &Census) {
        let settled = try_until(SETTLE_LIMIT, || (*before == self.census()).then_some(()));
        if settled.is_none() {
            before.assert_same(&self.census());
        }
    }

    /// Runs a program in the engine's mount and network namespaces.
    #[track_caller]
    pub fn in_namespaces(&self, program: &str, arguments: &[&str]) -> Output {
        command::run(
            self.ground
                .guardian
                .command(Path::new(program))
                .args(arguments),
        )
    }

    /// Runs a program on the other machine: it is [`MACHINE`], the engine's host is [`HOST`], and it
    /// knows no way to the containers.
    ///
    /// # Panics
    /// When the engine was started without a network.
    #[track_caller]
    pub fn on_machine(&self, program: &str, arguments: &[&str]) -> Output {
        command::run(&mut self.machine_command(program, arguments))
    }

    /// Starts a program on the other machine, beside the test.
    #[track_caller]
    pub fn on_machine_beside(&self, program: &str, arguments: &[&str]) -> Background {
        Background::start(&mut self.machine_command(program, arguments))
    }

    #[track_caller]
    fn machine_command(&self, program: &str, arguments: &[&str]) -> Command {
        assert!(self.settings.network, "this engine has no uplink");
        let mut command = self.ground.guardian.command(Path::new("nsenter"));
        command
            .arg(format!("--net={}", self.ground.path("machine").display()))
            .args(["--", program])
            .args(arguments);
        command
    }

    /// Sends a request without a CLI in between; a body is sent as JSON.
    ///
    /// # Panics
    /// When there is no well-formed answer.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: Option<&serde_json::Value>) -> Response {
        let body = body.map(ToString::to_string);
        match http::request(
            &self.socket(),
            method,
            path,
            body.as_deref().map(str::as_bytes),
        ) {
            Ok(response) => response,
            Err(error) => panic!(
                "{method} {path}: {error}; the engine's log:\n{}",
                self.log()
            ),
        }
    }

    /// As [`Engine::request`], for who expects that there may be nobody to answer.
    ///
    /// # Errors
    /// When the engine cannot be reached, or ends before its answer does.
    pub fn try_request(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> std::io::Result<Response> {
        let body = body.map(ToString::to_string);
        let body = body.as_deref().map(str::as_bytes);
        http::request(&self.socket(), method, path, body)
    }

    /// Reads something, and how long the engine says that its part of it took.
    ///
    /// # Errors
    /// When the engine cannot be reached, ends before its answer does, or says nothing of its time.
    pub fn try_read(&self, path: &str) -> std::io::Result<(Response, Duration)> {
        let asked = [("berth-timings", "1")];
        let answer = http::exchange_with(&self.socket(), "GET", path, &asked, None)?;
        let said = answer.header("berth-timings").unwrap_or_default();
        let said: serde_json::Value = serde_json::from_str(said)?;
        let own = said["total_us"].as_u64().unwrap_or_default();
        Ok((answer, Duration::from_micros(own)))
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

    /// Everything the engine has made in its namespaces, cgroups and directories so far.
    ///
    /// The kernel takes the links of a namespace away some time after the last program in it has
    /// ended: the census is one that has been the same for some looks.
    pub fn census(&self) -> Census {
        let mut census = self.ground.census();
        let mut same = 0;
        let settled = || {
            let now = self.ground.census();
            same = if now == census { same + 1 } else { 0 };
            census = now;
            (same == SAME_LOOKS).then_some(())
        };
        // What never rests shows in whatever it is compared with.
        let _ = try_until(REST_LIMIT, settled);
        census
    }

    /// Asks for the removal of every container. What was refused.
    fn remove_each(&self) -> std::io::Result<Vec<String>> {
        let mut refused = Vec::new();
        let listed = http::request(&self.socket(), "GET", "/containers/json?all=1", None)?.json();
        for container in listed.as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap_or_default();
            let path = format!("/containers/{id}?force=1");
            let answer = http::request(&self.socket(), "DELETE", &path, None)?;
            // One that removes itself may be gone or on its way.
            let gone = matches!(answer.status, 204 | 404 | 409);
            refused.extend((!gone).then(|| format!("{path}: {answer:?}")));
        }
        Ok(refused)
    }

    /// Removes the containers as a user would. Whatever goes wrong shows in what is left.
    fn remove_containers(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.child.is_none()
            && self.ground.path("data/meta.db").exists()
            && let Err(reason) = self.try_start()
        {
            complaints.push(reason);
            return complaints;
        }
        if self.child.is_some() {
            match self.remove_each() {
                Ok(refused) => complaints.extend(refused),
                Err(error) => complaints.push(format!("removing containers: {error}")),
            }
        }
        if self.child.is_some() {
            complaints.extend(self.check_state().err());
        }
        complaints.extend(self.try_terminate().err());
        complaints
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("-- log of the engine\n{}", self.log());
            self.kill9();
            for stuck in self.ground.raze() {
                eprintln!("cleaning up: {stuck}");
            }
            return;
        }
        let mut faults = self.remove_containers();
        faults.extend(self.ground.remains());
        let log = self.log();
        self.kill9();
        faults.extend(self.ground.raze());
        assert!(
            faults.is_empty(),
            "the engine left something behind:\n{}\n-- its log\n{log}",
            faults.join("\n")
        );
    }
}
