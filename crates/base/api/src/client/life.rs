//! The life of containers beyond start, stop and removal.

use hyper::Method;

use super::containers::Containers;
use super::error::ClientError;
use super::streams::JsonStream;
use super::url::{Query, segment};
use crate::disk::ContainersPruneResponse;
use crate::exec::ResizeQuery;
use crate::filters::Filters;
use crate::stats::ContainerStats;
use crate::top::TopResponse;
use crate::update::{ContainerUpdateRequest, ContainerUpdateResponse};

impl Containers<'_> {
    /// `POST /containers/{id}/restart`: stops it as [`Containers::stop`] does, if it runs, and
    /// starts it.
    pub async fn restart(
        self,
        id: &str,
        seconds: Option<i64>,
        signal: Option<&str>,
    ) -> Result<(), ClientError> {
        let mut query = Query::default();
        query.put_some("t", seconds.map(|seconds| seconds.to_string()).as_deref());
        query.put_some("signal", signal);
        self.verb(id, "restart", query).send().await.map(drop)
    }

    /// `POST /containers/{id}/pause`: none of its processes goes on.
    pub async fn pause(self, id: &str) -> Result<(), ClientError> {
        let call = self.verb(id, "pause", Query::default());
        call.send().await.map(drop)
    }

    /// `POST /containers/{id}/unpause`: they go on.
    pub async fn unpause(self, id: &str) -> Result<(), ClientError> {
        let call = self.verb(id, "unpause", Query::default());
        call.send().await.map(drop)
    }

    /// `POST /containers/{id}/rename`.
    pub async fn rename(self, id: &str, name: &str) -> Result<(), ClientError> {
        let mut query = Query::default();
        query.put("name", name);
        self.verb(id, "rename", query).send().await.map(drop)
    }

    /// `POST /containers/{id}/resize`: the size of its terminal.
    pub async fn resize(self, id: &str, size: ResizeQuery) -> Result<(), ClientError> {
        let path = format!("/containers/{}/resize?{}", segment(id), size.to_query());
        self.client()
            .call(Method::POST, &path)
            .send()
            .await
            .map(drop)
    }

    /// `GET /containers/{id}/stats`: what it uses; with `stream` a sample a second until it is
    /// removed, otherwise two samples' worth in one.
    pub async fn stats(
        self,
        id: &str,
        stream: bool,
    ) -> Result<JsonStream<ContainerStats>, ClientError> {
        let mut query = Query::default();
        query.put("stream", if stream { "1" } else { "0" });
        let path = query.after(&format!("/containers/{}/stats", segment(id)));
        let answer = self.client().call(Method::GET, &path).send().await?;
        Ok(JsonStream::new(answer))
    }

    /// `GET /containers/{id}/stats`: one sample, taken at once; it has nothing to be compared with.
    pub async fn stats_once(self, id: &str) -> Result<ContainerStats, ClientError> {
        let mut query = Query::default();
        query.put("stream", "0");
        query.put("one-shot", "1");
        let path = query.after(&format!("/containers/{}/stats", segment(id)));
        self.client().call(Method::GET, &path).json().await
    }

    /// `GET /containers/{id}/top`: its processes, in the columns that these options of `ps` ask
    /// for; `-ef` where there are none.
    pub async fn top(self, id: &str, options: &str) -> Result<TopResponse, ClientError> {
        let mut query = Query::default();
        query.put_some("ps_args", Some(options));
        let path = query.after(&format!("/containers/{}/top", segment(id)));
        self.client().call(Method::GET, &path).json().await
    }

    /// `POST /containers/{id}/update`: new limits and a new restart policy.
    pub async fn update(
        self,
        id: &str,
        request: &ContainerUpdateRequest,
    ) -> Result<ContainerUpdateResponse, ClientError> {
        self.verb(id, "update", Query::default())
            .body_json(request)
            .json()
            .await
    }

    /// `POST /containers/prune`: removes those that do not run and pass.
    pub async fn prune(self, filters: &Filters) -> Result<ContainersPruneResponse, ClientError> {
        let mut query = Query::default();
        query.put_some("filters", filters.to_query().as_deref());
        self.client()
            .call(Method::POST, &query.after("/containers/prune"))
            .json()
            .await
    }
}
