//! Paths that come from a container: resolved below a root descriptor, and nowhere else.
//!
//! The kernel does the walking (`openat2(2)`): a symbolic link, absolute or with `..`, is followed
//! as if the descriptor were `/`, and the magic links of procfs are refused. What comes back is a
//! descriptor, so nothing can be swapped between the check and the use.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

/// How often a walk is repeated that a rename elsewhere disturbed.
const MAX_RETRIES: usize = 64;

/// How many directories and dangling links one path may need.
const MAX_STEPS: usize = 256;

/// Mode of directories that are made on the way to a mount point.
const DIRECTORY_MODE: u32 = 0o755;

/// Opens `path` below `root`. `O_CLOEXEC` is added to `flags`.
///
/// # Errors
/// As `openat2(2)`: `ELOOP` for a magic link, `EAGAIN` when renames kept disturbing the walk.
pub fn open(root: impl AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    open_with(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
}

/// As [`open`], and refuses any symbolic link on the way with `ELOOP`.
///
/// # Errors
/// As [`open`].
pub fn open_without_links(root: impl AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    open_with(
        root,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )
}

fn open_with(
    root: impl AsFd,
    path: &str,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let (flags, resolve) = (
        flags | OFlags::CLOEXEC,
        resolve | ResolveFlags::NO_MAGICLINKS,
    );
    let mut retries = 0;
    loop {
        match rustix::fs::openat2(root.as_fd(), path, flags, mode, resolve) {
            Err(rustix::io::Errno::AGAIN) if retries < MAX_RETRIES => retries += 1,
            result => return Ok(result?),
        }
    }
}

/// What [`make`] creates at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// An empty regular file.
    File,
}

/// Opens `path` below `root` with `O_PATH`, creating what is missing on the way: directories with
/// mode 0755, and at the end a `kind`. What exists is left as it is, whatever its kind. A dangling
/// link is followed, and its target is made below `root`.
///
/// `created` is called with each directory and file that was made.
///
/// # Errors
/// Those of `openat2(2)` and `mkdirat(2)`; `ELOOP` after too many dangling links.
pub fn make(
    root: impl AsFd,
    path: &str,
    kind: Kind,
    mut created: impl FnMut(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let root = root.as_fd();
    let mut path = path.to_owned();
    for _ in 0..MAX_STEPS {
        match open(root, &path, OFlags::PATH) {
            Ok(fd) => return Ok(fd),
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Err(_) => {}
        }
        path = make_one(root, &path, kind, &mut created)?;
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// Makes the first missing component of `path`, or replaces it in the path where it is a dangling
/// link. Returns the path to try next.
fn make_one(
    root: BorrowedFd<'_>,
    path: &str,
    kind: Kind,
    created: &mut dyn FnMut(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<String> {
    let names: Vec<&str> = path
        .split('/')
        .filter(|n| !n.is_empty() && *n != ".")
        .collect();
    let (parent, depth) = deepest(root, &names)?;
    let Some(name) = names.get(depth) else {
        return Ok(path.to_owned());
    };
    if *name == ".." {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let made = if depth + 1 == names.len() && kind == Kind::File {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, *name, flags | OFlags::WRONLY, Mode::from(0o644)).map(drop)
    } else {
        rustix::fs::mkdirat(&parent, *name, Mode::from(DIRECTORY_MODE))
    };
    match made {
        Ok(()) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            created(rustix::fs::openat(&parent, *name, flags, Mode::empty())?.as_fd())?;
            Ok(path.to_owned())
        }
        Err(rustix::io::Errno::EXIST) => substitute(&parent, &names, depth),
        Err(e) => Err(e.into()),
    }
}

/// The longest prefix of `names` that exists: its descriptor and how many names it has.
fn deepest(root: BorrowedFd<'_>, names: &[&str]) -> io::Result<(OwnedFd, usize)> {
    for depth in (1..names.len()).rev() {
        let prefix = names.get(..depth).unwrap_or_default().join("/");
        match open(root, &prefix, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(fd) => return Ok((fd, depth)),
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Err(_) => {}
        }
    }
    Ok((root.try_clone_to_owned()?, 0))
}

/// The path with the link at `depth` replaced by its target.
fn substitute(parent: &OwnedFd, names: &[&str], depth: usize) -> io::Result<String> {
    let (before, rest) = names.split_at(depth);
    let name = rest.first().copied().unwrap_or_default();
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        // Someone else made it meanwhile: the next walk finds it.
        return Ok(names.join("/"));
    }
    let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
    let target = target
        .into_string()
        .map_err(|_| io::ErrorKind::InvalidData)?;
    let mut path = if target.starts_with('/') {
        String::new()
    } else {
        before.join("/")
    };
    for part in std::iter::once(target.as_str()).chain(rest.iter().skip(1).copied()) {
        path.push('/');
        path.push_str(part);
    }
    if path.len() > libc::PATH_MAX as usize {
        return Err(rustix::io::Errno::NAMETOOLONG.into());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    /// A directory with `root/` inside, removed at the end.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("berth-path-{}-{name}", std::process::id()));
            std::fs::create_dir_all(path.join("root")).unwrap();
            Self(path)
        }
        fn root(&self) -> PathBuf {
            self.0.join("root")
        }
        fn open(&self) -> OwnedFd {
            std::fs::File::open(self.root()).unwrap().into()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn same(fd: &OwnedFd, path: &Path) -> bool {
        let (a, b) = (
            rustix::fs::fstat(fd).unwrap(),
            rustix::fs::stat(path).unwrap(),
        );
        (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
    }

    #[test]
    fn links_stay_below_the_root() {
        let tree = Tree::new("links");
        std::fs::create_dir(tree.0.join("outside")).unwrap();
        std::fs::create_dir(tree.root().join("inside")).unwrap();
        symlink("../../../../inside", tree.root().join("up")).unwrap();
        symlink(tree.0.join("outside"), tree.root().join("away")).unwrap();
        let root = tree.open();
        let fd = open(&root, "/up", OFlags::PATH).unwrap();
        assert!(same(&fd, &tree.root().join("inside")));
        assert!(open(&root, "/away", OFlags::PATH).is_err());
        assert!(open_without_links(&root, "/up", OFlags::PATH).is_err());
        // What the link names is made inside the root, and the real directory stays empty.
        let made = make(&root, "/away/a/b", Kind::Directory, |_| Ok(())).unwrap();
        let inside = tree
            .root()
            .join(tree.0.join("outside/a/b").strip_prefix("/").unwrap());
        assert!(same(&made, &inside));
        assert_eq!(
            std::fs::read_dir(tree.0.join("outside")).unwrap().count(),
            0
        );
    }

    #[test]
    fn makes_what_is_missing_and_reports_it() {
        let tree = Tree::new("make");
        let root = tree.open();
        let mut count = 0;
        let mut counted = |_: BorrowedFd<'_>| {
            count += 1;
            Ok(())
        };
        make(&root, "/a/b/../c/file", Kind::File, &mut counted).unwrap();
        assert!(tree.root().join("a/c/file").is_file());
        make(&root, "a/c/file", Kind::Directory, &mut counted).unwrap();
        assert_eq!(count, 4, "a, b, c, file");
        assert!(make(&root, "/a/c/file/below", Kind::File, |_| Ok(())).is_err());
    }

    #[test]
    fn a_ring_of_links_ends() {
        let tree = Tree::new("ring");
        symlink("two", tree.root().join("one")).unwrap();
        symlink("one", tree.root().join("two")).unwrap();
        assert!(make(tree.open(), "/one/x", Kind::Directory, |_| Ok(())).is_err());
    }
}
