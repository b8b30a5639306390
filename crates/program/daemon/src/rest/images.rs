//! `/images`.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_api::{Filters, ProgressMessage, shape};
use berth_container::Containers;
use berth_image::{Images, ImportOptions};
use berth_storage::Storage;
use berth_types::task::{self, Subject, Wait};
use berth_types::{ErrorKind, ImageReference, Timestamp};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::convert;
use super::error::{ApiError, ApiResult};
use super::reply;
use super::router::Call;
use crate::http::full;

/// Imports at the same time; more wait for their turn.
pub const IMPORTS: usize = 8;
/// Archives that are saved at the same time; more wait for their turn.
pub const SAVES: usize = 8;

/// How long a request waits for such a place.
const TURN_WITHIN: Duration = Duration::from_secs(600);
/// How long a client that uploads may send nothing: as long as a person who types a password into
/// what makes the archive, and no longer than until somebody looks what holds the place.
const UPLOAD_IDLE: Duration = Duration::from_secs(600);

/// What is read of a body whose reader has seen enough: bytes, and for how long.
const REST_MAX: usize = 1 << 20;
const REST_WITHIN: Duration = Duration::from_secs(2);

/// The images router.
#[derive(Clone)]
pub struct ImagesApi {
    /// The images.
    pub images: Images,
    /// Who uses them.
    pub containers: Containers,
    /// Where their layers are.
    pub storage: Storage,
    /// Places for imports, each of which has a thread and a process of its own while it lasts.
    pub imports: Arc<Semaphore>,
    /// Places for saves, each of which has a thread for as long as its client takes.
    pub saves: Arc<Semaphore>,
}

impl ImagesApi {
    pub(super) fn list(&self, call: &Call) -> ApiResult {
        let filters = Filters::from_query(call.query.get("filters"))?;
        let filter = convert::image_filter(&filters, &call.caller, &self.images)?;
        let list: Vec<_> = self
            .images
            .list(&call.caller, &filter)
            .iter()
            .map(convert::image_summary)
            .collect();
        Ok(reply::shaped_list(
            &list,
            call.version,
            shape::image_summary,
        ))
    }

    pub(super) fn inspect(&self, call: &Call, name: &str) -> ApiResult {
        let image = self.images.resolve(&call.caller, name)?;
        let references = self.images.references(&image);
        let wire = convert::image_inspect(&image, &references, &self.storage);
        Ok(reply::shaped(&wire, call.version, shape::image_inspect))
    }

    /// `docker import`, and what is not built: pull, and import from a URL.
    pub(super) async fn create(&self, call: Call) -> ApiResult {
        let query = &call.query;
        if let Some(name) = query.text("fromImage") {
            return super::pull::pull(self, &call, name).await;
        }
        match query.text("fromSrc") {
            Some("-") => {}
            Some(url) => {
                return Err(ApiError::not_built(format!(
                    "import from {url} (give a file or a stream instead)"
                )));
            }
            None => return Err(ApiError::invalid("give fromImage or fromSrc")),
        }
        let reference = match query.text("repo") {
            Some(repo) => Some(reference(repo, query.text("tag"))?),
            None => None,
        };
        if let Some(platform) = query.text("platform") {
            convert::check_platform(platform)?;
        }
        let options = ImportOptions {
            reference,
            message: query.text("message").map(str::to_owned),
            changes: query.all("changes"),
            platform: query.text("platform").map(str::to_owned),
            now: Timestamp::now(),
        };
        let _place = turn(&self.imports).await?;
        let caller = call.caller.clone();
        let (source, feeding) = feed(call.request.into_body())?;
        let images = self.images.clone();
        let whole = Arc::clone(&feeding.whole);
        let is_whole = move || whole.load(Ordering::Acquire);
        let import = move || images.import(&caller, source, is_whole, options);
        let imported = tokio::task::spawn_blocking(task::blocking(import)).await;
        feeding.end().await;
        let image = imported.map_err(|_| internal("the import was interrupted"))??;
        let line = ProgressMessage::status(image.id.to_string()).to_line();
        Ok(reply::stream(full(line), "application/json"))
    }
}

/// A place among those that do something large at the same time.
pub(super) async fn turn(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    let place = Arc::clone(places).acquire_owned();
    let place = tokio::time::timeout(TURN_WITHIN, place);
    match task::waiting(Wait::Turn, Some(TURN_WITHIN), place).await {
        Ok(place) => place.map_err(|_| internal("the engine is shutting down")),
        Err(_) => Err(ApiError::new(
            ErrorKind::Unavailable,
            "as many archives as the engine reads and writes at the same time have been on their way for ten minutes: try again, or see `berth debug tasks`",
        )),
    }
}

pub(super) fn internal(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Internal, message)
}

pub(super) fn reference(repo: &str, tag: Option<&str>) -> Result<ImageReference, ApiError> {
    let bad = |e: berth_types::ReferenceError| ApiError::invalid(e.to_string());
    let reference: ImageReference = repo.parse().map_err(bad)?;
    match tag {
        Some(tag) => reference.with_tag(tag).map_err(bad),
        None => Ok(reference.or_latest()),
    }
}

/// A request body on its way into a pipe.
pub(super) struct Feeding {
    task: tokio::task::JoinHandle<()>,
    /// See [`feed`].
    pub whole: Arc<AtomicBool>,
}

impl Feeding {
    /// Ends it, before the answer. A little of what still comes is read: a connection that is
    /// closed over it is reset, and a client that writes reads of no refusal.
    pub async fn end(mut self) {
        let ended = tokio::time::timeout(REST_WITHIN, &mut self.task).await;
        if ended.is_err() {
            self.task.abort();
        }
    }
}

/// Feeds a request body into a pipe whose other end the unpacker reads. `whole` tells, once
/// the pipe is at its end, whether the body was: a connection that breaks looks like a short
/// archive otherwise.
pub(super) fn feed(mut body: Incoming) -> Result<(OwnedFd, Feeding), ApiError> {
    let (read, write) =
        berth_sys::rustix::pipe::pipe_with(berth_sys::rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|_| internal("no pipe for the archive: too many open files"))?;
    let mut writer = pipe::Sender::from_owned_fd(write)
        .map_err(|_| internal("no pipe for the archive: too many open files"))?;
    let whole = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&whole);
    let task = tokio::spawn(task::begin("upload", Subject::Engine).run(async move {
        let (mut wanted, mut rest) = (true, 0);
        while rest < REST_MAX {
            let frame = tokio::time::timeout(UPLOAD_IDLE, body.frame());
            match task::waiting(Wait::ClientToSend, Some(UPLOAD_IDLE), frame).await {
                Ok(None) => return done.store(true, Ordering::Release),
                // To the reader it looks like a connection that broke.
                Err(_) | Ok(Some(Err(_))) => return,
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if wanted && writer.write_all(&data).await.is_err() {
                        // The unpacker has seen enough; what it says about it is the answer.
                        done.store(true, Ordering::Release);
                        wanted = false;
                    }
                    if !wanted {
                        rest += data.len();
                    }
                }
            }
        }
    }));
    Ok((read, Feeding { task, whole }))
}
