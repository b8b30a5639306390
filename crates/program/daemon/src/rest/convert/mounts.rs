//! Mounts: the two ways to ask for them, and how they are shown.

use std::collections::BTreeMap;

use berth_api::container::{HostConfig, Mount, MountPoint};
use berth_container::{Bind, Record};

use crate::rest::error::ApiError;

/// Bind mounts, and memory file systems by mount point.
type Mounts = (Vec<Bind>, BTreeMap<String, String>);

/// Reads `Binds`, `Mounts` and `Tmpfs`.
pub fn read(host: &HostConfig) -> Result<Mounts, ApiError> {
    let mut binds = Vec::new();
    let mut tmpfs = host.tmpfs.clone();
    for text in &host.binds {
        binds.push(short(text)?);
    }
    for mount in &host.mounts {
        match mount.kind.as_str() {
            "bind" => binds.push(long(mount)?),
            "tmpfs" => {
                tmpfs.insert(mount.target.clone(), tmpfs_options(mount)?);
            }
            "volume" | "image" | "cluster" | "npipe" => {
                return Err(ApiError::not_built(format!(
                    "a mount of type {}",
                    mount.kind
                )));
            }
            other => {
                return Err(ApiError::invalid(format!("mount type unknown: {other:?}")));
            }
        }
    }
    Ok((binds, tmpfs))
}

/// The sources that have to be there when a container is made.
pub fn expected(host: &HostConfig) -> Vec<String> {
    let binds = host.mounts.iter().filter(|mount| mount.kind == "bind");
    let is_made = |mount: &Mount| {
        let options = mount.bind_options.as_ref();
        options.is_some_and(|options| options.create_mountpoint)
    };
    let expected = binds.filter(|mount| !is_made(mount));
    expected.map(|mount| mount.source.clone()).collect()
}

/// `source:target[:options]`, as `-v` has it.
fn short(text: &str) -> Result<Bind, ApiError> {
    let bad =
        |why: &str| ApiError::invalid(format!("invalid volume specification: '{text}': {why}"));
    let mut parts = text.splitn(3, ':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        return Err(ApiError::not_built(format!("an anonymous volume ({text})")));
    };
    if source.is_empty() || target.is_empty() {
        return Err(bad("source and target must not be empty"));
    }
    let mut bind = Bind {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: false,
        propagation: String::new(),
        flat: false,
        short: Some(text.to_owned()),
    };
    for option in parts
        .next()
        .unwrap_or("")
        .split(',')
        .filter(|o| !o.is_empty())
    {
        match option {
            "ro" => bind.read_only = true,
            // Labels, consistency and copy-up mean nothing for a bind mount here.
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" | "nocopy" => {}
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => {
                option.clone_into(&mut bind.propagation);
            }
            _ => return Err(bad(&format!("unknown option {option:?}"))),
        }
    }
    Ok(bind)
}

fn long(mount: &Mount) -> Result<Bind, ApiError> {
    let bad =
        |why: String| ApiError::invalid(format!("invalid mount config for type \"bind\": {why}"));
    if mount.source.is_empty() || mount.target.is_empty() {
        let field = if mount.source.is_empty() {
            "Source"
        } else {
            "Target"
        };
        return Err(bad(format!("field {field} must not be empty")));
    }
    if !mount.source.starts_with('/') {
        return Err(bad(format!(
            "invalid mount path: '{}' mount path must be absolute",
            mount.source
        )));
    }
    let options = mount.bind_options.clone().unwrap_or_default();
    if options.read_only_force_recursive {
        return Err(ApiError::not_built("a recursively read-only bind mount"));
    }
    Ok(Bind {
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        propagation: options.propagation,
        flat: options.non_recursive,
        short: None,
    })
}

fn tmpfs_options(mount: &Mount) -> Result<String, ApiError> {
    if !mount.source.is_empty() {
        return Err(ApiError::invalid(
            "invalid mount config for type \"tmpfs\": field Source must not be specified",
        ));
    }
    let own = mount.tmpfs_options.clone().unwrap_or_default();
    let mut options = Vec::new();
    if own.size_bytes > 0 {
        options.push(format!("size={}", own.size_bytes));
    }
    if own.mode != 0 {
        options.push(format!("mode={:o}", own.mode));
    }
    options.extend(own.options.iter().map(|pair| pair.join("=")));
    if mount.read_only {
        options.push("ro".to_owned());
    }
    Ok(options.join(","))
}

/// The mounts of a container, as inspect and list show them.
pub fn points(record: &Record) -> Vec<MountPoint> {
    let binds = record.host.binds.iter().map(|bind| MountPoint {
        kind: "bind".to_owned(),
        source: bind.source.clone(),
        destination: bind.target.clone(),
        mode: bind.short.as_deref().and_then(mode_of).unwrap_or_default(),
        rw: !bind.read_only,
        propagation: if bind.propagation.is_empty() {
            "rprivate".to_owned()
        } else {
            bind.propagation.clone()
        },
        ..MountPoint::default()
    });
    binds.collect()
}

/// The options of a `-v` text.
fn mode_of(text: &str) -> Option<String> {
    text.splitn(3, ':').nth(2).map(str::to_owned)
}

/// The mounts of a container as a request would ask for them: `-v` texts and the others.
pub fn as_asked(record: &Record) -> (Vec<String>, Vec<Mount>) {
    let binds = &record.host.binds;
    let short = binds.iter().filter_map(|b| b.short.clone()).collect();
    let long = binds
        .iter()
        .filter(|b| b.short.is_none())
        .map(|bind| Mount {
            kind: "bind".to_owned(),
            source: bind.source.clone(),
            target: bind.target.clone(),
            read_only: bind.read_only,
            bind_options: (!bind.propagation.is_empty() || bind.flat).then(|| {
                berth_api::container::BindOptions {
                    propagation: bind.propagation.clone(),
                    non_recursive: bind.flat,
                    ..Default::default()
                }
            }),
            ..Mount::default()
        });
    (short, long.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms() {
        let read = |text| short(text).map(|b| (b.source, b.target, b.read_only, b.propagation));
        let own = |a: &str, b: &str, ro, p: &str| (a.to_owned(), b.to_owned(), ro, p.to_owned());
        assert_eq!(read("/a:/b").unwrap(), own("/a", "/b", false, ""));
        assert_eq!(
            read("/a:/b:ro,rshared,z").unwrap(),
            own("/a", "/b", true, "rshared")
        );
        for bad in ["/a", ":/b", "/a:", "/a:/b:fast"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn long_forms_check_their_source() {
        let mount = |source: &str| Mount {
            kind: "bind".into(),
            source: source.into(),
            target: "/t".into(),
            ..Mount::default()
        };
        assert!(long(&mount("/")).is_ok());
        for bad in ["", "rel"] {
            assert!(long(&mount(bad)).is_err(), "{bad}");
        }
    }
}
