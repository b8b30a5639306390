//! A container's place on the network: what it asks for, and the file that tells the next engine
//! what it got.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::PoisonError;

use berth_network::{AttachRequest, Endpoint, NetworkError, PortRange, PortRequest, Protocol};
use berth_store::{Event, EventKind};
use berth_sys::process;
use berth_types::oci::{Namespace, NamespaceKind};
use berth_types::{ContainerId, InstallId, Timestamp, chain};

use crate::error::ContainerError;
use crate::record::{HostSettings, Network, Record, Settings};
use crate::shared::Shared;

/// The endpoint, in a container's runtime directory.
const FILE: &str = "network.json";
/// Largest such file: a few hundred bytes, and some tens for each port.
const FILE_MAX: u64 = 8 << 20;
/// Most ports that a container may expose: all there are, of three protocols.
const EXPOSED_MAX: usize = 3 * 65_535;
/// Digits of a network's id.
const ID_DIGITS: usize = 64;

/// A network namespace that a launch joins. The path is good while this value lives.
pub(crate) struct Place {
    namespace: OwnedFd,
    /// What the container has on its network; none in the namespace of another container.
    pub endpoint: Option<Endpoint>,
}

impl Place {
    /// Where the monitor finds the namespace.
    pub(crate) fn path(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.namespace.as_raw_fd()
        )
    }

    /// Has the container join the namespace instead of making one.
    pub(crate) fn join(&self, namespaces: &mut [Namespace]) {
        for namespace in namespaces {
            if namespace.kind == NamespaceKind::Network {
                namespace.path = Some(self.path());
            }
        }
    }
}

/// Gets a container the namespace that it joins, and leaves word of it in its runtime directory.
/// Nothing for a container whose namespace is the host's or one that its clone makes: an empty
/// one, where none was made ahead.
pub(crate) fn prepare(shared: &Shared, record: &Record) -> Result<Option<Place>, ContainerError> {
    match record.host.network {
        Network::Host => Ok(None),
        Network::None => Ok(shared.networks.take_empty().map(|namespace| Place {
            namespace,
            endpoint: None,
        })),
        Network::Container(target) => Ok(Some(Place {
            namespace: namespace_of(shared, record, target)?,
            endpoint: None,
        })),
        Network::Bridge => {
            let _gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
            let attached = shared.networks.attach(record.id, &request(record));
            let attachment = attached.map_err(|error| refused(record, &error))?;
            write(&shared.runtime_dir(record.id), &attachment.endpoint).map_err(|source| {
                ContainerError::Io {
                    what: "record the network endpoint",
                    id: record.id.to_string(),
                    source,
                }
            })?;
            Ok(Some(Place {
                namespace: attachment.namespace,
                endpoint: Some(attachment.endpoint),
            }))
        }
    }
}

/// The network namespace of another container, which has to run.
fn namespace_of(
    shared: &Shared,
    record: &Record,
    target: ContainerId,
) -> Result<OwnedFd, ContainerError> {
    let stopped = || {
        ContainerError::Conflict(format!(
            "cannot join network of a non running container: {target}: start it first"
        ))
    };
    let init = shared.read_index().by_id.get(&target).and_then(|handle| {
        let seen = handle.snapshot.borrow();
        seen.state.phase.is_live().then_some(seen.state.init)?
    });
    let init = init.ok_or_else(stopped)?;
    let opened = fs::File::open(format!("/proc/{}/ns/net", init.pid));
    let file = opened.map_err(|source| ContainerError::Io {
        what: "join the network",
        id: record.id.to_string(),
        source,
    })?;
    // The process id may have become somebody else's before the file was opened, not after.
    match process::identity(init.pid) {
        Ok(identity) if identity == init => Ok(file.into()),
        _ => Err(stopped()),
    }
}

/// Whether a container runs in the network namespace of this one.
pub(crate) fn is_lent(shared: &Shared, id: ContainerId) -> bool {
    let index = shared.read_index();
    let borrows = |record: &Record| {
        record.host.network == Network::Container(id) && record.state.phase.is_live()
    };
    let mut handles = index.by_id.values();
    handles.any(|handle| borrows(&handle.snapshot.borrow()))
}

/// What a container asks the default network for.
fn request(record: &Record) -> AttachRequest {
    let host = &record.host;
    AttachRequest {
        address: None,
        mac: host.mac,
        ports: ports(&record.settings, host),
    }
}

/// The ports to publish: those that were asked for, and with `-P` every exposed one that is not
/// among them.
fn ports(settings: &Settings, host: &HostSettings) -> Vec<PortRequest> {
    let mut list = host.ports.clone();
    let Some(host_address) = host.publish_all else {
        return list;
    };
    let mut known: BTreeSet<_> = list
        .iter()
        .map(|p| (p.container_port, p.protocol))
        .collect();
    for (container_port, protocol) in exposed(&settings.exposed_ports) {
        if known.insert((container_port, protocol)) {
            list.push(PortRequest {
                protocol,
                container_port,
                host_address,
                host_port: PortRange { first: 0, last: 0 },
            });
        }
    }
    list
}

/// The ports that a list of `port[-port][/protocol]` means; what is no such thing means none.
pub fn exposed(list: &[String]) -> Vec<(u16, Protocol)> {
    list.iter()
        .filter_map(|text| parse_exposed(text))
        .flat_map(|(first, last, protocol)| (first..=last).map(move |port| (port, protocol)))
        .take(EXPOSED_MAX)
        .collect()
}

/// Reads `port[-port][/protocol]`: the first port, the last one and the protocol.
pub fn parse_exposed(text: &str) -> Option<(u16, u16, Protocol)> {
    let (ports, word) = text.split_once('/').unwrap_or((text, "tcp"));
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let protocol = all
        .into_iter()
        .find(|p| p.word().eq_ignore_ascii_case(word))?;
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some((first, last, protocol))
}

/// A refusal of the network, in the words that Docker's clients know: they call an endpoint by
/// its container's name, of which the network knows nothing.
fn refused(record: &Record, error: &NetworkError) -> ContainerError {
    let nameless = format!("on endpoint {} (", record.id.short());
    let named = format!("on endpoint {} (", record.name);
    ContainerError::Network {
        reason: chain(error).replacen(&nameless, &named, 1),
        kind: error.kind(),
    }
}

/// Writes the endpoint where the next engine looks for it: wholly or not at all.
fn write(dir: &Path, endpoint: &Endpoint) -> io::Result<()> {
    let temporary = dir.join("network.json.new");
    let bytes = serde_json::to_vec(endpoint)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&bytes)?;
    fs::rename(&temporary, dir.join(FILE))
}

/// The endpoint that an earlier engine left in a runtime directory, if there is one.
pub(crate) fn read(dir: &Path) -> io::Result<Option<Endpoint>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    match fs::File::open(dir.join(FILE)) {
        Ok(file) => file.take(FILE_MAX).read_to_end(&mut bytes)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Takes up what an earlier engine gave a container that still runs. What is wrong with it is
/// logged and shown by a check; the container is left as it is.
pub(crate) fn adopt(shared: &Shared, id: ContainerId) -> Option<Endpoint> {
    let endpoint = match read(&shared.runtime_dir(id)) {
        Ok(endpoint) => endpoint?,
        Err(error) => {
            tracing::error!(%id, %error, "the network endpoint of a running container cannot be read; restart the container");
            return None;
        }
    };
    if let Err(error) = shared.networks.adopt(id, &endpoint) {
        tracing::error!(%id, error = %chain(&error), "the network endpoint of a running container cannot be taken up; restart the container");
    }
    Some(endpoint)
}

/// Tells that a container came on its network or left it. `container:` modes are no membership.
pub(crate) fn announce(shared: &Shared, record: &Record, action: &str) {
    let network = record.host.network;
    let Some(id) = network_id(shared, network) else {
        return;
    };
    let attributes = [
        ("container", record.id.to_string()),
        ("name", network.name()),
        ("type", network.driver().to_owned()),
    ];
    shared.db.events().publish(Event {
        kind: EventKind::Network,
        action: action.to_owned(),
        id,
        attributes: attributes.map(|(k, v)| (k.to_owned(), v)).into(),
        owner: record.owner.clone(),
        time: Timestamp::now(),
    });
}

/// The id of a network: none for another container's, and for a bridge that could not be made.
pub(crate) fn network_id(shared: &Shared, network: Network) -> Option<String> {
    match network {
        Network::Container(_) => None,
        Network::Bridge => {
            let ask = || shared.networks.summary().map(|summary| summary.id);
            shared.bridge_id.get_or_init(ask).clone()
        }
        Network::None | Network::Host => Some(fixed_id(&network.name(), shared.db.install_id())),
    }
}

/// Ids of the two networks that nobody makes: from their names, so that they stay, and different
/// on every engine.
fn fixed_id(name: &str, install: InstallId) -> String {
    let name: String = name.bytes().map(|b| format!("{b:02x}")).collect();
    format!("{name}{install}{:0<ID_DIGITS$}", "")
        .chars()
        .take(ID_DIGITS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn exposed_ports_are_read_as_images_write_them() {
        let list = [
            "80",
            "53/UDP",
            "8000-8002/tcp",
            "0/tcp",
            "x",
            "9/quic",
            "9-8",
        ];
        let found = exposed(&list.map(str::to_owned));
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        assert_eq!(
            found,
            [(80, tcp), (53, udp), (8000, tcp), (8001, tcp), (8002, tcp)]
        );
    }

    #[test]
    fn publishing_all_leaves_what_was_asked_for() {
        let asked = PortRequest {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_address: Ipv4Addr::LOCALHOST,
            host_port: PortRange {
                first: 8080,
                last: 8080,
            },
        };
        let settings = Settings {
            exposed_ports: vec!["80/tcp".into(), "80/udp".into()],
            ..Settings::default()
        };
        let mut host = HostSettings {
            ports: vec![asked],
            ..HostSettings::default()
        };
        assert_eq!(ports(&settings, &host), [asked]);
        host.publish_all = Some(Ipv4Addr::UNSPECIFIED);
        let all = ports(&settings, &host);
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].protocol, Protocol::Udp);
        assert_eq!(all[1].host_port, PortRange { first: 0, last: 0 });
    }

    #[test]
    fn an_endpoint_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let endpoint = Endpoint {
            network: "n".into(),
            id: "e".into(),
            link: "veth".into(),
            address: Ipv4Addr::new(172, 17, 0, 2),
            prefix: 16,
            gateway: Ipv4Addr::new(172, 17, 0, 1),
            mac: "02:42:ac:11:00:02".into(),
            published: vec![],
        };
        write(dir.path(), &endpoint).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(endpoint));
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(read(dir.path()).is_err());
    }

    #[test]
    fn fixed_ids_have_the_length_of_all_ids() {
        let install = InstallId::from_bytes([0xab; 4]);
        let id = fixed_id("host", install);
        assert!(id.starts_with("686f7374abababab00"));
        assert_eq!(id.len(), ID_DIGITS);
        assert_ne!(id, fixed_id("none", install));
    }
}
