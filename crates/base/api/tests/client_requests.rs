//! What the client asks for in requests of Berth's own and in those with queries of their own, and
//! what it makes of streams of JSON.

use std::time::Duration;

use berth_api::Filters;
use berth_api::client::{AttachOptions, Client, ClientError, CommitOptions, PutOptions};
use berth_api::exec::ResizeQuery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::time::timeout;

/// No test takes this long; one that does hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Answers the ping in version 1.50 and one request, whose first line is returned beside what
/// `act` made of it.
fn one<T>(answer: &str, act: impl AsyncFnOnce(Client) -> T) -> (String, T) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let host = format!("unix://{}", path.display());
    let both = async {
        let listener = UnixListener::bind(&path).unwrap();
        let serve = async {
            let mut line = String::new();
            for text in ["HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\n\r\n", answer] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(text.as_bytes()).await.unwrap();
                let head = String::from_utf8(head).unwrap();
                line = head.lines().next().unwrap().to_owned();
            }
            line
        };
        let act = async { act(Client::connect(&host).await.unwrap()).await };
        tokio::join!(serve, act)
    };
    runtime.block_on(async { timeout(LIMIT, both).await.expect("the test hangs") })
}

const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[test]
fn a_watcher_says_what_it_is() {
    let options = AttachOptions {
        stdout: true,
        stream: true,
        screen: true,
        watch: true,
        announce: Some("ann is watching".to_owned()),
        ..AttachOptions::default()
    };
    let (line, _) = one("HTTP/1.1 200 OK\r\n\r\n", async |client| {
        match client.containers().attach("box", &options).await {
            Ok(_) => {}
            Err(e) => panic!("{e}"),
        }
    });
    assert_eq!(
        line,
        "POST /v1.50/containers/box/attach?stdout=1&stream=1&screen=1&role=watch\
         &announce=ann%20is%20watching HTTP/1.1"
    );
}

#[test]
fn queries_say_what_is_meant() {
    let size = ResizeQuery {
        height: 24,
        width: 80,
    };
    let (line, ()) = one(DONE, async |client| {
        client.execs().resize("e1", size).await.unwrap();
    });
    assert_eq!(line, "POST /v1.50/exec/e1/resize?h=24&w=80 HTTP/1.1");
    let (line, ()) = one(DONE, async |client| {
        let options = PutOptions {
            keep_kinds: true,
            keep_owners: false,
        };
        let containers = client.containers();
        let put = containers.put_archive("box", "/a b", tokio::io::empty(), options);
        put.await.unwrap();
    });
    assert_eq!(
        line,
        "PUT /v1.50/containers/box/archive?noOverwriteDirNonDir=true&path=%2Fa%20b HTTP/1.1"
    );
    let made = "HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n{\"Id\":\"i\"}";
    let (line, id) = one(made, async |client| {
        let options = CommitOptions {
            repo: "box".to_owned(),
            running: true,
            changes: vec!["CMD sh".to_owned()],
            ..CommitOptions::default()
        };
        client.images().commit("c", &options).await.unwrap().id
    });
    assert_eq!(id, "i");
    assert_eq!(
        line,
        "POST /v1.50/commit?container=c&repo=box&changes=CMD%20sh&pause=0 HTTP/1.1"
    );
}

#[test]
fn a_path_is_described_in_a_header() {
    // {"name":"etc","mode":2147484141}
    let answer = "HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: \
                  eyJuYW1lIjoiZXRjIiwibW9kZSI6MjE0NzQ4NDE0MX0=\r\n\r\n";
    let (line, stat) = one(answer, async |client| {
        client.containers().path_stat("box", "/etc").await.unwrap()
    });
    assert!(line.starts_with("HEAD "), "{line}");
    assert_eq!((stat.name.as_str(), stat.mode), ("etc", 0o755 | 1 << 31));
    let without = "HTTP/1.1 200 OK\r\n\r\n";
    let (_, failed) = one(without, async |client| {
        client.containers().path_stat("box", "/etc").await
    });
    assert!(matches!(failed, Err(ClientError::Answer { .. })));
}

#[test]
fn streams_of_json_end_where_the_engine_ends_them() {
    let answer = "HTTP/1.1 200 OK\r\n\r\n{\"Type\":\"container\",\"Action\":\"die\"}\n\
                  {\"Type\":\"image\",\"timeNano\":5}";
    let (line, seen) = one(answer, async |client| {
        let filters = Filters::default();
        let mut events = client.events(Some("1"), None, &filters).await.unwrap();
        let mut seen = Vec::new();
        while let Some(event) = events.next().await.unwrap() {
            seen.push((event.kind, event.action, event.time_nano));
        }
        seen
    });
    assert_eq!(line, "GET /v1.50/events?since=1 HTTP/1.1");
    assert_eq!(
        seen,
        [
            ("container".to_owned(), "die".to_owned(), 0),
            ("image".to_owned(), String::new(), 5)
        ]
    );
}

#[test]
fn lists_of_old_engines_are_totalled() {
    let body = r#"{"LayersSize":100,"Images":[{"Size":60,"SharedSize":10,"Containers":1},
        {"Size":50,"SharedSize":10,"Containers":0}],"Containers":[{"State":"running","SizeRw":3},
        {"State":"exited","SizeRw":4}],"Volumes":null}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (_, usage) = one(&answer, async |client| client.disk_usage().await.unwrap());
    let images = usage.image_usage.unwrap();
    assert_eq!(
        (images.active_count, images.total_count, images.reclaimable),
        (1, 2, 50)
    );
    let containers = usage.container_usage.unwrap();
    assert_eq!((containers.total_size, containers.reclaimable), (7, 4));
}
