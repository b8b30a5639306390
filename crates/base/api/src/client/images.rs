//! The verbs of images.

use hyper::Method;
use tokio::io::AsyncRead;

use super::Client;
use super::error::ClientError;
use super::streams::ProgressStream;
use super::url::{Query, segment};
use crate::filters::Filters;
use crate::image::{ImageInspect, ImageSummary};

/// The verbs of images.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    client: &'a Client,
}

/// What [`Images::import`] makes of an archive.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Name of the new image; empty for none.
    pub repo: String,
    /// Its tag; empty for `latest`.
    pub tag: String,
    /// Comment of its one step.
    pub message: String,
    /// Instructions of a Dockerfile that are applied to its configuration, such as `CMD ["sh"]`.
    pub changes: Vec<String>,
}

impl<'a> Images<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// `POST /images/create?fromSrc=-`: an image of one layer from an archive. The last message
    /// of the stream has the image's id as its status.
    pub async fn import(
        self,
        archive: impl AsyncRead + Send + 'static,
        options: &ImportOptions,
    ) -> Result<ProgressStream, ClientError> {
        let mut query = Query::default();
        query.put("fromSrc", "-");
        query.put_some("repo", Some(&options.repo));
        query.put_some("tag", Some(&options.tag));
        query.put_some("message", Some(&options.message));
        for change in &options.changes {
            query.put("changes", change);
        }
        let path = query.after("/images/create");
        let answer = self
            .client
            .call(Method::POST, &path)
            .body_reader(archive)
            .send()
            .await?;
        Ok(ProgressStream::new(answer))
    }

    /// `POST /images/create?fromImage=`: an image from a registry, or from the engine itself where
    /// it has one of that name. An empty `tag` is left out; `platform` as in `linux/arm64`, empty
    /// for the engine's own.
    pub async fn pull(
        self,
        repo: &str,
        tag: &str,
        platform: &str,
    ) -> Result<ProgressStream, ClientError> {
        let mut query = Query::default();
        query.put("fromImage", repo);
        query.put_some("tag", Some(tag));
        query.put_some("platform", Some(platform));
        let path = query.after("/images/create");
        let answer = self.client.call(Method::POST, &path).send().await?;
        Ok(ProgressStream::new(answer))
    }

    /// `GET /images/json`; with `all` also those in between.
    pub async fn list(
        self,
        all: bool,
        filters: &Filters,
    ) -> Result<Vec<ImageSummary>, ClientError> {
        let mut query = Query::default();
        query.put_switch("all", all);
        query.put_some("filters", filters.to_query().as_deref());
        self.client
            .call(Method::GET, &query.after("/images/json"))
            .json()
            .await
    }

    /// `GET /images/{name}/json`, by name, id or a unique beginning of one.
    pub async fn inspect(self, name: &str) -> Result<ImageInspect, ClientError> {
        let path = format!("/images/{}/json", segment(name));
        self.client.call(Method::GET, &path).json().await
    }

    /// The handle that it came from, for verbs in other files.
    pub(super) fn client(self) -> &'a Client {
        self.client
    }
}
