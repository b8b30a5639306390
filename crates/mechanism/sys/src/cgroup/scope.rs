//! Groups below a scope that systemd has delegated: what is below it is ours, the scope's own
//! group is systemd's (`systemd.io`, "Control Group APIs and Delegation").

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::Timespec;

use super::{CgroupError, Layout, Version, create, open_directory, write_at};
use std::os::fd::AsFd as _;

/// The group below a scope for what is not limited.
const ASIDE: &str = "monitor";

/// How long systemd may take to remove an empty scope, and how often that is looked for: it hears
/// of the emptiness and acts, but tells nobody who did not subscribe on the bus.
const GONE_WITHIN: Duration = Duration::from_secs(2);
const GONE_LOOK: Duration = Duration::from_millis(2);

/// Makes room for limits below the scope `scope`: on version 2 a group that hands controllers down
/// has no processes itself, so the process goes into a group of its own below the scope.
///
/// # Errors
/// The scope is not where it should be, or the process is gone.
pub fn step_aside(scope: &str, pid: i32) -> Result<(), CgroupError> {
    let layout = Layout::detect().map_err(CgroupError::Detect)?;
    let (Version::V2, Some(tree)) = (layout.version, layout.trees.first()) else {
        return Ok(());
    };
    let path = create::place(tree, scope)?.join(ASIDE);
    match fs::create_dir(&path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(CgroupError::Create { path, source });
        }
        _ => {}
    }
    let enter = || {
        write_at(
            open_directory(&path)?.as_fd(),
            "cgroup.procs",
            &pid.to_string(),
        )
    };
    enter().map_err(|source| CgroupError::Enter {
        path: path.clone(),
        source,
    })
}

/// Waits until systemd has removed the scope `scope`, whose processes have ended. In trees of
/// version 1 that systemd does not use, its directory is removed here.
///
/// # Errors
/// `TimedOut` with what is still there.
pub fn await_end(scope: &str) -> io::Result<()> {
    let layout = Layout::detect()?;
    let places = layout.trees.iter();
    let places = places.filter_map(|tree| create::place(tree, scope).ok());
    let mut left: Vec<PathBuf> = places.collect();
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        left.retain(|path| {
            let removed = layout.version == Version::V1 && fs::remove_dir(path).is_ok();
            !removed && path.exists()
        });
        let Some(first) = left.first() else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            let text = format!("control group {} is still there", first.display());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        if let Ok(pause) = Timespec::try_from(GONE_LOOK) {
            let _ = rustix::event::poll(&mut [], Some(&pause));
        }
    }
}
