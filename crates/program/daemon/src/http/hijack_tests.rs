//! Clients that end their input, leave, and stay; programs that do.

use super::*;

/// A client, the container's end of the streams, and the task between them.
fn joined(early: &'static [u8]) -> (UnixStream, UnixStream, tokio::task::JoinHandle<()>) {
    let (client, near) = UnixStream::pair().unwrap();
    let (streams, container) = UnixStream::pair().unwrap();
    let session = Session {
        past: b"past ".to_vec(),
        streams: Some(ready(streams)),
        ..Session::default()
    };
    let task = tokio::spawn(async move { join(near, early, session).await });
    (client, container, task)
}

async fn guarded<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .unwrap()
}

#[tokio::test]
async fn output_goes_on_behind_the_end_of_the_input() {
    let (mut client, mut container, task) = joined(b"early ");
    client.write_all(b"input").await.unwrap();
    client.shutdown().await.unwrap();
    let mut input = Vec::new();
    guarded(container.read_to_end(&mut input)).await.unwrap();
    assert_eq!(input, b"early input");
    container.write_all(b"output").await.unwrap();
    drop(container);
    let mut output = Vec::new();
    guarded(client.read_to_end(&mut output)).await.unwrap();
    assert_eq!(output, b"past output");
    drop(client);
    guarded(task).await.unwrap();
}

#[tokio::test]
async fn a_program_that_reads_no_more_loses_no_output() {
    let (mut client, mut container, task) = joined(b"");
    // More than the sockets hold, so that the copy of it runs into the closed input.
    let output = vec![b'x'; 4 << 20];
    let expected = output.len() + b"past ".len();
    let program = tokio::spawn(async move {
        let mut some = [0; 16];
        container.read_exact(&mut some).await.unwrap();
        let socket = container.into_std().unwrap();
        socket.shutdown(std::net::Shutdown::Read).unwrap();
        let mut container = UnixStream::from_std(socket).unwrap();
        container.write_all(&output).await.unwrap();
    });
    let (mut from, mut to) = client.split();
    let mut received = Vec::new();
    let endless = async { while to.write_all(&[b'y'; 4096]).await.is_ok() {} };
    tokio::select! {
        read = guarded(from.read_to_end(&mut received)) => drop(read.unwrap()),
        () = async { endless.await; std::future::pending().await } => {}
    }
    assert_eq!(received.len(), expected);
    drop(client);
    guarded(program).await.unwrap();
    guarded(task).await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_gone_is_let_go_of() {
    let (mut client, mut container, task) = joined(b"");
    client.read_exact(&mut [0; 5]).await.unwrap();
    client.write_all(b"last words").await.unwrap();
    drop(client);
    let mut input = Vec::new();
    guarded(container.read_to_end(&mut input)).await.unwrap();
    assert_eq!(input, b"last words");
    guarded(task).await.unwrap();
}

#[tokio::test]
async fn a_client_that_ends_its_input_and_leaves_is_noticed() {
    let (mut client, mut container, task) = joined(b"");
    client.shutdown().await.unwrap();
    let mut input = Vec::new();
    guarded(container.read_to_end(&mut input)).await.unwrap();
    drop(client);
    // The container is still there and says nothing.
    guarded(task).await.unwrap();
}

#[tokio::test]
async fn the_keys_end_the_connection_and_leave_the_program() {
    let (mut client, near) = UnixStream::pair().unwrap();
    let (streams, mut container) = UnixStream::pair().unwrap();
    let (left, told) = tokio::sync::oneshot::channel();
    let session = Session {
        streams: Some(ready(streams)),
        terminal: true,
        keys: Some(DetachKeys::default()),
        left: Some(Box::new(move || left.send(()).unwrap())),
        ..Session::default()
    };
    let task = tokio::spawn(async move { join(near, b"ls\x10", session).await });
    client.write_all(b"\x10\x11dropped").await.unwrap();
    let mut rest = Vec::new();
    guarded(client.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
    guarded(told).await.unwrap();
    let mut input = Vec::new();
    guarded(container.read_to_end(&mut input)).await.unwrap();
    assert_eq!(input, b"ls\x10");
    drop(client);
    guarded(task).await.unwrap();
}

#[tokio::test]
async fn the_connection_ends_behind_what_has_to_be_settled() {
    let (mut client, near) = UnixStream::pair().unwrap();
    let (streams, container) = UnixStream::pair().unwrap();
    let (settle, settled) = tokio::sync::oneshot::channel::<()>();
    let session = Session {
        streams: Some(ready(streams)),
        settled: Some(Box::pin(async move { drop(settled.await) })),
        ..Session::default()
    };
    let task = tokio::spawn(async move { join(near, b"", session).await });
    drop(container);
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), client.read(&mut byte)).await;
    early.unwrap_err();
    settle.send(()).unwrap();
    assert_eq!(guarded(client.read(&mut byte)).await.unwrap(), 0);
    drop(client);
    guarded(task).await.unwrap();
}
