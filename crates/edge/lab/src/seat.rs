//! What a seat is: the container behind one name of a class.

use std::collections::BTreeMap;

use berth_api::container::{ContainerConfig, ContainerCreateRequest, HostConfig};

use crate::plan::{LAB_LABEL, SEAT_LABEL};

/// What every seat of an allocation gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The lab that the seats belong to.
    pub lab: String,
    /// The image they are made from.
    pub image: String,
    /// Memory in bytes.
    pub memory: i64,
    /// CPUs in billionths.
    pub nano_cpus: i64,
    /// Processes and threads.
    pub pids: i64,
}

/// The seat's first process. An image's own command is mostly a shell, which ends at once without
/// a terminal; a seat has to stay, and what its participant runs is started beside this process.
const COMMAND: [&str; 2] = ["sleep", "infinity"];

/// Asks the first process to end. The kernel drops every signal that the first process of a
/// container has no handler for, and `sleep` has none: anything milder would only cost the grace
/// period.
const STOP_SIGNAL: &str = "SIGKILL";

/// The create request for the seat of `name`: the image's entry point is put aside, there is no
/// network, and the labels say whose seat of which lab it is.
pub fn request(name: &str, offer: &Offer) -> ContainerCreateRequest {
    let labels = BTreeMap::from([
        (LAB_LABEL.to_owned(), offer.lab.clone()),
        (SEAT_LABEL.to_owned(), name.to_owned()),
    ]);
    ContainerCreateRequest {
        config: ContainerConfig {
            hostname: name.to_owned(),
            image: offer.image.clone(),
            entrypoint: Some(vec![String::new()]),
            cmd: Some(COMMAND.map(str::to_owned).to_vec()),
            labels,
            stop_signal: STOP_SIGNAL.to_owned(),
            ..ContainerConfig::default()
        },
        host_config: HostConfig {
            network_mode: "none".to_owned(),
            memory: offer.memory,
            nano_cpus: offer.nano_cpus,
            pids_limit: Some(offer.pids),
            ..HostConfig::default()
        },
        ..ContainerCreateRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_seat_is_labelled_limited_and_stays() {
        let offer = Offer {
            lab: "class".to_owned(),
            image: "debian:1".to_owned(),
            memory: 512 << 20,
            nano_cpus: 1_000_000_000,
            pids: 256,
        };
        let body = serde_json::to_value(request("ann", &offer)).unwrap();
        for (path, wanted) in [
            ("/Image", json!("debian:1")),
            ("/Hostname", json!("ann")),
            ("/Entrypoint", json!([""])),
            ("/Cmd", json!(["sleep", "infinity"])),
            (
                "/Labels",
                json!({"berth.lab": "class", "berth.lab.seat": "ann"}),
            ),
            ("/HostConfig/NetworkMode", json!("none")),
            ("/HostConfig/Memory", json!(536_870_912)),
            ("/HostConfig/NanoCpus", json!(1_000_000_000)),
            ("/HostConfig/PidsLimit", json!(256)),
        ] {
            assert_eq!(body.pointer(path), Some(&wanted), "{path}");
        }
    }
}
