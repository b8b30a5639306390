//! Just enough HTTP/1.1 to ask an engine something that no CLI asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// No answer is waited for longer than this.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);

/// An answer, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields in order; names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body without its transfer coding.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header field, whose name may be written in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .find(named)
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!(
                "not JSON ({error}): {}",
                String::from_utf8_lossy(&self.body)
            ),
        }
    }
}

/// Sends one request over `socket` and reads the whole answer. A body is sent as JSON.
///
/// # Errors
/// When the engine cannot be reached, does not answer in time, or does not speak HTTP/1.1.
pub(crate) fn request(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&[u8]>,
) -> std::io::Result<Response> {
    let body = body.map(|body| ("application/json", body));
    exchange(socket, method, path, body)
}

/// Sends one request over `socket`, with a body of any media type, and reads the whole answer.
///
/// # Errors
/// When the engine cannot be reached, does not answer in time, or does not speak HTTP/1.1.
pub fn exchange(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<(&str, &[u8])>,
) -> std::io::Result<Response> {
    exchange_with(socket, method, path, &[], body)
}

/// As [`exchange`], with header fields of the caller's own.
///
/// # Errors
/// As [`exchange`].
pub fn exchange_with(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<(&str, &[u8])>,
) -> std::io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: berth\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some((kind, body)) = body {
        head.push_str(&format!(
            "Content-Type: {kind}\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let sent = stream.write_all(body.map_or(&[][..], |(_, body)| body));
    match sent {
        // Who refuses a request may do so before its body is there.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    read_response(BufReader::new(stream), method == "HEAD")
}

fn read_response(mut reader: impl BufRead, without_body: bool) -> std::io::Result<Response> {
    let first = read_line(&mut reader)?;
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok());
    let Some(status) = status else {
        return Err(malformed(format!("no status line: {first:?}")));
    };
    let mut response = Response {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let line = read_line(&mut reader)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(malformed(format!("no header: {line:?}")));
        };
        response
            .headers
            .push((name.to_lowercase(), value.trim().to_owned()));
    }
    if without_body || matches!(status, 204 | 304) {
        return Ok(response);
    }
    if response.header("transfer-encoding") == Some("chunked") {
        read_chunks(&mut reader, &mut response.body)?;
    } else if let Some(length) = response
        .header("content-length")
        .and_then(|length| length.parse().ok())
    {
        response.body.resize(length, 0);
        reader.read_exact(&mut response.body)?;
    } else {
        reader.read_to_end(&mut response.body)?;
    }
    Ok(response)
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16)
            .map_err(|_| malformed(format!("no chunk size: {line:?}")))?;
        reader.take(size).read_to_end(body)?;
        read_line(reader)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line)
        .trim_end_matches(['\r', '\n'])
        .to_owned())
}

fn malformed(what: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_every_kind() {
        for (answer, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOKrest", "OK"),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", "to the end"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
                "abc0123456789",
            ),
            ("HTTP/1.1 304 Not Modified\r\n\r\n", ""),
        ] {
            let response = read_response(answer.as_bytes(), false).expect(answer);
            assert_eq!(String::from_utf8_lossy(&response.body), body, "{answer}");
        }
        assert!(
            read_response(
                &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"[..],
                false
            )
            .is_err()
        );
        assert!(read_response(&b"SSH-2.0-x\r\n"[..], false).is_err());
    }
}
