//! Clients of a container's streams: joined to its monitor, or parked until it starts.

use std::sync::Arc;

use berth_shim::AttachWant;
use berth_types::task;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::Actor;
use crate::effects;
use crate::error::ContainerError;
use crate::machine;
use crate::record::Phase;
use crate::threads::Work;

/// Clients that may attach before the start.
const PARKED_MAX: usize = 16;

/// A client that waits for the start.
pub(super) struct Parked {
    pub want: AttachWant,
    pub far_end: std::os::unix::net::UnixStream,
}

impl Actor {
    pub(super) fn attach(
        &mut self,
        want: AttachWant,
        answer: oneshot::Sender<Result<UnixStream, ContainerError>>,
    ) {
        let id = self.record.id;
        let ready = |stream: std::io::Result<std::os::unix::net::UnixStream>| {
            stream.and_then(|stream| {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)
            })
        };
        let io = move |what| {
            move |source| ContainerError::Io {
                what,
                id: id.to_string(),
                source,
            }
        };
        // A client that is gone does not need the answer.
        match (&self.task, self.life.state().phase) {
            (Some(task), Phase::Running) => {
                let task = Arc::clone(task);
                let threads = self.shared.threads.clone();
                let work = Work::asking(id, "attach to the streams");
                // A monitor that is slow to answer keeps nobody else waiting.
                machine::spawn(task::here(async move {
                    let attached = threads.run(work, move || task.attach(want)).await;
                    let attached = attached.and_then(|attached| ready(attached).map_err(|error| {
                        if effects::monitor_hung_up(&error) {
                            ContainerError::Conflict(format!(
                                "container {id} cannot be attached to: it has just ended, or has as many clients as it can have"
                            ))
                        } else {
                            io("attach to the monitor")(error)
                        }
                    }));
                    let _ = answer.send(attached);
                }));
            }
            (_, Phase::Created | Phase::Exited) => {
                let _ = answer.send(ready(self.park(want)).map_err(io("park a client")));
            }
            _ => {
                let _ = answer.send(Err(ContainerError::Conflict(format!(
                    "container {id} cannot be attached to now"
                ))));
            }
        }
    }

    fn park(&mut self, want: AttachWant) -> std::io::Result<std::os::unix::net::UnixStream> {
        // A client that left before the start gives its place up.
        self.parked.retain(|p| !effects::hung_up(&p.far_end));
        if self.parked.len() >= PARKED_MAX {
            return Err(std::io::Error::other(
                "too many clients wait for the start already",
            ));
        }
        let (near, far_end) = std::os::unix::net::UnixStream::pair()?;
        self.parked.push(Parked { want, far_end });
        Ok(near)
    }
}
