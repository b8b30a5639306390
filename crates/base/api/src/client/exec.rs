//! Further processes in containers that run.

use hyper::Method;

use super::Client;
use super::containers::{Attached, Containers};
use super::error::ClientError;
use super::url::{Query, segment};
use crate::exec::{ExecConfig, ExecCreateResponse, ExecInspect, ExecStart, ResizeQuery};

/// The verbs of further processes; `id` is what [`Containers::exec`] gave.
#[derive(Debug, Clone, Copy)]
pub struct Execs<'a> {
    client: &'a Client,
}

impl Containers<'_> {
    /// `POST /containers/{id}/exec`: describes a further process, which does not run yet. Its id.
    pub async fn exec(self, id: &str, config: &ExecConfig) -> Result<String, ClientError> {
        let created: ExecCreateResponse = self
            .verb(id, "exec", Query::default())
            .body_json(config)
            .json()
            .await?;
        Ok(created.id)
    }
}

impl<'a> Execs<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// `POST /exec/{id}/start` with the connection handed over. The output is framed (see
    /// [`crate::stream`]) unless the process has a terminal. `stdin` says whether something will
    /// be sent.
    pub async fn start(
        self,
        id: &str,
        start: &ExecStart,
        stdin: bool,
    ) -> Result<Attached, ClientError> {
        let answer = self
            .client
            .call(Method::POST, &format!("/exec/{}/start", segment(id)))
            .upgrade()
            .body_json(start)
            .send()
            .await?;
        Attached::take_over(answer, stdin).await
    }

    /// The same without the streams: the process runs when this returns.
    pub async fn start_detached(self, id: &str, start: &ExecStart) -> Result<(), ClientError> {
        let start = ExecStart {
            detach: true,
            ..start.clone()
        };
        self.client
            .call(Method::POST, &format!("/exec/{}/start", segment(id)))
            .body_json(&start)
            .send()
            .await
            .map(drop)
    }

    /// `GET /exec/{id}/json`.
    pub async fn inspect(self, id: &str) -> Result<ExecInspect, ClientError> {
        self.client
            .call(Method::GET, &format!("/exec/{}/json", segment(id)))
            .json()
            .await
    }

    /// `POST /exec/{id}/resize`: the size of its terminal.
    pub async fn resize(self, id: &str, size: ResizeQuery) -> Result<(), ClientError> {
        let path = format!("/exec/{}/resize?{}", segment(id), size.to_query());
        self.client.call(Method::POST, &path).send().await.map(drop)
    }
}
