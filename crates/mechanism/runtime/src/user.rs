//! Users and groups by name, from the container's own files.
//!
//! The files belong to the image: they are read with a size limit and parsed here, because the
//! name service of the host must have no say.

use std::io;

use berth_sys::rustix::fs::{FileType, OFlags, fstat};
use berth_types::oci;

/// Largest `/etc/passwd` or `/etc/group` that is read.
const MAX_FILE: usize = 8 * 1024 * 1024;

/// Most supplementary groups (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;

/// Largest id: the one above means "no change" to the kernel.
const MAX_ID: u32 = u32::MAX - 1;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("unable to find {what} {name}: no matching entries in {file} file")]
    Unknown {
        what: &'static str,
        name: String,
        file: &'static str,
    },
    #[error("cannot read {0} of the container")]
    Read(&'static str, #[source] io::Error),
}

/// Who the program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Option<String>,
}

/// Who `user` (`name`, `uid`, with `:group` or `:gid`) is by these files, and `more` groups on
/// top. An empty `user` is what `process` says in numbers, with root's own groups if it says
/// nothing.
pub(crate) fn resolve(
    user: &str,
    more: &[String],
    process: &oci::User,
    passwd: &str,
    group: &str,
) -> Result<Identity, UserError> {
    let mut identity = if user.is_empty() && *process != oci::User::default() {
        numeric(process, passwd)
    } else {
        named(user, passwd, group)?
    };
    for name in more {
        identity.groups.push(gid_of(name, group)?);
    }
    // The primary group belongs into the list too: a process that drops it by setgid would
    // otherwise lose a "deny" that a group permission means (CVE-2022-36109).
    identity.groups.insert(0, identity.gid);
    let mut seen = std::collections::BTreeSet::new();
    identity.groups.retain(|gid| seen.insert(*gid));
    identity.groups.truncate(MAX_GROUPS);
    Ok(identity)
}

fn numeric(process: &oci::User, passwd: &str) -> Identity {
    let entry = passwd
        .lines()
        .filter_map(account)
        .find(|a| a.uid == process.uid);
    let home = entry.and_then(|a| a.home());
    Identity {
        uid: process.uid,
        gid: process.gid,
        groups: process.additional_gids.clone(),
        home,
    }
}

fn named(user: &str, passwd: &str, group: &str) -> Result<Identity, UserError> {
    let (name, group_name) = user.split_once(':').unwrap_or((user, ""));
    let name = if name.is_empty() { "0" } else { name };
    let number = id(name);
    let account = passwd
        .lines()
        .filter_map(account)
        .find(|a| a.name == name || number == Some(a.uid));
    let mut identity = match (&account, number) {
        (Some(a), _) => Identity {
            uid: a.uid,
            gid: a.gid,
            groups: Vec::new(),
            home: a.home(),
        },
        (None, Some(uid)) => Identity {
            uid,
            gid: 0,
            groups: Vec::new(),
            home: None,
        },
        (None, None) => {
            let name = name.to_owned();
            return Err(UserError::Unknown {
                what: "user",
                name,
                file: "passwd",
            });
        }
    };
    if !group_name.is_empty() {
        identity.gid = gid_of(group_name, group)?;
    } else if let Some(account) = account {
        let member = |g: &Group<'_>| g.members.split(',').any(|m| m == account.name);
        identity.groups = group
            .lines()
            .filter_map(group_line)
            .filter(member)
            .map(|g| g.gid)
            .collect();
    }
    Ok(identity)
}

fn gid_of(name: &str, group: &str) -> Result<u32, UserError> {
    let number = id(name);
    let found = group
        .lines()
        .filter_map(group_line)
        .find(|g| g.name == name || number == Some(g.gid));
    found.map(|g| g.gid).or(number).ok_or_else(|| {
        let name = name.to_owned();
        UserError::Unknown {
            what: "group",
            name,
            file: "group",
        }
    })
}

fn id(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .filter(|id| *id <= MAX_ID && !text.starts_with('+'))
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl Account<'_> {
    fn home(&self) -> Option<String> {
        (!self.home.is_empty()).then(|| self.home.to_owned())
    }
}

/// `name:password:uid:gid:comment:home:shell`; what is no such line is passed over.
fn account(line: &str) -> Option<Account<'_>> {
    let mut fields = line.trim().split(':');
    let name = fields
        .next()
        .filter(|n| !n.is_empty() && !n.starts_with('#'))?;
    let (uid, gid) = (id(fields.nth(1)?)?, id(fields.next()?)?);
    Some(Account {
        name,
        uid,
        gid,
        home: fields.nth(1).unwrap_or(""),
    })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// `name:password:gid:member,member`.
fn group_line(line: &str) -> Option<Group<'_>> {
    let mut fields = line.trim().split(':');
    let name = fields
        .next()
        .filter(|n| !n.is_empty() && !n.starts_with('#'))?;
    let gid = id(fields.nth(1)?)?;
    Some(Group {
        name,
        gid,
        members: fields.next().unwrap_or(""),
    })
}

/// A file of the container below `root`, or nothing if it is not there. What is no regular file
/// (a FIFO would block for ever) counts as missing.
pub(crate) fn read(root: impl std::os::fd::AsFd, path: &'static str) -> Result<String, UserError> {
    let failed = |e: io::Error| UserError::Read(path, e);
    let fd = match berth_sys::path::open(root, path, OFlags::RDONLY | OFlags::NONBLOCK) {
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(String::new());
        }
        other => other.map_err(failed)?,
    };
    let stat = fstat(&fd).map_err(|e| failed(e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(String::new());
    }
    let mut text = Vec::new();
    let mut file = io::Read::take(std::fs::File::from(fd), MAX_FILE as u64 + 1);
    io::Read::read_to_end(&mut file, &mut text).map_err(failed)?;
    if text.len() > MAX_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken:x:none\n\
                          app:x:1000:1001:App:/home/app:/bin/sh\n1234:x:7:8::/seven:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,app\nappgroup:x:1001:\naudio:x:63:app\n";

    type Expected<'a> = (u32, u32, &'a [u32], Option<&'a str>);

    fn check(user: &str, expected: Result<Expected<'_>, &str>) {
        let found = resolve(user, &[], &oci::User::default(), PASSWD, GROUP);
        let found = found.map_err(|e| e.to_string());
        let expected = expected
            .map_err(str::to_owned)
            .map(|(uid, gid, groups, home)| Identity {
                uid,
                gid,
                groups: groups.to_vec(),
                home: home.map(str::to_owned),
            });
        assert_eq!(found, expected, "{user:?}");
    }

    #[test]
    fn every_form_of_a_user() {
        check("", Ok((0, 0, &[0, 10], Some("/root"))));
        check("root", Ok((0, 0, &[0, 10], Some("/root"))));
        check("app", Ok((1000, 1001, &[1001, 10, 63], Some("/home/app"))));
        check("1000", Ok((1000, 1001, &[1001, 10, 63], Some("/home/app"))));
        check("app:audio", Ok((1000, 63, &[63], Some("/home/app"))));
        check("1000:5", Ok((1000, 5, &[5], Some("/home/app"))));
        check("4711", Ok((4711, 0, &[0], None)));
        check("4711:4712", Ok((4711, 4712, &[4712], None)));
        check("1234", Ok((7, 8, &[8], Some("/seven"))));
        check(":audio", Ok((0, 63, &[63], Some("/root"))));
        check(
            "nobody",
            Err("unable to find user nobody: no matching entries in passwd file"),
        );
        check(
            "broken",
            Err("unable to find user broken: no matching entries in passwd file"),
        );
        check(
            "app:none",
            Err("unable to find group none: no matching entries in group file"),
        );
        check(
            "-1",
            Err("unable to find user -1: no matching entries in passwd file"),
        );
        let max = "4294967295";
        let message = format!("unable to find user {max}: no matching entries in passwd file");
        check(max, Err(&message));
    }

    #[test]
    fn numbers_of_the_specification_are_taken_as_they_are() {
        let process = oci::User {
            uid: 1000,
            gid: 3,
            additional_gids: vec![4, 3],
        };
        let found = resolve("", &["audio".to_owned()], &process, PASSWD, GROUP).unwrap();
        let home = Some("/home/app".to_owned());
        assert_eq!(
            found,
            Identity {
                uid: 1000,
                gid: 3,
                groups: vec![3, 4, 63],
                home
            }
        );
    }

    #[test]
    fn files_without_lines_know_numbers_only() {
        let found = resolve("5:6", &["7".to_owned()], &oci::User::default(), "", "").unwrap();
        assert_eq!(
            found,
            Identity {
                uid: 5,
                gid: 6,
                groups: vec![6, 7],
                home: None
            }
        );
    }
}
