//! Running a client to its end, or beside the test.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::wait::try_until;

/// No client of a test runs longer than this.
pub(crate) const CLIENT_LIMIT: Duration = Duration::from_secs(120);

/// What a finished command said.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// The exit status; 128+n after signal n.
    pub status: i32,
    /// All of standard output; bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// All of standard error; bytes that are not UTF-8 replaced.
    pub stderr: String,
}

impl Output {
    /// The standard output of a command that succeeded.
    ///
    /// # Panics
    /// When the status is not 0, with everything the command said.
    #[track_caller]
    pub fn ok(&self) -> &str {
        self.expect_status(0);
        &self.stdout
    }

    /// As [`Output::ok`], without white space at the ends.
    #[track_caller]
    pub fn text(&self) -> &str {
        self.ok().trim()
    }

    /// The lines of a successful command's standard output.
    #[track_caller]
    pub fn lines(&self) -> Vec<&str> {
        self.ok().lines().collect()
    }

    /// Standard output of a successful command as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(self.ok()) {
            Ok(value) => value,
            Err(error) => panic!("{}: not JSON ({error}):\n{self}", self.command),
        }
    }

    /// Insists on an exit status.
    ///
    /// # Panics
    /// When it is another one, with everything the command said.
    #[track_caller]
    pub fn expect_status(&self, status: i32) -> &Self {
        assert_eq!(self.status, status, "unexpected exit status:\n{self}");
        self
    }

    /// Insists that the command failed with `status` and that standard error has every one of
    /// `parts`, in small or capital letters.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn fails(&self, status: i32, parts: &[&str]) -> &Self {
        self.expect_status(status);
        let said = self.stderr.to_lowercase();
        for part in parts {
            assert!(
                said.contains(&part.to_lowercase()),
                "standard error lacks `{part}`:\n{self}"
            );
        }
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "$ {}\nstatus {}\n-- stdout\n{}\n-- stderr\n{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

/// The command line as a person would read it.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(text, " {}", argument.to_string_lossy());
    }
    text
}

/// Runs `command` to its end, with nothing on standard input unless the caller gave something.
///
/// # Panics
/// When it cannot start, or runs longer than [`CLIENT_LIMIT`].
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    Background::start(command).finish()
}

/// A command that runs beside the test. Dropping it kills it.
#[derive(Debug)]
pub struct Background {
    command: String,
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

impl Background {
    /// Starts `command`.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let shown = shown(command);
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => panic!("`{shown}` cannot start: {error}"),
        };
        let stdout = Stream::read(child.stdout.take().expect("standard output is a pipe"));
        let stderr = Stream::read(child.stderr.take().expect("standard error is a pipe"));
        Self {
            command: shown,
            child,
            stdout,
            stderr,
        }
    }

    /// Waits for the next line on standard output, which is returned without its end; `None` at
    /// the end of the output.
    ///
    /// # Panics
    /// When none comes for [`CLIENT_LIMIT`].
    #[track_caller]
    pub fn next_line(&mut self) -> Option<String> {
        match self.stdout.next_line(Instant::now() + CLIENT_LIMIT) {
            Ok(line) => line,
            Err(Late) => panic!(
                "`{}` printed no further line for {} s",
                self.command,
                CLIENT_LIMIT.as_secs()
            ),
        }
    }

    /// Whether it has ended already.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end; standard output holds only what [`Background::next_line`] did not take.
    ///
    /// # Panics
    /// When it does not end within [`CLIENT_LIMIT`].
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let Some(status) = try_until(CLIENT_LIMIT, || self.child.try_wait().transpose()) else {
            let said = (self.stdout.rest(), self.stderr.rest());
            panic!(
                "`{}` did not end within {} s; it said {said:?}",
                self.command,
                CLIENT_LIMIT.as_secs()
            );
        };
        let status = status.expect("a child of ours can be waited for");
        use std::os::unix::process::ExitStatusExt;
        Output {
            command: self.command.clone(),
            status: status
                .code()
                .or(status.signal().map(|signal| 128 + signal))
                .unwrap_or(-1),
            stdout: self.stdout.rest(),
            stderr: self.stderr.rest(),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail only when the child has been reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, read by a thread so that no pipe ever fills.
#[derive(Debug)]
struct Stream {
    lines: Receiver<Vec<u8>>,
}

struct Late;

/// How long output may be held open by somebody else after the command has ended.
const OUTPUT_LIMIT: Duration = Duration::from_secs(10);

impl Stream {
    fn read(pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader
                .read_until(b'\n', &mut line)
                .is_ok_and(|length| length > 0)
            {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
        });
        Self { lines }
    }

    fn next_line(&self, end: Instant) -> Result<Option<String>, Late> {
        match self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            Ok(line) => Ok(Some(
                String::from_utf8_lossy(&line)
                    .trim_end_matches('\n')
                    .to_owned(),
            )),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(Late),
        }
    }

    fn rest(&self) -> String {
        let end = Instant::now() + OUTPUT_LIMIT;
        let mut bytes = Vec::new();
        while let Ok(line) = self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            bytes.extend(line);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn outputs_are_kept_apart_and_signals_are_statuses() {
        let output = run(&mut shell("printf 'a\\nb'; printf c >&2; kill -KILL $$"));
        assert_eq!(
            (
                output.status,
                output.stdout.as_str(),
                output.stderr.as_str()
            ),
            (137, "a\nb", "c")
        );
        output.fails(137, &["C"]);
    }

    #[test]
    fn a_command_beside_the_test_gives_its_lines_as_they_come() {
        let mut beside = Background::start(&mut shell("echo first; read never; exec sleep 1000"));
        assert_eq!(beside.next_line().as_deref(), Some("first"));
        drop(beside);
        let mut beside = Background::start(&mut shell("echo only; exit 3"));
        assert_eq!(beside.next_line().as_deref(), Some("only"));
        assert_eq!(beside.next_line(), None);
        assert_eq!(beside.finish().status, 3);
    }
}
