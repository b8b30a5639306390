//! Listening sockets and the connections on them.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_types::{Caller, Scope};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use super::Body;

/// Connections that are served at once; more wait in the socket's backlog.
const CONNECTIONS: usize = 1024;
/// Patience with a client that opens a connection and says nothing.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);

/// One listening socket, removed when dropped.
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`, for root and, where one is given, a group. A socket that a dead engine
    /// left is replaced; one that answers is not.
    ///
    /// # Errors
    /// Another engine listens there, or the directory cannot be written.
    pub fn bind(path: &Path, group: Option<u32>) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another engine answers on this socket: stop it, or give another -H",
                ));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(_) => fs::remove_file(path)?,
        }
        let socket = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        chown(path, Some(0), Some(group.unwrap_or(0)))?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nobody is listening any more; a path that stays only costs the next start a connect.
        let _ = fs::remove_file(&self.path);
    }
}

/// Who is behind a connection. Only the unscoped socket exists, and whoever may open it is the
/// administrator.
fn caller(stream: &UnixStream) -> Caller {
    let credentials = stream.peer_cred().ok();
    Caller {
        scope: Scope::root(),
        uid: credentials.as_ref().map(tokio::net::unix::UCred::uid),
        pid: credentials.and_then(|c| c.pid()),
    }
}

/// Serves connections until `stop` turns true, then lets requests in flight finish.
pub async fn serve<H, F>(listener: Listener, handler: H, mut stop: watch::Receiver<bool>)
where
    H: Fn(Caller, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: serve those that are there first.
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let handler = handler.clone();
        let stop = stop.clone();
        tokio::spawn(async move {
            connection(stream, handler, stop).await;
            drop(place);
        });
    }
}

async fn connection<H, F>(stream: UnixStream, handler: H, mut stop: watch::Receiver<bool>)
where
    H: Fn(Caller, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let caller = caller(&stream);
    let service = service_fn(move |request| {
        let answer = handler(caller.clone(), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Resolves when the engine stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone stops the engine as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
