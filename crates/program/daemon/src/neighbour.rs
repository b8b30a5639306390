//! The engine beside systemd: who makes control groups, what the service manager passes and hears,
//! and whether it is the machine that goes down.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use berth_container::{Containers, Scopes};
use berth_sys::systemd::{self, Manager, Notifier};
use berth_types::chain;

use crate::config::{Config, Driver};
use crate::host::Host;

/// How often the service manager is asked for more time while containers end, and how much.
const EXTENSION_EVERY: Duration = Duration::from_secs(5);
/// See [`EXTENSION_EVERY`]: three times that.
const EXTENSION: &str = "EXTEND_TIMEOUT_USEC=15000000\nWATCHDOG=1";

/// The scopes that containers get; none with the driver `cgroupfs`.
///
/// # Errors
/// The driver `systemd` was asked for, and systemd is not there.
pub async fn scopes(config: &Config, host: &Host) -> anyhow::Result<Option<Arc<Scopes>>> {
    let booted = systemd::is_booted();
    let groups = &config.groups;
    if groups.driver_on(booted && host.cgroup_version == 2) == Driver::Cgroupfs {
        return Ok(None);
    }
    let asked = groups.driver == Some(Driver::Systemd);
    anyhow::ensure!(
        booted,
        "the cgroup driver systemd was asked for, and systemd does not run this machine: \
         use --exec-opt native.cgroupdriver=cgroupfs"
    );
    let found = tokio::task::spawn_blocking(Manager::connect).await?;
    match found {
        Ok(manager) => Ok(Some(Arc::new(Scopes::new(groups.slice.clone(), manager)))),
        Err(error) if asked => Err(error).context(
            "the cgroup driver systemd was asked for: start D-Bus, or use --exec-opt native.cgroupdriver=cgroupfs",
        ),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "cgroup driver cgroupfs in place of systemd");
            Ok(None)
        }
    }
}

/// Where a failure to tell the service manager something is told.
pub fn notifier() -> Notifier {
    Notifier::from_environment().unwrap_or_else(|error| {
        tracing::warn!(%error, "the service manager cannot be told anything");
        Notifier::default()
    })
}

/// Resolves when the service manager wants to hear that the engine is alive; never without one that
/// does.
pub async fn heartbeat(notifier: &Notifier) {
    match notifier.watchdog() {
        Some(period) => tokio::time::sleep(period).await,
        None => std::future::pending().await,
    }
}

/// Ends the containers if it is the machine that goes down; otherwise they outlive this engine.
pub async fn end_with_machine(containers: &Containers, notifier: &Notifier) {
    if !systemd::is_booted() {
        return;
    }
    let asked = tokio::task::spawn_blocking(Manager::is_stopping).await;
    match asked {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) | Err(_) => return,
        Ok(Err(error)) => {
            tracing::warn!(error = %chain(&error), "cannot ask systemd whether the machine goes down; containers go on");
            return;
        }
    }
    tracing::info!("the machine goes down: ending the containers");
    let closing = containers.close();
    tokio::pin!(closing);
    loop {
        notifier.tell(EXTENSION);
        tokio::select! {
            closed = closing.as_mut() => {
                tracing::info!(?closed, "containers ended");
                return;
            }
            () = tokio::time::sleep(EXTENSION_EVERY) => {}
        }
    }
}
