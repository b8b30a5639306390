//! Who asks an engine: its clients, programs in its namespaces and on the other machine, and bare
//! requests.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Engine;
use crate::command::{self, Background, Output};
use crate::http::{self, Response};
use crate::pty::Terminal;

/// Size of the terminals that clients are started on.
const ROWS: u16 = 24;
/// See [`ROWS`].
const COLUMNS: u16 = 80;

impl Engine {
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
}
