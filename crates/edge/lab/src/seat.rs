//! What a seat is: the container behind one name of a class.

use std::collections::BTreeMap;

use berth_api::container::{ContainerConfig, ContainerCreateRequest, HostConfig, RestartPolicy};

use crate::plan::{LAB_LABEL, SEAT_LABEL};

/// What every seat of an allocation gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The lab that the seats belong to.
    pub lab: String,
    /// The image they are made from.
    pub image: String,
    /// The network they are on, in the engine's word.
    pub network: String,
    /// Memory in bytes.
    pub memory: i64,
    /// CPUs in billionths.
    pub nano_cpus: i64,
    /// Processes and threads.
    pub pids: i64,
}

/// The seat's first process: the best shell that the image has, on the seat's own terminal. The
/// image's own command is put aside: a server's would leave the participant without a shell.
const COMMAND: [&str; 3] = [
    "/bin/sh",
    "-c",
    r#"cd "${HOME:-/}" 2>/dev/null; exec "$(command -v bash || echo /bin/sh)""#,
];

/// Asks the shell to end: an interactive shell ignores what other programs end by, and saves its
/// history on this one.
const STOP_SIGNAL: &str = "SIGHUP";

/// Seconds that it gets for that; a shell that has no handler for it, as the first process of a
/// container, does not hear the signal at all.
const STOP_SECONDS: i64 = 2;

/// A fresh shell follows one that ended, also after the engine or the machine was started anew,
/// unless the trainer stopped the seat.
const RESTART: &str = "unless-stopped";

/// Taken from every seat: with raw packets one participant can pretend to be another. `ping` does
/// without.
const CAPABILITIES_DROPPED: [&str; 1] = ["NET_RAW"];

/// The create request for the seat of `name`; the labels say whose seat of which lab it is.
pub fn request(name: &str, offer: &Offer) -> ContainerCreateRequest {
    let labels = BTreeMap::from([
        (LAB_LABEL.to_owned(), offer.lab.clone()),
        (SEAT_LABEL.to_owned(), name.to_owned()),
    ]);
    let env = [
        "TERM=xterm-256color".to_owned(),
        "LANG=C.UTF-8".to_owned(),
        format!("BERTH_LAB={}", offer.lab),
        format!("BERTH_SEAT={name}"),
    ];
    ContainerCreateRequest {
        config: ContainerConfig {
            hostname: name.to_owned(),
            image: offer.image.clone(),
            entrypoint: Some(vec![String::new()]),
            cmd: Some(COMMAND.map(str::to_owned).to_vec()),
            env: env.to_vec(),
            tty: true,
            open_stdin: true,
            labels,
            stop_signal: STOP_SIGNAL.to_owned(),
            stop_timeout: Some(STOP_SECONDS),
            ..ContainerConfig::default()
        },
        host_config: HostConfig {
            network_mode: offer.network.clone(),
            memory: offer.memory,
            nano_cpus: offer.nano_cpus,
            pids_limit: Some(offer.pids),
            cap_drop: CAPABILITIES_DROPPED.map(str::to_owned).to_vec(),
            restart_policy: RestartPolicy {
                name: RESTART.to_owned(),
                maximum_retry_count: 0,
            },
            ..HostConfig::default()
        },
        ..ContainerCreateRequest::default()
    }
}

/// Who owns the seats of a lab, in the engine's word.
pub fn owner(lab: &str) -> String {
    format!("lab:{lab}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_seat_is_labelled_limited_and_has_a_shell_on_a_terminal() {
        let offer = Offer {
            lab: "class".to_owned(),
            image: "debian:1".to_owned(),
            network: "default".to_owned(),
            memory: 512 << 20,
            nano_cpus: 1_000_000_000,
            pids: 256,
        };
        let body = serde_json::to_value(request("ann", &offer)).unwrap();
        for (path, wanted) in [
            ("/Image", json!("debian:1")),
            ("/Hostname", json!("ann")),
            ("/Entrypoint", json!([""])),
            ("/Tty", json!(true)),
            ("/OpenStdin", json!(true)),
            (
                "/Labels",
                json!({"berth.lab": "class", "berth.lab.seat": "ann"}),
            ),
            ("/HostConfig/NetworkMode", json!("default")),
            ("/HostConfig/Memory", json!(536_870_912)),
            ("/HostConfig/NanoCpus", json!(1_000_000_000)),
            ("/HostConfig/PidsLimit", json!(256)),
            ("/HostConfig/CapDrop", json!(["NET_RAW"])),
            ("/HostConfig/RestartPolicy/Name", json!("unless-stopped")),
        ] {
            assert_eq!(body.pointer(path), Some(&wanted), "{path}");
        }
        assert_eq!(owner("class"), "lab:class");
    }
}
