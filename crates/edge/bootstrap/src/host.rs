//! The machine that an image is made from.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use berth_sys::rustix::fs::fgetxattr;

use crate::closure::{Closure, closure};
use crate::control::{self, Package};
use crate::error::BootstrapError;
use crate::fresh::{self, Accounts};
use crate::root::{Found, Root, read};
use crate::select::{Claim, DPKG, Selection};
use crate::writer::{Archive, Rights};
use crate::{alternatives, database};

/// Rights that a program has by itself (`capabilities(7)`).
const CAPABILITY: &str = "security.capability";
/// Longest value of it that the kernel knows.
const CAPABILITY_MAX: usize = 64;

/// A machine with dpkg.
pub struct Host {
    root: Root,
    installed: BTreeMap<String, Package>,
    release: Release,
}

/// What `/etc/os-release` says of a system; see `os-release(5)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// `ID`, such as `debian`.
    pub id: String,
    /// `VERSION_CODENAME`, such as `bookworm`; empty where there is none.
    pub codename: String,
    /// `PRETTY_NAME`.
    pub name: String,
}

/// What became of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Packages in it.
    pub packages: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Files of packages that are left out because they are not as their package has them.
    pub changed: Vec<String>,
    /// The same of configuration files.
    pub configuration: Vec<String>,
    /// Files that are left out because their package has no checksum for them.
    pub unchecked: u64,
    /// Files that are not there.
    pub missing: u64,
    /// Files that belonged to a user or group which the image does not have; they are root's.
    pub reowned: u64,
    /// Needs that no installed package meets.
    pub unmet: Vec<String>,
}

impl Release {
    /// Reads the file of a root.
    fn read(root: &Root) -> Result<Self, BootstrapError> {
        let mut text = None;
        for place in ["usr/lib/os-release", "etc/os-release"] {
            if text.is_none() {
                text = root.text(place)?;
            }
        }
        let mut release = Self::default();
        for line in text.unwrap_or_default().lines() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            match key.trim() {
                "ID" => release.id = value,
                "VERSION_CODENAME" => release.codename = value,
                "PRETTY_NAME" => release.name = value,
                _ => {}
            }
        }
        if release.name.is_empty() {
            release.name = "this system".to_owned();
        }
        Ok(release)
    }
}

impl Host {
    /// Reads which packages the system below `root` has.
    ///
    /// # Errors
    /// It has no dpkg, or its records cannot be read.
    pub fn open(root: &Path) -> Result<Self, BootstrapError> {
        let root = Root::open(root)?;
        let release = Release::read(&root)?;
        let status = root.text(&format!("{DPKG}/status"))?.unwrap_or_default();
        let installed = control::installed(&status);
        if installed.is_empty() {
            return Err(BootstrapError::Family(release.name));
        }
        Ok(Self {
            root,
            installed,
            release,
        })
    }

    /// Which system it is.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// Writes the archive of an image: the essential packages, those of `wanted` (nothing means
    /// what a box for training has) and all they need. Of each package only what is unchanged
    /// since it was installed. The same packages give the same archive.
    ///
    /// # Errors
    /// A wanted package is not installed, something cannot be read, or the archive not written.
    pub fn write(
        &self,
        wanted: Option<&[String]>,
        out: impl Write,
    ) -> Result<Report, BootstrapError> {
        let closure = closure(&self.installed, wanted)?;
        let selection = Selection::new(&self.root, &closure)?;
        let accounts = Accounts::new(&self.root, &selection, &closure)?;
        let (uids, gids) = accounts.numbers();
        let mut archive = Archive::new(out, uids, gids);
        let mut report = Report::default();
        self.merged(&mut archive)?;
        for (place, claim) in &selection.claims {
            self.copy(place, claim, &mut archive, &mut report)?;
        }
        alternatives::write(&self.root, &mut archive)?;
        database::write(&self.root, &closure, &selection, &mut archive)?;
        fresh::write(&self.root, &closure, &selection, &accounts, &mut archive)?;
        let Closure { packages, unmet } = closure;
        report.packages = packages.len() as u64;
        report.unmet = unmet;
        report.bytes = archive.bytes;
        report.reowned = archive.reowned;
        archive.finish()?;
        Ok(report)
    }

    /// The links of a merged `/usr`, which on some releases no package owns.
    fn merged<W: Write>(&self, archive: &mut Archive<W>) -> Result<(), BootstrapError> {
        for name in self.root.merged() {
            archive.link(name, &format!("usr/{name}"))?;
        }
        Ok(())
    }

    fn copy<W: Write>(
        &self,
        place: &str,
        claim: &Claim,
        archive: &mut Archive<W>,
        report: &mut Report,
    ) -> Result<(), BootstrapError> {
        let changed = |report: &mut Report| {
            let list = if claim.is_configuration {
                &mut report.configuration
            } else {
                &mut report.changed
            };
            list.push(format!("/{place}"));
        };
        let is_file = !claim.sums.is_empty();
        match self.root.look(&claim.source)? {
            Found::Nothing => report.missing += 1,
            // What a package has as a file and is none here is the owner's doing.
            Found::Directory(_) | Found::Link(..) if is_file => changed(report),
            Found::Directory(stat) => archive.directory(place, Rights::of(&stat))?,
            Found::Link(target) => match String::from_utf8(target) {
                Ok(target) => archive.link(place, &target)?,
                Err(_) => changed(report),
            },
            Found::File(..) if !is_file => report.unchecked += 1,
            Found::File(stat, file) => {
                let mut value = [0; CAPABILITY_MAX];
                let length = fgetxattr(&file, CAPABILITY, &mut value[..]).unwrap_or(0);
                let capability = value.get(..length).filter(|value| !value.is_empty());
                match read(place, &stat, file)? {
                    Some(content) if claim.is_met_by(&content) => {
                        archive.copy(place, &stat, capability, &content)?;
                    }
                    _ => changed(report),
                }
            }
        }
        Ok(())
    }
}
