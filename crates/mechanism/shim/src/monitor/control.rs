//! Requests to a running monitor.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use berth_shim::protocol::{FrameError, Message, Resize, Running};
use berth_shim::{AttachWant, ExecRequest};
use berth_sys::{pidfd, socket};

use super::connection::{Connection, Control, State};

/// Longest piece of a frame that is read at a time.
const PIECE_MAX: usize = 2 << 10;

/// What has come on a connection.
enum Incoming {
    /// Not a whole frame yet.
    Nothing,
    Request(Message),
    /// A frame of a kind that this version does not know.
    Unknown(u16),
    /// A peer of another version.
    Foreign(FrameError),
    /// The peer has ended its side, or sends something else altogether.
    End,
}

/// What only the whole monitor can do.
pub enum Order {
    Attach(AttachWant),
    /// A further process, its filter, and its parked client.
    Exec(Box<ExecRequest>, Vec<u8>, Option<UnixStream>),
    Resize(Resize),
    Terminal,
}

/// Reads what has come and answers the requests in it, up to one that is for others to carry out;
/// call again after that. `running` and `init` describe the container.
pub fn next(connection: &mut Connection, running: &Running, init: BorrowedFd<'_>) -> Option<Order> {
    // A request that turns the connection into streams ends this, and so does an answer that the
    // peer has no room for.
    while let State::Control(control) = &mut connection.state
        && !control.finished
        && connection.outgoing.is_empty()
        && !connection.gone
    {
        match receive(control, &connection.socket) {
            Incoming::Nothing => return None,
            Incoming::End => control.finished = true,
            Incoming::Foreign(error) => {
                control.finished = true;
                answer(connection, &Message::Refused(error.to_string()));
            }
            Incoming::Request(Message::Hello) => {
                control.greeted = true;
                answer(connection, &Message::Hello);
            }
            _ if !control.greeted => control.finished = true,
            Incoming::Unknown(kind) => answer(connection, &Message::Unsupported(kind)),
            Incoming::Request(request) => {
                let order = perform(connection, request, running, init);
                // What came with a frame and was not asked for is nobody's.
                if let State::Control(control) = &mut connection.state {
                    control.descriptors.clear();
                }
                if order.is_some() {
                    return order;
                }
            }
        }
    }
    None
}

fn receive(control: &mut Control, source: &UnixStream) -> Incoming {
    let mut buffer = [0; PIECE_MAX];
    loop {
        match control.decoder.frame() {
            Ok(None) => {}
            Err(_) => return Incoming::End,
            Ok(Some(frame)) => {
                let kind = frame.kind;
                return match Message::decode(frame) {
                    Ok(Some(message)) => Incoming::Request(message),
                    Ok(None) => Incoming::Unknown(kind),
                    Err(error @ FrameError::Version { .. }) => Incoming::Foreign(error),
                    Err(_) => Incoming::End,
                };
            }
        }
        let (piece, _) = buffer.split_at_mut(control.decoder.wanted().min(PIECE_MAX));
        match socket::receive(source, piece, &mut control.descriptors) {
            Ok(0) => return Incoming::End,
            Ok(count) => control.decoder.push(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Incoming::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Incoming::End,
        }
    }
}

fn perform(
    connection: &mut Connection,
    request: Message,
    running: &Running,
    init: BorrowedFd<'_>,
) -> Option<Order> {
    match (request, &mut connection.state) {
        (Message::Status, _) => answer_status(connection, running, init),
        (Message::Signal(signal), _) => {
            let result = pidfd::send_signal(init, signal);
            answer(connection, &Message::Done(error_number(result)));
        }
        (Message::Watch, State::Control(control)) => {
            control.watching = true;
            answer(connection, &Message::Done(0));
        }
        (Message::Attach(want), _) => return Some(Order::Attach(want)),
        (Message::Resize(resize), _) => return Some(Order::Resize(resize)),
        (Message::Terminal, _) => return Some(Order::Terminal),
        (Message::Exec(request), State::Control(control)) if control.exec.is_none() => {
            let parked = control.descriptors.pop().map(UnixStream::from);
            if parked.is_some() == request.parked.is_some() {
                control.order = Some((request, parked));
            } else {
                control.finished = true;
            }
        }
        (Message::Filter(filter), State::Control(control)) => match control.order.take() {
            Some((request, parked)) => return Some(Order::Exec(request, filter, parked)),
            None => control.finished = true,
        },
        // An answer, or an order that only the engine's own socket takes.
        (_, State::Control(control)) => control.finished = true,
        (_, State::Attached(_)) => {}
    }
    None
}

/// The body of DONE.
pub fn error_number(result: io::Result<()>) -> i32 {
    result.err().map_or(0, |e| e.raw_os_error().unwrap_or(-1))
}

/// Sends one message.
pub fn answer(connection: &mut Connection, message: &Message) {
    match message.encode() {
        Ok(frame) => connection.answer(&frame),
        Err(_) => connection.abandon(),
    }
}

/// STARTED, with the process descriptor on its first byte. The queue carries no descriptors, so
/// a socket that takes nothing although nothing waits is given up.
fn answer_status(connection: &mut Connection, running: &Running, init: BorrowedFd<'_>) {
    let sent = Message::Started(running.clone())
        .encode()
        .ok()
        .and_then(|frame| {
            let sent = socket::send(connection.socket.as_fd(), &[IoSlice::new(&frame)], &[init]);
            Some((sent.ok()?, frame))
        });
    match sent {
        Some((sent, frame)) => connection.answer(frame.get(sent..).unwrap_or_default()),
        None => connection.abandon(),
    }
}
