//! The image that travels inside the engine: `hello-world`, for a machine that no registry
//! answers. It is made like any other, from a layer archive, and always has the same id.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use berth_sys::arch::Arch;
use berth_sys::rustix::pipe::{PipeFlags, pipe_with};
use berth_types::{Caller, ImageReference, Timestamp};

use crate::error::ImageError;
use crate::import::{self, ImportOptions};
use crate::record::Image;
use crate::service::Inner;

/// Where the image would come from.
const DOMAIN: &str = "docker.io";
const PATH: &str = "library/hello-world";
const TAG: &str = "latest";

/// What the program prints.
const TEXT: &str = "\
Hello from Berth.

You read this because all of these work:
 1. the client reached the engine, and the engine had no image \"hello-world\";
 2. the engine made one from a copy that it carries, without asking a registry;
 3. it started a container from the image: a file system, namespaces and limits
    of its own, and this program inside;
 4. the program's output went through its monitor and the engine back to you.

A whole system from the packages of this machine, again without a download:
   berth image bootstrap --from host --tag base
   berth run -it base bash
";

/// Name of the program in its image.
const PROGRAM: &str = "hello";
/// The beginning of 2026: a fixed time makes a fixed id.
const CREATED: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

/// Unit of a tar archive, `pax(1)`.
const BLOCK: usize = 512;

/// An image that was taken from the engine itself.
#[derive(Debug, Clone)]
pub struct BuiltIn {
    /// The image.
    pub image: Arc<Image>,
    /// The name it was asked for by, with its tag.
    pub reference: ImageReference,
    /// Whether the name meant another image before, or none.
    pub is_new: bool,
}

/// Whether the engine carries an image of this name.
pub(crate) fn is_built_in(reference: &ImageReference) -> bool {
    reference.domain() == DOMAIN
        && reference.path() == PATH
        && reference.digest().is_none()
        && reference.tag().is_none_or(|tag| tag == TAG)
        && Arch::NATIVE.program_that_prints(TEXT).is_some()
}

/// Makes the image, or finds it there.
pub(crate) fn provide(
    inner: &Arc<Inner>,
    caller: &Caller,
    reference: ImageReference,
) -> Result<BuiltIn, ImageError> {
    let reference = reference.or_latest();
    let program = Arch::NATIVE
        .program_that_prints(TEXT)
        .filter(|_| is_built_in(&reference))
        .ok_or_else(|| ImageError::NotFound(reference.to_string()))?;
    let before = inner.index().resolve(caller, &reference.to_string()).ok();
    let options = ImportOptions {
        reference: Some(reference.clone()),
        message: Some("carried by the engine".to_owned()),
        changes: vec![format!("CMD [\"/{PROGRAM}\"]")],
        platform: None,
        now: CREATED,
    };
    let archive = archive(&program).map_err(ImageError::BuiltIn)?;
    let image = import::import(inner, caller, archive, || true, options)?;
    let is_new = before.is_none_or(|before| before.id != image.id);
    Ok(BuiltIn {
        image,
        reference,
        is_new,
    })
}

/// A pipe that holds the archive of one file, whole: it is smaller than the smallest pipe.
fn archive(program: &[u8]) -> std::io::Result<OwnedFd> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut archive = header(PROGRAM, program.len()).to_vec();
    archive.extend_from_slice(program);
    let end = archive.len().next_multiple_of(BLOCK) + 2 * BLOCK;
    archive.resize(end, 0);
    File::from(write).write_all(&archive)?;
    Ok(read)
}

/// The `ustar` header of a program.
fn header(name: &str, size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        for (place, byte) in header.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    let seconds = CREATED.as_seconds();
    put(0, name.as_bytes());
    put(100, b"0000755\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{seconds:011o}\0").as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    for (place, byte) in header
        .iter_mut()
        .skip(148)
        .zip(format!("{sum:06o}\0 ").bytes())
    {
        *place = byte;
    }
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_archive_holds_the_program() {
        let program = Arch::NATIVE.program_that_prints(TEXT).unwrap();
        let mut bytes = Vec::new();
        File::from(archive(&program).unwrap())
            .read_to_end(&mut bytes)
            .unwrap();
        assert!(
            bytes.len() <= 4096,
            "{} bytes do not fit every pipe",
            bytes.len()
        );
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut entries = archive.entries().unwrap();
        let mut entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("hello"));
        assert_eq!(entry.header().mode().unwrap(), 0o755);
        let mut found = Vec::new();
        entry.read_to_end(&mut found).unwrap();
        assert_eq!(found, program);
        assert!(entries.next().is_none());
    }

    #[test]
    fn only_the_one_name_is_carried() {
        let carried = |name: &str| is_built_in(&name.parse().unwrap());
        assert!(carried("hello-world"));
        assert!(carried("library/hello-world:latest"));
        assert!(carried("docker.io/library/hello-world"));
        for other in [
            "hello-world:linux",
            "me/hello-world",
            "quay.io/hello-world",
            "hello",
        ] {
            assert!(!carried(other), "{other}");
        }
    }
}
