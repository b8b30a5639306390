//! `lab open`, `watch` and `join`: this terminal and a seat's, joined.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use berth_api::client::{AttachOptions, Attached, Client};
use berth_api::container::ContainerInspect;
use berth_api::exec::ResizeQuery;
use berth_console::terminal::OnSignal;
use berth_console::{Ended, Leave, Options, Raw, Sizes, Typing, converse};
use berth_types::ErrorKind;
use berth_types::keys::DetachKeys;

use crate::plan::{LAB_LABEL, SEAT_LABEL};
use crate::verbs::{Look, Open};

/// Keys that leave a box as it is.
const LEAVE_KEYS: &str = "ctrl-p,ctrl-q";

/// How long a seat may be between two shells, and how often it is tried.
const REACH_LIMIT: Duration = Duration::from_secs(10);
const REACH_PAUSE: Duration = Duration::from_millis(50);

/// How somebody looks at a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Read only.
    Watch,
    /// Typing with its owner.
    Join,
}

/// Opens the shell of a seat; starts the seat where it is stopped. Whether all went well.
pub async fn open(client: &Client, flags: &Open) -> Result<bool> {
    let name = &flags.name;
    let leave = flags.detach_keys.as_deref().unwrap_or(LEAVE_KEYS);
    let options = AttachOptions {
        stdin: true,
        stdout: true,
        stderr: true,
        stream: true,
        screen: true,
        detach_keys: Some(leave.to_owned()),
        ..AttachOptions::default()
    };
    let (id, streams) = reach(client, name, &options).await?;
    let ended = talk(client, &id, streams, Manner::Join, leave, true).await?;
    say(match ended {
        Ended::Closed => "the shell ended; the box keeps its files, and a new shell is on its way",
        Ended::Detached => "left; the shell goes on",
    });
    Ok(true)
}

/// Watches or joins the screen of a seat, which is told on that screen.
pub async fn look(client: &Client, flags: &Look, manner: Manner) -> Result<bool> {
    let seat = find(client, &flags.name).await?;
    let name = &flags.name;
    if !seat.state.running {
        bail!("the box of {name} does not run: `berth lab open {name}` starts it");
    }
    let verb = match manner {
        Manner::Watch => "is watching",
        Manner::Join => "types with you",
    };
    let options = AttachOptions {
        stdin: manner == Manner::Join,
        stdout: true,
        stderr: true,
        stream: true,
        screen: true,
        watch: manner == Manner::Watch,
        announce: Some(format!("{} {verb}", flags.who)),
        detach_keys: Some(LEAVE_KEYS.to_owned()),
        ..AttachOptions::default()
    };
    let streams = client.containers().attach(&seat.id, &options).await;
    let streams = streams.with_context(|| format!("cannot join the box of {name}"))?;
    let ended = talk(client, &seat.id, streams, manner, LEAVE_KEYS, false).await?;
    say(match ended {
        Ended::Closed => "their shell ended",
        Ended::Detached => "left; their shell goes on",
    });
    Ok(true)
}

/// The terminal of a seat, which is started where it is stopped. A seat whose shell has just ended
/// is between two shells for a moment: the engine refuses then, and is asked again.
async fn reach(client: &Client, name: &str, options: &AttachOptions) -> Result<(String, Attached)> {
    let end = Instant::now() + REACH_LIMIT;
    loop {
        let seat = find(client, name).await?;
        if seat.state.paused {
            bail!("the box of {name} is paused: `docker unpause {name}` lets it go on");
        }
        let containers = client.containers();
        // A seat whose shell ended often waits longer and longer for the next; not for its owner.
        let begun = match (seat.state.restarting, seat.state.running) {
            (true, _) => containers.restart(&seat.id, None, None).await,
            (false, true) => Ok(()),
            (false, false) => containers.start(&seat.id, false).await.map(drop),
        };
        let joined = match begun {
            Ok(()) => containers.attach(&seat.id, options).await,
            Err(error) => Err(error),
        };
        let refused = match joined {
            Ok(streams) => return Ok((seat.id, streams)),
            Err(error) => error,
        };
        if refused.kind() != ErrorKind::Conflict || Instant::now() >= end {
            return Err(refused).with_context(|| format!("cannot open the box of {name}"));
        }
        tokio::time::sleep(REACH_PAUSE).await;
    }
}

/// The seat of this name; a container that is no seat is refused.
async fn find(client: &Client, name: &str) -> Result<ContainerInspect> {
    let seat = client
        .containers()
        .inspect(name, false)
        .await
        .with_context(|| format!("there is no box of {name:?}; `berth lab status` lists them"))?;
    let labels = &seat.config.labels;
    if !labels.contains_key(LAB_LABEL) || !labels.contains_key(SEAT_LABEL) {
        bail!("{name:?} is a container that is no box of a lab: `docker attach {name}` joins it");
    }
    if !seat.config.tty {
        bail!(
            "the box of {name} has no terminal, an older Berth made it: deallocate it, then \
             allocate again"
        );
    }
    Ok(seat)
}

/// Joins this terminal to the seat's. `own`: the seat's terminal takes the size of this one.
async fn talk(
    client: &Client,
    id: &str,
    streams: Attached,
    manner: Manner,
    leave: &str,
    own: bool,
) -> Result<Ended> {
    let leave = DetachKeys::parse(leave)?;
    let _raw = Raw::enter(OnSignal::End)?;
    let _sizes = match own {
        true => {
            let (client, id) = (client.clone(), id.to_owned());
            Some(Sizes::follow(move |size| {
                let (client, id) = (client.clone(), id.clone());
                // A box that ends at this moment has no size any more.
                async move {
                    let size = ResizeQuery {
                        height: size.rows,
                        width: size.columns,
                    };
                    let _ = client.containers().resize(&id, size).await;
                }
            })?)
        }
        false => None,
    };
    let (typing, leave) = match manner {
        Manner::Watch => (Typing::Watch, Leave::Here(&leave)),
        Manner::Join => (Typing::On, Leave::AtEngine(&leave)),
    };
    let options = Options {
        tty: true,
        typing,
        leave,
    };
    Ok(converse(streams, &options).await?)
}

/// A line about the conversation, behind it.
fn say(text: &str) {
    use std::io::Write as _;
    // There is no better place to tell that standard error is gone.
    let _ = writeln!(std::io::stderr(), "\n[{text}]");
}
