//! The column PORTS.

use std::collections::HashMap;

use berth_api::network::PortSummary;

/// A run of ports with nothing between them.
struct Run {
    first: u16,
    last: u16,
}

/// All ports of a container in one text: runs of neighbouring ports joined, ports that are
/// published under another number behind them.
pub fn all(ports: &[PortSummary]) -> String {
    let mut sorted: Vec<&PortSummary> = ports.iter().collect();
    sorted.sort_by(|a, b| {
        let key = |p: &PortSummary| (p.private_port, p.ip.clone(), p.public_port);
        key(a)
            .cmp(&key(b))
            .then_with(|| a.protocol.cmp(&b.protocol))
    });
    let mut order: Vec<(String, &str)> = Vec::new();
    let mut runs: HashMap<(String, &str), Run> = HashMap::new();
    let mut parts = Vec::new();
    let mut mapped = Vec::new();
    for port in sorted {
        let number = port.private_port;
        let address = port.ip.clone().unwrap_or_default();
        let public = port.public_port.unwrap_or(0);
        if !address.is_empty() && public != number {
            let host = joined(&address, &public.to_string());
            mapped.push(format!("{host}->{number}/{}", port.protocol));
            continue;
        }
        let key = (address, port.protocol.as_str());
        match runs.get_mut(&key) {
            Some(run) if run.last.checked_add(1) == Some(number) => run.last = number,
            Some(run) => {
                parts.push(written(&key, run));
                *run = Run {
                    first: number,
                    last: number,
                };
            }
            None => {
                order.push(key.clone());
                runs.insert(
                    key,
                    Run {
                        first: number,
                        last: number,
                    },
                );
            }
        }
    }
    parts.extend(
        order
            .iter()
            .filter_map(|key| runs.get(key).map(|run| written(key, run))),
    );
    parts.extend(mapped);
    parts.join(", ")
}

fn written((address, protocol): &(String, &str), run: &Run) -> String {
    let numbers = if run.first == run.last {
        run.first.to_string()
    } else {
        format!("{}-{}", run.first, run.last)
    };
    if address.is_empty() {
        format!("{numbers}/{protocol}")
    } else {
        format!("{}->{numbers}/{protocol}", joined(address, &numbers))
    }
}

fn joined(address: &str, port: &str) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, private: u16, public: u16, protocol: &str) -> PortSummary {
        PortSummary {
            ip: (!ip.is_empty()).then(|| ip.to_owned()),
            private_port: private,
            public_port: (public != 0).then_some(public),
            protocol: protocol.to_owned(),
        }
    }

    #[test]
    fn runs_are_joined() {
        for (ports, wanted) in [
            (vec![], ""),
            (vec![port("", 80, 0, "tcp")], "80/tcp"),
            (vec![port("0.0.0.0", 80, 80, "tcp")], "0.0.0.0:80->80/tcp"),
            (
                vec![
                    port("0.0.0.0", 80, 8080, "tcp"),
                    port("::", 80, 8080, "tcp"),
                    port("", 443, 0, "tcp"),
                    port("", 444, 0, "tcp"),
                    port("", 53, 0, "udp"),
                ],
                "53/udp, 443-444/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (
                vec![
                    port("1.1.1.1", 9, 9, "tcp"),
                    port("1.1.1.1", 8, 8, "tcp"),
                    port("", 11, 0, "tcp"),
                ],
                "1.1.1.1:8-9->8-9/tcp, 11/tcp",
            ),
            (
                vec![port("", 1, 0, "tcp"), port("", 3, 0, "tcp")],
                "1/tcp, 3/tcp",
            ),
        ] {
            assert_eq!(all(&ports), wanted);
        }
    }
}
