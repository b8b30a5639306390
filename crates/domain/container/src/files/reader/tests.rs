//! A reader on a thread, asked as the engine asks it.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use super::*;

/// A reader, and a directory for its root.
struct Bench {
    socket: UnixStream,
    directory: tempfile::TempDir,
    root: OwnedFd,
    reader: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl Bench {
    fn new() -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let root = fs::File::open(directory.path()).unwrap().into();
        let reader = Some(std::thread::spawn(move || serve::serve(&theirs)));
        Self {
            socket,
            directory,
            root,
            reader,
        }
    }

    fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, io::Error> {
        send(&self.socket, request, &[self.root.as_fd()]).unwrap();
        let answer: Option<Result<T, Failure>> = receive(&self.socket, &mut Vec::new()).unwrap();
        answer.unwrap().map_err(io::Error::from)
    }

    fn look(&self, path: &str) -> io::Result<Seen> {
        let path = path.to_owned();
        self.ask(&Request::Look { path, keep: true })
    }

    fn end(mut self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
        self.reader.take().unwrap().join().unwrap()
    }
}

#[test]
fn one_question_after_the_other() {
    let bench = Bench::new();
    fs::create_dir_all(bench.directory.path().join("etc")).unwrap();
    let passwd = "root:x:0:0::/:/bin/sh\nann:x:12:34::/:/bin/sh\n";
    fs::write(bench.directory.path().join("etc/passwd"), passwd).unwrap();
    let seen = bench.look("/etc/../etc/passwd").unwrap();
    assert_eq!(seen.size, passwd.len() as u64);
    assert!(seen.canonical.ends_with("etc/passwd"));
    let missing = bench.look("/nothing").err().unwrap();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let target = |user: &str| {
        let user = Some(user.to_owned());
        let path = "/etc".to_owned();
        bench
            .ask::<Target>(&Request::Target { path, user })
            .unwrap()
    };
    assert_eq!(target("ann").owner, Some((12, 34)));
    assert_eq!(target("eve").owner, None);
    let source = |name: &str, make| Source {
        path: bench.directory.path().join(name).display().to_string(),
        make,
    };
    let sources = vec![source("new/er", true), source("none", false)];
    send(&bench.socket, &Request::Sources(sources), &[]).unwrap();
    let answer: Option<Result<(), Failure>> = receive(&bench.socket, &mut Vec::new()).unwrap();
    assert_eq!(answer.unwrap().unwrap_err().subject, 1);
    assert!(bench.directory.path().join("new/er").is_dir());
    bench.end().unwrap();
}

#[test]
fn an_archive_comes_in_pieces_and_whole() {
    for size in [0, 10, PIECE - 512, PIECE, 3 * PIECE + 7] {
        let bench = Bench::new();
        let file = vec![7_u8; size];
        fs::write(bench.directory.path().join("file"), &file).unwrap();
        bench.look("file").unwrap();
        send(&bench.socket, &Request::Send, &[]).unwrap();
        let (mut archive, mut from) = (Vec::new(), &bench.socket);
        loop {
            let mut head = [0; HEAD];
            from.read_exact(&mut head).unwrap();
            let mut piece = vec![0; length_of(head).unwrap()];
            assert!(piece.len() <= PIECE);
            from.read_exact(&mut piece).unwrap();
            if piece.is_empty() {
                break;
            }
            archive.extend(piece);
        }
        let done: Option<Result<(), Failure>> = receive(from, &mut Vec::new()).unwrap();
        assert!(done.unwrap().is_ok());
        assert_eq!(archive.len() % 512, 0);
        assert_eq!(archive[512..512 + size], file);
        bench.end().unwrap();
    }
}

#[test]
fn nothing_is_sent_that_was_not_looked_at() {
    let bench = Bench::new();
    send(&bench.socket, &Request::Send, &[]).unwrap();
    assert!(
        receive::<Result<(), Failure>>(&bench.socket, &mut Vec::new())
            .unwrap()
            .is_none()
    );
    assert!(bench.end().is_err());
}
