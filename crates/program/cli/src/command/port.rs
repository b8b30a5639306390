//! `berth port`

use berth_api::network::PortMap;
use clap::Args;

use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List port mappings or a specific mapping for the container",
    aliases: "berth container port, berth port",
    arity: Arity::OneOrTwo,
};

#[derive(Debug, Args)]
struct Flags {
    arguments: Vec<String>,
}

/// Prints where the ports of a container are published.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let name = flags.arguments.first().map_or("", String::as_str);
    let client = context.client().await?;
    let found = client.containers().inspect(name, false).await;
    let ports = found.map_err(|e| refused(&e))?.network_settings.ports;
    let lines = match flags.arguments.get(1) {
        None => all(&ports),
        Some(port) => {
            let port = wanted(port).map_err(Exit::failed)?;
            let lines = one(&ports, &port);
            if lines.is_empty() {
                return Err(Exit::failed(format!(
                    "Error: No public port '{port}' published for {name}"
                )));
            }
            lines
        }
    };
    for line in lines {
        say!("{line}");
    }
    Ok(0)
}

/// `port[/protocol]` as the engine writes it.
fn wanted(text: &str) -> Result<String, String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match port.parse::<u16>() {
        Ok(port) => Ok(format!("{port}/{}", protocol.to_lowercase())),
        Err(_) => Err(format!("Error: invalid port ({port}): invalid syntax")),
    }
}

/// The host's ends of one port.
fn one(ports: &PortMap, port: &str) -> Vec<String> {
    let bindings = ports.get(port).into_iter().flatten().flatten();
    bindings
        .map(|b| match b.host_ip.contains(':') {
            true => format!("[{}]:{}", b.host_ip, b.host_port),
            false => format!("{}:{}", b.host_ip, b.host_port),
        })
        .collect()
}

/// All ports with their host's ends, lowest first.
fn all(ports: &PortMap) -> Vec<String> {
    let mut keys: Vec<&String> = ports.keys().collect();
    let number = |key: &str| {
        let (port, protocol) = key.split_once('/').unwrap_or((key, ""));
        (port.parse::<u16>().unwrap_or(0), protocol.to_owned())
    };
    keys.sort_by_key(|key| number(key));
    let lines = keys.into_iter().flat_map(|key| {
        let ends = one(ports, key).into_iter();
        ends.map(move |end| format!("{key} -> {end}"))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_api::network::PortBinding;

    #[test]
    fn published_ports_are_lines_and_exposed_ones_are_not() {
        let binding = |ip: &str, port: &str| PortBinding {
            host_ip: ip.to_owned(),
            host_port: port.to_owned(),
        };
        let ports: PortMap = [
            ("443/tcp".to_owned(), None),
            ("8000/tcp".to_owned(), Some(vec![binding("::", "1")])),
            (
                "80/tcp".to_owned(),
                Some(vec![binding("0.0.0.0", "2"), binding("127.0.0.1", "3")]),
            ),
        ]
        .into();
        assert_eq!(
            all(&ports),
            [
                "80/tcp -> 0.0.0.0:2",
                "80/tcp -> 127.0.0.1:3",
                "8000/tcp -> [::]:1"
            ]
        );
        assert_eq!(one(&ports, &wanted("8000").unwrap()), ["[::]:1"]);
        assert!(one(&ports, &wanted("443/TCP").unwrap()).is_empty());
        assert!(wanted("http").is_err());
    }
}
