//! `/images`: as one file, out and in.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use berth_api::{ProgressDetail, ProgressMessage};
use berth_image::{ImageError, LoadOptions, LoadStep, Loaded};
use berth_types::{Digest, Timestamp, chain, task};
use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use tokio::sync::oneshot;

use super::error::{ApiError, ApiResult, sentence};
use super::image_changes::check_platform;
use super::images::{ImagesApi, feed, internal, turn};
use super::reply;
use super::router::Call;
use crate::http::{Body, Sender, channel, send_blocking};

/// Bytes of an archive that are sent at once.
const PIECE: usize = 64 << 10;
/// Digits of a layer in progress lines.
const SHORT: usize = 12;

impl ImagesApi {
    /// The length goes ahead, so that a client notices an archive that breaks off.
    pub(super) async fn save(&self, call: &Call, names: Vec<String>) -> ApiResult {
        for platform in call.query.all("platform") {
            check_platform(&platform)?;
        }
        if names.is_empty() {
            return Err(ApiError::invalid("name an image to save in \"names\""));
        }
        let place = turn(&self.saves).await?;
        let (images, caller) = (self.images.clone(), call.caller.clone());
        let (begin, begun) = oneshot::channel::<Result<(u64, Body), ApiError>>();
        let mut begin = Some(begin);
        let save = move || {
            let open = |length| {
                let (sender, body) = channel();
                if let Some(begin) = begin.take() {
                    // A client that is gone is noticed at the first write.
                    let _ = begin.send(Ok((length, body)));
                }
                io::BufWriter::with_capacity(PIECE, Pieces(sender))
            };
            let saved = images.save(&caller, &names, open);
            drop(place);
            match (saved, begin.take()) {
                (Err(error), Some(begin)) => drop(begin.send(Err(error.into()))),
                (Err(error), None) => {
                    tracing::warn!(error = %chain(&error), "saving images broke off");
                }
                (Ok(()), _) => {}
            }
        };
        tokio::task::spawn_blocking(task::blocking(save));
        let begun = begun.await;
        let (length, body) = begun.map_err(|_| internal("the archive was not begun"))??;
        let mut response = reply::stream(body, "application/x-tar");
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        Ok(response)
    }

    pub(super) async fn load(&self, call: Call) -> ApiResult {
        for platform in call.query.all("platform") {
            check_platform(&platform)?;
        }
        let quiet = call.query.switch("quiet");
        let place = turn(&self.imports).await?;
        let caller = call.caller.clone();
        let (source, feeding) = feed(call.request.into_body())?;
        let images = self.images.clone();
        let (sender, body) = channel();
        let (begin, begun) = oneshot::channel();
        let load = move || {
            let mut answer = Answer {
                begin: Some(begin),
                sender,
            };
            let whole = Arc::clone(&feeding.whole);
            let is_whole = move || whole.load(Ordering::Acquire);
            let options = LoadOptions {
                now: Timestamp::now(),
            };
            let tell = |LoadStep::Layer(id, bytes)| {
                if !quiet {
                    answer.send(&layer(id, bytes));
                }
            };
            let loaded = images.load(&caller, source, is_whole, &options, tell);
            tokio::runtime::Handle::current().block_on(feeding.end());
            drop(place);
            answer.end(loaded);
        };
        tokio::task::spawn_blocking(task::blocking(load));
        begun
            .await
            .map_err(|_| internal("the load was interrupted"))??;
        Ok(reply::stream(body, "application/json"))
    }
}

/// A body as a writer, for a thread that may wait.
struct Pieces(Sender);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send_blocking(&self.0, Bytes::copy_from_slice(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The answer of a load: a status until the first line, and lines from then on.
struct Answer {
    begin: Option<oneshot::Sender<Result<(), ApiError>>>,
    sender: Sender,
}

impl Answer {
    fn send(&mut self, message: &ProgressMessage) {
        if let Some(begin) = self.begin.take() {
            let _ = begin.send(Ok(()));
        }
        // The load goes on without its client.
        let _ = send_blocking(&self.sender, message.to_line().into());
    }

    fn end(mut self, loaded: Result<Vec<Loaded>, ImageError>) {
        match (loaded, self.begin.take()) {
            (Err(error), Some(begin)) => drop(begin.send(Err(error.into()))),
            (Err(error), None) => self.send(&ProgressMessage::failure(sentence(&error))),
            (Ok(loaded), begin) => {
                self.begin = begin;
                for line in loaded.iter().flat_map(lines) {
                    self.send(&ProgressMessage {
                        stream: Some(line),
                        ..ProgressMessage::default()
                    });
                }
                // An archive may hold no image.
                if let Some(begin) = self.begin.take() {
                    let _ = begin.send(Ok(()));
                }
            }
        }
    }
}

fn lines(loaded: &Loaded) -> Vec<String> {
    if loaded.names.is_empty() {
        return vec![format!("Loaded image ID: {}\n", loaded.image.id)];
    }
    let names = loaded.names.iter();
    names
        .map(|name| format!("Loaded image: {name}\n"))
        .collect()
}

fn layer(id: Digest, bytes: u64) -> ProgressMessage {
    let hex = id.hex();
    let bytes = i64::try_from(bytes).ok();
    ProgressMessage {
        id: Some(hex.get(..SHORT).unwrap_or(&hex).to_owned()),
        status: Some("Loading layer".to_owned()),
        progress_detail: Some(ProgressDetail {
            current: bytes,
            total: bytes,
        }),
        ..ProgressMessage::default()
    }
}
