//! What no package owns and every system has: written anew, from what packages bring for it,
//! never taken over from the machine.

use std::collections::BTreeSet;
use std::io::Write;

use crate::closure::Closure;
use crate::error::BootstrapError;
use crate::root::{Found, Root};
use crate::select::Selection;
use crate::writer::{Archive, Rights};

/// The users and groups of every Debian system, of package base-passwd.
const USERS: &str = "usr/share/base-passwd/passwd.master";
const GROUPS: &str = "usr/share/base-passwd/group.master";
/// The user that apt fetches as, by the number that newer base-passwd has for it.
const APT: &str = "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin";
/// The day of the passwords, which are none: the beginning of 2026.
const DAY: u32 = 20_454;
/// Group `shadow` of base-passwd.
const SHADOW: u32 = 42;

/// Directories that a system has even if no package of the image does.
const DIRECTORIES: [(&str, u32); 16] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr/local", 0o755),
    ("var/cache", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

/// Files that packages bring elsewhere and copy when they are first set up.
const COPIES: [(&str, &str); 6] = [
    ("usr/share/base-files/profile", "etc/profile"),
    ("usr/share/base-files/dot.profile", "root/.profile"),
    ("usr/share/base-files/dot.bashrc", "root/.bashrc"),
    ("usr/share/base-files/nsswitch.conf", "etc/nsswitch.conf"),
    ("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
    ("usr/share/base-files/motd", "etc/motd"),
];

const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\ngshadow: files\n\n\
    hosts: files dns\nnetworks: files\n\nprotocols: files\nservices: files\n";
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// What `pam-auth-update` makes where no other module is installed.
const PAM: [(&str, &str); 5] = [
    (
        "common-account",
        "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\n\
         account requisite pam_deny.so\naccount required pam_permit.so\n",
    ),
    (
        "common-auth",
        "auth [success=1 default=ignore] pam_unix.so nullok\n\
         auth requisite pam_deny.so\nauth required pam_permit.so\n",
    ),
    (
        "common-password",
        "password [success=1 default=ignore] pam_unix.so obscure yescrypt\n\
         password requisite pam_deny.so\npassword required pam_permit.so\n",
    ),
    (
        "common-session",
        "session [default=1] pam_permit.so\nsession requisite pam_deny.so\n\
         session required pam_permit.so\nsession required pam_unix.so\n",
    ),
    (
        "common-session-noninteractive",
        "session [default=1] pam_permit.so\nsession requisite pam_deny.so\n\
         session required pam_permit.so\nsession required pam_unix.so\n",
    ),
];

/// Shells that `/etc/shells` lists if they are there.
const SHELLS: [&str; 8] = [
    "/bin/sh",
    "/usr/bin/sh",
    "/bin/bash",
    "/usr/bin/bash",
    "/bin/rbash",
    "/usr/bin/rbash",
    "/bin/dash",
    "/usr/bin/dash",
];

/// The users and groups of the image.
pub struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Those that package base-passwd has for every system.
    ///
    /// # Errors
    /// Its files are missing or changed.
    pub fn new(
        root: &Root,
        selection: &Selection,
        closure: &Closure,
    ) -> Result<Self, BootstrapError> {
        let read = |path: &'static str| {
            let package = "base-passwd";
            let content = selection.verified(root, path)?;
            content
                .map(|content| String::from_utf8_lossy(&content).replace(":*:", ":x:"))
                .ok_or(BootstrapError::Unusable { path, package })
        };
        let mut passwd = read(USERS)?;
        if closure.packages.contains_key("apt") && !passwd.contains("\n_apt:") {
            passwd.push_str(APT);
            passwd.push('\n');
        }
        Ok(Self {
            passwd,
            group: read(GROUPS)?,
        })
    }

    /// The numbers of the users, and of the groups.
    pub fn numbers(&self) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let third = |text: &str| {
            let fields = text.lines().filter_map(|line| line.split(':').nth(2));
            fields.filter_map(|field| field.parse().ok()).collect()
        };
        (third(&self.passwd), third(&self.group))
    }

    fn write<W: Write>(&self, archive: &mut Archive<W>) -> Result<(), BootstrapError> {
        let each = |text: &str, rest: &str| -> String {
            let names = text.lines().filter_map(|line| line.split(':').next());
            names.map(|name| format!("{name}{rest}\n")).collect()
        };
        let plain = Rights::root(0o644);
        let hidden = Rights {
            mode: 0o640,
            uid: 0,
            gid: SHADOW,
        };
        archive.file("etc/passwd", plain, self.passwd.as_bytes())?;
        archive.file("etc/group", plain, self.group.as_bytes())?;
        let shadow = each(&self.passwd, &format!(":*:{DAY}:0:99999:7:::"));
        archive.file("etc/shadow", hidden, shadow.as_bytes())?;
        archive.file("etc/gshadow", hidden, each(&self.group, ":*::").as_bytes())
    }
}

/// Writes all of it.
///
/// # Errors
/// Reading the machine's or writing the archive failed.
pub fn write<W: Write>(
    root: &Root,
    closure: &Closure,
    selection: &Selection,
    accounts: &Accounts,
    archive: &mut Archive<W>,
) -> Result<(), BootstrapError> {
    let plain = Rights::root(0o644);
    for (place, mode) in DIRECTORIES {
        archive.directory(place, Rights::root(mode))?;
    }
    for (place, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
        archive.link(place, target)?;
    }
    accounts.write(archive)?;
    for (from, to) in COPIES {
        if let Some(content) = selection.verified(root, from)? {
            archive.file(to, plain, &content)?;
        }
    }
    archive.file("etc/nsswitch.conf", plain, NSSWITCH.as_bytes())?;
    archive.file("etc/hosts", plain, HOSTS.as_bytes())?;
    archive.file("etc/machine-id", plain, b"")?;
    archive.link("etc/mtab", "../proc/self/mounts")?;
    if archive.has("usr/lib/os-release") {
        archive.link("etc/os-release", "../usr/lib/os-release")?;
    }
    if archive.has("usr/share/zoneinfo/Etc/UTC") {
        archive.link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")?;
        archive.file("etc/timezone", plain, b"Etc/UTC\n")?;
    }
    let mut shells = "# /etc/shells: valid login shells\n".to_owned();
    for shell in SHELLS {
        if archive.has(&root.place(shell)) {
            shells.push_str(shell);
            shells.push('\n');
        }
    }
    archive.file("etc/shells", plain, shells.as_bytes())?;
    if closure.packages.contains_key("libpam-runtime") {
        for (name, content) in PAM {
            archive.file(&format!("etc/pam.d/{name}"), plain, content.as_bytes())?;
        }
    }
    certificates(root, selection, archive)
}

/// The authorities that package ca-certificates brings: in one file, one by one, and by the
/// hashes that OpenSSL looks for. Those that the machine's owner added stay behind.
fn certificates<W: Write>(
    root: &Root,
    selection: &Selection,
    archive: &mut Archive<W>,
) -> Result<(), BootstrapError> {
    const HOME: &str = "usr/share/ca-certificates/";
    const LINKS: &str = "etc/ssl/certs";
    let (mut bundle, mut list, mut names) = (Vec::new(), String::new(), BTreeSet::new());
    for place in selection.claims.keys() {
        let Some(name) = place
            .strip_prefix(HOME)
            .filter(|name| name.ends_with(".crt"))
        else {
            continue;
        };
        let Some(content) = selection.verified(root, place)? else {
            continue;
        };
        bundle.extend_from_slice(&content);
        list.push_str(&format!("{name}\n"));
        let file = name.rsplit('/').next().unwrap_or(name);
        let link = format!("{}.pem", file.trim_end_matches(".crt"));
        archive.link(&format!("{LINKS}/{link}"), &format!("/{place}"))?;
        names.insert(link);
    }
    if bundle.is_empty() {
        return Ok(());
    }
    let plain = Rights::root(0o644);
    archive.file(&format!("{LINKS}/ca-certificates.crt"), plain, &bundle)?;
    archive.file("etc/ca-certificates.conf", plain, list.as_bytes())?;
    for hash in root.names(LINKS)? {
        let is_hash = hash.split_once('.').is_some_and(|(hash, number)| {
            hash.len() == 8
                && hash.bytes().all(|b| b.is_ascii_hexdigit())
                && number.bytes().all(|b| b.is_ascii_digit())
        });
        if is_hash
            && let Found::Link(target) = root.look(&format!("{LINKS}/{hash}"))?
            && let Ok(target) = String::from_utf8(target)
            && names.contains(&target)
        {
            archive.link(&format!("{LINKS}/{hash}"), &target)?;
        }
    }
    Ok(())
}
