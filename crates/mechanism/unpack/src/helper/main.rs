//! `berth-unpack`: unpacks one archive, confined to the directory it is unpacked into.
//!
//! Started by [`berth_unpack::Unpacker`] with a socket as stdin; not for use by hand. See
//! [`berth_unpack::protocol`] for what is said on the socket and [`confine`] for the walls.

mod codec;
mod confine;
mod decode;
mod directory;
mod extract;
mod failure;
mod limits;
mod manner;
mod names;
mod stream;
mod tar;
#[cfg(test)]
mod tests;
mod tree;
mod xattr;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;

use berth_unpack::journal::Writer;
use berth_unpack::protocol::{Descriptors, Done, Report, Request, receive_request};

use crate::extract::Extractor;
use crate::failure::{Failure, Result};
use crate::manner::Manner;

fn main() -> ExitCode {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    // After a seccomp violation or when memory runs out there is no report; the caller sees that.
    let result = catch_unwind(AssertUnwindSafe(|| run(&socket))).unwrap_or_else(|_| {
        let panicked = io::Error::other("it ran into an error of its own, please report it");
        Err(Failure::machine("the helper failed", panicked))
    });
    let report = match result {
        Ok(done) => Report::Done(done),
        Err(failure) => Report::Error {
            kind: failure.fault(),
            message: failure.to_string(),
        },
    };
    let sent = serde_json::to_vec(&report)
        .map_err(io::Error::from)
        .and_then(|report| File::from(socket).write_all(&report));
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(socket: &impl AsFd) -> Result<Done> {
    confine::die_with_caller()?;
    let (request, descriptors) = receive_request(socket).map_err(|source| {
        Failure::machine(
            "cannot receive the request; this program is not for use by hand",
            source,
        )
    })?;
    if std::os::unix::process::parent_id() != request.caller {
        let gone = io::Error::other("it ended");
        return Err(Failure::machine("cannot work without the caller", gone));
    }
    let Request { budget, into, .. } = request;
    let Descriptors {
        archive,
        target,
        journal,
    } = descriptors;
    let mut keep = vec![socket.as_fd(), archive.as_fd(), target.as_fd()];
    keep.extend(journal.as_ref().map(AsFd::as_fd));
    let filters = confine::enter(target.as_fd(), &keep, &budget)?;
    let decoder_filter = filters.decoder;
    let (go, wait) = sync_channel::<()>(1);
    let confine_decoder = move || {
        confine::load(&decoder_filter)?;
        // Nothing is read before the other thread is confined too.
        let gone = |_| Failure::machine("cannot confine the helper", io::ErrorKind::Other);
        wait.recv().map_err(gone)
    };
    let (pipeline, _decoder) = decode::spawn(File::from(archive), &budget, confine_decoder)?;
    confine::load(&filters.writer)?;
    // A decoder that failed before this says so through the pipeline.
    let _ = go.send(());
    let journal = journal.map(|file| Writer::new(BufWriter::new(File::from(file))));
    let journal = journal.transpose().map_err(stream::journal_failure)?;
    Extractor::new(pipeline, target, journal, &budget, Manner::new(into)?).run()
}
