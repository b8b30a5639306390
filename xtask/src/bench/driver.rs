//! One column of the tables: an engine asked by a command line or over its socket, and every
//! operation that is measured, in both ways.
//!
//! A time by command line is the whole command. A time over the socket is what the requests
//! take of a client that costs nothing; what they are stands at each operation.

use std::cell::RefCell;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::IMAGE;
use super::client::Client;
use super::http::{Body, Connection, Frames, drain};

/// What a container gets that nobody writes into the log of: more than any of them writes.
const ROTATION: &str = "1g";

/// Whose words differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Berth,
    Docker,
    Podman,
}

#[derive(Debug)]
enum Via {
    Command(Client),
    Api(RefCell<Connection>),
}

/// How an engine is asked.
#[derive(Debug)]
pub struct Column {
    pub label: String,
    pub kind: Kind,
    /// Which of the measured engines it asks, in the order of the memory table.
    pub subject: usize,
    socket: PathBuf,
    via: Via,
}

/// The network of a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Network {
    Bridge,
    None,
}

/// Milliseconds of some work.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let begun = Instant::now();
    let done = work()?;
    Ok((begun.elapsed(), done))
}

impl Column {
    pub fn by_command(subject: usize, kind: Kind, socket: &Path, client: Client) -> Self {
        Self {
            label: client.label.clone(),
            kind,
            subject,
            socket: socket.to_owned(),
            via: Via::Command(client),
        }
    }

    pub fn by_api(subject: usize, kind: Kind, socket: &Path, label: &str) -> Self {
        Self {
            label: label.to_owned(),
            kind,
            subject,
            socket: socket.to_owned(),
            via: Via::Api(RefCell::new(Connection::new(socket))),
        }
    }

    pub fn is_command(&self) -> bool {
        matches!(self.via, Via::Command(_))
    }

    /// `version`, or `GET /_ping`: what asking costs by itself. (Podman's `/version` starts the
    /// programs whose versions it tells, for two seconds.)
    pub fn version(&self) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["version"]),
            Via::Api(api) => request(api, "GET", "/_ping"),
        }
    }

    /// `run --rm IMAGE true`, or create, attach, start, the streams to their end, wait, delete.
    pub fn run(&self, network: Network) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => {
                let mut words = vec!["run", "--rm"];
                words.extend(network.words());
                words.extend([IMAGE, "true"]);
                client.time(&words)
            }
            Via::Api(api) => {
                let mut body = self.body(IMAGE, &["true"], network);
                body["AttachStdout"] = json!(true);
                body["AttachStderr"] = json!(true);
                let (time, code) = timed(|| {
                    let id = created(&api.borrow_mut().json(
                        "POST",
                        "/containers/create",
                        Body::Json(&body),
                    )?)?;
                    let attach = format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1");
                    let mut streams = self.hijacked(&attach, Body::Nothing)?;
                    let mut api = api.borrow_mut();
                    api.ask("POST", &format!("/containers/{id}/start"), Body::Nothing)?;
                    drain(&mut streams, &mut |_| {}).context("reading the streams")?;
                    let wait = format!("/containers/{id}/wait");
                    let answer = api.json("POST", &wait, Body::Nothing)?;
                    api.ask("DELETE", &format!("/containers/{id}"), Body::Nothing)?;
                    Ok(answer["StatusCode"].as_i64())
                })?;
                if code != Some(0) {
                    bail!("the container ended with {code:?}");
                }
                Ok(time)
            }
        }
    }

    /// `create`, of a container that sleeps.
    pub fn create(&self, name: &str, network: Network) -> Result<Duration> {
        self.create_for(name, IMAGE, &["sleep", "1000"], network)
    }

    /// `create` with a bound of the log above all that is measured.
    pub fn create_for(
        &self,
        name: &str,
        image: &str,
        command: &[&str],
        network: Network,
    ) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => {
                let bound = format!("max-size={ROTATION}");
                let mut words = vec!["create", "--log-opt", &bound, "--name", name];
                words.extend(network.words());
                words.push(image);
                words.extend(command);
                client.time(&words)
            }
            Via::Api(api) => {
                let body = self.body(image, command, network);
                let path = format!("/containers/create?name={name}");
                let (time, _) = timed(|| api.borrow_mut().ask("POST", &path, Body::Json(&body)))?;
                Ok(time)
            }
        }
    }

    /// `start`: to the end of the command, or to the 204.
    pub fn start(&self, name: &str) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["start", name]),
            Via::Api(api) => request(api, "POST", &format!("/containers/{name}/start")),
        }
    }

    /// `run -d`, or create and start.
    pub fn run_detached(&self, name: &str) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => {
                client.time(&["run", "-d", "--name", name, IMAGE, "sleep", "1000"])
            }
            Via::Api(_) => Ok(self.create(name, Network::Bridge)? + self.start(name)?),
        }
    }

    /// `exec NAME true`, or create, start, and the streams to their end.
    pub fn exec(&self, name: &str) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["exec", name, "true"]),
            Via::Api(api) => {
                let wanted = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["true"]});
                let path = format!("/containers/{name}/exec");
                let (time, ()) = timed(|| {
                    let made = api.borrow_mut().json("POST", &path, Body::Json(&wanted))?;
                    let id = created(&made)?;
                    let body = json!({"Detach": false, "Tty": false});
                    let path = format!("/exec/{id}/start");
                    let mut streams = self.hijacked(&path, Body::Json(&body))?;
                    drain(&mut streams, &mut |_| {}).context("reading the streams")
                })?;
                Ok(time)
            }
        }
    }

    /// `stop -t 0`.
    pub fn stop(&self, name: &str) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["stop", "-t", "0", name]),
            Via::Api(api) => request(api, "POST", &format!("/containers/{name}/stop?t=0")),
        }
    }

    /// `rm` of a container that does not run.
    pub fn remove(&self, name: &str) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["rm", name]),
            Via::Api(api) => request(api, "DELETE", &format!("/containers/{name}")),
        }
    }

    /// `rm -f` of all in one command, or one `DELETE ?force=1` after the other. Podman gives
    /// what it kills ten seconds unless it is told not to.
    pub fn remove_by_force(&self, names: &[&str]) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => {
                let mut words = vec!["rm", "-f"];
                if self.kind == Kind::Podman {
                    words.extend(["-t", "0"]);
                }
                words.extend(names);
                client.time(&words)
            }
            Via::Api(api) => {
                let mut sum = Duration::ZERO;
                for name in names {
                    sum += request(api, "DELETE", &format!("/containers/{name}?force=1"))?;
                }
                Ok(sum)
            }
        }
    }

    /// `ps`.
    pub fn list(&self) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["ps"]),
            Via::Api(api) => request(api, "GET", "/containers/json"),
        }
    }

    /// `inspect`.
    pub fn inspect(&self, name: &str) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["inspect", name]),
            Via::Api(api) => request(api, "GET", &format!("/containers/{name}/json")),
        }
    }

    /// `stats --no-stream` of all, or one sample of one container.
    pub fn stats(&self, name: &str) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["stats", "--no-stream"]),
            Via::Api(api) => {
                let path = format!("/containers/{name}/stats?stream=false&one-shot=true");
                request(api, "GET", &path)
            }
        }
    }

    /// `wait`. Podman's command looks four times a second unless it is told otherwise.
    pub fn wait(&self, name: &str) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => {
                let mut words = vec!["wait"];
                if self.kind == Kind::Podman {
                    words.extend(["--interval", "5ms"]);
                }
                words.push(name);
                client.time(&words)
            }
            Via::Api(api) => request(api, "POST", &format!("/containers/{name}/wait")),
        }
    }

    /// `logs`, all of them.
    ///
    /// # Errors
    /// Over the socket, also when it is not `expected` bytes that the container is said to have
    /// written.
    pub fn logs(&self, name: &str, expected: u64) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["logs", name]),
            Via::Api(api) => {
                let path = format!("/containers/{name}/logs?stdout=1&stderr=1");
                let mut frames = Frames::default();
                let (time, ()) = timed(|| {
                    api.borrow_mut()
                        .stream_to("GET", &path, Body::Nothing, &mut |piece| {
                            frames.add(piece);
                        })
                })?;
                if frames.payload != expected {
                    bail!("{} of {expected} bytes were read back", frames.payload);
                }
                Ok(time)
            }
        }
    }

    /// `load -i`, or the archive as a body.
    pub fn load(&self, archive: &Path) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["load", "-i", &archive.to_string_lossy()]),
            Via::Api(api) => {
                let (time, said) = timed(|| {
                    let body = Body::Archive(archive);
                    api.borrow_mut().ask("POST", "/images/load?quiet=1", body)
                })?;
                let said = String::from_utf8_lossy(&said);
                if said.contains("errorDetail") {
                    bail!("load was answered with 200 and {said}");
                }
                Ok(time)
            }
        }
    }

    /// `commit`.
    pub fn commit(&self, name: &str, repository: &str) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["commit", name, &format!("{repository}:1")]),
            Via::Api(api) => {
                let path = format!("/commit?container={name}&repo={repository}&tag=1");
                let (time, _) =
                    timed(|| api.borrow_mut().ask("POST", &path, Body::Json(&json!({}))))?;
                Ok(time)
            }
        }
    }

    /// `export`, to nowhere.
    pub fn export(&self, name: &str) -> Result<Duration> {
        match &self.via {
            Via::Command(client) => client.time(&["export", name]),
            Via::Api(api) => {
                let path = format!("/containers/{name}/export");
                let (time, ()) = timed(|| {
                    api.borrow_mut()
                        .stream_to("GET", &path, Body::Nothing, &mut |_| {})
                })?;
                Ok(time)
            }
        }
    }

    /// `rmi`, which nobody measures.
    pub fn remove_image(&self, reference: &str) -> Result<()> {
        match &self.via {
            Via::Command(client) => client.time(&["rmi", "-f", reference]).map(drop),
            Via::Api(api) => {
                let path = format!("/images/{reference}?force=1");
                request(api, "DELETE", &path).map(drop)
            }
        }
    }

    fn body(&self, image: &str, command: &[&str], network: Network) -> Value {
        let driver = match self.kind {
            Kind::Podman => "k8s-file",
            Kind::Berth | Kind::Docker => "json-file",
        };
        let network = match network {
            Network::Bridge => "default",
            Network::None => "none",
        };
        json!({
            "Image": image,
            "Cmd": command,
            "HostConfig": {
                "NetworkMode": network,
                "LogConfig": {"Type": driver, "Config": {"max-size": ROTATION}},
            },
        })
    }

    fn hijacked(&self, path: &str, body: Body<'_>) -> Result<BufReader<UnixStream>> {
        Connection::new(&self.socket).hijack(path, body)
    }
}

impl Network {
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Bridge => &[],
            Self::None => &["--network", "none"],
        }
    }
}

/// One request without a body, to the end of its answer.
fn request(api: &RefCell<Connection>, method: &str, path: &str) -> Result<Duration> {
    let (time, _) = timed(|| api.borrow_mut().ask(method, path, Body::Nothing))?;
    Ok(time)
}

fn created(answer: &Value) -> Result<String> {
    let id = answer["Id"].as_str();
    Ok(id.with_context(|| format!("no id in {answer}"))?.to_owned())
}
