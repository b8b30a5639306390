//! Files into and out of a container, and what a container changed: the endpoints `archive` and
//! `changes`.

use serde::{Deserialize, Serialize};

/// Header of `HEAD` and `GET /containers/{id}/archive`: a [`PathStat`] as JSON, in base64 with
/// the standard alphabet and padding.
pub const PATH_STAT_HEADER: &str = "x-docker-container-path-stat";

/// Go's `FileMode` bits, which [`PathStat::mode`] has above the nine bits of permissions.
pub mod mode {
    /// A directory.
    pub const DIRECTORY: u32 = 1 << 31;
    /// A symbolic link.
    pub const SYMLINK: u32 = 1 << 27;
    /// A device; with [`CHARACTER_DEVICE`] one of characters.
    pub const DEVICE: u32 = 1 << 26;
    /// A named pipe.
    pub const NAMED_PIPE: u32 = 1 << 25;
    /// A socket.
    pub const SOCKET: u32 = 1 << 24;
    /// Set user id.
    pub const SETUID: u32 = 1 << 23;
    /// Set group id.
    pub const SETGID: u32 = 1 << 22;
    /// A device of characters, beside [`DEVICE`].
    pub const CHARACTER_DEVICE: u32 = 1 << 21;
    /// The sticky bit.
    pub const STICKY: u32 = 1 << 20;
    /// None of the others.
    pub const IRREGULAR: u32 = 1 << 19;
    /// The permissions.
    pub const PERMISSIONS: u32 = 0o777;
}

/// What lies at a path of a container, its last component not followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PathStat {
    /// Last component of the path, `/` for the root.
    pub name: String,
    /// Size in bytes.
    pub size: i64,
    /// Permissions and the bits of [`mode`].
    pub mode: u32,
    /// When it was modified, RFC 3339.
    pub mtime: String,
    /// Where a symbolic link ends, as an absolute path in the container; empty for all else.
    pub link_target: String,
}

/// One line of `docker diff`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FilesystemChange {
    /// Absolute path in the container.
    pub path: String,
    /// What happened: one of [`FilesystemChange::MODIFIED`], [`FilesystemChange::ADDED`],
    /// [`FilesystemChange::DELETED`].
    pub kind: u8,
}

impl FilesystemChange {
    /// `C`: it is there in the image, and different.
    pub const MODIFIED: u8 = 0;
    /// `A`: it is not in the image.
    pub const ADDED: u8 = 1;
    /// `D`: it is in the image only.
    pub const DELETED: u8 = 2;
}
