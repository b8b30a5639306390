//! The values of `--publish` and `--expose`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use berth_api::container::Empty;
use berth_api::network::{PortBinding, PortMap};

use super::csv;

/// Exposed ports and their bindings to the host's.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// What the container listens on, `port/protocol`.
    pub exposed: BTreeMap<String, Empty>,
    /// Where that is published.
    pub bindings: PortMap,
}

impl Ports {
    /// Adds a value of `--publish`: `[[address:]port:]port[/protocol]`, ranges allowed, or
    /// `published=…,target=…,protocol=…`.
    pub fn publish(&mut self, text: &str) -> Result<(), String> {
        let short = if text.contains('=') {
            short_form(text)?
        } else {
            text.to_owned()
        };
        let (address, host, inside) = split(&short);
        let (inside, protocol) = split_protocol(inside)?;
        let address = check_address(address)?;
        let inside = range(inside).ok_or_else(|| format!("invalid containerPort: {inside}"))?;
        let host_range = match host {
            "" => None,
            host => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
        };
        let count = inside.1 - inside.0;
        if let Some(h) = host_range
            && h.1 - h.0 != count
            && count != 0
        {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {}-{} and {host}",
                inside.0, inside.1
            ));
        }
        for offset in 0..=count {
            let host_port = match host_range {
                None => String::new(),
                Some(h) if h.1 - h.0 != count => host.to_owned(),
                Some(h) => (h.0 + offset).to_string(),
            };
            let port = format!("{}/{protocol}", inside.0 + offset);
            self.exposed.insert(port.clone(), Empty {});
            let binding = PortBinding {
                host_ip: address.clone(),
                host_port,
            };
            self.bindings
                .entry(port)
                .or_default()
                .get_or_insert_default()
                .push(binding);
        }
        Ok(())
    }

    /// Adds a value of `--expose`: `port[-port][/protocol]`.
    pub fn expose(&mut self, text: &str) -> Result<(), String> {
        if text.contains(':') {
            return Err(format!("invalid port format for --expose: {text}"));
        }
        let (ports, protocol) = split_protocol(text)?;
        let ports = range(ports).ok_or_else(|| {
            format!(
                "invalid range format for --expose: {ports}, error: strconv.ParseUint: parsing \
                 {ports:?}: invalid syntax"
            )
        })?;
        for port in ports.0..=ports.1 {
            self.exposed.insert(format!("{port}/{protocol}"), Empty {});
        }
        Ok(())
    }
}

fn short_form(text: &str) -> Result<String, String> {
    let mut parts = BTreeMap::from([("protocol", "tcp".to_owned())]);
    for field in csv::split(text)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid simple option {field} in publish option {text}"))?;
        let key = match key {
            "published" => "published",
            "target" => "target",
            "protocol" => "protocol",
            _ => return Err(format!("invalid key {key} in publish option {text}")),
        };
        parts.insert(key, value.to_owned());
    }
    let part = |key| parts.get(key).map_or("", String::as_str);
    Ok(format!(
        "{}:{}/{}",
        part("published"),
        part("target"),
        part("protocol")
    ))
}

/// Address, host port and container port; the address may be `[v6]`.
fn split(text: &str) -> (&str, &str, &str) {
    let Some((head, inside)) = text.rsplit_once(':') else {
        return ("", "", text);
    };
    match head.rsplit_once(':') {
        Some((address, host)) => (address, host, inside),
        None => ("", head, inside),
    }
}

fn split_protocol(text: &str) -> Result<(&str, String), String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    Ok((ports, protocol))
}

fn check_address(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>()
        .map(|_| bare.to_owned())
        .map_err(|_| format!("invalid IP address: {bare}"))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::Ports;

    #[test]
    fn mistakes_are_named() {
        for (text, sentence) in [
            ("x", "invalid containerPort: x"),
            ("x:80", "invalid hostPort: x"),
            ("80/foo", "invalid proto: foo"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            (
                "80-81:80-85",
                "invalid ranges specified for container and host Ports: 80-85 and 80-81",
            ),
        ] {
            assert_eq!(Ports::default().publish(text).unwrap_err(), sentence);
        }
        assert!(Ports::default().publish("65536").is_err());
        assert!(Ports::default().expose("x").is_err());
    }
}
