//! A layer's tar stream comes back from directory and journal, byte for byte.

mod common;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;

use berth_unpack::{JournalError, Unpacked, reassemble, stream_length};
use common::{Archive, Case, file_of, gzip, header, patched, unpacker};

/// Unpacks with a journal.
fn unpack(case: &Case, archive: &[u8]) -> (Unpacked, File) {
    let journal = tempfile::tempfile().unwrap();
    let target = File::open(case.target()).unwrap();
    let source = file_of(archive);
    let journal_fd = Some(journal.as_fd());
    let unpacked = unpacker().unpack(source, target.as_fd(), journal_fd, &case.budget);
    (unpacked.unwrap(), journal)
}

fn read_back(case: &Case, journal: File) -> io::Result<Vec<u8>> {
    let target = File::open(case.target()).unwrap();
    let mut stream = Vec::new();
    reassemble(journal, target.into())?.read_to_end(&mut stream)?;
    Ok(stream)
}

fn check(name: &str, archive: &[u8]) {
    let case = Case::new();
    let (_, journal) = unpack(&case, archive);
    let length = stream_length(journal.try_clone().unwrap()).unwrap();
    assert_eq!(length, archive.len() as u64, "{name}");
    let stream = read_back(&case, journal).unwrap();
    assert!(
        stream == archive,
        "{name}: {} bytes of {}",
        stream.len(),
        archive.len()
    );
}

#[test]
fn every_byte_comes_back() {
    check("empty", b"");
    check("no end", &Archive::default().file("a", b"1").bytes);
    check(
        "long end",
        &[Archive::default().file("a", b"1").end(), vec![0; 10_000]].concat(),
    );
    let junk = [
        Archive::default().file("a", &[5; 700_000]).end(),
        b"junk".repeat(70_000),
    ];
    check("junk behind the end", &junk.concat());
    let mut padded = Archive::default().file("a", b"1").file("b", b"2").end();
    padded[1000] = 7;
    check("padding that is not zero", &padded);
    let lied = patched(header(b'2', b"s", 0), 157, b"target");
    let odd = Archive::default()
        .raw(header(b'g', b"global", 4), b"9 a=\n")
        .raw(header(b'V', b"label", 600), &[1; 600])
        .file(".wh.x", b"payload of a whiteout")
        .file(".wh..wh.aufs", &[3; 600])
        .raw(lied, b"")
        .pax(&[("comment", b"a"), ("mtime", b"1.5")])
        .file("d/e/f", &[4; 513])
        .hard_link("h", "d/e/f");
    check("odd entries", &odd.end());
    let sparse = patched(
        header(b'S', b"sparse", 4),
        386,
        b"00000100000\x0000000000004\x00",
    );
    let sparse = patched(sparse, 483, b"00001000000\0");
    check("sparse", &Archive::default().raw(sparse, b"data").end());
}

#[test]
fn replaced_contents_come_back() {
    let long = |byte: u8| vec![byte; 300_000];
    let archive = Archive::default()
        .file("f", &long(1))
        .file("f", &long(2))
        .file("f", b"third")
        .file("linked", b"one")
        .hard_link("other", "linked")
        .file("linked", b"two")
        .file("other", b"three")
        .file("d/a", b"a")
        .file("d/b/c", &long(3))
        .hard_link("kept", "d/b/c")
        .file("d", b"no directory now")
        .symlink("d", "elsewhere")
        .file("s/x", b"x")
        .symlink("link", "s")
        .file("link/x", b"y")
        .file("link/z", b"z")
        .file("link", b"file");
    check("replaced", &archive.end());
    let many = (0..3000).fold(Archive::default(), |archive, i| {
        archive.file("same", format!("content {i}").as_bytes())
    });
    check("replaced often", &many.end());
}

#[test]
fn a_tree_from_another_writer_comes_back() {
    let tree = tempfile::tempdir().unwrap();
    let path = |name: &str| tree.path().join(name);
    std::fs::create_dir_all(path("a/b/c")).unwrap();
    for (i, size) in [0, 1, 511, 512, 513, 1 << 20, 3_000_001]
        .into_iter()
        .enumerate()
    {
        let content: Vec<u8> = (0..size).map(|byte| (byte * 31 + i) as u8).collect();
        std::fs::write(path(&format!("a/b/{i}")), content).unwrap();
    }
    std::os::unix::fs::symlink("../0", path("a/b/c/link")).unwrap();
    std::fs::write(path(&format!("a/{}", "long".repeat(50))), b"long name").unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", tree.path()).unwrap();
    let archive = builder.into_inner().unwrap();
    check("tree", &archive);
    let case = Case::new();
    let (unpacked, journal) = unpack(&case, &gzip(&archive));
    assert!(read_back(&case, journal).unwrap() == archive);
    assert_eq!(unpacked.stream_bytes, archive.len() as u64);
    for i in 0..7 {
        let name = format!("a/b/{i}");
        assert!(
            case.read(&name) == std::fs::read(path(&name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_changed_layer_is_noticed() {
    let archive = Archive::default()
        .file("f", b"content")
        .file("g", b"more")
        .end();
    let failure = |change: fn(&Case)| {
        let case = Case::new();
        let (_, journal) = unpack(&case, &archive);
        change(&case);
        let error = read_back(&case, journal).unwrap_err();
        *error
            .into_inner()
            .unwrap()
            .downcast::<JournalError>()
            .unwrap()
    };
    let error = failure(|case| std::fs::write(case.path("f"), b"CONTENT").unwrap());
    assert!(matches!(error, JournalError::Digest { .. }), "{error}");
    let error = failure(|case| std::fs::write(case.path("f"), b"longer than it was").unwrap());
    assert!(
        matches!(&error, JournalError::Changed { path } if path == "f"),
        "{error}"
    );
    let error = failure(|case| std::fs::remove_file(case.path("f")).unwrap());
    assert!(
        matches!(&error, JournalError::Open { path, .. } if path == "f"),
        "{error}"
    );
    // What a symbolic link leads to is not the layer's.
    let error = failure(|case| {
        std::fs::remove_file(case.path("f")).unwrap();
        std::os::unix::fs::symlink("g", case.path("f")).unwrap();
    });
    assert!(
        matches!(&error, JournalError::Open { path, .. } if path == "f"),
        "{error}"
    );
    let error = failure(|case| {
        std::fs::remove_file(case.path("f")).unwrap();
        let mode = berth_sys::rustix::fs::Mode::RUSR;
        let fifo = berth_sys::rustix::fs::FileType::Fifo;
        let cwd = berth_sys::rustix::fs::CWD;
        berth_sys::rustix::fs::mknodat(cwd, case.path("f"), fifo, mode, 0).unwrap();
    });
    assert!(
        matches!(&error, JournalError::Changed { path } if path == "f"),
        "{error}"
    );
}

#[test]
fn a_damaged_journal_is_noticed() {
    let case = Case::new();
    let archive = Archive::default().file("f", b"1").file("f", b"2").end();
    let (_, mut journal) = unpack(&case, &archive);
    journal.rewind().unwrap();
    let mut bytes = Vec::new();
    journal.read_to_end(&mut bytes).unwrap();
    assert!(read_back(&case, file_of(&bytes)).unwrap() == archive);
    for length in 0..bytes.len() {
        assert!(
            read_back(&case, file_of(&bytes[..length])).is_err(),
            "cut at {length}"
        );
    }
    for changed in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[changed] ^= 0x10;
        // Some header bytes of gzip mean nothing; nothing else may come back but the truth.
        if let Ok(stream) = read_back(&case, file_of(&bytes)) {
            assert!(stream == archive, "changed at {changed}");
        }
    }
    let foreign = gzip(b"something else entirely");
    assert!(read_back(&case, file_of(&foreign)).is_err());
}
