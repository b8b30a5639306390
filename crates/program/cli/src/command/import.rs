//! `berth import`

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use berth_api::client::ImportOptions;
use clap::Args;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::JoinHandle;

use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::options::sources::open_failed;
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Import the contents from a tarball to create a filesystem image",
    aliases: "berth image import, berth import",
    arity: Arity::OneOrTwo,
};

/// How much of an archive is read at a time.
const CHUNK_BYTES: usize = 256 << 10;

#[derive(Debug, Args)]
struct Flags {
    /// Apply Dockerfile instruction to the created image
    #[arg(long, short = 'c', value_name = "list")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(long, short = 'm', value_name = "string")]
    message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    arguments: Vec<String>,
}

/// Sends an archive to the engine, which makes an image of it, and prints the image's id.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    if flags.platform.is_some() {
        return Err(Exit::failed(
            "berth: '--platform' is not built yet: images have one here",
        ));
    }
    let mut arguments = flags.arguments.into_iter();
    let source = arguments.next().unwrap_or_default();
    let repo = arguments.next().unwrap_or_default();
    let reader: Box<dyn Read + Send> = match source.as_str() {
        "-" => Box::new(io::stdin()),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            let sentence = "berth: import from a URL is not built yet: download the archive first";
            return Err(Exit::failed(sentence));
        }
        path => {
            let opened = std::fs::File::open(path);
            Box::new(opened.map_err(|e| Exit::failed(open_failed(path, &e)))?)
        }
    };
    let options = ImportOptions {
        repo,
        tag: String::new(),
        message: flags.message.unwrap_or_default(),
        changes: flags.change,
    };
    let client = context.client().await?;
    let images = client.images();
    let archive = Blocking::new(reader);
    let mut progress = images
        .import(archive, &options)
        .await
        .map_err(|e| refused(&e))?;
    while let Some(message) = progress.next().await.map_err(|e| refused(&e))? {
        if let Some(failure) = message.failed() {
            return Err(Exit::failed(failure));
        }
        if let Some(status) = message.status {
            say!("{status}");
        }
    }
    Ok(0)
}

/// A reader, and the piece it read last.
type Piece = (Box<dyn Read + Send>, Vec<u8>);

/// A file or pipe as an asynchronous reader: each piece is read on a thread that may block.
pub(super) struct Blocking {
    idle: Option<Piece>,
    busy: Option<JoinHandle<io::Result<Piece>>>,
    /// How much of the buffer has been handed on.
    taken: usize,
}

impl Blocking {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self {
            idle: Some((reader, Vec::new())),
            busy: None,
            taken: 0,
        }
    }
}

impl AsyncRead for Blocking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(busy) = &mut this.busy {
                let read = ready!(Pin::new(busy).poll(task));
                this.busy = None;
                this.taken = 0;
                this.idle = Some(read.map_err(io::Error::other)??);
                if this
                    .idle
                    .as_ref()
                    .is_some_and(|(_, buffer)| buffer.is_empty())
                {
                    return Poll::Ready(Ok(()));
                }
            }
            let Some((reader, buffer)) = this.idle.take() else {
                return Poll::Ready(Ok(()));
            };
            let rest = buffer.get(this.taken..).unwrap_or_default();
            if !rest.is_empty() {
                let part = rest.len().min(space.remaining());
                space.put_slice(&rest[..part]);
                this.taken += part;
                this.idle = Some((reader, buffer));
                return Poll::Ready(Ok(()));
            }
            this.busy = Some(tokio::task::spawn_blocking(move || {
                read_piece(reader, buffer)
            }));
        }
    }
}

fn read_piece(mut reader: Box<dyn Read + Send>, mut buffer: Vec<u8>) -> io::Result<Piece> {
    buffer.resize(CHUNK_BYTES, 0);
    let read = loop {
        match reader.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    buffer.truncate(read);
    Ok((reader, buffer))
}
