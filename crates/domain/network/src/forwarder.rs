//! Passes questions of containers on to a name server that only the host itself reaches.
//!
//! Needed where all the host's name servers are on its loopback and nobody says what is behind
//! them. It listens on the bridge's address only, answers only who is on the bridge's subnet, and
//! looks into nothing: packets go over as they are.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use berth_sys::rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};

use crate::subnet::Subnet;
use crate::wait::poll_for;

/// Where name servers listen.
const PORT: u16 = 53;
/// Most questions that wait for an answer; the oldest makes room.
const QUESTIONS_MAX: usize = 256;
/// How long an answer is waited for: resolvers ask again after five seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// Most packets that are taken in before answers are looked for.
const BURST: usize = 64;
/// Largest packet, of UDP and of TCP.
const PACKET_MAX: usize = 65_535;
/// Most connections at a time.
const CONNECTIONS_MAX: usize = 32;
/// How long a connection may be silent.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);

/// The forwarder. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Forwarder {
    server: Arc<Mutex<IpAddr>>,
    end: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Listens on the address, for who is in the subnet, on behalf of a name server.
    pub(crate) fn start(address: Ipv4Addr, subnet: Subnet, server: IpAddr) -> io::Result<Self> {
        let questions = UdpSocket::bind((address, PORT))?;
        let connections = TcpListener::bind((address, PORT))?;
        questions.set_nonblocking(true)?;
        connections.set_nonblocking(true)?;
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let server = Arc::new(Mutex::new(server));
        let mut relay = Relay {
            questions,
            connections,
            subnet,
            server: Arc::clone(&server),
            end: Arc::clone(&end),
            waiting: Vec::new(),
            connected: Arc::new(AtomicUsize::new(0)),
        };
        let thread = thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            if let Err(error) = relay.run() {
                tracing::error!(%error, "questions of containers for names are not passed on any more");
            }
        })?;
        tracing::info!(%address, "questions of containers for names are passed on to the host's own resolver");
        Ok(Self {
            server,
            end,
            thread: Some(thread),
        })
    }

    /// From now on asks another server.
    pub(crate) fn ask(&self, server: IpAddr) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // The counter is full only if it was told so before.
        let _ = berth_sys::rustix::io::write(&*self.end, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Relay {
    questions: UdpSocket,
    connections: TcpListener,
    subnet: Subnet,
    server: Arc<Mutex<IpAddr>>,
    end: Arc<OwnedFd>,
    waiting: Vec<Question>,
    connected: Arc<AtomicUsize>,
}

/// A question that was passed on, with a socket of its own: its port tells its answer from others.
struct Question {
    socket: UdpSocket,
    client: SocketAddr,
    asked: Instant,
}

impl Relay {
    fn run(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; PACKET_MAX];
        loop {
            let Some(ready) = self.wait()? else {
                return Ok(());
            };
            self.answer(&ready, &mut buffer);
            self.take_questions(&mut buffer);
            self.take_connections();
        }
    }

    /// Waits for anything, and says which questions have answers; nothing at the end.
    fn wait(&mut self) -> io::Result<Option<Vec<bool>>> {
        self.waiting
            .retain(|question| question.asked.elapsed() < ANSWER_LIMIT);
        let oldest = self
            .waiting
            .iter()
            .map(|question| question.asked.elapsed())
            .max();
        let limit = oldest.map(|age| ANSWER_LIMIT.saturating_sub(age));
        let mut watched = vec![
            PollFd::new(&*self.end, PollFlags::IN),
            PollFd::new(&self.questions, PollFlags::IN),
            PollFd::new(&self.connections, PollFlags::IN),
        ];
        let own = watched.len();
        let sockets = self.waiting.iter();
        watched.extend(sockets.map(|question| PollFd::new(&question.socket, PollFlags::IN)));
        poll_for(&mut watched, limit)?;
        let mut ready = watched.iter().map(|one| !one.revents().is_empty());
        let over = ready.next().unwrap_or(true);
        Ok((!over).then(|| ready.skip(own - 1).collect()))
    }

    fn answer(&mut self, ready: &[bool], buffer: &mut [u8]) {
        let mut ready = ready.iter();
        let listener = &self.questions;
        self.waiting.retain(|question| {
            if ready.next() != Some(&true) {
                return true;
            }
            // An error is a server that does not listen: the client asks again, or another.
            if let Ok(length) = question.socket.recv(buffer)
                && let Some(packet) = buffer.get(..length)
            {
                let _ = listener.send_to(packet, question.client);
            }
            false
        });
    }

    fn take_questions(&mut self, buffer: &mut [u8]) {
        for _ in 0..BURST {
            let Ok((length, client)) = self.questions.recv_from(buffer) else {
                return;
            };
            let packet = buffer.get(..length).unwrap_or_default();
            if self.is_welcome(client)
                && let Ok(socket) = self.pass_on(packet)
            {
                if self.waiting.len() >= QUESTIONS_MAX {
                    self.waiting.remove(0);
                }
                self.waiting.push(Question {
                    socket,
                    client,
                    asked: Instant::now(),
                });
            }
        }
    }

    fn pass_on(&self, packet: &[u8]) -> io::Result<UdpSocket> {
        let server = self.server();
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(server)?;
        socket.send(packet)?;
        Ok(socket)
    }

    fn server(&self) -> SocketAddr {
        let server = *self.server.lock().unwrap_or_else(PoisonError::into_inner);
        SocketAddr::new(server, PORT)
    }

    /// Others reach the bridge's address, too, if they send their packets by way of this host.
    fn is_welcome(&self, client: SocketAddr) -> bool {
        matches!(client.ip(), IpAddr::V4(address) if self.subnet.has(address))
    }

    fn take_connections(&self) {
        while let Ok((client, address)) = self.connections.accept() {
            let guard = Connected::enter(&self.connected);
            let (Some(guard), true) = (guard, self.is_welcome(address)) else {
                continue;
            };
            let server = self.server();
            let started = thread::Builder::new()
                .name("resolver-tcp".to_owned())
                .spawn(move || {
                    let _guard = guard;
                    // Either side may go at any time; there is nobody to tell.
                    let _ = converse(client, server);
                });
            if let Err(error) = started {
                tracing::warn!(%error, "cannot pass a connection on to the resolver");
            }
        }
    }
}

/// One of the connections there may be.
struct Connected(Arc<AtomicUsize>);

impl Connected {
    fn enter(count: &Arc<AtomicUsize>) -> Option<Self> {
        let entered = Self(Arc::clone(count));
        (count.fetch_add(1, Ordering::Relaxed) < CONNECTIONS_MAX).then_some(entered)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Questions and answers in turn, each with its length before it (RFC 1035, section 4.2.2), until
/// one side has enough.
fn converse(mut client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect_timeout(&server, CONNECTION_LIMIT)?;
    for stream in [&client, &server] {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(CONNECTION_LIMIT))?;
        stream.set_write_timeout(Some(CONNECTION_LIMIT))?;
        stream.set_nodelay(true)?;
    }
    loop {
        pass(&mut client, &mut server)?;
        pass(&mut server, &mut client)?;
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
    let mut length = [0; 2];
    from.read_exact(&mut length)?;
    let mut message = length.to_vec();
    message.resize(length.len() + usize::from(u16::from_be_bytes(length)), 0);
    from.read_exact(message.get_mut(length.len()..).unwrap_or_default())?;
    to.write_all(&message)
}
