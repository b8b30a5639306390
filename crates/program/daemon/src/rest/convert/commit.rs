//! The configuration that a commit may bring.

use berth_api::container::ContainerConfig;
use berth_types::oci::{Empty, HealthCheck, ImageDefaults};

/// What the containers of the new image start from.
pub fn commit_config(wire: ContainerConfig) -> ImageDefaults {
    let set = |names: Vec<String>| names.into_iter().map(|name| (name, Empty {})).collect();
    ImageDefaults {
        user: wire.user,
        exposed_ports: set(wire.exposed_ports.into_keys().collect()),
        env: wire.env,
        entrypoint: wire.entrypoint,
        cmd: wire.cmd,
        volumes: set(wire.volumes.into_keys().collect()),
        working_dir: wire.working_dir,
        labels: wire.labels,
        stop_signal: wire.stop_signal,
        healthcheck: wire.healthcheck.map(|check| HealthCheck {
            test: check.test,
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        on_build: wire.on_build,
        shell: wire.shell,
    }
}
