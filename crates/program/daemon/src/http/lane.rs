//! The lane: a socket beside each API socket, served by a thread of its own, which answers what
//! is in flight when the engine's own threads and places are all taken.
//!
//! It is root's alone, has nothing to do with requests, and knows two of them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use berth_api::berth::LANE_SUFFIX;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::LocalSet;

use super::{Body, Listener};

/// Connections that are served at once; more wait in the socket's backlog.
const CONNECTIONS: usize = 4;
/// How long one of them may take.
const WITHIN: Duration = Duration::from_secs(10);

/// What a lane answers by method and path.
type Answer = fn(&Method, &str) -> Response<Body>;

/// The lanes of an engine. They end with this value.
pub struct Lane {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        drop(self.stop.take());
        // It takes its sockets away, which takes no time.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Lane {
    /// Opens a lane beside each of these sockets. An engine without them works as well: what is
    /// wrong is logged.
    pub fn open(sockets: &[PathBuf], answer: Answer) -> Option<Self> {
        let (stop, stopped) = oneshot::channel();
        let paths: Vec<PathBuf> = sockets.iter().map(|path| beside(path)).collect();
        let serve = move || match run(&paths, answer, stopped) {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "no lane for berth debug tasks"),
        };
        let thread = thread::Builder::new().name("lane".to_owned());
        match thread.spawn(serve) {
            Ok(thread) => Some(Self {
                stop: Some(stop),
                thread: Some(thread),
            }),
            Err(error) => {
                tracing::warn!(%error, "no thread for the lane of berth debug tasks");
                None
            }
        }
    }
}

fn beside(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(LANE_SUFFIX);
    path.into()
}

fn run(paths: &[PathBuf], answer: Answer, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let lanes = LocalSet::new();
    let all = async {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        for path in paths {
            match Listener::bind_private(path) {
                Ok(listener) => {
                    let places = Arc::clone(&places);
                    tokio::task::spawn_local(accept(listener, answer, places));
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "no lane for berth debug tasks");
                }
            }
        }
        // Comes at the end of the engine, one way or the other.
        let _ = stopped.await;
    };
    lanes.block_on(&runtime, all);
    Ok(())
}

async fn accept(listener: Listener, answer: Answer, places: Arc<Semaphore>) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors, most likely.
                tracing::warn!(%error, "connection to the lane not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        tokio::task::spawn_local(async move {
            let service = service_fn(|request: Request<Incoming>| async move {
                Ok::<_, std::convert::Infallible>(answer(request.method(), request.uri().path()))
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that breaks off does not need the answer.
            let _ = tokio::time::timeout(WITHIN, served).await;
            drop(place);
        });
    }
}
