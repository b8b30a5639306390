//! The verbs of networks.

use hyper::Method;

use super::Client;
use super::error::ClientError;
use super::url::{Query, segment};
use crate::filters::Filters;
use crate::network::{NetworkInspect, NetworkSummary};

/// The verbs of networks; `id` is always an id, a unique beginning of one, or a name.
#[derive(Debug, Clone, Copy)]
pub struct Networks<'a> {
    client: &'a Client,
}

impl Client {
    /// The verbs of networks.
    pub fn networks(&self) -> Networks<'_> {
        Networks { client: self }
    }
}

impl Networks<'_> {
    /// `GET /networks`: the networks that pass.
    ///
    /// # Errors
    /// The engine is not there, or knows no such filter.
    pub async fn list(self, filters: &Filters) -> Result<Vec<NetworkSummary>, ClientError> {
        let mut query = Query::default();
        query.put_some("filters", filters.to_query().as_deref());
        self.client
            .call(Method::GET, &query.after("/networks"))
            .json()
            .await
    }

    /// `GET /networks/{id}`.
    ///
    /// # Errors
    /// There is no such network.
    pub async fn inspect(self, id: &str) -> Result<NetworkInspect, ClientError> {
        let path = format!("/networks/{}", segment(id));
        self.client.call(Method::GET, &path).json().await
    }
}
