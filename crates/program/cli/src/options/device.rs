//! Devices, per-device rates, and resource limits: the values of `--device*`, `--gpus`,
//! `--blkio-weight-device` and `--ulimit`.

use std::collections::BTreeMap;

use berth_api::container::{DeviceMapping, DeviceRequest, ThrottleDevice, Ulimit, WeightDevice};

use super::csv;
use super::value;

/// What `--device` names: a node of the host, or a device of a CDI driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// A device node.
    Node(DeviceMapping),
    /// The qualified name of a CDI device, `vendor/class=name`.
    Cdi(String),
}

/// Reads `path[:path inside][:permissions]` or a CDI name.
pub fn parse(text: &str) -> Result<Device, String> {
    if is_cdi_name(text) {
        return Ok(Device::Cdi(text.to_owned()));
    }
    let bad = || format!("bad format for path: {text}");
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, permissions) = match parts[..] {
        [""] => return Err(bad()),
        [host] => (host, host, "rwm"),
        [host, second] if is_permissions(second) => (host, host, second),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, permissions] if is_permissions(permissions) => (host, inside, permissions),
        _ => return Err(bad()),
    };
    Ok(Device::Node(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: permissions.to_owned(),
    }))
}

fn is_permissions(text: &str) -> bool {
    let once = |c| text.matches(c).count() <= 1;
    !text.is_empty() && text.chars().all(|c| "rwm".contains(c)) && "rwm".chars().all(once)
}

fn is_cdi_name(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else {
        return false;
    };
    let word = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    !name.is_empty()
        && kind
            .split_once('/')
            .is_some_and(|(vendor, class)| word(vendor) && word(class))
}

/// A rule of the device cgroup, `type major:minor permissions`.
pub fn cgroup_rule(text: &str) -> Result<String, String> {
    let numbers = |n: &str| n == "*" || (!n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let parts: Vec<&str> = text.split(' ').collect();
    match parts[..] {
        [kind, node, permissions]
            if matches!(kind, "a" | "b" | "c")
                && node
                    .split_once(':')
                    .is_some_and(|(a, b)| numbers(a) && numbers(b))
                && (1..=3).contains(&permissions.len())
                && permissions.chars().all(|c| "rwm".contains(c)) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("invalid device cgroup format '{text}'")),
    }
}

fn path_and_number(text: &str) -> Result<(&str, &str), String> {
    let (path, number) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, number))
}

/// `path:bytes per second`.
pub fn rate_in_bytes(text: &str) -> Result<ThrottleDevice, String> {
    let (path, number) = path_and_number(text)?;
    let rate = value::bytes(number).map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is \
             <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional \
             and can be kb, mb, or gb"
        )
    })?;
    Ok(ThrottleDevice {
        path: path.to_owned(),
        rate: rate.unsigned_abs(),
    })
}

/// `path:operations per second`.
pub fn rate_in_operations(text: &str) -> Result<ThrottleDevice, String> {
    let (path, number) = path_and_number(text)?;
    let rate = value::unsigned(number).map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. \
             Number must be a positive integer"
        )
    })?;
    Ok(ThrottleDevice {
        path: path.to_owned(),
        rate,
    })
}

/// `path:weight`.
pub fn weight(text: &str) -> Result<WeightDevice, String> {
    let (path, number) = path_and_number(text)?;
    match number.parse::<u16>() {
        Ok(weight) if weight == 0 || (10..=1000).contains(&weight) => Ok(WeightDevice {
            path: path.to_owned(),
            weight,
        }),
        _ => Err(format!("invalid weight for device: {text}")),
    }
}

/// `name=soft[:hard]`.
pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, limits) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !berth_types::ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let soft = value::integer(soft)?;
    let hard = value::integer(hard)?;
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

/// `all`, a number, or `key=value` pairs joined by commas.
pub fn gpus(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest::default();
    let mut capabilities = Vec::new();
    let mut seen = BTreeMap::new();
    for field in csv::split(text)? {
        let (key, value) = field.split_once('=').unwrap_or(("count", &field));
        if seen.insert(key.to_owned(), ()).is_some() {
            return Err(format!(
                "gpu request key '{key}' can be specified only once"
            ));
        }
        match key {
            "driver" => request.driver = value.to_owned(),
            "count" => request.count = gpu_count(value)?,
            "device" => request.device_ids = csv::split(value)?,
            "capabilities" => capabilities = csv::split(value)?,
            "options" => {
                for option in csv::split(value)? {
                    let (name, value) = option.split_once('=').unwrap_or((&option, ""));
                    request.options.insert(name.to_owned(), value.to_owned());
                }
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if request.count == 0 && request.device_ids.is_empty() && !seen.contains_key("count") {
        request.count = 1;
    }
    capabilities.push("gpu".to_owned());
    request.capabilities = vec![capabilities];
    Ok(request)
}

fn gpu_count(text: &str) -> Result<i64, String> {
    if text == "all" {
        return Ok(-1);
    }
    text.parse().map_err(|_| {
        format!(
            "invalid count ({text}): value must be either \"all\" or an integer: invalid syntax"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_in_every_form() {
        for (text, wanted) in [
            ("/dev/a", Some(("/dev/a", "/dev/a", "rwm"))),
            ("/dev/a:r", Some(("/dev/a", "/dev/a", "r"))),
            ("/dev/a:/dev/b", Some(("/dev/a", "/dev/b", "rwm"))),
            ("/dev/a:/dev/b:rw", Some(("/dev/a", "/dev/b", "rw"))),
            ("", None),
            ("a:b:rr", None),
            ("a:b:c:d", None),
        ] {
            let found = parse(text).ok();
            let wanted = wanted.map(|(host, inside, permissions)| {
                Device::Node(DeviceMapping {
                    path_on_host: host.into(),
                    path_in_container: inside.into(),
                    cgroup_permissions: permissions.into(),
                })
            });
            assert_eq!(found, wanted, "{text}");
        }
        assert_eq!(
            parse("vendor.com/dev=x"),
            Ok(Device::Cdi("vendor.com/dev=x".into()))
        );
    }

    #[test]
    fn limits_and_rates_refuse_nonsense() {
        assert_eq!(ulimit("core=0").map(|u| (u.soft, u.hard)), Ok((0, 0)));
        for (text, sentence) in [
            ("x", "invalid ulimit argument: x"),
            ("foo=1", "invalid ulimit type: foo"),
            (
                "nofile=20:10",
                "ulimit soft limit must be less than or equal to hard limit: 20 > 10",
            ),
        ] {
            assert_eq!(ulimit(text).unwrap_err(), sentence);
        }
        assert!(rate_in_bytes("/dev/x:y").is_err());
        assert!(rate_in_bytes("x:1").is_err());
        assert!(weight("/dev/x:5").is_err());
        assert!(cgroup_rule("c 1:3 rwm").is_ok());
        assert!(cgroup_rule("c 1:3").is_err());
        assert!(gpus("x").is_err());
        assert!(gpus("all,all").is_err());
    }
}
