//! The choices of `update-alternatives(1)`: those between programs of the image are made anew, by
//! their priorities; the machine's own choices stay behind.

use std::io::Write;

use crate::error::BootstrapError;
use crate::root::Root;
use crate::select::DPKG;
use crate::writer::{Archive, Rights};

/// Where the links go by way of.
const BY_WAY: &str = "etc/alternatives";

/// A choice, as its file in dpkg's directory describes it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    /// The name that people use.
    link: String,
    /// Name and path of what goes along, such as a manual page.
    followers: Vec<(String, String)>,
    options: Vec<Choice>,
}

#[derive(Debug, PartialEq, Eq)]
struct Choice {
    path: String,
    priority: i64,
    /// One for each follower, empty where this choice has none.
    followers: Vec<String>,
}

fn parse(text: &str) -> Option<Group> {
    let mut lines = text.lines();
    lines.next()?;
    let mut group = Group {
        link: lines.next()?.to_owned(),
        ..Group::default()
    };
    loop {
        match lines.next()? {
            "" => break,
            name => group
                .followers
                .push((name.to_owned(), lines.next()?.to_owned())),
        }
    }
    while let Some(path) = lines.next().filter(|path| !path.is_empty()) {
        let priority = lines.next()?.trim().parse().ok()?;
        let followers = group.followers.iter();
        let followers = followers.map(|_| lines.next().map(str::to_owned));
        group.options.push(Choice {
            path: path.to_owned(),
            priority,
            followers: followers.collect::<Option<Vec<_>>>()?,
        });
    }
    Some(group)
}

impl Group {
    fn to_text(&self) -> String {
        let mut lines = vec!["auto".to_owned(), self.link.clone()];
        for (name, link) in &self.followers {
            lines.extend([name.clone(), link.clone()]);
        }
        lines.push(String::new());
        for choice in &self.options {
            lines.extend([choice.path.clone(), choice.priority.to_string()]);
            lines.extend(choice.followers.iter().cloned());
        }
        lines.join("\n") + "\n\n"
    }
}

/// Writes the choices between what the archive holds.
///
/// # Errors
/// Reading the machine's or writing the archive failed.
pub fn write<W: Write>(root: &Root, archive: &mut Archive<W>) -> Result<(), BootstrapError> {
    let directory = format!("{DPKG}/alternatives");
    archive.directory(&directory, Rights::root(0o755))?;
    for name in root.names(&directory)? {
        let text = root
            .text(&format!("{directory}/{name}"))?
            .unwrap_or_default();
        let Some(mut group) = parse(&text) else {
            continue;
        };
        group
            .options
            .retain(|choice| archive.has(&root.place(&choice.path)));
        let mut best: Option<&Choice> = None;
        for choice in &group.options {
            if best.is_none_or(|best| choice.priority > best.priority) {
                best = Some(choice);
            }
        }
        let Some(best) = best else {
            continue;
        };
        one(root, archive, &name, &group.link, &best.path)?;
        for ((name, link), path) in group.followers.iter().zip(&best.followers) {
            if !path.is_empty() && archive.has(&root.place(path)) {
                one(root, archive, name, link, path)?;
            }
        }
        let rights = Rights::root(0o644);
        archive.file(
            &format!("{directory}/{name}"),
            rights,
            group.to_text().as_bytes(),
        )?;
    }
    Ok(())
}

fn one<W: Write>(
    root: &Root,
    archive: &mut Archive<W>,
    name: &str,
    link: &str,
    path: &str,
) -> Result<(), BootstrapError> {
    archive.link(&format!("{BY_WAY}/{name}"), path)?;
    archive.link(&root.place(link), &format!("/{BY_WAY}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_and_written() {
        let text = "manual\n/usr/bin/awk\nawk.1\n/usr/share/awk.1\n\n/usr/bin/mawk\n5\n\n\
                    /usr/bin/gawk\n10\n/usr/share/gawk.1\n\n";
        let group = parse(text).unwrap();
        assert_eq!(group.link, "/usr/bin/awk");
        assert_eq!(group.options[0].followers, [""]);
        assert_eq!(group.options[1].priority, 10);
        assert_eq!(group.to_text(), text.replace("manual", "auto"));
        assert_eq!(parse("auto\n/usr/bin/x\n"), None);
    }
}
