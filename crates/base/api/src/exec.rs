//! `/containers/{id}/exec` and `/exec`: further processes in containers that run.

use serde::{Deserialize, Serialize};

use crate::decode::words;
use crate::nil;

/// `ExecConfig`: the body of `POST /containers/{id}/exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExecConfig {
    /// Whether a client will send input.
    pub attach_stdin: bool,
    /// Whether standard output is streamed to the client that starts it.
    pub attach_stdout: bool,
    /// Whether standard error is streamed to the client that starts it.
    pub attach_stderr: bool,
    /// Rows and columns of the terminal at its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<[u32; 2]>,
    /// The keys that detach a client from the terminal; empty for `ctrl-p,ctrl-q`.
    pub detach_keys: String,
    /// Whether the process gets a terminal of its own.
    pub tty: bool,
    /// Environment on top of the container's, `NAME=value`.
    #[serde(serialize_with = "nil::list")]
    pub env: Vec<String>,
    /// Program and arguments.
    #[serde(deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// Whether it gets all rights of the host's root.
    pub privileged: bool,
    /// `user[:group]`, names or numbers; empty for the container's.
    pub user: String,
    /// Working directory; empty for the container's.
    pub working_dir: String,
}

/// `IDResponse`: the answer to `POST /containers/{id}/exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExecCreateResponse {
    /// Id of the process, 64 hexadecimal digits.
    pub id: String,
}

/// `ExecStartConfig`: the body of `POST /exec/{id}/start`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExecStart {
    /// Whether the client does not want the streams.
    pub detach: bool,
    /// Whether the process has a terminal; as it was created with.
    pub tty: bool,
    /// Rows and columns of the terminal at its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<[u32; 2]>,
}

/// `ExecInspectResponse`: the answer to `GET /exec/{id}/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExecInspect {
    /// Id of the process, 64 hexadecimal digits.
    #[serde(rename = "ID")]
    pub id: String,
    /// Whether it runs.
    pub running: bool,
    /// Exit code; `None` until it has ended. 126 or 127 where it could not be started.
    pub exit_code: Option<i64>,
    /// What runs.
    pub process_config: ProcessConfig,
    /// Whether input can be sent.
    pub open_stdin: bool,
    /// Whether standard error is streamed.
    pub open_stderr: bool,
    /// Whether standard output is streamed.
    pub open_stdout: bool,
    /// Whether it may be forgotten.
    pub can_remove: bool,
    /// Id of the container.
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    /// The keys that detach a client, as they were given.
    pub detach_keys: String,
    /// The process on the host; 0 before it was started.
    pub pid: i64,
}

/// `ProcessConfig`: what a further process runs. Its fields are in small letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessConfig {
    /// Whether it has a terminal.
    pub tty: bool,
    /// Program.
    pub entrypoint: String,
    /// Arguments.
    pub arguments: Vec<String>,
    /// Whether it has all rights of the host's root.
    pub privileged: bool,
    /// The user as asked for; left out where none was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
}

/// Query of `POST /containers/{id}/resize` and `POST /exec/{id}/resize`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResizeQuery {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

impl ResizeQuery {
    /// Reads the texts of `h` and `w`.
    ///
    /// # Errors
    /// One of them is missing or no number from 0 to 65535; the error says which in Docker's words.
    pub fn parse(h: Option<&str>, w: Option<&str>) -> Result<Self, String> {
        let cells = |key: &str, text: Option<&str>| {
            let text = text.unwrap_or("");
            text.parse::<u32>()
                .map(|n| u16::try_from(n).unwrap_or(u16::MAX))
                .map_err(|_| {
                    format!("invalid resize {key} {text:?}: expected a number of character cells")
                })
        };
        Ok(Self {
            height: cells("height", h)?,
            width: cells("width", w)?,
        })
    }

    /// The query's text, `h=24&w=80`.
    pub fn to_query(self) -> String {
        format!("h={}&w={}", self.height, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    #[test]
    fn what_docker_sends_is_read() {
        let body = br#"{"User":"","Privileged":false,"Tty":true,"ConsoleSize":[24,80],"AttachStdin":true,
            "AttachStderr":true,"AttachStdout":true,"DetachKeys":"","Env":null,"WorkingDir":"","Cmd":["sh"]}"#;
        let read: ExecConfig = decode::from_slice(body).unwrap();
        assert!(read.tty && read.attach_stdin && read.env.is_empty());
        assert_eq!(read.console_size, Some([24, 80]));
        let word: ExecConfig = decode::from_slice(br#"{"cmd":"ls","consolesize":null}"#).unwrap();
        assert_eq!(word.cmd, Some(vec!["ls".to_owned()]));
    }

    #[test]
    fn an_exit_code_is_null_until_there_is_one() {
        let value = serde_json::to_value(ExecInspect::default()).unwrap();
        assert!(value["ExitCode"].is_null() && value["ProcessConfig"].get("user").is_none());
    }

    #[test]
    fn a_size_is_two_numbers() {
        let size = ResizeQuery::parse(Some("24"), Some("80")).unwrap();
        assert_eq!(size.to_query(), "h=24&w=80");
        assert_eq!(
            ResizeQuery::parse(Some("99999"), Some("0")).unwrap().height,
            u16::MAX
        );
        for (h, w) in [
            (None, Some("1")),
            (Some("x"), Some("1")),
            (Some("1"), Some("-1")),
        ] {
            assert!(ResizeQuery::parse(h, w).is_err());
        }
    }
}
