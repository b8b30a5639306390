//! The verbs of containers.

use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;

use super::Client;
use super::error::ClientError;
use super::streams::{BodyReader, Input, Output};
use super::transport::{Answer, Call};
use super::url::{Query, segment};
use crate::berth::{OWNER_QUERY, TIMINGS_HEADER, Timings};
use crate::container::{
    ContainerCreateRequest, ContainerCreateResponse, ContainerInspect, ContainerSummary,
    WaitCondition, WaitResponse,
};
use crate::decode;
use crate::filters::Filters;

/// The verbs of containers; `id` is always an id, a unique beginning of one, or a name.
#[derive(Debug, Clone, Copy)]
pub struct Containers<'a> {
    client: &'a Client,
}

/// What [`Containers::list`] lists.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// Only so many of the newest, running or not.
    pub limit: Option<u32>,
    /// With sizes.
    pub size: bool,
    /// Only what passes.
    pub filters: Filters,
}

/// How [`Containers::remove`] removes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// Its anonymous volumes as well.
    pub volumes: bool,
}

/// What [`Containers::logs`] gives. Without `stdout` and `stderr` the engine refuses.
#[derive(Debug, Clone, Default)]
pub struct LogsOptions {
    /// Go on until the container stops.
    pub follow: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// So many of the last lines, or `all`.
    pub tail: Option<String>,
    /// From here: seconds since the epoch with a fraction, or RFC 3339.
    pub since: Option<String>,
    /// Up to here.
    pub until: Option<String>,
    /// With the time before each line.
    pub timestamps: bool,
}

/// What [`Containers::attach`] connects.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// What was written before.
    pub logs: bool,
    /// What is written from now on.
    pub stream: bool,
    /// Keys that end the attachment, such as `ctrl-p,ctrl-q`.
    pub detach_keys: Option<String>,
    /// Berth's own: of a terminal, first what its screen shows now.
    pub screen: bool,
    /// Berth's own: the container never waits for this client, which then misses output.
    pub watch: bool,
    /// Berth's own: what the others on this terminal are told, such as `ann is watching`.
    pub announce: Option<String>,
}

/// A container's streams. The output is framed (see [`crate::stream`]) unless the container has a
/// terminal.
pub struct Attached {
    /// From the container.
    pub output: Output,
    /// To the container.
    pub input: Input,
}

impl Attached {
    /// The streams of a request that asked for an upgrade. An engine that does not know upgrades
    /// answers with the output alone, which is enough where nothing is to be sent.
    pub(super) async fn take_over(answer: Answer, stdin: bool) -> Result<Self, ClientError> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let broken = answer.broken();
            let connection = hyper::upgrade::on(answer.into_response())
                .await
                .map_err(broken)?;
            let (output, input) = tokio::io::split(TokioIo::new(connection));
            return Ok(Self {
                output: Box::new(output),
                input: Box::new(input),
            });
        }
        if stdin {
            return Err(ClientError::NotUpgraded);
        }
        let body: Incoming = answer.into_response().into_body();
        Ok(Self {
            output: Box::new(BodyReader::new(body)),
            input: Box::new(tokio::io::sink()),
        })
    }
}

/// The answer to a start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    /// Whether it ran already.
    pub already: bool,
    /// Where the time went, if asked for and said.
    pub timings: Option<Timings>,
}

/// A wait that the engine has taken note of.
pub struct Wait {
    answer: Answer,
}

impl Wait {
    /// The end of the container.
    pub async fn finish(self) -> Result<WaitResponse, ClientError> {
        self.answer.json().await
    }
}

impl<'a> Containers<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// `POST /containers/create`; without a name the engine makes one up.
    pub async fn create(
        self,
        name: Option<&str>,
        request: &ContainerCreateRequest,
    ) -> Result<ContainerCreateResponse, ClientError> {
        let mut query = Query::default();
        query.put_some("name", name);
        let path = query.after("/containers/create");
        self.client
            .call(Method::POST, &path)
            .body_json(request)
            .json()
            .await
    }

    /// As [`Containers::create`], for another owner (see [`OWNER_QUERY`]).
    pub async fn create_for(
        self,
        owner: &str,
        name: &str,
        request: &ContainerCreateRequest,
    ) -> Result<ContainerCreateResponse, ClientError> {
        let mut query = Query::default();
        query.put_some("name", Some(name));
        query.put_some(OWNER_QUERY, Some(owner));
        let path = query.after("/containers/create");
        self.client
            .call(Method::POST, &path)
            .body_json(request)
            .json()
            .await
    }

    /// `POST /containers/{id}/start`; with `timings` the engine is asked where the time went.
    pub async fn start(self, id: &str, timings: bool) -> Result<Started, ClientError> {
        let mut call = self.verb(id, "start", Query::default());
        if timings {
            call = call.header(TIMINGS_HEADER, "1");
        }
        let answer = call.send().await?;
        let timings = match answer.headers().get(TIMINGS_HEADER) {
            Some(json) if timings => Some(decode::from_slice(json.as_bytes()).map_err(
                |cause| ClientError::Answer {
                    request: answer.name().to_owned(),
                    cause,
                },
            )?),
            _ => None,
        };
        Ok(Started {
            already: answer.status() == StatusCode::NOT_MODIFIED,
            timings,
        })
    }

    /// `POST /containers/{id}/wait`. When this returns, the engine waits: do it before the start
    /// whose end is wanted.
    pub async fn wait(self, id: &str, condition: WaitCondition) -> Result<Wait, ClientError> {
        let mut query = Query::default();
        query.put("condition", &condition.to_string());
        Ok(Wait {
            answer: self.verb(id, "wait", query).send().await?,
        })
    }

    /// `GET /containers/json`.
    pub async fn list(self, options: &ListOptions) -> Result<Vec<ContainerSummary>, ClientError> {
        let mut query = Query::default();
        query.put_switch("all", options.all);
        query.put_some(
            "limit",
            options.limit.map(|limit| limit.to_string()).as_deref(),
        );
        query.put_switch("size", options.size);
        query.put_some("filters", options.filters.to_query().as_deref());
        self.client
            .call(Method::GET, &query.after("/containers/json"))
            .json()
            .await
    }

    /// `GET /containers/{id}/json`, with sizes if asked for.
    pub async fn inspect(self, id: &str, size: bool) -> Result<ContainerInspect, ClientError> {
        let mut query = Query::default();
        query.put_switch("size", size);
        let path = query.after(&format!("/containers/{}/json", segment(id)));
        self.client.call(Method::GET, &path).json().await
    }

    /// `POST /containers/{id}/stop`: the signal, then SIGKILL after so many seconds (−1 for
    /// never); `None` takes the container's. Whether it ran.
    pub async fn stop(
        self,
        id: &str,
        seconds: Option<i64>,
        signal: Option<&str>,
    ) -> Result<bool, ClientError> {
        let mut query = Query::default();
        query.put_some("t", seconds.map(|seconds| seconds.to_string()).as_deref());
        query.put_some("signal", signal);
        let answer = self.verb(id, "stop", query).send().await?;
        Ok(answer.status() != StatusCode::NOT_MODIFIED)
    }

    /// `POST /containers/{id}/kill`, with SIGKILL where no signal is named.
    pub async fn kill(self, id: &str, signal: Option<&str>) -> Result<(), ClientError> {
        let mut query = Query::default();
        query.put_some("signal", signal);
        self.verb(id, "kill", query).send().await.map(drop)
    }

    /// `DELETE /containers/{id}`.
    pub async fn remove(self, id: &str, options: RemoveOptions) -> Result<(), ClientError> {
        let mut query = Query::default();
        query.put_switch("force", options.force);
        query.put_switch("v", options.volumes);
        let path = query.after(&format!("/containers/{}", segment(id)));
        self.client
            .call(Method::DELETE, &path)
            .send()
            .await
            .map(drop)
    }

    /// `GET /containers/{id}/logs`. Framed (see [`crate::stream`]) unless the container has a
    /// terminal.
    pub async fn logs(self, id: &str, options: &LogsOptions) -> Result<Output, ClientError> {
        let mut query = Query::default();
        query.put_switch("follow", options.follow);
        query.put_switch("stdout", options.stdout);
        query.put_switch("stderr", options.stderr);
        query.put_some("tail", options.tail.as_deref());
        query.put_some("since", options.since.as_deref());
        query.put_some("until", options.until.as_deref());
        query.put_switch("timestamps", options.timestamps);
        let path = query.after(&format!("/containers/{}/logs", segment(id)));
        let answer = self.client.call(Method::GET, &path).send().await?;
        Ok(Box::new(BodyReader::new(
            answer.into_response().into_body(),
        )))
    }

    /// `POST /containers/{id}/attach`, with the connection handed over. When this returns, the
    /// engine has taken note: do it before the start whose first bytes are wanted.
    pub async fn attach(self, id: &str, options: &AttachOptions) -> Result<Attached, ClientError> {
        let mut query = Query::default();
        query.put_switch("stdin", options.stdin);
        query.put_switch("stdout", options.stdout);
        query.put_switch("stderr", options.stderr);
        query.put_switch("logs", options.logs);
        query.put_switch("stream", options.stream);
        query.put_some("detachKeys", options.detach_keys.as_deref());
        query.put_switch("screen", options.screen);
        query.put_some("role", options.watch.then_some("watch"));
        query.put_some("announce", options.announce.as_deref());
        let answer = self.verb(id, "attach", query).upgrade().send().await?;
        Attached::take_over(answer, options.stdin).await
    }

    /// The handle that it came from, for verbs in other files.
    pub(super) fn client(self) -> &'a Client {
        self.client
    }

    /// `POST /containers/{id}/{verb}`.
    pub(super) fn verb(&self, id: &str, verb: &str, query: Query) -> Call<'a> {
        let path = query.after(&format!("/containers/{}/{verb}", segment(id)));
        self.client.call(Method::POST, &path)
    }
}
