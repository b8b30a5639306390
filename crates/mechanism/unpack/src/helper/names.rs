//! What an entry's name means: a place below the target, or a whiteout.
//!
//! Whiteouts are those of the OCI image specification (`layer.md`); names that start with
//! `.wh..wh.` are AUFS's own and mean nothing here.

use crate::failure::{Failure, Result};
use crate::limits::Meter;

const WHITEOUT: &[u8] = b".wh.";
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A path below the target: components joined by single slashes, empty for the target itself, and
/// none of them `.` or `..`.
pub type Path = Vec<u8>;

/// What is to happen, and where.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// The target itself.
    Root,
    /// A name in a directory.
    Child { parent: Path, name: Path },
    /// The name in the directory hides what lower layers have there.
    Whiteout { parent: Path, name: Path },
    /// The directory hides everything it has in lower layers.
    Opaque { directory: Path },
    /// Nothing.
    Ignored,
}

/// Reads a name of the archive. Absolute names are relative to the target; a `..` never has a
/// good reason and is refused.
pub fn path(name: &[u8], meter: &Meter) -> Result<Path> {
    if name.is_empty() || name.contains(&0) {
        return Err(Failure::refused("a name that is empty or holds a NUL"));
    }
    meter.path(name.len())?;
    let mut path = Vec::with_capacity(name.len());
    let mut depth = 0;
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => {
                return Err(Failure::refused(
                    "a name with a \"..\" component is refused",
                ));
            }
            _ => {}
        }
        depth += 1;
        meter.component(component.len(), depth)?;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    Ok(path)
}

/// Directory and last component; `None` for the target itself.
pub fn split(path: &[u8]) -> Option<(Path, Path)> {
    if path.is_empty() {
        return None;
    }
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..slash)?, path.get(slash + 1..)?),
        None => (&b""[..], path),
    };
    Some((parent.to_vec(), name.to_vec()))
}

/// What the name of an entry means.
pub fn place(name: &[u8], meter: &Meter) -> Result<Place> {
    let path = path(name, meter)?;
    let Some((parent, name)) = split(&path) else {
        return Ok(Place::Root);
    };
    for component in parent.split(|byte| *byte == b'/') {
        if component.starts_with(AUFS) {
            return Ok(Place::Ignored);
        }
        if component.starts_with(WHITEOUT) {
            return Err(Failure::refused("a name below a whiteout is refused"));
        }
    }
    if name == OPAQUE {
        return Ok(Place::Opaque { directory: parent });
    }
    if name.starts_with(AUFS) {
        return Ok(Place::Ignored);
    }
    match name.strip_prefix(WHITEOUT) {
        Some(b"" | b"." | b"..") => Err(Failure::refused("a whiteout of no name is refused")),
        Some(hidden) => Ok(Place::Whiteout {
            parent,
            name: hidden.to_vec(),
        }),
        None => Ok(Place::Child { parent, name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_unpack::Budget;

    fn check(name: &str, expected: Option<Place>) {
        let found = place(name.as_bytes(), &Meter::new(&Budget::default()));
        assert_eq!(found.ok(), expected, "{name:?}");
    }

    #[test]
    fn names_are_relative_to_the_target() {
        let child = |parent: &str, name: &str| {
            let (parent, name) = (parent.into(), name.into());
            Some(Place::Child { parent, name })
        };
        check("a", child("", "a"));
        check("/a/b/", child("a", "b"));
        check("./a//./b", child("a", "b"));
        check(".../..a", child("...", "..a"));
        check("./", Some(Place::Root));
        check("/", Some(Place::Root));
        for bad in ["", "..", "../a", "/..", "a/../b", "a/..", "a\0b"] {
            check(bad, None);
        }
    }

    #[test]
    fn whiteouts_have_a_name() {
        check(
            "a/.wh.b",
            Some(Place::Whiteout {
                parent: "a".into(),
                name: "b".into(),
            }),
        );
        check(
            "a/.wh..wh..opq",
            Some(Place::Opaque {
                directory: "a".into(),
            }),
        );
        check(
            ".wh..wh..opq",
            Some(Place::Opaque {
                directory: "".into(),
            }),
        );
        check(".wh..wh.plnk", Some(Place::Ignored));
        check(".wh..wh.plnk/1.2", Some(Place::Ignored));
        for bad in [".wh.", "a/.wh..", ".wh...", ".wh.a/b"] {
            check(bad, None);
        }
    }
}
