//! Requests of older clients.

use super::below;
use crate::container::{ContainerCreateRequest, HostConfig};
use crate::version::ApiVersion;

/// `POST /containers/create`: leaves what a request of this version meant, in the newest words.
pub fn container_create(request: &mut ContainerCreateRequest, version: ApiVersion) {
    host_config(&mut request.host_config, version);
    mac_address(request, version);
    if below(version, 44)
        && let Some(check) = &mut request.config.healthcheck
    {
        check.start_interval = 0;
    }
    for endpoint in request.networking_config.endpoints_config.values_mut() {
        if below(version, 48) {
            endpoint.gw_priority = 0;
        }
    }
}

fn host_config(host: &mut HostConfig, version: ApiVersion) {
    if !below(version, 42) {
        host.kernel_memory = 0;
    }
    if below(version, 40) || !below(version, 52) {
        host.kernel_memory_tcp = 0;
    }
    if below(version, 43) {
        host.annotations.clear();
    }
    if below(version, 42) {
        host.console_size = [0, 0];
    }
    if below(version, 41) {
        host.cgroupns_mode.clear();
    }
    if below(version, 40) {
        host.device_requests.clear();
        if host.ipc_mode.is_empty() {
            host.ipc_mode = "shareable".to_owned();
        }
    }
    if below(version, 25) {
        // Those clients remove their containers themselves.
        host.auto_remove = false;
    }
    mounts(host, version);
}

fn mounts(host: &mut HostConfig, version: ApiVersion) {
    for mount in &mut host.mounts {
        if let Some(bind) = &mut mount.bind_options {
            if below(version, 40) {
                bind.non_recursive = false;
            }
            if below(version, 42) {
                bind.create_mountpoint = false;
            }
            if below(version, 44) {
                bind.read_only_force_recursive = false;
            }
        }
        // Before 1.44 "read-only" was said of the one mount and not of those below it.
        if below(version, 44) && mount.kind == "bind" && mount.read_only {
            mount
                .bind_options
                .get_or_insert_default()
                .read_only_non_recursive = true;
        }
        if below(version, 45)
            && let Some(volume) = &mut mount.volume_options
        {
            volume.subpath.clear();
        }
        if below(version, 46)
            && let Some(tmpfs) = &mut mount.tmpfs_options
        {
            tmpfs.options.clear();
        }
    }
}

/// Before 1.44 the link-layer address was the container's; from then on it is the endpoint's, and
/// since 1.52 the container's is not read any more. It becomes the address of the endpoint in the
/// network that the network mode names.
fn mac_address(request: &mut ContainerCreateRequest, version: ApiVersion) {
    let address = std::mem::take(&mut request.config.mac_address);
    let endpoints = &mut request.networking_config.endpoints_config;
    if below(version, 44) {
        for endpoint in endpoints.values_mut() {
            endpoint.mac_address.clear();
        }
    }
    if address.is_empty() || !below(version, 52) {
        return;
    }
    let network = match request.host_config.network_mode.as_str() {
        "" | "default" => "bridge",
        mode if mode == "host" || mode == "none" || mode.starts_with("container:") => return,
        name => name,
    };
    let endpoint = endpoints.entry(network.to_owned()).or_default();
    if endpoint.mac_address.is_empty() {
        endpoint.mac_address = address;
    }
}
