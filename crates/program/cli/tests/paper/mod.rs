//! An engine of paper: it answers by `golden/answers.json`, and a few requests in code.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The last words of the requests that `run` makes.
pub const VERBS: [&str; 4] = ["create", "attach", "wait", "start"];

/// How long anything here waits before the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct State {
    requests: Vec<String>,
    /// Whether containers run until they are killed.
    held: bool,
    killed: bool,
    /// Whether the newest further process takes input.
    typed: bool,
    /// Whether an image was pulled.
    pulled: bool,
    /// The target and the body of the newest PUT.
    put: Option<(String, Vec<u8>)>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Engine {
    directory: TempDir,
    shared: Arc<Shared>,
}

struct Request {
    method: String,
    /// Without the version prefix.
    target: String,
    body: Vec<u8>,
    timings: bool,
}

impl Engine {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("sock")).unwrap();
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        // The thread ends with the test program.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&for_thread);
                std::thread::spawn(move || serve(connection, &shared));
            }
        });
        Self { directory, shared }
    }

    pub fn host(&self) -> String {
        format!("unix://{}/sock", self.directory.path().display())
    }

    /// From now on containers run until they are killed.
    pub fn hold(&self) {
        self.shared.state.lock().unwrap().held = true;
    }

    /// Method and target of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// The target and the body of the newest PUT.
    pub fn put(&self) -> Option<(String, Vec<u8>)> {
        self.shared.state.lock().unwrap().put.clone()
    }

    pub fn await_request(&self, part: &str) {
        self.shared
            .wait_until(|state| state.requests.iter().any(|r| r.contains(part)));
    }
}

impl Shared {
    fn wait_until(&self, done: impl Fn(&State) -> bool) {
        let state = self.state.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !done(state));
        assert!(!waited.unwrap().1.timed_out(), "waited for {PATIENCE:?}");
    }
}

fn serve(connection: UnixStream, shared: &Shared) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut writer = connection;
    while let Some(request) = read_request(&mut reader) {
        {
            let mut state = shared.state.lock().unwrap();
            state
                .requests
                .push(format!("{} {}", request.method, request.target));
            state.killed |= request.target.contains("/kill");
            state.pulled |= request.target.contains("fromImage=absent");
            if request.target.ends_with("/exec") {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                state.typed = body["AttachStdin"] == true;
            }
            if request.method == "PUT" {
                state.put = Some((request.target.clone(), request.body.clone()));
            }
            shared.changed.notify_all();
        }
        if request.target.contains("/attach") {
            attach(&mut reader, &mut writer, shared, &request);
            return;
        }
        if request.target == "/exec/e1/start" {
            further_process(&mut reader, &mut writer, shared);
            return;
        }
        let held = shared.state.lock().unwrap().held;
        if held && request.target.contains("/wait") {
            // The headers go out at once, the body when the container has ended.
            let body = json!({"StatusCode": 143}).to_string();
            write!(
                writer,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .unwrap();
            shared.wait_until(|state| state.killed);
            let _ = writer.write_all(body.as_bytes());
            continue;
        }
        let (status, headers, body) = answer(&request, shared);
        let length = format!("Content-Length: {}\r\n", body.len());
        let length = if matches!(status, 204 | 304) {
            ""
        } else {
            &length
        };
        let head = format!("HTTP/1.1 {status} X\r\nApi-Version: 1.50\r\n{headers}{length}\r\n");
        let body = if request.method == "HEAD" {
            &[][..]
        } else {
            &body
        };
        if writer.write_all(&[head.as_bytes(), body].concat()).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<UnixStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split(' ');
    let method = words.next()?.to_owned();
    let target = words.next()?.to_owned();
    let target = match target
        .strip_prefix("/v1.")
        .and_then(|t| t.find('/').map(|at| &t[at..]))
    {
        Some(bare) => bare.to_owned(),
        None => target,
    };
    let (mut length, mut chunked, mut timings) = (0, false, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|n| *n > 0)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        length = header
            .strip_prefix("content-length:")
            .map_or(length, |n| n.trim().parse().unwrap());
        chunked |= header == "transfer-encoding: chunked";
        timings |= header == "berth-timings: 1";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    while chunked {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut piece = vec![0; size + 2];
        reader.read_exact(&mut piece).ok()?;
        body.extend_from_slice(&piece[..size]);
        chunked = size > 0;
    }
    Some(Request {
        method,
        target,
        body,
        timings,
    })
}

fn answer(request: &Request, shared: &Shared) -> (u64, &'static str, Vec<u8>) {
    let message = |text: &str| json!({"message": text}).to_string().into_bytes();
    if request.target.starts_with("/containers/create") {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let id = |id: &str| json!({"Id": id, "Warnings": []}).to_string().into_bytes();
        match body["Image"].as_str().unwrap() {
            image @ ("no-command" | "no-right") => return (201, "", id(image)),
            "taken" => {
                return (
                    409,
                    "",
                    message("Conflict. The container name \"/x\" is already in use"),
                );
            }
            "absent" if !shared.state.lock().unwrap().pulled => {
                return (404, "", message("No such image: absent:latest"));
            }
            "missing" => return (404, "", message("No such image: missing:latest")),
            _ => {}
        }
    }
    match request.target.as_str() {
        "/containers/no-command/start" => {
            return (
                400,
                "",
                message("exec: \"nope\": executable file not found in $PATH"),
            );
        }
        "/containers/no-right/start" => {
            return (400, "", message("exec: \"/etc/passwd\": permission denied"));
        }
        target if target.ends_with("/start") && request.timings => {
            let timings = "Berth-Timings: {\"total_us\":5123,\"phases\":[{\"name\":\"clone\",\"us\":900}]}\r\n";
            return (204, timings, Vec::new());
        }
        target if target.starts_with("/containers/web/archive") => {
            return match request.method.as_str() {
                "PUT" => (200, "", Vec::new()),
                _ if target.contains("motd") => (200, FILE, file()),
                _ => (200, DIRECTORY, Vec::new()),
            };
        }
        target if target.contains("/logs?") => {
            let frames = [frame(1, b"one\n"), frame(2, b"two\n"), frame(1, b"three\n")].concat();
            return (200, "", frames);
        }
        target if target.contains("/wait?") && !target.contains("/gone/") => {
            return (200, "", b"{\"StatusCode\":3}".to_vec());
        }
        _ => {}
    }
    canned(request)
}

/// The header that describes a file, `{"name":"motd","size":6,"mode":420}`.
const FILE: &str =
    "X-Docker-Container-Path-Stat: eyJuYW1lIjoibW90ZCIsInNpemUiOjYsIm1vZGUiOjQyMH0=\r\n";
/// The same of a directory, `{"name":"etc","mode":2147484141}`.
const DIRECTORY: &str =
    "X-Docker-Container-Path-Stat: eyJuYW1lIjoiZXRjIiwibW9kZSI6MjE0NzQ4NDE0MX0=\r\n";

/// A file as the engine sends it.
fn file() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(6);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "motd", &b"hello\n"[..])
        .unwrap();
    builder.into_inner().unwrap()
}

/// Gives back the input, if any is sent, and a line on each stream.
fn further_process(reader: &mut BufReader<UnixStream>, writer: &mut UnixStream, shared: &Shared) {
    writer
        .write_all(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        .unwrap();
    let typed = shared.state.lock().unwrap().typed;
    let mut input = Vec::new();
    if typed {
        reader.read_to_end(&mut input).unwrap();
        writer.write_all(&frame(1, &input)).unwrap();
    }
    let _ = writer.write_all(&[frame(1, b"out\n"), frame(2, b"err\n")].concat());
}

fn canned(request: &Request) -> (u64, &'static str, Vec<u8>) {
    let rows: Value = serde_json::from_str(include_str!("../golden/answers.json")).unwrap();
    let fits = |row: &&Value| {
        let pattern = row[1].as_str().unwrap();
        row[0] == request.method.as_str()
            && match pattern.strip_suffix('*') {
                Some(start) => request.target.starts_with(start),
                None => request.target == pattern,
            }
    };
    let Some(row) = rows.as_array().unwrap().iter().find(fits) else {
        let sentence = format!("no answer for {} {}", request.method, request.target);
        return (
            501,
            "",
            json!({ "message": sentence }).to_string().into_bytes(),
        );
    };
    let body = match &row[3] {
        Value::String(text) => text.clone(),
        other => dated(other.clone()).to_string(),
    };
    (row[2].as_u64().unwrap(), "", body.into_bytes())
}

/// `"@-65"` is 65 seconds ago.
fn dated(value: Value) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix("@-").map(str::parse::<u64>) {
            Some(Ok(ago)) => (SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs()
                - ago)
                .into(),
            _ => Value::String(text),
        },
        Value::Array(items) => items.into_iter().map(dated).collect(),
        Value::Object(fields) => fields.into_iter().map(|(k, v)| (k, dated(v))).collect(),
        other => other,
    }
}

fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[stream, 0, 0, 0], &length[..], payload].concat()
}

/// Gives back the input once it has ended, on the one stream, and a line on the other.
fn attach(
    reader: &mut BufReader<UnixStream>,
    writer: &mut UnixStream,
    shared: &Shared,
    request: &Request,
) {
    writer
        .write_all(
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\
              Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        )
        .unwrap();
    let mut input = Vec::new();
    if request.target.contains("stdin=1") {
        reader.read_to_end(&mut input).unwrap();
    }
    shared.wait_until(|state| state.requests.iter().any(|r| r.ends_with("/start")));
    if shared.state.lock().unwrap().held {
        shared.wait_until(|state| state.killed);
    }
    let _ = writer.write_all(&[frame(1, &input), frame(2, b"to the other\n")].concat());
}
