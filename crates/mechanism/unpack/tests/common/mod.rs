//! Archives made by hand, and a target directory with something beside it that must not change.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use berth_unpack::{Budget, UnpackError, Unpacked, Unpacker};

/// The helper that Cargo built for these tests.
pub fn unpacker() -> Unpacker {
    Unpacker::new(env!("CARGO_BIN_EXE_berth-unpack"))
}

/// A tar archive, record by record.
#[derive(Default, Clone)]
pub struct Archive {
    pub bytes: Vec<u8>,
}

/// A ustar header of this type and size.
pub fn header(kind: u8, name: &[u8], size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    let length = name.len().min(100);
    header[..length].copy_from_slice(&name[..length]);
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000001\0");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    sealed(header)
}

/// The header with a right checksum.
pub fn sealed(mut header: [u8; 512]) -> [u8; 512] {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// The header with other bytes at an offset.
pub fn patched(mut header: [u8; 512], offset: usize, bytes: &[u8]) -> [u8; 512] {
    header[offset..offset + bytes.len()].copy_from_slice(bytes);
    sealed(header)
}

/// One line of an extended header.
pub fn pax_line(keyword: &str, value: &[u8]) -> Vec<u8> {
    let body = keyword.len() + value.len() + 3;
    let mut length = body;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    [format!("{length} {keyword}=").as_bytes(), value, b"\n"].concat()
}

impl Archive {
    pub fn raw(mut self, header: [u8; 512], data: &[u8]) -> Archive {
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, data: &[u8]) -> Archive {
        self.raw(header(b'0', name.as_bytes(), data.len() as u64), data)
    }

    pub fn directory(self, name: &str) -> Archive {
        let header = patched(header(b'5', name.as_bytes(), 0), 100, b"0000755\0");
        self.raw(header, b"")
    }

    pub fn link(self, kind: u8, name: &str, target: &str) -> Archive {
        let header = patched(header(kind, name.as_bytes(), 0), 157, target.as_bytes());
        self.raw(header, b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Archive {
        self.link(b'2', name, target)
    }

    pub fn hard_link(self, name: &str, target: &str) -> Archive {
        self.link(b'1', name, target)
    }

    pub fn device(self, kind: u8, name: &str, major: u32, minor: u32) -> Archive {
        let numbers = format!("{major:07o}\0{minor:07o}\0");
        let header = patched(header(kind, name.as_bytes(), 0), 329, numbers.as_bytes());
        self.raw(header, b"")
    }

    pub fn pax(self, lines: &[(&str, &[u8])]) -> Archive {
        let lines: Vec<Vec<u8>> = lines.iter().map(|(k, v)| pax_line(k, v)).collect();
        self.pax_data(&lines.concat())
    }

    pub fn pax_data(self, data: &[u8]) -> Archive {
        self.raw(header(b'x', b"pax", data.len() as u64), data)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

/// A target directory in a directory with a file that is none of the archive's business.
pub struct Case {
    scratch: tempfile::TempDir,
    pub budget: Budget,
}

const CANARY: &[u8] = b"not yours";

impl Case {
    pub fn new() -> Case {
        Case::with(Budget::default())
    }

    pub fn with(budget: Budget) -> Case {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("target")).unwrap();
        std::fs::write(scratch.path().join("canary"), CANARY).unwrap();
        Case { scratch, budget }
    }

    pub fn target(&self) -> PathBuf {
        self.scratch.path().join("target")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.target().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn meta(&self, name: &str) -> std::fs::Metadata {
        std::fs::symlink_metadata(self.path(name)).unwrap()
    }

    pub fn is_whiteout(&self, name: &str) -> bool {
        let meta = self.meta(name);
        meta.mode() & 0o170_000 == 0o020_000 && meta.rdev() == 0
    }

    pub fn unpack_from(&self, archive: impl Into<OwnedFd>) -> Result<Unpacked, UnpackError> {
        let target = File::open(self.target()).unwrap();
        let result = unpacker().unpack(archive, target.as_fd(), None, &self.budget);
        self.check_outside();
        result
    }

    /// Nothing beside the target was touched.
    pub fn check_outside(&self) {
        let mut names: Vec<_> = std::fs::read_dir(self.scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["canary", "target"]);
        let canary = self.scratch.path().join("canary");
        assert_eq!(std::fs::read(&canary).unwrap(), CANARY);
        assert_eq!(std::fs::metadata(&canary).unwrap().nlink(), 1);
    }

    pub fn unpack(&self, archive: &[u8]) -> Result<Unpacked, UnpackError> {
        self.unpack_from(file_of(archive))
    }

    #[track_caller]
    pub fn good(&self, archive: &[u8]) -> Unpacked {
        self.unpack(archive)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Unpacking fails as the archive's fault, with all of these words.
    #[track_caller]
    pub fn refused(&self, archive: &[u8], words: &[&str]) {
        let error = self.unpack(archive).expect_err("the archive is refused");
        assert_eq!(error.kind(), berth_types::ErrorKind::Invalid, "{error}");
        let message = error.to_string();
        for word in words {
            assert!(message.contains(word), "no {word:?} in: {message}");
        }
    }
}

/// An unnamed file with this content, to be read from its start.
pub fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let sink = Vec::new();
    let mut encoder = flate2::write::GzEncoder::new(sink, flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    compress_to_vec(bytes, CompressionLevel::Fastest)
}
