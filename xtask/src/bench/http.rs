//! A client of the Docker API that costs next to nothing: HTTP/1.1 over a Unix socket, one
//! connection that is kept, no runtime. The same code asks every engine, so that what is
//! compared are engines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// No engine is waited for longer than this, not even by a hundred-fold command.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// A head of an answer has no more lines than this.
const HEADERS_MAX: usize = 100;
/// Bodies that are only counted are read in pieces of this size.
const PIECE: usize = 256 * 1024;
/// An error's text is shown up to this length.
const SAID_MAX: usize = 500;

/// A connection to one engine, made at need and kept.
#[derive(Debug)]
pub struct Connection {
    socket: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

/// What is sent behind the head.
pub enum Body<'a> {
    Nothing,
    Json(&'a Value),
    /// A file as it is, with its length.
    Archive(&'a Path),
}

/// How the length of an answer's body is known.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Empty,
    Length(u64),
    Chunks,
    /// Until the engine closes: also what follows an upgrade.
    End,
}

struct Head {
    status: u16,
    framing: Framing,
    /// Whether the engine closes the connection behind the body.
    closes: bool,
}

impl Connection {
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            stream: None,
        }
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// When the status is 400 or more, with what the engine says.
    pub fn ask(&mut self, method: &str, path: &str, body: Body<'_>) -> Result<Vec<u8>> {
        let mut answer = Vec::new();
        self.stream_to(method, path, body, &mut |piece| {
            answer.extend_from_slice(piece);
        })?;
        Ok(answer)
    }

    /// As [`Connection::ask`], for an answer in JSON.
    pub fn json(&mut self, method: &str, path: &str, body: Body<'_>) -> Result<Value> {
        let answer = self.ask(method, path, body)?;
        serde_json::from_slice(&answer).with_context(|| format!("{method} {path}: no JSON"))
    }

    /// Asks, and hands the answer's body to `sink` as it comes.
    pub fn stream_to(
        &mut self,
        method: &str,
        path: &str,
        body: Body<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let head = self
            .head(method, path, &body, false)
            .with_context(|| format!("{method} {path}"))?;
        let stream = self.stream.as_mut().context("the connection is made")?;
        let mut said = Vec::new();
        let refused = head.status >= 400;
        let read = if refused {
            read_body(stream, head.framing, &mut |piece| said.extend(piece))
        } else {
            read_body(stream, head.framing, sink)
        };
        if head.closes || read.is_err() {
            self.stream = None;
        }
        read.with_context(|| format!("{method} {path}: reading the answer"))?;
        if refused {
            let text = String::from_utf8_lossy(&said);
            let text: String = text.trim_end().chars().take(SAID_MAX).collect();
            bail!("{method} {path}: {}: {text}", head.status);
        }
        Ok(())
    }

    /// Asks for the connection itself (attach, exec): what the container says on it follows.
    pub fn hijack(mut self, path: &str, body: Body<'_>) -> Result<BufReader<UnixStream>> {
        let head = self
            .head("POST", path, &body, true)
            .with_context(|| format!("POST {path}"))?;
        if head.status != 101 && head.status != 200 {
            bail!("POST {path}: {} instead of an upgrade", head.status);
        }
        self.stream.context("the connection is made")
    }

    /// Sends a request and reads the answer's head. A kept connection may have been closed by
    /// the engine meanwhile; then a new one is made, once.
    fn head(&mut self, method: &str, path: &str, body: &Body<'_>, upgrade: bool) -> Result<Head> {
        if let Some(stream) = self.stream.as_mut() {
            match exchange(stream, method, path, body, upgrade) {
                Ok(head) => return Ok(head),
                Err(_) => self.stream = None,
            }
        }
        let stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("connecting to {}", self.socket.display()))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        let stream = self.stream.insert(BufReader::with_capacity(PIECE, stream));
        exchange(stream, method, path, body, upgrade).context("no answer")
    }
}

fn exchange(
    stream: &mut BufReader<UnixStream>,
    method: &str,
    path: &str,
    body: &Body<'_>,
    upgrade: bool,
) -> io::Result<Head> {
    let mut head = format!("{method} /v1.41{path} HTTP/1.1\r\nHost: engine\r\n");
    if upgrade {
        head.push_str("Connection: Upgrade\r\nUpgrade: tcp\r\n");
    }
    let out = stream.get_mut();
    match body {
        Body::Nothing => {
            let length = if method == "POST" {
                "Content-Length: 0\r\n"
            } else {
                ""
            };
            out.write_all(format!("{head}{length}\r\n").as_bytes())?;
        }
        Body::Json(value) => {
            let text = value.to_string();
            let length = text.len();
            let head =
                format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
            out.write_all([head.as_bytes(), text.as_bytes()].concat().as_slice())?;
        }
        Body::Archive(path) => {
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            let head = format!(
                "{head}Content-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
            );
            out.write_all(head.as_bytes())?;
            io::copy(&mut file, out)?;
        }
    }
    read_head(stream)
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Head> {
    let first = read_line(reader)?;
    let status: u16 = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| malformed(format!("no status line: {first:?}")))?;
    let mut framing = Framing::End;
    let mut closes = false;
    for _ in 0..HEADERS_MAX {
        let line = read_line(reader)?.to_ascii_lowercase();
        if line.is_empty() {
            if matches!(status, 204 | 304) {
                framing = Framing::Empty;
            }
            let closes = closes || framing == Framing::End;
            return Ok(Head {
                status,
                framing,
                closes,
            });
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match (name, value.trim()) {
            ("content-length", length) => {
                let length = length.parse();
                framing = Framing::Length(length.map_err(|_| malformed(line.clone()))?);
            }
            ("transfer-encoding", "chunked") => framing = Framing::Chunks,
            ("connection", "close") => closes = true,
            _ => {}
        }
    }
    Err(malformed("more headers than anybody needs".to_owned()))
}

fn read_body(
    reader: &mut impl BufRead,
    framing: Framing,
    sink: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    match framing {
        Framing::Empty => Ok(()),
        Framing::Length(length) => read_exactly(reader, length, sink),
        Framing::Chunks => loop {
            let line = read_line(reader)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16)
                .map_err(|_| malformed(format!("no chunk size: {line:?}")))?;
            read_exactly(reader, size, sink)?;
            read_line(reader)?;
            if size == 0 {
                return Ok(());
            }
        },
        Framing::End => drain(reader, sink),
    }
}

/// Reads until the other side closes.
pub fn drain(reader: &mut impl BufRead, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(());
        }
        sink(piece);
        let length = piece.len();
        reader.consume(length);
    }
}

fn read_exactly(
    reader: &mut impl BufRead,
    length: u64,
    sink: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    let mut part = reader.take(length);
    drain(&mut part, sink)?;
    if part.limit() > 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let text = String::from_utf8_lossy(&line);
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn malformed(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Counts what a container has written in a stream of frames (stream, three zeros, length in
/// big-endian order, then as many bytes), however it is cut into pieces.
#[derive(Debug, Default)]
pub struct Frames {
    head: Vec<u8>,
    /// Bytes of the current frame that are still to come.
    left: usize,
    /// Bytes of all frames, without their heads.
    pub payload: u64,
}

impl Frames {
    pub fn add(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.left > 0 {
                let now = self.left.min(piece.len());
                self.payload += now as u64;
                self.left -= now;
                piece = &piece[now..];
                continue;
            }
            let now = (8 - self.head.len()).min(piece.len());
            self.head.extend_from_slice(&piece[..now]);
            piece = &piece[now..];
            if let Ok(head) = <[u8; 8]>::try_from(self.head.as_slice()) {
                let [_, _, _, _, length @ ..] = head;
                self.left = u32::from_be_bytes(length) as usize;
                self.head.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: &str) -> Option<(u16, bool, String)> {
        let mut reader = answer.as_bytes();
        let head = read_head(&mut reader).ok()?;
        let mut body = Vec::new();
        read_body(&mut reader, head.framing, &mut |piece| body.extend(piece)).ok()?;
        let body = String::from_utf8_lossy(&body).into_owned();
        Some((head.status, head.closes, body))
    }

    #[test]
    fn answers_of_every_framing() {
        for (answer, status, closes, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOKrest",
                200,
                false,
                "OK",
            ),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", 200, true, "to the end"),
            (
                "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
                204,
                true,
                "",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\n\r\nrest",
                200,
                false,
                "abc0123456789",
            ),
        ] {
            let expected = (status, closes, expected.to_owned());
            assert_eq!(body(answer), Some(expected), "{answer}");
        }
        for broken in [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            "SSH-2.0\r\n",
        ] {
            assert_eq!(body(broken), None, "{broken}");
        }
    }

    #[test]
    fn frames_are_counted_wherever_they_are_cut() {
        let stream = b"\x01\0\0\0\0\0\0\x05hello\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x02yo";
        for size in 1..=stream.len() {
            let mut frames = Frames::default();
            stream.chunks(size).for_each(|piece| frames.add(piece));
            assert_eq!((frames.payload, frames.left), (7, 0), "pieces of {size}");
        }
    }
}
