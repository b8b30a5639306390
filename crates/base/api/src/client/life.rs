//! The life of containers beyond start, stop and removal.

use hyper::Method;

use super::containers::Containers;
use super::error::ClientError;
use super::url::Query;
use crate::exec::ResizeQuery;

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
        let path = format!(
            "/containers/{}/resize?{}",
            super::url::segment(id),
            size.to_query()
        );
        self.client()
            .call(Method::POST, &path)
            .send()
            .await
            .map(drop)
    }
}
