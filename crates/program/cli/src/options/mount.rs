//! The value of `--mount`.

use berth_api::container::{
    BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeDriverConfig, VolumeOptions,
};

use super::csv;
use super::value;

/// Reads `key=value` pairs joined by commas. A relative source of a bind mount (`.` or `./…`) is
/// made absolute later, where the caller's directory is known.
///
/// # Errors
/// A key is unknown, has no value, has a wrong one, or belongs to another type of mount.
pub fn parse(text: &str) -> Result<Mount, String> {
    let mut mount = Mount {
        kind: "volume".to_owned(),
        ..Mount::default()
    };
    let mut options = Options::default();
    for field in csv::split(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        take(&mut mount, &mut options, &key, value, &field)?;
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    options.into_mount(mount)
}

/// Options by the type of mount they belong to; `None` until one is given.
#[derive(Default)]
struct Options {
    bind: Option<BindOptions>,
    volume: Option<VolumeOptions>,
    image: Option<ImageOptions>,
    tmpfs: Option<TmpfsOptions>,
}

fn take(
    mount: &mut Mount,
    options: &mut Options,
    key: &str,
    value: Option<&str>,
    field: &str,
) -> Result<(), String> {
    let wrong = |value: &str| format!("invalid value for {key}: {value}");
    let flag = |value: Option<&str>| match value {
        None => Ok(true),
        Some(value) => value::switch(value).map_err(|_| wrong(value)),
    };
    match key {
        "readonly" | "ro" => {
            mount.read_only = flag(value)?;
            return Ok(());
        }
        "volume-nocopy" => {
            volume(options).no_copy = flag(value)?;
            return Ok(());
        }
        "bind-nonrecursive" => {
            bind(options).non_recursive = flag(value)?;
            return Ok(());
        }
        _ => {}
    }
    let value = value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => mount.source = value.to_owned(),
        "target" | "dst" | "destination" => mount.target = value.to_owned(),
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => bind(options).propagation = value.to_lowercase(),
        "bind-recursive" => recursive(bind(options), value)?,
        "volume-subpath" => volume(options).subpath = value.to_owned(),
        "volume-label" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            volume(options)
                .labels
                .insert(name.to_owned(), value.to_owned());
        }
        "volume-driver" => driver(options).name = value.to_owned(),
        "volume-opt" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            driver(options)
                .options
                .insert(name.to_owned(), value.to_owned());
        }
        "image-subpath" => options.image.get_or_insert_default().subpath = value.to_owned(),
        "tmpfs-size" => {
            let size = value::bytes(value).map_err(|_| wrong(value))?;
            options.tmpfs.get_or_insert_default().size_bytes = size;
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8).map_err(|_| wrong(value))?;
            options.tmpfs.get_or_insert_default().mode = mode;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn bind(options: &mut Options) -> &mut BindOptions {
    options.bind.get_or_insert_default()
}

fn volume(options: &mut Options) -> &mut VolumeOptions {
    options.volume.get_or_insert_default()
}

fn driver(options: &mut Options) -> &mut VolumeDriverConfig {
    volume(options).driver_config.get_or_insert_default()
}

fn recursive(bind: &mut BindOptions, value: &str) -> Result<(), String> {
    match value {
        "enabled" => {}
        "disabled" => bind.non_recursive = true,
        "writable" => bind.read_only_non_recursive = true,
        "readonly" => bind.read_only_force_recursive = true,
        _ => {
            return Err(format!(
                "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \
                 \"writable\", or \"readonly\")"
            ));
        }
    }
    Ok(())
}

impl Options {
    fn into_mount(self, mut mount: Mount) -> Result<Mount, String> {
        let kind = mount.kind.as_str();
        let given = [
            ("bind", self.bind.is_some()),
            ("volume", self.volume.is_some()),
            ("image", self.image.is_some()),
            ("tmpfs", self.tmpfs.is_some()),
        ];
        if let Some((other, _)) = given.iter().find(|(name, given)| *given && *name != kind) {
            return Err(format!(
                "cannot mix '{other}-*' options with mount type '{kind}'"
            ));
        }
        if let Some(bind) = &self.bind {
            check_recursion(bind, mount.read_only)?;
        }
        mount.bind_options = self.bind;
        mount.volume_options = self.volume.map(|mut volume| {
            volume.driver_config.get_or_insert_default();
            volume
        });
        mount.image_options = self.image;
        mount.tmpfs_options = self.tmpfs;
        Ok(mount)
    }
}

fn check_recursion(bind: &BindOptions, read_only: bool) -> Result<(), String> {
    let needs = |option: &str, other: &str| {
        Err(format!(
            "option 'bind-recursive={option}' requires '{other}' to be specified in conjunction"
        ))
    };
    if bind.read_only_non_recursive && !read_only {
        return needs("writable", "readonly");
    }
    if bind.read_only_force_recursive && !read_only {
        return needs("readonly", "readonly");
    }
    if bind.read_only_force_recursive && bind.propagation != "rprivate" {
        return needs("readonly", "bind-propagation=rprivate");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn mistakes_are_named() {
        for (text, sentence) in [
            ("foo", "invalid field 'foo' must be a key=value pair"),
            ("type=bind,src=/x", "target is required"),
            (
                "type=volume,target=/x,foo=1",
                "unexpected key 'foo' in 'foo=1'",
            ),
            (
                "type=bind,target=/x,src=/y,volume-nocopy=true",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            (
                "type=tmpfs,target=/x,tmpfs-size=q",
                "invalid value for tmpfs-size: q",
            ),
            (
                "type=bind,src=/x,dst=/y,ro=maybe",
                "invalid value for ro: maybe",
            ),
            (
                "type=bind,src=/x,dst=/y,bind-recursive=readonly",
                "option 'bind-recursive=readonly' requires 'readonly' to be specified in \
                 conjunction",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), sentence, "{text}");
        }
    }
}
