//! What an archive may ask for.

use serde::{Deserialize, Serialize};

/// Whether device nodes may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Devices {
    /// Block and character devices are made as the archive says. Images often carry a `/dev`.
    Allow,
    /// An archive with a device node is refused. Whiteouts are no device nodes in this sense.
    Refuse,
}

/// The limits of one archive. Exceeding one refuses the archive with a message that names the
/// field, the limit and the entry. All sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Length of the uncompressed stream, headers and padding included.
    pub stream_bytes: u64,
    /// Sum of the apparent sizes of all regular files, replaced and sparse ones in full.
    pub bytes: u64,
    /// Apparent size of one regular file.
    pub file_bytes: u64,
    /// Names made: files, directories (missing parents too), links; replaced ones included.
    pub inodes: u64,
    /// How many times longer than what was read the uncompressed stream may be.
    pub ratio: u64,
    /// Length of the uncompressed stream below which `ratio` does not count.
    pub ratio_floor: u64,
    /// Length of an entry's path, a link's target, and a path after symbolic links. The kernel
    /// takes no more than 4095.
    pub path_bytes: u64,
    /// Length of one component of a path. Linux file systems take no more than 255.
    pub component_bytes: u64,
    /// Components in an entry's path.
    pub depth: u64,
    /// Hard links to one file.
    pub links: u64,
    /// Names and values of one entry's extended attributes.
    pub xattr_bytes: u64,
    /// Names and values of all extended attributes.
    pub xattr_total_bytes: u64,
    /// Everything that precedes one entry and describes it: extended headers, long names, sparse
    /// maps.
    pub header_bytes: u64,
    /// Whether device nodes may be made.
    pub devices: Devices,
}

impl Default for Budget {
    /// Room for any image that is meant to be used: 128 GiB in two million names, 64 GiB in one
    /// file, 250 times compressed beyond the first GiB, 512 levels deep, 1 MiB of headers for one
    /// entry, attributes as large as `setxattr(2)` takes (64 KiB) and 256 MiB together.
    fn default() -> Budget {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        Budget {
            stream_bytes: 128 * GIB,
            bytes: 128 * GIB,
            file_bytes: 64 * GIB,
            inodes: 2_000_000,
            ratio: 250,
            ratio_floor: GIB,
            path_bytes: 4095,
            component_bytes: 255,
            depth: 512,
            links: 60_000,
            xattr_bytes: 64 << 10,
            xattr_total_bytes: 256 * MIB,
            header_bytes: MIB,
            devices: Devices::Allow,
        }
    }
}
