//! Archives that ask for too much, lie, or stop early.

mod common;

use std::io::Write;
use std::os::unix::fs::MetadataExt;

use berth_sys::rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};
use berth_types::ErrorKind;
use berth_unpack::{Budget, Format};
use common::{Archive, Case, bzip2, file_of, gzip, header, patched, sealed, unpacker, xz, zstd};

fn zeros(length: usize) -> Vec<u8> {
    Archive::default().file("zeros", &vec![0; length]).end()
}

#[test]
fn s08_compression_bombs_meet_the_ratio() {
    let budget = Budget {
        ratio: 200,
        ratio_floor: 1 << 20,
        ..Budget::default()
    };
    let bomb = zeros(64 << 20);
    for packed in [gzip(&bomb), zstd(&bomb), xz(&bomb), bzip2(&bomb)] {
        assert!(packed.len() * 900 < bomb.len());
        let case = Case::with(budget.clone());
        case.refused(&packed, &["ratio = 200", "\"zeros\""]);
        let written = case.meta("zeros").len();
        assert!(written <= 16 << 20, "{written} bytes were written");
    }
    // Below the floor, or without a limit, the same is fine.
    let small = gzip(&zeros(1 << 19));
    Case::with(budget).good(&small);
}

#[test]
fn s08_a_3000x_zstd_bomb_meets_the_ratio() {
    // A frame of raw header and 1000 RLE blocks: 128 KiB of zeros in 4 bytes each.
    let tar = zeros(1000 * (128 << 10));
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    bomb.extend_from_slice(&(512_u32 << 3).to_le_bytes()[..3]);
    bomb.extend_from_slice(&tar[..512]);
    for _ in 0..1000 {
        bomb.extend_from_slice(&(1 << 1 | (128_u32 << 10) << 3).to_le_bytes()[..3]);
        bomb.push(0);
    }
    bomb.extend_from_slice(&(1 | 1 << 1 | 1024_u32 << 3).to_le_bytes()[..3]);
    bomb.push(0);
    assert!(bomb.len() * 3000 < 100 * tar.len());
    let unpacked = Case::new().good(&bomb);
    assert_eq!(unpacked.stream_bytes, tar.len() as u64);
    let case = Case::with(Budget {
        ratio_floor: 8 << 20,
        ..Budget::default()
    });
    case.refused(&bomb, &["ratio", "\"zeros\""]);
}

#[test]
fn s08_bytes_have_budgets() {
    let archive = Archive::default()
        .file("a", &[1; 600])
        .file("b", &[1; 600])
        .end();
    let check = |budget: Budget, words: &[&str]| Case::with(budget).refused(&archive, words);
    let whole = Budget::default();
    check(
        Budget {
            bytes: 1000,
            ..whole.clone()
        },
        &["bytes = 1000", "\"b\""],
    );
    check(
        Budget {
            file_bytes: 599,
            ..whole.clone()
        },
        &["file_bytes = 599", "\"a\""],
    );
    check(
        Budget {
            stream_bytes: 4000,
            ..whole.clone()
        },
        &["stream_bytes = 4000"],
    );
    let exact = Budget {
        bytes: 1200,
        file_bytes: 600,
        stream_bytes: archive.len() as u64,
        inodes: 2,
        ..whole
    };
    Case::with(exact).good(&archive);
}

#[test]
fn s08_sparse_bombs_meet_the_file_budget() {
    let sparse = |size: &[u8; 12]| {
        let header = patched(header(b'S', b"sparse", 0), 483, size);
        Archive::default().raw(header, b"").end()
    };
    let case = Case::new();
    // 8 EiB - 1.
    let huge = sparse(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    case.refused(&huge, &["file_bytes", "\"sparse\""]);
    // 1 TiB, which the budget is asked for and the disk is not.
    let tera = sparse(b"\x80\0\0\0\0\0\x01\0\0\0\0\0");
    case.refused(&tera, &["file_bytes", "\"sparse\""]);
    let case = Case::with(Budget {
        file_bytes: 1 << 40,
        bytes: 1 << 40,
        ..Budget::default()
    });
    case.good(&tera);
    assert_eq!(
        (case.meta("sparse").len(), case.meta("sparse").blocks()),
        (1 << 40, 0)
    );
}

#[test]
fn s08_inodes_have_a_budget() {
    let case = Case::with(Budget {
        inodes: 100,
        ..Budget::default()
    });
    let many = |name: fn(usize) -> String| {
        let archive = (0..101).fold(Archive::default(), |a, i| a.file(&name(i), b""));
        archive.end()
    };
    case.refused(&many(|i| format!("f{i}")), &["inodes = 100", "\"f100\""]);
    // Replacing is work too.
    case.refused(&many(|_| "same".into()), &["inodes = 100", "\"same\""]);
    // Missing parents count.
    case.refused(&many(|i| format!("d{i}/f")), &["inodes = 100", "\"d50/"]);
    let links = (0..101).fold(Archive::default().file("f", b""), |a, i| {
        a.hard_link(&format!("l{i}"), "f")
    });
    case.refused(&links.end(), &["inodes = 100"]);
}

#[test]
fn s08_hard_links_have_a_budget() {
    let case = Case::with(Budget {
        links: 3,
        ..Budget::default()
    });
    let two = Archive::default()
        .file("f", b"")
        .hard_link("1", "f")
        .hard_link("2", "f");
    case.good(&two.clone().end());
    case.refused(&two.hard_link("3", "1").end(), &["links = 3", "\"3\""]);
}

#[test]
fn s08_names_have_budgets() {
    let check = |name: String, words: &[&str]| {
        let long = Archive::default()
            .pax(&[("path", name.as_bytes())])
            .file("x", b"1");
        match words {
            [] => drop(Case::new().good(&long.end())),
            _ => Case::new().refused(&long.end(), words),
        }
    };
    check("n".repeat(255), &[]);
    check("n".repeat(256), &["component_bytes = 255", "nnn"]);
    check("d/".repeat(511) + "f", &[]);
    check("d/".repeat(512) + "f", &["depth = 512"]);
    let long = format!("{}/", "n".repeat(200));
    check(long.repeat(20) + "f", &[]);
    check(long.repeat(21) + "f", &["path_bytes = 4095"]);
    // A path that only symbolic links make too long.
    let deep = long.repeat(15);
    let archive = Archive::default()
        .pax(&[("linkpath", deep.as_bytes())])
        .symlink("deep", "x")
        .pax(&[("path", format!("deep/{deep}f").as_bytes())])
        .file("x", b"");
    Case::new().refused(&archive.end(), &["path_bytes"]);
    let target = "t".repeat(5000);
    let link = Archive::default()
        .pax(&[("linkpath", target.as_bytes())])
        .symlink("s", "x");
    Case::new().refused(&link.end(), &["path_bytes"]);
}

#[test]
fn s08_extended_attributes_have_budgets() {
    let case = Case::with(Budget {
        xattr_bytes: 1000,
        xattr_total_bytes: 2500,
        ..Budget::default()
    });
    let large = Archive::default().pax(&[("SCHILY.xattr.user.a", &[b'x'; 1000])]);
    case.refused(
        &large.file("x", b"").end(),
        &["xattr_bytes = 1000", "\"x\""],
    );
    let flood = (0..3).fold(Archive::default(), |archive, i| {
        let one = archive.pax(&[("SCHILY.xattr.user.a", &[b'x'; 900])]);
        one.file(&format!("f{i}"), b"")
    });
    case.refused(&flood.end(), &["xattr_total_bytes = 2500", "\"f2\""]);
    let lines: Vec<u8> = (0..100_000)
        .flat_map(|i| common::pax_line(&format!("SCHILY.xattr.user.{i}"), b""))
        .collect();
    case.refused(
        &Archive::default().pax_data(&lines).file("x", b"").end(),
        &["header_bytes"],
    );
}

#[test]
fn s08_headers_have_a_budget() {
    let case = Case::with(Budget {
        header_bytes: 4096,
        ..Budget::default()
    });
    let check =
        |archive: Archive| case.refused(&archive.file("x", b"").end(), &["header_bytes = 4096"]);
    check(Archive::default().pax(&[("comment", &[b'x'; 5000])]));
    check(Archive::default().raw(header(b'L', b"long", 5000), &[b'x'; 5000]));
    check(Archive::default().raw(header(b'g', b"global", 5000), &[b' '; 5000]));
    check((0..9).fold(Archive::default(), |a, _| a.pax(&[("comment", b"x")])));
    // A size that is a lie is not believed before the bytes are there.
    let lie = patched(header(b'x', b"pax", 0), 124, b"77777777777\0");
    check(Archive::default().raw(lie, b""));
    // A sparse map that never ends.
    let more = patched(header(b'S', b"s", 0), 482, &[1]);
    let mut endless = Archive::default().raw(more, b"");
    for _ in 0..10 {
        let mut record = [0; 512];
        record[504] = 1;
        endless = endless.raw(record, b"");
    }
    check(endless);
}

#[test]
fn s08_pax_sizes_that_lie_are_refused() {
    let case = Case::new();
    for data in [
        &b"11 path=x\n"[..],
        b"8 path=x\n",
        b"1 path=x\n",
        b"99999 path=x\n",
        b"path=x\n",
    ] {
        let archive = Archive::default().pax_data(data).file("x", b"");
        case.refused(&archive.end(), &["malformed line", "byte 512"]);
    }
    // The size of the pax header wins over the field, so the rest of the data is no header.
    let archive = Archive::default()
        .pax(&[("size", b"1")])
        .file("x", &[b'x'; 600]);
    case.refused(&archive.end(), &["checksum"]);
    let archive = Archive::default()
        .pax(&[("size", b"99999999999999999999")])
        .file("x", b"");
    case.refused(&archive.end(), &["\"size\""]);
    let archive = Archive::default()
        .pax(&[("size", b"18446744073709551615")])
        .file("x", b"");
    case.refused(&archive.end(), &["file_bytes"]);
}

#[test]
fn s08_impossible_sizes_are_refused() {
    let case = Case::new();
    let sized = |size: &[u8; 12]| {
        let header = patched(header(b'0', b"x", 0), 124, size);
        Archive::default().raw(header, b"").end()
    };
    case.refused(&sized(&[0xff; 12]), &["size", "negative"]);
    case.refused(
        &sized(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
        &["file_bytes", "\"x\""],
    );
    case.refused(
        &sized(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"),
        &["size", "no number"],
    );
    case.refused(&sized(b"zz\0\0\0\0\0\0\0\0\0\0"), &["size", "no number"]);
}

#[test]
fn s08_truncated_archives_are_refused() {
    let case = Case::new();
    let archive = Archive::default()
        .file("a", &[1; 2000])
        .file("b", &[2; 2000])
        .end();
    case.refused(&archive[..1000], &["ends", "\"a\"", "byte 1000"]);
    case.refused(&archive[..2700], &["ends", "byte 2700"]);
    let packed = gzip(&archive);
    case.refused(&packed[..packed.len() - 9], &["gzip", "cut off"]);
    case.refused(&gzip(&archive[..3500]), &["\"b\"", "byte 3500"]);
    for packed in [bzip2(&archive), xz(&archive), zstd(&archive)] {
        case.refused(&packed[..packed.len() - 9], &["data"]);
    }
    let lonely = Archive::default().pax(&[("path", b"x")]);
    case.refused(&lonely.bytes, &["extended header"]);
}

#[test]
fn s08_garbage_is_refused() {
    let case = Case::new();
    case.refused(b"hello, this is no archive", &["ends"]);
    case.refused(&[0x55; 4096], &["no tar archive"]);
    let mut damaged = Archive::default().file("a", b"1").file("b", b"2");
    damaged.bytes[1024 + 3] ^= 1;
    case.refused(&damaged.end(), &["checksum", "byte 1024"]);
    let mut packed = gzip(&Archive::default().file("a", &[7; 5000]).end());
    let crc = packed.len() - 6;
    packed[crc] ^= 1;
    case.refused(&packed, &["gzip", "damaged"]);
    let good = Archive::default().file("a", b"1").end();
    case.refused(&[gzip(&good), b"garbage".to_vec()].concat(), &["gzip"]);
    case.refused(&[zstd(&good), b"garbage".to_vec()].concat(), &["zstd"]);
    case.refused(
        &Archive::default().raw(header(b'M', b"m", 0), b"").end(),
        &["unknown type", "\"m\""],
    );
    case.refused(
        &Archive::default().raw(header(b'0', b"", 0), b"").end(),
        &["empty"],
    );
}

#[test]
fn missing_ends_and_padding_are_as_for_gnu_tar() {
    let check = |archive: &[u8]| {
        let case = Case::new();
        let unpacked = case.good(archive);
        assert_eq!(case.read("a"), b"1");
        assert_eq!(unpacked.inodes, 1);
    };
    let entries = Archive::default().file("a", b"1").bytes;
    check(&entries);
    check(&[&entries[..], &[0; 512]].concat());
    check(&[&entries[..], &[0; 10240 * 200]].concat());
    check(&[&entries[..], &[0; 1024], b"anything"].concat());
    check(&[gzip(&entries), vec![0; 10_000]].concat());
    assert_eq!(Case::new().good(b"").inodes, 0);
}

#[test]
fn every_format_is_told_by_its_magic_and_read_to_its_end() {
    let archive = Archive::default()
        .file("a", &[9; 300_000])
        .file("b", b"2")
        .end();
    let (left, right) = archive.split_at(100_000);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let forms = [
        (Format::Plain, archive.clone()),
        (Format::Gzip, gzip(&archive)),
        (Format::Gzip, [gzip(left), gzip(b""), gzip(right)].concat()),
        (Format::Bzip2, [bzip2(left), bzip2(right)].concat()),
        (Format::Xz, [xz(left), xz(right)].concat()),
        (
            Format::Zstd,
            [zstd(left), skippable.clone(), zstd(right)].concat(),
        ),
        (
            Format::Zstd,
            [skippable.clone(), zstd(&archive), skippable].concat(),
        ),
    ];
    let plain = Case::new().good(&archive);
    for (format, packed) in forms {
        let case = Case::new();
        let unpacked = case.good(&packed);
        assert_eq!(unpacked.format, format);
        assert_eq!(unpacked.diff_id, plain.diff_id, "{format:?}");
        assert_eq!(unpacked.read_bytes, packed.len() as u64);
        assert_eq!(unpacked.digest, Case::new().good(&packed).digest);
        assert_eq!((unpacked.digest == plain.digest), format == Format::Plain);
        assert_eq!(case.read("a"), [9; 300_000]);
    }
}

#[test]
fn large_windows_and_blocks_stay_within_the_helpers_means() {
    // Words in pseudo-random order: far matches, and memory that grows and shrinks.
    let mut state = 1_u64;
    let mut words = Vec::new();
    while words.len() < 24 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        words.extend_from_slice((state >> 48).to_string().as_bytes());
    }
    let archive = Archive::default().file("words", &words).end();
    let plain = Case::new().good(&archive);
    for packed in [
        gzip(&archive),
        zstd(&archive),
        xz(&archive),
        bzip2(&archive),
    ] {
        assert_eq!(Case::new().good(&packed).diff_id, plain.diff_id);
    }
}

#[test]
fn gnu_formats_are_read() {
    let case = Case::new();
    let long = format!("{}/file", "n".repeat(150));
    let with_nul = format!("{long}\0");
    let archive = Archive::default()
        .raw(
            header(b'L', b"././@LongLink", with_nul.len() as u64),
            with_nul.as_bytes(),
        )
        .file("short", b"long")
        .raw(
            header(b'K', b"././@LongLink", with_nul.len() as u64),
            with_nul.as_bytes(),
        )
        .symlink("link", "short");
    case.good(&archive.end());
    assert_eq!(case.read(&long), b"long");
    assert_eq!(
        std::fs::read_link(case.path("link")).unwrap().to_str(),
        Some(&*long)
    );
    // ustar's prefix.
    let header = patched(header(b'0', b"name", 1), 345, b"the/prefix");
    case.good(&Archive::default().raw(header, b"p").end());
    assert_eq!(case.read("the/prefix/name"), b"p");
    // V7: no magic, no type, a slash for directories, a signed checksum.
    let mut v7 = common::header(0, b"v7/", 0);
    v7[257..265].fill(0);
    case.good(&Archive::default().raw(sealed(v7), b"").end());
    assert!(case.meta("v7").is_dir());
}

#[test]
fn sparse_files_are_read_in_both_formats() {
    let case = Case::new();
    // Old format: 5 bytes at 1 MiB, 3 bytes at 2 MiB, and 3 MiB long; one pair is in an extension.
    let pair = |offset: u64, length: u64| format!("{offset:011o}\0{length:011o}\0").into_bytes();
    let mut old = header(b'S', b"old", 8);
    old[257..265].copy_from_slice(b"ustar  \0");
    old[386..410].copy_from_slice(&pair(1 << 20, 5));
    old[410..434].copy_from_slice(&pair((1 << 20) + 5, 0));
    old[482] = 1;
    old[483..495].copy_from_slice(format!("{:011o}\0", 3 << 20).as_bytes());
    let mut extension = [0; 512];
    extension[..24].copy_from_slice(&pair(2 << 20, 3));
    let mut archive = Archive::default().raw(sealed(old), b"");
    archive = archive.raw(extension, b"fivesaaa");
    // Format 1.0.
    let mut payload = b"2\n1048576\n5\n2097152\n3\n".to_vec();
    payload.resize(512, 0);
    payload.extend_from_slice(b"fivesaaa");
    let archive = archive
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"new"),
            ("GNU.sparse.realsize", b"3145728"),
        ])
        .file("GNUSparseFile.0/new", &payload);
    let unpacked = case.good(&archive.file("after", b"1").end());
    let mut expected = vec![0; 3 << 20];
    expected[1 << 20..(1 << 20) + 5].copy_from_slice(b"fives");
    expected[2 << 20..(2 << 20) + 3].copy_from_slice(b"aaa");
    for name in ["old", "new"] {
        assert!(case.read(name) == expected, "{name}");
        assert!(
            case.meta(name).blocks() * 512 < 1 << 20,
            "{name} has no holes"
        );
    }
    assert_eq!(unpacked.bytes, 2 * (3 << 20) + 1);
    for map in [
        "1\n0\n9999\n",
        "2\n5\n4\n0\n4\n",
        "1\n0\n7\n",
        "x\n",
        "1\n18446744073709551615\n8\n",
    ] {
        let mut payload = map.as_bytes().to_vec();
        payload.resize(512, 0);
        payload.extend_from_slice(&[b'x'; 8]);
        let archive = Archive::default()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.realsize", b"9000"),
            ])
            .file("bad", &payload);
        case.refused(&archive.end(), &["sparse file"]);
    }
    let old = Archive::default()
        .pax(&[("GNU.sparse.map", b"0,1")])
        .file("x", b"1");
    case.refused(&old.end(), &["0.1", "not supported"]);
}

#[test]
fn a_full_disk_is_the_machines_fault() {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    fsconfig_set_string(&context, "size", "1m").unwrap();
    fsconfig_create(&context).unwrap();
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let target = fsmount(&context, flags, MountAttrFlags::empty()).unwrap();
    use std::os::fd::AsFd;
    let archive = file_of(&zeros(2 << 20));
    let result = unpacker().unpack(archive, target.as_fd(), None, &Budget::default());
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let message = error.to_string();
    assert!(message.contains("no space left on device"), "{message}");
    assert!(message.contains("\"zeros\""), "{message}");
}

#[test]
fn a_broken_source_is_the_machines_fault() {
    let case = Case::new();
    let directory = std::fs::File::open(case.target()).unwrap();
    let error = case.unpack_from(directory).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert!(error.to_string().contains("read the archive"), "{error}");
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&zeros(100)[..600]).unwrap();
    drop(writer);
    let error = case.unpack_from(reader).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}
