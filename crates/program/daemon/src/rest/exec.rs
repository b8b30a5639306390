//! `/containers/{id}/exec` and `/exec`: further processes.

use std::sync::Arc;

use berth_api::decode;
use berth_api::exec::{ExecConfig, ExecCreateResponse, ExecInspect, ExecStart, ProcessConfig};
use berth_api::stream::{StreamKind, header};
use berth_api::version::ApiVersion;
use berth_container::{Containers, Exec, ExecSettings, ExecState};
use berth_types::oci::ConsoleSize;
use berth_types::task;
use hyper::StatusCode;

use super::attach::{detach_keys, size};
use super::error::{ApiResult, sentence};
use super::reply;
use super::router::Call;
use crate::http::hijack::{self, Session};

/// The first API version in which a client says the size of a terminal at its start.
const CONSOLE_SIZE: ApiVersion = ApiVersion::new(1, 42);

/// The router of further processes.
#[derive(Clone)]
pub struct ExecApi {
    /// The containers that they run in.
    pub containers: Containers,
}

impl ExecApi {
    pub(super) async fn create(&self, call: Call, id: &str) -> ApiResult {
        let (caller, version) = (call.caller.clone(), call.version);
        // A container that is not there comes before whatever is wrong with the request.
        self.containers.get(&caller, id)?;
        let wire: ExecConfig = decode::from_slice(&call.body().await?)?;
        if !wire.detach_keys.is_empty() {
            detach_keys(&wire.detach_keys)?;
        }
        let settings = settings(wire, version);
        let exec = self.containers.exec_create(&caller, id, settings).await?;
        let answer = ExecCreateResponse {
            id: exec.to_string(),
        };
        Ok(reply::json(StatusCode::CREATED, &answer))
    }

    /// Starts it. What a client that is attached has to know about a start that failed, it reads
    /// in the stream, and the exit code when it inspects.
    pub(super) async fn start(&self, mut call: Call, id: &str) -> ApiResult {
        let exec = self.containers.exec(&call.caller, id)?;
        let body = call.take_body().await?;
        let wire: ExecStart = if body.is_empty() {
            ExecStart::default()
        } else {
            decode::from_slice(&body)?
        };
        let console = console(wire.console_size, call.version);
        let start = self
            .containers
            .exec_start(&call.caller, id, wire.detach, console)
            .await?;
        if wire.detach {
            start.await?;
            return Ok(reply::bare(StatusCode::OK));
        }
        let terminal = exec.settings.tty;
        // It is started whether or not the client stays for it.
        let started = tokio::spawn(task::here(start));
        let streams = async move {
            let error = match started.await {
                Ok(Ok(Some(streams))) => return Ok(streams),
                Ok(Err(error)) => sentence(&error),
                _ => "the start was interrupted".to_owned(),
            };
            Err(complaint(&error, terminal))
        };
        let keys = (terminal && exec.settings.attach[0])
            .then(|| detach_keys(&exec.settings.detach_keys))
            .transpose()?;
        let session = Session {
            streams: Some(Box::pin(streams)),
            terminal,
            keys,
            left: terminal.then(|| self.left(&exec)),
            // Clients look for the exit code as soon as the stream is over.
            settled: Some(Box::pin(async move { exec.ended().await })),
            ..Session::default()
        };
        Ok(hijack::begin(call.request, session, call.version))
    }

    fn left(&self, exec: &Arc<Exec>) -> Box<dyn FnOnce() + Send> {
        let (containers, exec) = (self.containers.clone(), Arc::clone(exec));
        Box::new(move || containers.exec_left(&exec))
    }

    pub(super) async fn resize(&self, call: &Call, id: &str) -> ApiResult {
        let size = size(&call.query)?;
        self.containers.exec_resize(&call.caller, id, size).await?;
        Ok(reply::bare(StatusCode::OK))
    }

    pub(super) fn inspect(&self, call: &Call, id: &str) -> ApiResult {
        let exec = self.containers.exec(&call.caller, id)?;
        Ok(reply::ok(&inspect(&exec)))
    }
}

fn console(size: Option<[u32; 2]>, version: ApiVersion) -> Option<ConsoleSize> {
    let [height, width] = size.filter(|_| version >= CONSOLE_SIZE)?;
    let cells = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    Some(ConsoleSize {
        height: cells(height),
        width: cells(width),
    })
}

fn settings(wire: ExecConfig, version: ApiVersion) -> ExecSettings {
    ExecSettings {
        command: wire.cmd.unwrap_or_default(),
        env: wire.env,
        user: wire.user,
        working_dir: wire.working_dir,
        privileged: wire.privileged,
        tty: wire.tty,
        attach: [wire.attach_stdin, wire.attach_stdout, wire.attach_stderr],
        console_size: console(wire.console_size, version),
        detach_keys: wire.detach_keys,
    }
}

/// A sentence as a piece of a stream.
fn complaint(text: &str, terminal: bool) -> Vec<u8> {
    let line = format!("{text}\r\n");
    let mut bytes = Vec::new();
    if !terminal {
        bytes.extend_from_slice(&header(StreamKind::Stdout, line.len()));
    }
    bytes.extend_from_slice(line.as_bytes());
    bytes
}

fn inspect(exec: &Exec) -> ExecInspect {
    let own = &exec.settings;
    let (running, exit_code, pid) = match exec.state() {
        ExecState::Created => (false, None, 0),
        ExecState::Starting => (true, None, 0),
        ExecState::Running(pid) => (true, None, pid),
        ExecState::Ended { code, pid } => (false, Some(i64::from(code)), pid),
    };
    ExecInspect {
        id: exec.id.to_string(),
        running,
        exit_code,
        process_config: ProcessConfig {
            tty: own.tty,
            entrypoint: own.command.first().cloned().unwrap_or_default(),
            arguments: own.command.iter().skip(1).cloned().collect(),
            privileged: own.privileged,
            user: own.user.clone(),
        },
        open_stdin: own.attach[0],
        open_stdout: own.attach[1],
        open_stderr: own.attach[2],
        can_remove: exit_code.is_some(),
        container_id: exec.container.to_string(),
        detach_keys: own.detach_keys.clone(),
        pid: i64::from(pid),
    }
}
