//! The client against engines that are a few lines each: what is sent, byte for byte, and what is
//! made of the answers.

use std::time::Duration;

use berth_api::ErrorResponse;
use berth_api::client::{
    AttachOptions, Client, ClientError, ImportOptions, ListOptions, LogsOptions, RemoveOptions,
};
use berth_api::container::{ContainerCreateRequest, WaitCondition};
use berth_types::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No test takes this long; one that does hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// An engine on a socket of its own.
struct Engine {
    directory: tempfile::TempDir,
    listener: UnixListener,
}

impl Engine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("engine.sock")).unwrap();
        Self {
            directory,
            listener,
        }
    }

    fn host(&self) -> String {
        format!("unix://{}/engine.sock", self.directory.path().display())
    }

    /// The next connection with its request's head; the body is still to be read.
    async fn accept(&self) -> (UnixStream, String) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap().to_lowercase())
    }

    /// Expects a request that begins like this, and answers it.
    async fn answer(&self, request: &str, answer: &str) -> String {
        let (mut stream, head) = self.accept().await;
        assert!(head.starts_with(&request.to_lowercase()), "{head}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        head
    }

    /// A client in version 1.41, and the engine back.
    async fn with_client(self) -> (Self, Client) {
        let host = self.host();
        let (client, ()) = tokio::join!(Client::connect(&host), async {
            self.answer(
                "HEAD /_ping HTTP/1.1\r\n",
                "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\n\r\n",
            )
            .await;
        });
        (self, client.unwrap())
    }
}

fn json(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Runs a test that talks to an engine, with a limit.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { timeout(LIMIT, test).await.expect("the test hangs") })
}

/// Lets the engine answer one request while the client makes it.
fn one<T: Send + 'static>(
    request: &'static str,
    answer: String,
    act: impl AsyncFnOnce(Client) -> T,
) -> T {
    run(async {
        let (engine, client) = Engine::new().with_client().await;
        let (made, _) = tokio::join!(act(client), engine.answer(request, &answer));
        made
    })
}

#[test]
fn the_lower_version_is_used_and_ping_falls_back_to_get() {
    run(async {
        let engine = Engine::new();
        let host = engine.host();
        let serve = async {
            engine
                .answer(
                    "HEAD /_ping",
                    "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                )
                .await;
            engine
                .answer(
                    "GET /_ping",
                    "HTTP/1.1 200 OK\r\nAPI-Version: 9.1\r\nContent-Length: 2\r\n\r\nOK",
                )
                .await;
            engine
                .answer(
                    "GET /v1.56/info HTTP/1.1\r\nhost: ",
                    &json("200 OK", r#"{"NCPU":3}"#),
                )
                .await;
        };
        let act = async {
            let client = Client::connect(&host).await.unwrap();
            assert_eq!(client.version_used().to_string(), "1.56");
            client.info().await.unwrap()
        };
        let (info, ()) = tokio::join!(act, serve);
        assert_eq!(info.cpus, 3);
    });
}

#[test]
fn an_engine_that_is_not_there_is_said_in_dockers_words() {
    let error = run(Client::connect("unix:///nowhere/berth.sock")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Cannot connect to the Berth engine at unix:///nowhere/berth.sock. Is berthd running?"
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = run(Client::connect("ssh://box")).unwrap_err();
    assert!(matches!(error, ClientError::Address { .. }), "{error}");
}

#[test]
fn the_engines_sentence_arrives_as_it_is() {
    let body = serde_json::to_string(&ErrorResponse::new("No such container: \"x\"")).unwrap();
    let error = one(
        "GET /v1.41/containers/x%3Fa/json ",
        json("404 Not Found", &body),
        async |c| c.containers().inspect("x?a", false).await.unwrap_err(),
    );
    assert_eq!(error.to_string(), "No such container: \"x\"");
    assert_eq!(
        (error.status(), error.kind()),
        (Some(404), ErrorKind::NotFound)
    );

    let plain = "HTTP/1.1 409 Conflict\r\nContent-Length: 9\r\n\r\nis paused".to_owned();
    let error = one(
        "POST /v1.41/containers/x/kill?signal=HUP ",
        plain,
        async |c| c.containers().kill("x", Some("HUP")).await.unwrap_err(),
    );
    assert_eq!(error.to_string(), "is paused");

    let silent = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned();
    let error = one("GET /v1.41/version", silent, async |c| {
        c.version().await.unwrap_err()
    });
    assert!(
        error.to_string().starts_with("the engine answered 500"),
        "{error}"
    );
}

#[test]
fn an_answer_that_breaks_off_is_an_error() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"ID\":".to_owned();
    let error = one("GET /v1.41/info", half, async |c| {
        c.info().await.unwrap_err()
    });
    assert!(matches!(error, ClientError::Transport { .. }), "{error}");
    let wrong = json("200 OK", r#"{"NCPU":"three"}"#);
    let error = one("GET /v1.41/info", wrong, async |c| {
        c.info().await.unwrap_err()
    });
    assert_eq!(
        error.to_string(),
        "the engine's answer to GET /v1.41/info cannot be read: invalid JSON: NCPU: expected a \
         whole number, found a string"
    );
}

#[test]
fn create_sends_its_body_and_name() {
    run(async {
        let (engine, client) = Engine::new().with_client().await;
        let mut request = ContainerCreateRequest::default();
        request.config.image = "debian".to_owned();
        request.host_config.memory = 5;
        let act = async {
            client
                .containers()
                .create(Some("a b"), &request)
                .await
                .unwrap()
        };
        let serve = async {
            let (mut stream, head) = engine.accept().await;
            assert!(
                head.starts_with("post /v1.41/containers/create?name=a%20b "),
                "{head}"
            );
            assert!(head.contains("content-type: application/json"), "{head}");
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let answer = json("201 Created", r#"{"Id":"abc","Warnings":null}"#);
            stream.write_all(answer.as_bytes()).await.unwrap();
            berth_api::decode::from_slice::<ContainerCreateRequest>(&body).unwrap()
        };
        let (response, sent) = tokio::join!(act, serve);
        assert_eq!((response.id.as_str(), response.warnings.len()), ("abc", 0));
        assert_eq!(sent, request);
    });
}

#[test]
fn start_asks_for_timings_and_takes_them() {
    let answer = "HTTP/1.1 204 No Content\r\nBerth-Timings: {\"total_us\":9,\"phases\":\
                  [{\"name\":\"clone\",\"us\":4}]}\r\n\r\n";
    let request = "POST /v1.41/containers/x/start HTTP/1.1\r\nhost: berth\r\nberth-timings: 1\r\n";
    let started = one(request, answer.to_owned(), async |c| {
        c.containers().start("x", true).await.unwrap()
    });
    assert!(!started.already);
    let timings = started.timings.unwrap();
    assert_eq!(
        (timings.total_us, timings.phases[0].name.as_str()),
        (9, "clone")
    );

    let again = "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned();
    let started = one("POST /v1.41/containers/x/start", again.clone(), async |c| {
        c.containers().start("x", false).await.unwrap()
    });
    assert!(started.already && started.timings.is_none());
    let ran = one(
        "POST /v1.41/containers/x/stop?t=-1&signal=INT ",
        again,
        async |c| {
            c.containers()
                .stop("x", Some(-1), Some("INT"))
                .await
                .unwrap()
        },
    );
    assert!(!ran);
}

#[test]
fn wait_is_there_before_the_end_is() {
    run(async {
        let (engine, client) = Engine::new().with_client().await;
        let act = client.containers().wait("x", WaitCondition::Removed);
        let serve = async {
            let (mut stream, head) = engine.accept().await;
            assert!(
                head.starts_with("post /v1.41/containers/x/wait?condition=removed "),
                "{head}"
            );
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        };
        let (wait, mut stream) = tokio::join!(act, serve);
        let wait = wait.unwrap();
        stream
            .write_all(b"12\r\n{\"StatusCode\":137}\r\n0\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(wait.finish().await.unwrap().status_code, 137);
    });
}

#[test]
fn lists_and_removals_say_what_they_mean() {
    let mut options = ListOptions {
        all: true,
        limit: Some(2),
        ..ListOptions::default()
    };
    options.filters.add("label", "a=b");
    let request =
        "GET /v1.41/containers/json?all=1&limit=2&filters=%7B%22label%22:%5B%22a%3Db%22%5D%7D ";
    let list = one(
        request,
        json("200 OK", r#"[{"Id":"1"},{"Id":"2"}]"#),
        async move |c| c.containers().list(&options).await.unwrap(),
    );
    assert_eq!(list.len(), 2);
    let gone = "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    one("DELETE /v1.41/containers/x?force=1&v=1 ", gone, async |c| {
        c.containers()
            .remove(
                "x",
                RemoveOptions {
                    force: true,
                    volumes: true,
                },
            )
            .await
            .unwrap();
    });
    let image = json("200 OK", r#"{"Id":"sha256:1","RepoTags":null}"#);
    let image = one("GET /v1.41/images/a/b:c/json ", image, async |c| {
        c.images().inspect("a/b:c").await.unwrap()
    });
    assert_eq!(image.id, "sha256:1");
    let report = json(
        "200 OK",
        r#"{"clean":false,"findings":[{"kind":"k","subject":"s","message":"m"}]}"#,
    );
    let report = one("GET /v1.41/berth/fsck ", report, async |c| {
        c.fsck().await.unwrap()
    });
    assert_eq!(
        (report.clean, report.findings[0].kind.as_str()),
        (false, "k")
    );
}

#[test]
fn logs_are_a_stream() {
    let answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let request = "GET /v1.41/containers/x/logs?follow=1&stdout=1&tail=5&timestamps=1 ";
    let read = one(request, answer.to_owned(), async |c| {
        let options = LogsOptions {
            follow: true,
            stdout: true,
            timestamps: true,
            tail: Some("5".to_owned()),
            ..LogsOptions::default()
        };
        let mut output = c.containers().logs("x", &options).await.unwrap();
        let mut read = Vec::new();
        output.read_to_end(&mut read).await.unwrap();
        read
    });
    assert_eq!(read, b"abcde");
}

/// Both ends of an attachment, with the engine having answered `head`.
async fn attached(
    head: &str,
    stdin: bool,
) -> (Result<berth_api::client::Attached, ClientError>, UnixStream) {
    let (engine, client) = Engine::new().with_client().await;
    let options = AttachOptions {
        stdin,
        stdout: true,
        stream: true,
        detach_keys: Some("ctrl-p".to_owned()),
        ..AttachOptions::default()
    };
    let containers = client.containers();
    let act = containers.attach("x", &options);
    let serve = async {
        let (mut stream, request) = engine.accept().await;
        assert!(
            request.starts_with("post /v1.41/containers/x/attach?"),
            "{request}"
        );
        assert!(request.contains("detachkeys=ctrl-p"), "{request}");
        assert!(
            request.contains("connection: upgrade\r\nupgrade: tcp\r\n"),
            "{request}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    tokio::join!(act, serve)
}

#[test]
fn attach_goes_both_ways_and_closes_half() {
    run(async {
        let head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\
                    Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly ";
        let (attached, mut engine) = attached(head, true).await;
        let mut attached = attached.unwrap();
        attached.input.write_all(b"hello").await.unwrap();
        attached.input.shutdown().await.unwrap();
        let mut sent = Vec::new();
        engine.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, b"hello");
        // The client has closed its half; what the container still says must come through.
        engine.write_all(b"late").await.unwrap();
        drop(engine);
        let mut read = Vec::new();
        attached.output.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"early late");
    });
}

#[test]
fn attach_without_upgrade_can_be_read() {
    run(async {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nabc";
        let (refused, _) = attached(head, true).await;
        assert!(matches!(refused, Err(ClientError::NotUpgraded)));
        let (attached, engine) = attached(head, false).await;
        drop(engine);
        let mut read = Vec::new();
        attached
            .unwrap()
            .output
            .read_to_end(&mut read)
            .await
            .unwrap();
        assert_eq!(read, b"abc");
    });
}

#[test]
fn import_sends_the_archive_and_reads_the_progress() {
    run(async {
        let (engine, client) = Engine::new().with_client().await;
        let archive: Vec<u8> = (0..200_000_u32).map(|i| i as u8).collect();
        let sent = archive.clone();
        let options = ImportOptions {
            repo: "box".to_owned(),
            changes: vec!["CMD [\"sh\"]".to_owned(), "ENV A=b".to_owned()],
            ..ImportOptions::default()
        };
        let act = async {
            let images = client.images();
            let mut progress = images
                .import(std::io::Cursor::new(sent), &options)
                .await
                .unwrap();
            let mut messages = Vec::new();
            while let Some(message) = progress.next().await.unwrap() {
                messages.push(message);
            }
            messages
        };
        let serve = async {
            let (mut stream, head) = engine.accept().await;
            let expected = "post /v1.41/images/create?fromsrc=-&repo=box&changes=cmd%20%5b%22sh%22%5d\
                            &changes=env%20a%3db ";
            assert!(head.starts_with(expected), "{head}");
            assert!(head.contains("transfer-encoding: chunked"), "{head}");
            let body = read_chunked(&mut stream).await;
            let lines = "{\"status\":\"one\"}\r\n\r\n{\"progressDetail\":{\"current\":1},\"id\":\"x\"}\r\n\
                         {\"errorDetail\":{\"message\":\"full\"},\"error\":\"full\"}";
            let answer = json("200 OK", lines);
            // Cut in the middle of a message.
            let (first, second) = answer.split_at(answer.len() - 30);
            stream.write_all(first.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(second.as_bytes()).await.unwrap();
            body
        };
        let (messages, body) = tokio::join!(act, serve);
        assert!(body == archive, "{} bytes arrived", body.len());
        assert_eq!(messages.len(), 3);
        assert_eq!(messages[0].status.as_deref(), Some("one"));
        assert_eq!(messages[1].progress_detail.unwrap().current, Some(1));
        assert_eq!(messages[2].failed(), Some("full"));
    });
}

async fn read_chunked(stream: &mut UnixStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.unwrap());
        }
        let line = String::from_utf8(line).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).await.unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

#[test]
fn a_refusal_in_the_middle_of_an_upload_is_heard() {
    run(async {
        let (engine, client) = Engine::new().with_client().await;
        let act = async {
            let endless = tokio::io::repeat(0);
            client
                .images()
                .import(endless, &ImportOptions::default())
                .await
                .err()
                .unwrap()
        };
        let serve = async {
            let (mut stream, _) = engine.accept().await;
            let mut some = vec![0; 1 << 20];
            stream.read_exact(&mut some).await.unwrap();
            let refusal = json("400 Bad Request", r#"{"message":"no archive"}"#);
            stream.write_all(refusal.as_bytes()).await.unwrap();
            // Closed with much of the archive unread: the client's next write fails.
        };
        let (error, ()) = tokio::join!(act, serve);
        assert_eq!(error.to_string(), "no archive");
    });
}

#[test]
fn dropping_a_stream_closes_its_connection() {
    run(async {
        let (engine, client) = Engine::new().with_client().await;
        let options = LogsOptions {
            stdout: true,
            follow: true,
            ..LogsOptions::default()
        };
        let containers = client.containers();
        let serve = async {
            let (mut stream, _) = engine.accept().await;
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        };
        let (output, mut stream) = tokio::join!(containers.logs("x", &options), serve);
        drop(output.unwrap());
        let end: JoinHandle<usize> = tokio::spawn(async move {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap()
        });
        assert_eq!(end.await.unwrap(), 0);
    });
}
