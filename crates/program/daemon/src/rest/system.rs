//! The engine itself: ping, version, info, fsck.

use std::sync::Arc;
use std::time::Duration;

use berth_api::berth::{FsckFinding, FsckReport};
use berth_api::shape;
use berth_api::system::header;
use berth_container::Containers;
use berth_image::Images;
use berth_network::Networks;
use berth_storage::Storage;
use berth_store::Db;
use berth_types::ErrorKind;
use berth_types::task::{self, Wait};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA};
use hyper::{Method, Response};

use super::error::{ApiError, ApiResult};
use super::reply;
use super::router::Call;
use crate::across;
use crate::config::Config;
use crate::host::Host;
use crate::http::{Body, empty, full};

/// How long a check waits for removals to finish behind their replies.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// The system router.
#[derive(Clone)]
pub struct SystemApi {
    /// Containers, for the counts.
    pub containers: Containers,
    /// Images, for the counts.
    pub images: Images,
    /// Storage, for the check.
    pub storage: Storage,
    /// The database, for its size.
    pub db: Db,
    /// Networks, for what is to be known of them.
    pub networks: Networks,
    /// The host.
    pub host: Arc<Host>,
    /// What the engine was started with.
    pub config: Arc<Config>,
}

impl SystemApi {
    pub(super) fn ping(&self, method: &Method) -> Response<Body> {
        let mut response = Response::new(if method == Method::HEAD {
            empty()
        } else {
            full("OK")
        });
        let headers = response.headers_mut();
        let fixed = [
            (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
            (PRAGMA, "no-cache"),
            (CONTENT_TYPE, "text/plain; charset=utf-8"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // 1: no BuildKit here yet, and a client that is told so does not try it.
        headers.insert(header::BUILDER_VERSION, HeaderValue::from_static("1"));
        headers.insert(header::SWARM, HeaderValue::from_static("inactive"));
        response
    }

    pub(super) fn version(&self, call: &Call) -> ApiResult {
        Ok(reply::shaped(
            &across::version(&self.host),
            call.version,
            shape::version,
        ))
    }

    pub(super) async fn info(&self, call: &Call) -> ApiResult {
        let networks = self.networks.clone();
        // Other tables of the firewall are looked at.
        let look = task::blocking(move || networks.warnings());
        let warnings = tokio::task::spawn_blocking(look).await;
        let mut info = across::info(
            &call.caller,
            &self.containers,
            &self.images,
            &self.host,
            &self.config,
        );
        info.warnings.extend(warnings.unwrap_or_default());
        Ok(reply::shaped(&info, call.version, shape::info))
    }

    /// Ours: does what is recorded agree with disk and kernel?
    pub(super) async fn fsck(&self, call: &Call) -> ApiResult {
        if !call.caller.scope.is_root() {
            return Err(ApiError::new(
                ErrorKind::Forbidden,
                "only the administrator may check the engine",
            ));
        }
        // What removals left for after their replies is no disagreement yet.
        let settled = tokio::time::timeout(SETTLE_WITHIN, self.containers.settled());
        let _ = task::waiting(Wait::Turn, Some(SETTLE_WITHIN), settled).await;
        let (containers, storage, images, db) = (
            self.containers.clone(),
            self.storage.clone(),
            self.images.clone(),
            self.db.clone(),
        );
        let check = move || {
            let mut findings = Vec::new();
            let mut add = |kind: &str, subject: &str, message: &str| {
                findings.push(FsckFinding {
                    kind: kind.to_owned(),
                    subject: subject.to_owned(),
                    message: message.to_owned(),
                });
            };
            containers
                .fsck()
                .iter()
                .for_each(|f| add(f.kind, &f.subject, &f.message));
            let stored = storage.fsck().map_err(|e| ApiError::of(e.kind(), &e))?;
            for finding in stored.iter().chain(&images.fsck()?) {
                add(finding.kind.word(), &finding.subject, &finding.message);
            }
            let rows = db.rows().map_err(|e| ApiError::of(e.kind(), &e))?;
            Ok::<_, ApiError>((findings, rows))
        };
        let (findings, rows) = tokio::task::spawn_blocking(task::blocking(check))
            .await
            .map_err(|_| ApiError::new(ErrorKind::Internal, "the check was interrupted"))??;
        Ok(reply::ok(&FsckReport {
            clean: findings.is_empty(),
            findings,
            rows,
        }))
    }
}
