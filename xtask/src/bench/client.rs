//! One column of the table: a command line that speaks docker's words to some engine.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use berth_testkit::{Engine, program};

/// What tells a client of other engines than the one it is given.
const FOREIGN_VARIABLES: [&str; 5] = [
    "BERTH_HOST",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_API_VERSION",
    "DOCKER_TLS_VERIFY",
];

/// A command that failed is shown up to this length.
const SHOWN_MAX: usize = 200;

#[derive(Clone, Debug)]
pub struct Client {
    pub label: String,
    pub program: PathBuf,
    /// What stands before the verb.
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Where standard error goes: a file, since a pipe would have to be read to its end.
    pub complaints: PathBuf,
}

impl Client {
    /// `berth` against `engine`.
    pub fn berth(engine: &Engine) -> Result<Self> {
        Self::of(engine, "berth", program("berth"))
    }

    /// The stock docker CLI against `engine`.
    pub fn docker(engine: &Engine) -> Result<Self> {
        Self::of(engine, "docker CLI on berthd", PathBuf::from("docker"))
    }

    fn of(engine: &Engine, label: &str, program: PathBuf) -> Result<Self> {
        let scratch = engine.scratch();
        let configuration = scratch.join("client");
        fs::create_dir_all(&configuration)
            .with_context(|| format!("making {}", configuration.display()))?;
        Ok(Self {
            label: label.to_owned(),
            program,
            arguments: vec!["-H".to_owned(), engine.docker_host()],
            environment: vec![(
                "DOCKER_CONFIG".to_owned(),
                configuration.to_string_lossy().into_owned(),
            )],
            complaints: scratch.join("complaints"),
        })
    }

    /// What a command prints, for what is not measured.
    pub fn said(&self, arguments: &[&str]) -> Result<String> {
        let output = self
            .command(arguments)
            .output()
            .with_context(|| format!("starting {}", self.program.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(self.failure(arguments, &said));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for name in FOREIGN_VARIABLES {
            command.env_remove(name);
        }
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(&self.arguments)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn failure(&self, arguments: &[&str], said: &str) -> anyhow::Error {
        let shown: String = arguments.join(" ").chars().take(SHOWN_MAX).collect();
        anyhow!("{}: `{shown}` failed: {}", self.label, said.trim_end())
    }

    /// Wall time from before the process is made until it has been waited for.
    ///
    /// # Errors
    /// When the command fails, with what it said: a failure has no time.
    pub fn time(&self, arguments: &[&str]) -> Result<Duration> {
        let complaints = File::create(&self.complaints)
            .with_context(|| format!("writing {}", self.complaints.display()))?;
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(complaints);
        let begun = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let time = begun.elapsed();
        if !status.success() {
            let said = fs::read_to_string(&self.complaints).unwrap_or_default();
            return Err(self.failure(arguments, &said));
        }
        Ok(time)
    }
}
