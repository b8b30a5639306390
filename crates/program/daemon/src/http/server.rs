//! Listening sockets and the connections on them.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_types::task::{self, Wait};
use berth_types::{Caller, Scope};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Body;
use super::hangup::HangUp;

/// Connections that are served at once; more wait in the socket's backlog. Whoever watches a
/// container's end or its output has one for as long as that takes, of each of many containers.
const CONNECTIONS: u32 = 4096;
/// Requests that are carried out at once. They may outlive their connections.
const REQUESTS: u32 = CONNECTIONS;
/// Patience with a client that opens a connection and says nothing.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// Characters of a request's path that are shown in a list.
const PATH_SHOWN: usize = 160;
/// How long an engine that stops lets requests in flight go on.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// How long it then waits until their answers are sent. Answers that have no end of their own, as
/// those to a wait, are cut off.
const SEND_WITHIN: Duration = Duration::from_millis(200);

/// One listening socket, removed when dropped if it was made here.
pub struct Listener {
    socket: UnixListener,
    path: Option<PathBuf>,
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
            Err(_) if fs::symlink_metadata(path)?.file_type().is_socket() => fs::remove_file(path)?,
            Err(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "something that is no socket is there: move it away, or give another -H",
                ));
            }
        }
        let socket = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        chown(path, Some(0), Some(group.unwrap_or(0)))?;
        Ok(Self {
            socket,
            path: Some(path.to_owned()),
        })
    }

    /// Serves on a socket that the service manager made, and keeps when this engine ends: clients
    /// that come meanwhile wait in it for the next one.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn passed(socket: std::os::unix::net::UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UnixListener::from_std(socket)?,
            path: None,
        })
    }

    /// The address, for the log.
    pub fn name(&self) -> String {
        let address = self.socket.local_addr();
        let path = address
            .ok()
            .and_then(|a| Some(a.as_pathname()?.display().to_string()));
        path.unwrap_or_default()
    }
}

impl Listener {
    /// As [`Listener::bind`], for root alone.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub(super) fn bind_private(path: &Path) -> io::Result<Self> {
        let listener = Self::bind(path, None)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.socket.accept().await?.0)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nobody is listening any more; a path that stays only costs the next start a connect.
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
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
    let places = Arc::new(Semaphore::new(CONNECTIONS as usize));
    let requests = Arc::new(Semaphore::new(REQUESTS as usize));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener.socket, &places) => accepted,
            () = stopped(&mut stop) => break,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: serve those that are there first.
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (handler, requests, stop) = (handler.clone(), Arc::clone(&requests), stop.clone());
        tokio::spawn(async move {
            connection(stream, handler, requests, stop).await;
            drop(place);
        });
    }
    let _ = tokio::time::timeout(FINISH_WITHIN, requests.acquire_many(REQUESTS)).await;
    let _ = tokio::time::timeout(SEND_WITHIN, places.acquire_many(CONNECTIONS)).await;
}

/// The next connection, once there is a place for it.
async fn accept(
    socket: &UnixListener,
    places: &Arc<Semaphore>,
) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    Ok((socket.accept().await?.0, place))
}

async fn connection<H, F>(
    stream: UnixStream,
    handler: H,
    requests: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) where
    H: Fn(Caller, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let caller = caller(&stream);
    let gone = HangUp::of(&stream);
    // Each request is a task of its own, so that what was begun is finished though the client
    // leaves.
    let service = service_fn(move |request: Request<Incoming>| {
        let task = task::begin_for(caller.scope.clone(), "request", line(&request));
        // Boxed, or else it is in what is spawned twice: as what that is given, and as what it
        // awaits.
        let answer = Box::pin(handler(caller.clone(), request));
        let requests = Arc::clone(&requests);
        tokio::spawn(task.run(async move {
            let _place = task::waiting(Wait::Turn, None, requests.acquire_owned()).await;
            answer.await
        }))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            // First, so that a request of a client that does not wait for its answer is read.
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = stopped(&mut stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            // Or else an answer that has nothing to say yet would keep the place for ever.
            () = gone.noticed() => return,
        }
    }
}

/// A request in a list: method and path, without what the query may hold.
fn line(request: &Request<Incoming>) -> String {
    let path = request.uri().path().chars().take(PATH_SHOWN);
    let mut line = format!("{} ", request.method());
    line.extend(path);
    line
}

/// Resolves when the engine stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone stops the engine as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_dead_socket_is_replaced() {
        let dir = std::env::temp_dir().join(format!("berthd-listen-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let refused = |path: &Path| match Listener::bind(path, None) {
            Ok(_) => panic!("{} was taken over", path.display()),
            Err(error) => error.kind(),
        };
        let file = dir.join("precious");
        fs::write(&file, "data").unwrap();
        assert_eq!(refused(&file), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&file).unwrap(), "data");

        let path = dir.join("engine.sock");
        let live = Listener::bind(&path, None).unwrap();
        assert_eq!(refused(&path), io::ErrorKind::AddrInUse);
        drop(live);
        assert!(!path.exists());
        // As a killed engine leaves it.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(Listener::bind(&path, None).unwrap());
        fs::remove_dir_all(&dir).unwrap();
    }
}
