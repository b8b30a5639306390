//! dpkg's records, restricted to the packages of the image, so that `dpkg` and `apt` work in it.

use std::io::Write;

use crate::closure::Closure;
use crate::error::BootstrapError;
use crate::root::Root;
use crate::select::{DPKG, Selection};
use crate::writer::{Archive, Rights};

/// The files about a package that belong to it, and whether they are programs. Others in that
/// directory are nobody's and stay behind.
const KINDS: [(&str, bool); 12] = [
    ("list", false),
    ("md5sums", false),
    ("conffiles", false),
    ("triggers", false),
    ("shlibs", false),
    ("symbols", false),
    ("templates", false),
    ("config", true),
    ("preinst", true),
    ("postinst", true),
    ("prerm", true),
    ("postrm", true),
];

/// Writes the records.
///
/// # Errors
/// Reading the machine's or writing the archive failed.
pub fn write<W: Write>(
    root: &Root,
    closure: &Closure,
    selection: &Selection,
    archive: &mut Archive<W>,
) -> Result<(), BootstrapError> {
    let plain = Rights::root(0o644);
    for directory in ["info", "parts", "triggers", "updates"] {
        archive.directory(&format!("{DPKG}/{directory}"), Rights::root(0o755))?;
    }
    let mut status = String::new();
    for (name, package) in &closure.packages {
        status.push_str(&package.stanza);
        status.push_str("\n\n");
        for (kind, is_program) in KINDS {
            for file in [format!("{name}:{}", package.architecture), name.clone()] {
                let place = format!("{DPKG}/info/{file}.{kind}");
                if let Some(content) = root.read(&place)? {
                    let rights = Rights::root(if is_program { 0o755 } else { 0o644 });
                    archive.file(&place, rights, &content)?;
                }
            }
        }
    }
    let diversions: String = selection
        .diversions
        .iter()
        .map(|d| format!("{}\n{}\n{}\n", d.from, d.to, d.by))
        .collect();
    for (name, content) in [
        ("status", status.as_str()),
        ("available", ""),
        ("statoverride", ""),
        ("diversions", &diversions),
        ("info/format", "1\n"),
    ] {
        archive.file(&format!("{DPKG}/{name}"), plain, content.as_bytes())?;
    }
    triggers(root, closure, archive)
}

/// Who wants to hear of which change: `File` has lines of path and package, the others are called
/// by the name of a trigger and have lines of packages.
fn triggers<W: Write>(
    root: &Root,
    closure: &Closure,
    archive: &mut Archive<W>,
) -> Result<(), BootstrapError> {
    let directory = format!("{DPKG}/triggers");
    for name in root.names(&directory)? {
        let place = format!("{directory}/{name}");
        let text = root.text(&place)?.unwrap_or_default();
        let kept: String = text
            .lines()
            .filter(|line| {
                let package = line.rsplit(' ').next().unwrap_or_default();
                let end = package.find(['/', ':']).unwrap_or(package.len());
                let package = package.get(..end).unwrap_or_default();
                closure.packages.contains_key(package)
            })
            .map(|line| format!("{line}\n"))
            .collect();
        if !kept.is_empty() && name != "Unincorp" {
            archive.file(&place, Rights::root(0o644), kept.as_bytes())?;
        }
    }
    Ok(())
}
