//! The typed client of the engine, over a Unix socket or plain TCP.
//!
//! A [`Client`] is made by [`Client::connect`], which asks the engine for its newest API version
//! and settles on the lower of the two. Every request opens a connection of its own: a local
//! socket costs next to nothing, and streams, waits and hijacked connections then never stand in
//! each other's way. Dropping a stream or a future closes its connection.

mod archive;
mod containers;
pub mod endpoint;
mod error;
mod exec;
mod image_verbs;
mod images;
mod life;
mod networks;
mod streams;
mod system;
mod transport;
mod url;

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderMap;
use tokio::time::timeout;

use crate::berth::{FSCK_PATH, FsckReport, TASKS_PATH, TERMINALS_PATH, Tasks, TerminalSummary};
use crate::filters::Filters;
use crate::system::{Info, Ping, Version, header};
use crate::version::{ApiVersion, MIN, NEWEST};

pub use archive::PutOptions;
pub use containers::{
    AttachOptions, Attached, Containers, ListOptions, LogsOptions, RemoveOptions, Started, Wait,
};
pub use error::ClientError;
pub use exec::Execs;
pub use image_verbs::CommitOptions;
pub use images::{Images, ImportOptions};
pub use networks::Networks;
pub use streams::{Input, JsonStream, Output, ProgressStream};

use transport::{Address, Call};
use url::Query;

/// A connection-less handle on one engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: Address,
    version: ApiVersion,
}

impl Client {
    /// Finds the engine at `host` (`unix:///path`, `tcp://name:port`) and settles on an API
    /// version. Needs a tokio runtime with I/O and time enabled.
    pub async fn connect(host: &str) -> Result<Self, ClientError> {
        let address = Address::parse(host)?;
        let ping = ping(&address).await?;
        let version = negotiate(&ping)?;
        Ok(Self {
            shared: Arc::new(Shared { address, version }),
        })
    }

    /// The version that requests are made in.
    pub fn version_used(&self) -> ApiVersion {
        self.shared.version
    }

    /// The engine's address, as a person would write it.
    pub fn host(&self) -> &str {
        self.shared.address.host()
    }

    /// Asks the engine whether it is there: `HEAD /_ping`, or `GET` where that is not known.
    pub async fn ping(&self) -> Result<Ping, ClientError> {
        ping(&self.shared.address).await
    }

    /// `GET /version`.
    pub async fn version(&self) -> Result<Version, ClientError> {
        self.call(Method::GET, "/version").json().await
    }

    /// `GET /info`.
    pub async fn info(&self) -> Result<Info, ClientError> {
        self.call(Method::GET, "/info").json().await
    }

    /// `GET /berth/fsck`: whether disk, kernel and database agree.
    pub async fn fsck(&self) -> Result<FsckReport, ClientError> {
        self.call(Method::GET, FSCK_PATH).json().await
    }

    /// `GET /berth/debug/tasks`: what the engine does at this moment.
    pub async fn tasks(&self) -> Result<Tasks, ClientError> {
        self.call(Method::GET, TASKS_PATH).json().await
    }

    /// `GET /berth/terminals`: the terminals of the running containers that pass.
    pub async fn terminals(&self, filters: &Filters) -> Result<Vec<TerminalSummary>, ClientError> {
        let mut query = Query::default();
        query.put_some("filters", filters.to_query().as_deref());
        self.call(Method::GET, &query.after(TERMINALS_PATH))
            .json()
            .await
    }

    /// The verbs of containers.
    pub fn containers(&self) -> Containers<'_> {
        Containers::new(self)
    }

    /// The verbs of further processes.
    pub fn execs(&self) -> Execs<'_> {
        Execs::new(self)
    }

    /// The verbs of images.
    pub fn images(&self) -> Images<'_> {
        Images::new(self)
    }

    /// A request in the settled version.
    fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call::new(
            &self.shared.address,
            method,
            &format!("/v{}{path}", self.shared.version),
        )
    }
}

/// How long an engine may take to answer a ping; other requests may take as long as they need.
const PING_LIMIT: Duration = Duration::from_secs(30);

/// Both methods of the unversioned ping.
async fn ping(address: &Address) -> Result<Ping, ClientError> {
    let ask = async |method| Call::new(address, method, "/_ping").send().await;
    let both = async {
        match ask(Method::HEAD).await {
            Err(ClientError::Response { .. }) => ask(Method::GET).await,
            other => other,
        }
    };
    let answer = timeout(PING_LIMIT, both)
        .await
        .map_err(|_| ClientError::Timeout {
            host: address.host().to_owned(),
            seconds: PING_LIMIT.as_secs(),
        })??;
    Ok(read_ping(answer.headers()))
}

fn read_ping(headers: &HeaderMap) -> Ping {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    Ping {
        api_version: text(header::API_VERSION),
        os_type: text(header::OS_TYPE),
        experimental: text(header::EXPERIMENTAL) == "true",
        builder_version: text(header::BUILDER_VERSION),
        swarm: text(header::SWARM),
    }
}

/// The lower of our newest version and the engine's. An engine that does not say is taken for one
/// of the oldest version there is.
fn negotiate(ping: &Ping) -> Result<ApiVersion, ClientError> {
    let engine = ping.api_version.parse().unwrap_or(MIN);
    if engine < MIN {
        return Err(ClientError::EngineTooOld {
            engine,
            oldest: MIN,
        });
    }
    Ok(engine.min(NEWEST))
}

#[cfg(test)]
mod tests {
    use super::{ClientError, negotiate};
    use crate::system::Ping;

    #[test]
    fn the_lower_version_wins() {
        let settle = |text: &str| {
            negotiate(&Ping {
                api_version: text.to_owned(),
                ..Ping::default()
            })
            .map(|version| version.to_string())
        };
        assert_eq!(settle("1.41").unwrap(), "1.41");
        assert_eq!(settle("1.999").unwrap(), "1.56");
        assert_eq!(settle("").unwrap(), "1.24");
        assert!(matches!(
            settle("1.12"),
            Err(ClientError::EngineTooOld { .. })
        ));
    }
}
