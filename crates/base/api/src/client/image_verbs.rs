//! Images by hand: names, removal, archives, and images of containers.

use hyper::Method;
use tokio::io::AsyncRead;

use super::error::ClientError;
use super::images::Images;
use super::streams::{BodyReader, Output, ProgressStream};
use super::url::{Query, segment};
use crate::filters::Filters;
use crate::image::{CommitAnswer, HistoryItem, ImageDeleteItem, ImagePruneAnswer};

/// How [`Images::commit`] makes an image of a container.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Name of the new image; empty for none.
    pub repo: String,
    /// Its tag; empty for `latest`.
    pub tag: String,
    /// Comment of the new step.
    pub message: String,
    /// Who made it.
    pub author: String,
    /// Instructions of a Dockerfile that are applied to its configuration.
    pub changes: Vec<String>,
    /// Whether the container goes on meanwhile; otherwise it is paused.
    pub running: bool,
}

impl Images<'_> {
    /// `POST /commit`: an image of what a container has changed.
    pub async fn commit(
        self,
        container: &str,
        options: &CommitOptions,
    ) -> Result<CommitAnswer, ClientError> {
        let mut query = Query::default();
        query.put("container", container);
        query.put_some("repo", Some(&options.repo));
        query.put_some("tag", Some(&options.tag));
        query.put_some("comment", Some(&options.message));
        query.put_some("author", Some(&options.author));
        for change in &options.changes {
            query.put("changes", change);
        }
        query.put_some("pause", options.running.then_some("0"));
        // The body would be a configuration that replaces the container's: none.
        self.client()
            .call(Method::POST, &query.after("/commit"))
            .body_json(&serde_json::Value::Null)
            .json()
            .await
    }

    /// `POST /images/{name}/tag`: one more name for an image.
    pub async fn tag(self, name: &str, repo: &str, tag: &str) -> Result<(), ClientError> {
        let mut query = Query::default();
        query.put("repo", repo);
        query.put_some("tag", Some(tag));
        let path = query.after(&format!("/images/{}/tag", segment(name)));
        self.client()
            .call(Method::POST, &path)
            .send()
            .await
            .map(drop)
    }

    /// `DELETE /images/{name}`: takes a name off, and with the last one the image, also one that
    /// stopped containers have with `force`; its nameless parents as well unless `keep_parents`.
    pub async fn remove(
        self,
        name: &str,
        force: bool,
        keep_parents: bool,
    ) -> Result<Vec<ImageDeleteItem>, ClientError> {
        let mut query = Query::default();
        query.put_switch("force", force);
        query.put_switch("noprune", keep_parents);
        let path = query.after(&format!("/images/{}", segment(name)));
        self.client().call(Method::DELETE, &path).json().await
    }

    /// `GET /images/{name}/history`, the newest step first.
    pub async fn history(self, name: &str) -> Result<Vec<HistoryItem>, ClientError> {
        let path = format!("/images/{}/history", segment(name));
        self.client().call(Method::GET, &path).json().await
    }

    /// `GET /images/get`: the images as one tar archive.
    pub async fn save(self, names: &[String]) -> Result<Output, ClientError> {
        let mut query = Query::default();
        for name in names {
            query.put("names", name);
        }
        let path = query.after("/images/get");
        let answer = self.client().call(Method::GET, &path).send().await?;
        Ok(Box::new(BodyReader::new(
            answer.into_response().into_body(),
        )))
    }

    /// `POST /images/load`: images from an archive that [`Images::save`] made.
    pub async fn load(
        self,
        archive: impl AsyncRead + Send + 'static,
        quiet: bool,
    ) -> Result<ProgressStream, ClientError> {
        let mut query = Query::default();
        query.put_switch("quiet", quiet);
        let answer = self
            .client()
            .call(Method::POST, &query.after("/images/load"))
            .body_reader(archive)
            .send()
            .await?;
        Ok(ProgressStream::new(answer))
    }

    /// `POST /images/prune`: removes images that nothing needs; without a filter `dangling=false`
    /// only nameless ones.
    pub async fn prune(self, filters: &Filters) -> Result<ImagePruneAnswer, ClientError> {
        let mut query = Query::default();
        query.put_some("filters", filters.to_query().as_deref());
        self.client()
            .call(Method::POST, &query.after("/images/prune"))
            .json()
            .await
    }
}
