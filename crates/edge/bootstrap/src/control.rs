//! The record of installed packages: `/var/lib/dpkg/status` (`deb-control(5)`).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::version;

/// A package that is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its processor, or `all`.
    pub architecture: String,
    /// Its version.
    pub version: String,
    /// Whether a system is none without it.
    pub essential: bool,
    /// What it needs: of each group one.
    pub needs: Vec<Vec<Need>>,
    /// The names it stands in for.
    pub provides: Vec<String>,
    /// Configuration files and the checksums they came with.
    pub configuration: Vec<(String, String)>,
    /// Its record, as it stands in the file.
    pub stanza: String,
}

/// One way to meet a need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Name of a package, or of what packages provide.
    pub name: String,
    /// A relation such as `>=` and the version it is about.
    pub version: Option<(String, String)>,
}

impl Need {
    /// Whether a package of this version meets it.
    pub fn is_met_by(&self, version: &str) -> bool {
        let Some((relation, wanted)) = &self.version else {
            return true;
        };
        let found = version::compare(version, wanted);
        match relation.as_str() {
            "<<" => found == Ordering::Less,
            "<=" | "<" => found != Ordering::Greater,
            "=" => found == Ordering::Equal,
            ">=" | ">" => found != Ordering::Less,
            ">>" => found == Ordering::Greater,
            _ => false,
        }
    }
}

/// The packages that are installed for the machine's own processor, by name.
pub fn installed(status: &str) -> BTreeMap<String, Package> {
    let all: Vec<Package> = status.split("\n\n").filter_map(package).collect();
    let native = all
        .iter()
        .find(|package| package.name == "dpkg")
        .map_or(String::new(), |dpkg| dpkg.architecture.clone());
    all.into_iter()
        .filter(|package| package.architecture == native || package.architecture == "all")
        .map(|package| (package.name.clone(), package))
        .collect()
}

/// Reads one record; `None` where the package is not installed, or only half.
fn package(stanza: &str) -> Option<Package> {
    let mut package = Package {
        stanza: stanza.trim_matches('\n').to_owned(),
        ..Package::default()
    };
    let mut is_installed = false;
    for (name, value) in fields(stanza) {
        match name.to_ascii_lowercase().as_str() {
            "package" => package.name = value.trim().to_owned(),
            "architecture" => package.architecture = value.trim().to_owned(),
            "version" => package.version = value.trim().to_owned(),
            "essential" => package.essential = value.trim() == "yes",
            "status" => is_installed = value.split_whitespace().nth(2) == Some("installed"),
            "depends" | "pre-depends" => package.needs.extend(needs(&value)),
            "provides" => {
                let provided = needs(&value).into_iter().flatten();
                package.provides.extend(provided.map(|need| need.name));
            }
            "conffiles" => package.configuration = configuration(&value),
            _ => {}
        }
    }
    let is_named = !package.name.is_empty() && !package.name.contains('/');
    (is_installed && is_named).then_some(package)
}

/// The fields of a record, each with its continuation lines.
fn fields(stanza: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in stanza.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_owned(), value.to_owned()));
        }
    }
    fields
}

/// `a (>= 1), b | c:any`.
fn needs(text: &str) -> Vec<Vec<Need>> {
    text.split(',')
        .map(|group| group.split('|').filter_map(need).collect::<Vec<_>>())
        .filter(|group| !group.is_empty())
        .collect()
}

fn need(text: &str) -> Option<Need> {
    let (name, version) = match text.split_once('(') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let name = name.trim();
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let version = version.map(|text| {
        let text = text.trim().trim_end_matches(')').trim();
        let at = text.find(|c| !matches!(c, '<' | '=' | '>')).unwrap_or(0);
        let (relation, version) = text.split_at(at);
        (relation.to_owned(), version.trim().to_owned())
    });
    (!name.is_empty()).then(|| Need {
        name: name.to_owned(),
        version,
    })
}

/// Lines of path and checksum. One with a third word is obsolete, or on its way out.
fn configuration(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let (path, sum) = line.trim().rsplit_once(' ')?;
            let is_sum = sum.len() == 32 && sum.bytes().all(|b| b.is_ascii_hexdigit());
            is_sum.then(|| (path.to_owned(), sum.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "\
Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.22
Essential: yes
Pre-Depends: libc6 (>= 2.34), tar:any (<< 9) | bsdtar

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: foreign
Status: install ok installed
Architecture: i386
Version: 1

Package: tool
Status: hold ok installed
Architecture: all
Version: 2
Provides: thing (= 2), other
Conffiles:
 /etc/tool.conf 0123456789abcdef0123456789abcdef
 /etc/old.conf 0123456789abcdef0123456789abcdef obsolete
Description: a tool
 Package: not-me
";

    #[test]
    fn records_are_read() {
        let packages = installed(STATUS);
        assert_eq!(packages.keys().collect::<Vec<_>>(), ["dpkg", "tool"]);
        let dpkg = &packages["dpkg"];
        assert!(dpkg.essential);
        assert_eq!(dpkg.needs.len(), 2);
        assert_eq!(dpkg.needs[1][0].name, "tar");
        assert!(dpkg.needs[0][0].is_met_by("2.36-1"));
        assert!(!dpkg.needs[0][0].is_met_by("2.31"));
        let tool = &packages["tool"];
        assert_eq!(tool.provides, ["thing", "other"]);
        assert_eq!(tool.configuration.len(), 1, "an obsolete file is nobody's");
        assert!(tool.stanza.starts_with("Package: tool\n"));
        assert!(tool.stanza.ends_with(" Package: not-me"));
    }
}
