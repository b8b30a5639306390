//! The whole extraction in this process, unconfined, so that random input meets the code and not
//! the walls around it.

use std::fs::File;
use std::io::Write;

use berth_unpack::{Budget, Devices};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::decode;
use crate::extract::Extractor;
use crate::failure::Result;
use crate::manner::Manner;

/// Small enough for thousands of runs.
fn budget() -> Budget {
    Budget {
        stream_bytes: 1 << 20,
        bytes: 1 << 20,
        file_bytes: 1 << 20,
        inodes: 200,
        devices: Devices::Refuse,
        ..Budget::default()
    }
}

/// A target with neighbours, on which archives are tried one after another.
struct Playground {
    scratch: tempfile::TempDir,
}

impl Playground {
    fn new() -> Playground {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("target")).unwrap();
        std::fs::write(scratch.path().join("canary"), "untouched").unwrap();
        Playground { scratch }
    }

    fn unpack(&self, archive: &[u8]) -> Result<()> {
        let target = self.scratch.path().join("target");
        let source = std::io::Cursor::new(archive.to_vec());
        let (pipeline, decoder) = decode::spawn(source, &budget(), || Ok(()))?;
        let target_fd = File::open(&target).unwrap().into();
        let result = Extractor::new(pipeline, target_fd, None, &budget(), Manner::Layer).run();
        decoder.join().expect("decoding does not panic");
        let mut names: Vec<_> = std::fs::read_dir(self.scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["canary", "target"]);
        let canary = std::fs::read(self.scratch.path().join("canary")).unwrap();
        assert_eq!(canary, b"untouched");
        result.map(drop)
    }

    fn clear(&self) {
        let target = self.scratch.path().join("target");
        std::fs::remove_dir_all(&target).unwrap();
        std::fs::create_dir(&target).unwrap();
    }
}

/// An archive with one of everything, whose names lead into each other.
fn specimen() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, name: &str, link: &str, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(data.len() as u64);
        let slot = &mut header.as_mut_bytes()[..name.len()];
        slot.copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, data).unwrap();
    };
    use tar::EntryType as Type;
    add(Type::Directory, "d/", "", b"");
    add(Type::Symlink, "d/up", "../..", b"");
    add(Type::Regular, "d/up/f", "", b"content");
    add(Type::Link, "h", "f", b"");
    add(
        Type::XHeader,
        "x",
        "",
        b"14 path=d/e/x\n24 SCHILY.xattr.user.a=\n",
    );
    add(Type::Regular, "y", "", &[1; 600]);
    add(Type::GNULongName, "l", "", b"d/long/name\0");
    add(Type::Regular, "z", "", b"1");
    add(Type::Regular, "d/.wh.w", "", b"");
    add(Type::Regular, "d/.wh..wh..opq", "", b"");
    add(Type::Fifo, "p", "", b"");
    add(Type::Regular, "d", "", b"no directory");
    builder.into_inner().unwrap()
}

/// Bytes to be changed: where (a fraction of the length) and to what.
fn mutations() -> impl Strategy<Value = Vec<(f64, u8)>> {
    let byte = prop_oneof![
        any::<u8>(),
        Just(0),
        Just(b'/'),
        Just(b'.'),
        Just(b'7'),
        Just(0x80)
    ];
    proptest::collection::vec((0.0..1.0, byte), 1..12)
}

fn mutate(archive: &mut [u8], mutations: &[(f64, u8)]) {
    let length = archive.len() as f64;
    for (place, byte) in mutations {
        archive[(place * length) as usize] = *byte;
    }
}

/// Makes the checksums right again, so that mutations get past them.
fn reseal(archive: &mut [u8]) {
    for header in archive
        .chunks_exact_mut(512)
        .filter(|record| &record[257..262] == b"ustar")
    {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

#[test]
fn s08_random_archives_never_leave_the_target() {
    let playground = Playground::new();
    let specimen = specimen();
    runner()
        .run(&(mutations(), any::<bool>()), |(mutations, cut)| {
            let mut archive = specimen.clone();
            mutate(&mut archive, &mutations);
            reseal(&mut archive);
            if cut {
                archive.truncate((mutations[0].0 * archive.len() as f64) as usize);
            }
            // Most are refused, some are not: both are right as long as nothing else happens.
            let _ = playground.unpack(&archive);
            playground.clear();
            Ok(())
        })
        .unwrap();
}

#[test]
fn s08_random_names_never_leave_the_target() {
    let playground = Playground::new();
    let component = prop_oneof![
        Just(".."),
        Just("."),
        Just(""),
        Just("a"),
        Just("b"),
        Just("c"),
        Just(".wh.a"),
        Just(".wh..wh..opq"),
    ];
    let path = proptest::collection::vec(component, 1..4).prop_map(|parts| parts.join("/"));
    let kind = proptest::sample::select(&b"012567"[..]);
    let entries = proptest::collection::vec((kind, path.clone(), path), 1..12);
    runner()
        .run(&entries, |entries| {
            for (kind, name, link) in &entries {
                let mut header = tar::Header::new_ustar();
                header.set_entry_type(tar::EntryType::new(*kind));
                header.set_mode(0o755);
                header.set_uid(0);
                header.set_gid(0);
                header.set_mtime(0);
                header.set_size(0);
                let bytes = header.as_mut_bytes();
                bytes[..name.len()].copy_from_slice(name.as_bytes());
                bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
                header.set_cksum();
                // Entry by entry, so that a refused one does not end it.
                let _ = playground.unpack(header.as_bytes());
            }
            playground.clear();
            Ok(())
        })
        .unwrap();
}

#[test]
fn s08_random_compressed_data_never_panics() {
    let playground = Playground::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&specimen()).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&specimen()).unwrap();
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    xz.write_all(&specimen()).unwrap();
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let packed = [
        gzip.finish().unwrap(),
        bzip2.finish().unwrap(),
        xz.finish().unwrap(),
        ruzstd::encoding::compress_to_vec(&specimen()[..], level),
    ];
    runner()
        .run(&(0..packed.len(), mutations()), |(which, mutations)| {
            let mut archive = packed[which].clone();
            let magic = archive[..6].to_vec();
            mutate(&mut archive, &mutations);
            archive[..6].copy_from_slice(&magic);
            let _ = playground.unpack(&archive);
            playground.clear();
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_specimen_itself_is_good() {
    let playground = Playground::new();
    playground.unpack(&specimen()).unwrap();
    let target = playground.scratch.path().join("target");
    assert!(target.join("f").is_file() && target.join("d").is_file());
}
