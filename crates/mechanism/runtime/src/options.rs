//! Mount options as `mount(8)` and the OCI runtime specification write them.

use berth_sys::mount::Attributes;
use berth_sys::rustix::mount::{MountAttrFlags, MountPropagationFlags};

/// What a list of options asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// A bind mount; `Some(true)` for one with everything mounted below.
    pub(crate) bind: Option<bool>,
    /// Attributes of the mount itself.
    pub(crate) own: Attributes,
    /// Attributes of the mount and of all below it (`rro` and its kin).
    pub(crate) tree: Attributes,
    /// Propagation type; `true` for the whole tree.
    pub(crate) propagation: Option<(MountPropagationFlags, bool)>,
    /// Everything else is for the file system, which knows what it takes.
    pub(crate) data: Vec<(String, Option<String>)>,
}

/// Words that change a mount's attributes: the word, whether it sets, the flag. A leading `r`
/// makes it recursive.
const ATTRIBUTES: [(&str, bool, MountAttrFlags); 18] = [
    ("ro", true, MountAttrFlags::MOUNT_ATTR_RDONLY),
    ("rw", false, MountAttrFlags::MOUNT_ATTR_RDONLY),
    ("nosuid", true, MountAttrFlags::MOUNT_ATTR_NOSUID),
    ("suid", false, MountAttrFlags::MOUNT_ATTR_NOSUID),
    ("nodev", true, MountAttrFlags::MOUNT_ATTR_NODEV),
    ("dev", false, MountAttrFlags::MOUNT_ATTR_NODEV),
    ("noexec", true, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ("exec", false, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ("nodiratime", true, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ("diratime", false, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ("nosymfollow", true, MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
    ("symfollow", false, MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
    // The access time mode is one field of three values; leaving one means the default.
    ("noatime", true, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ("strictatime", true, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
    ("atime", false, MountAttrFlags::MOUNT_ATTR__ATIME),
    ("relatime", false, MountAttrFlags::MOUNT_ATTR__ATIME),
    ("norelatime", false, MountAttrFlags::MOUNT_ATTR__ATIME),
    ("nostrictatime", false, MountAttrFlags::MOUNT_ATTR__ATIME),
];

const PROPAGATION: [(&str, MountPropagationFlags); 4] = [
    ("private", MountPropagationFlags::PRIVATE),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    ("shared", MountPropagationFlags::SHARED),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
];

/// Words that say what is so anyway.
const NEUTRAL: [&str; 7] = [
    "defaults", "auto", "noauto", "user", "nouser", "_netdev", "nofail",
];

/// Reads a list of options. None is refused here: what is not known goes to the file system.
pub(crate) fn parse<S: AsRef<str>>(options: &[S]) -> MountOptions {
    let mut parsed = MountOptions::default();
    for option in options.iter().map(AsRef::as_ref).filter(|o| !o.is_empty()) {
        match option {
            "bind" => parsed.bind = Some(parsed.bind.unwrap_or(false)),
            "rbind" => parsed.bind = Some(true),
            _ if NEUTRAL.contains(&option) => {}
            _ => other(&mut parsed, option),
        }
    }
    parsed
}

fn other(parsed: &mut MountOptions, option: &str) {
    let without_r = option.strip_prefix('r');
    if let Some(found) = propagation(option) {
        parsed.propagation = Some(found);
    } else if let Some((sets, flag)) = attribute(option) {
        apply(&mut parsed.own, sets, flag);
    } else if let Some((sets, flag)) = without_r.and_then(attribute) {
        apply(&mut parsed.tree, sets, flag);
    } else {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (option, None),
        };
        parsed.data.push((key.to_owned(), value));
    }
}

fn attribute(word: &str) -> Option<(bool, MountAttrFlags)> {
    let found = ATTRIBUTES.iter().find(|(name, ..)| *name == word)?;
    Some((found.1, found.2))
}

/// A propagation type by name, as in `rootfsPropagation`; `true` for its recursive form.
pub(crate) fn propagation(word: &str) -> Option<(MountPropagationFlags, bool)> {
    let find = |word: &str| {
        PROPAGATION
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, f)| *f)
    };
    let recursive = || {
        word.strip_prefix('r')
            .and_then(find)
            .map(|flag| (flag, true))
    };
    find(word).map(|flag| (flag, false)).or_else(recursive)
}

/// The later of two words wins.
fn apply(attributes: &mut Attributes, sets: bool, flag: MountAttrFlags) {
    let field = if MountAttrFlags::MOUNT_ATTR__ATIME.contains(flag) {
        MountAttrFlags::MOUNT_ATTR__ATIME
    } else {
        flag
    };
    attributes.set.remove(field);
    attributes.clear.remove(field);
    if sets {
        attributes.set.insert(flag);
    } else {
        attributes.clear.insert(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_and_data() {
        let options = [
            "nosuid",
            "strictatime",
            "mode=755",
            "size=65536k",
            "newinstance",
            "",
        ];
        let parsed = parse(&options);
        let expected = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
        assert_eq!(parsed.own.set, expected);
        let data = [
            ("mode", Some("755")),
            ("size", Some("65536k")),
            ("newinstance", None),
        ];
        assert_eq!(
            parsed.data,
            data.map(|(k, v)| (k.to_owned(), v.map(str::to_owned)))
        );
    }

    #[test]
    fn the_last_word_wins() {
        let check = |options: &[&str], set: MountAttrFlags, clear: MountAttrFlags| {
            let own = parse(options).own;
            assert_eq!((own.set, own.clear), (set, clear), "{options:?}");
        };
        let none = MountAttrFlags::empty();
        let atime = MountAttrFlags::MOUNT_ATTR__ATIME;
        check(&["ro", "rw"], none, MountAttrFlags::MOUNT_ATTR_RDONLY);
        check(&["rw", "ro"], MountAttrFlags::MOUNT_ATTR_RDONLY, none);
        check(
            &["noatime", "strictatime"],
            MountAttrFlags::MOUNT_ATTR_STRICTATIME,
            none,
        );
        check(&["noatime", "relatime"], none, atime);
        check(
            &["relatime", "noatime"],
            MountAttrFlags::MOUNT_ATTR_NOATIME,
            none,
        );
    }

    #[test]
    fn recursive_words_are_not_taken_for_others() {
        let parsed = parse(&["rbind", "rro", "rslave", "relatime", "bind"]);
        assert_eq!(parsed.bind, Some(true));
        assert_eq!(parsed.tree.set, MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert_eq!(
            parsed.propagation,
            Some((MountPropagationFlags::DOWNSTREAM, true))
        );
        assert_eq!(parsed.own.clear, MountAttrFlags::MOUNT_ATTR__ATIME);
        assert_eq!(
            parse(&["private"]).propagation,
            Some((MountPropagationFlags::PRIVATE, false))
        );
        assert_eq!(parse(&["rw"]).own.clear, MountAttrFlags::MOUNT_ATTR_RDONLY);
    }
}
