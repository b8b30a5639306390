//! Archives that try to get out, or to make what a layer must not have.

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

use berth_sys::rustix::fs::getxattr;
use berth_unpack::{Budget, Devices};
use common::{Archive, Case, header, patched};

fn xattr(case: &Case, name: &str, attribute: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let length = getxattr(case.path(name), attribute, &mut value).ok()?;
    Some(value[..length].to_vec())
}

#[test]
fn s08_absolute_names_land_in_the_target() {
    let case = Case::new();
    case.good(&Archive::default().file("//etc/passwd", b"mine").end());
    assert_eq!(case.read("etc/passwd"), b"mine");
}

#[test]
fn s08_parent_components_are_refused() {
    for name in ["../canary", "a/../../canary", "a/..", "/.."] {
        let case = Case::new();
        case.refused(
            &Archive::default().file(name, b"x").end(),
            &["\"..\"", name],
        );
        let long = Archive::default().pax(&[("path", name.as_bytes())]);
        case.refused(&long.file("innocent", b"x").end(), &["\"..\""]);
    }
}

#[test]
fn s08_hard_links_stay_inside() {
    let case = Case::new();
    let outside = Archive::default().hard_link("link", "../canary").end();
    case.refused(&outside, &["\"..\"", "\"link\""]);
    let absolute = Archive::default().hard_link("link", "/etc/passwd").end();
    case.refused(&absolute, &["/etc/passwd", "not there"]);
    // A parent that is a symbolic link is resolved inside; the last component is never followed.
    let up = Archive::default()
        .symlink("up", "../..")
        .hard_link("a", "up/canary")
        .end();
    case.refused(&up, &["not there"]);
    let last = Archive::default()
        .symlink("s", "../canary")
        .hard_link("b", "s")
        .end();
    case.good(&last);
    assert_eq!(case.meta("b").ino(), case.meta("s").ino());
    let directory = Archive::default().directory("d").hard_link("e", "d").end();
    case.refused(&directory, &["directory"]);
}

#[test]
fn s08_a_name_below_a_symlink_stays_inside() {
    for target in ["/", "..", "../..", "/../..", "."] {
        let case = Case::new();
        let archive = Archive::default()
            .symlink("up", target)
            .file("up/canary", b"mine");
        case.good(&archive.end());
        assert_eq!(case.read("canary"), b"mine", "{target}");
    }
    let case = Case::new();
    let archive = Archive::default()
        .symlink("tmp", "/var/tmp")
        .file("tmp/x", b"mine");
    case.good(&archive.end());
    assert_eq!(case.read("var/tmp/x"), b"mine");
}

#[test]
fn s08_the_last_component_is_replaced_not_followed() {
    let case = Case::new();
    symlink("../canary", case.path("s")).unwrap();
    symlink("..", case.path("d")).unwrap();
    case.good(
        &Archive::default()
            .file("s", b"mine")
            .directory("d")
            .file("d/x", b"")
            .end(),
    );
    assert_eq!(case.read("s"), b"mine");
    assert!(case.meta("d").is_dir());
}

#[test]
fn s08_symlink_loops_end() {
    let case = Case::new();
    let archive = Archive::default()
        .symlink("a", "b")
        .symlink("b", "a")
        .file("a/x", b"");
    case.refused(&archive.end(), &["too many symbolic links", "a/x"]);
    let mut longer = Archive::default().directory("d");
    for i in 0..50 {
        longer = longer.symlink(&format!("l{i}"), &format!("l{}", i + 1));
    }
    case.refused(
        &longer.file("l0/x", b"").end(),
        &["too many symbolic links"],
    );
    // Doubling: 2^30 components when resolved.
    let mut doubling = Archive::default().symlink("m0", ".");
    for i in 1..30 {
        let half = format!("m{}", i - 1);
        doubling = doubling.symlink(&format!("m{i}"), &format!("{half}/{half}"));
    }
    case.refused(
        &doubling.file("m29/x", b"").end(),
        &["too many symbolic links"],
    );
}

#[test]
fn s08_devices_are_made_or_refused() {
    let case = Case::new();
    let devices = Archive::default()
        .device(b'3', "null", 1, 3)
        .device(b'4', "sda", 8, 0)
        .device(b'6', "fifo", 0, 0);
    case.good(&devices.clone().end());
    assert!(case.meta("null").file_type().is_char_device());
    assert_eq!(case.meta("null").rdev(), 0x103);
    assert!(case.meta("sda").file_type().is_block_device());
    assert!(case.meta("fifo").file_type().is_fifo());
    let case = Case::with(Budget {
        devices: Devices::Refuse,
        ..Budget::default()
    });
    case.refused(&devices.end(), &["device nodes", "\"null\""]);
    case.good(
        &Archive::default()
            .file(".wh.a", b"")
            .device(b'6', "fifo", 0, 0)
            .end(),
    );
}

#[test]
fn s08_overlay_marks_are_not_the_archives_to_make() {
    let case = Case::new();
    let device = Archive::default().device(b'3', "x", 0, 0).end();
    case.refused(&device, &["0:0", "\"x\""]);
    for name in [
        "trusted.overlay.opaque",
        "trusted.x",
        "user.overlay.redirect",
    ] {
        let key = format!("SCHILY.xattr.{name}");
        let archive = Archive::default().pax(&[(&key, b"y")]).directory("d").end();
        case.refused(&archive, &[name, "\"d\""]);
    }
}

#[test]
fn s08_whiteouts_hide_names_of_lower_layers_only() {
    let case = Case::new();
    let archive = Archive::default()
        .file("d/.wh.gone", b"")
        .file("kept", b"new")
        .file(".wh.kept", b"")
        .directory("both")
        .file("both/x", b"")
        .file(".wh.both", b"")
        .file(".wh.again", b"")
        .directory("again")
        .file(".wh.implied", b"")
        .file("implied/x", b"")
        .file(".wh.file", b"")
        .file("file", b"new")
        .file(".wh..wh.plnk/1.2", b"data");
    let unpacked = case.good(&archive.end());
    assert!(case.is_whiteout("d/gone"));
    assert_eq!(case.read("kept"), b"new");
    assert_eq!(case.read("file"), b"new");
    assert!(case.path("both/x").exists());
    for opaque in ["both", "again", "implied"] {
        assert_eq!(
            xattr(&case, opaque, "trusted.overlay.opaque").unwrap(),
            b"y",
            "{opaque}"
        );
    }
    assert_eq!(xattr(&case, "d", "trusted.overlay.opaque"), None);
    assert_eq!(unpacked.opaque_directories, 3);
    assert!(!case.path(".wh..wh.plnk").exists());
    assert_eq!(unpacked.inodes, 9);
    for name in [".wh.", ".wh..", ".wh...", ".wh.a/b", "a/.wh.."] {
        case.refused(&Archive::default().file(name, b"").end(), &["whiteout"]);
    }
}

#[test]
fn s08_opaque_directories_are_marked() {
    let case = Case::new();
    let name = b"b\xff\n\x01";
    let opaque = [&name[..], b"/.wh..wh..opq"].concat();
    let archive = Archive::default()
        .file("a/.wh..wh..opq", b"")
        .file("a/x", b"1")
        .raw(header(b'0', &opaque, 0), b"")
        .file("gone/.wh..wh..opq", b"")
        .file("gone/below/.wh..wh..opq", b"")
        .file("gone", b"now a file");
    let unpacked = case.good(&archive.end());
    assert_eq!(unpacked.opaque_directories, 2);
    assert_eq!(xattr(&case, "a", "trusted.overlay.opaque").unwrap(), b"y");
    let mut value = [0; 8];
    let odd = case.target().join(OsStr::from_bytes(name));
    assert_eq!(
        getxattr(odd, "trusted.overlay.opaque", &mut value).unwrap(),
        1
    );
    case.good(&Archive::default().file(".wh..wh..opq", b"").end());
    assert_eq!(xattr(&case, ".", "trusted.overlay.opaque").unwrap(), b"y");
}

#[test]
fn s08_set_id_bits_and_owners_are_kept() {
    let case = Case::new();
    let owned = |kind, name: &[u8]| {
        let header = patched(
            header(kind, name, 0),
            100,
            b"0006755\x000303240\x000303241\x00",
        );
        patched(header, 116, b"0303241\x00")
    };
    let archive = Archive::default()
        .raw(owned(b'0', b"su"), b"")
        .raw(owned(b'5', b"dir"), b"")
        .file("dir/plain", b"")
        .directory("dir/below")
        .raw(owned(b'2', b"link"), b"")
        .pax(&[("uid", b"4294967294"), ("gid", b"4000000000")])
        .file("big", b"");
    let archive = {
        let mut archive = archive;
        let link = archive
            .bytes
            .windows(5)
            .position(|w| w == b"link\0")
            .unwrap();
        let record: [u8; 512] = archive.bytes[link..link + 512].try_into().unwrap();
        archive.bytes[link..link + 512].copy_from_slice(&patched(record, 157, b"su"));
        archive
    };
    case.good(&archive.end());
    for name in ["su", "dir"] {
        let meta = case.meta(name);
        assert_eq!(meta.mode() & 0o7777, 0o6755, "{name}");
        assert_eq!((meta.uid(), meta.gid()), (100_000, 100_001), "{name}");
    }
    assert_eq!(
        (case.meta("link").uid(), case.meta("link").gid()),
        (100_000, 100_001)
    );
    // The set-group-ID directory was not yet one when these were made.
    assert_eq!(case.meta("dir/plain").gid(), 0);
    assert_eq!(case.meta("dir/below").mode() & 0o7777, 0o755);
    assert_eq!(
        (case.meta("big").uid(), case.meta("big").gid()),
        (4_294_967_294, 4_000_000_000)
    );
    let unchanged = Archive::default()
        .pax(&[("uid", b"4294967295")])
        .file("x", b"");
    case.refused(&unchanged.end(), &["too large"]);
}

#[test]
fn s08_odd_names_are_kept() {
    let case = Case::new();
    let odd = b"new\nline \xff\xfe\x1b[31m";
    case.good(&Archive::default().raw(header(b'0', odd, 1), b"x").end());
    let path = case.target().join(OsStr::from_bytes(odd));
    assert_eq!(std::fs::read(path).unwrap(), b"x");
    // And do not reach a terminal when they are complained about.
    let bad = b"\x1b[31m/../x";
    let error = case.unpack(&Archive::default().raw(header(b'0', bad, 0), b"").end());
    assert!(!error.unwrap_err().to_string().contains('\x1b'));
}

#[test]
fn s08_extreme_times_are_kept_or_cut_by_the_file_system() {
    let case = Case::new();
    let archive = Archive::default()
        .pax(&[("mtime", b"-1.25")])
        .file("before", b"")
        .pax(&[("mtime", b"9223372036854775807.999999999")])
        .file("late", b"")
        .pax(&[("mtime", b"1350244992.02396")])
        .directory("fine")
        .file("fine/x", b"")
        .raw(patched(header(b'0', b"base256", 0), 136, &[0xff; 12]), b"");
    case.good(&archive.end());
    assert_eq!(
        (
            case.meta("before").mtime(),
            case.meta("before").mtime_nsec()
        ),
        (-2, 750_000_000)
    );
    assert!(case.meta("late").mtime() > 1 << 31);
    assert_eq!(
        (case.meta("fine").mtime(), case.meta("fine").mtime_nsec()),
        (1_350_244_992, 23_960_000)
    );
    assert_eq!(case.meta("base256").mtime(), -1);
    case.refused(
        &Archive::default()
            .pax(&[("mtime", b"1e9")])
            .file("x", b"")
            .end(),
        &["mtime"],
    );
}

#[test]
fn s08_a_later_entry_replaces_an_earlier_one() {
    let case = Case::new();
    let archive = Archive::default()
        .file("f", b"first")
        .hard_link("h", "f")
        .file("f", b"second")
        .directory("d")
        .file("d/kept", b"1")
        .directory("d")
        .file("t/a/b/c", b"deep")
        .file("t/a/d", b"deep")
        .file("t", b"file now")
        .file("u", b"file")
        .directory("u")
        .hard_link("u/h", "h")
        .hard_link("h", "h");
    let unpacked = case.good(&archive.end());
    assert_eq!(case.read("f"), b"second");
    assert_eq!(case.read("h"), b"first");
    assert_eq!(case.read("d/kept"), b"1");
    assert_eq!(case.read("t"), b"file now");
    assert_eq!(case.meta("u/h").ino(), case.meta("h").ino());
    // f, h, d, d/kept, t, u.
    assert_eq!(unpacked.inodes, 6);
    assert_eq!(unpacked.bytes, 6 + 5 + 1 + 8);
}

#[test]
fn s08_a_file_is_no_parent() {
    let case = Case::new();
    case.refused(
        &Archive::default().file("f", b"").file("f/x", b"").end(),
        &["no directory"],
    );
    case.refused(
        &Archive::default().symlink(".", "x").end(),
        &["target itself"],
    );
}

#[test]
fn extended_attributes_are_set_or_left_out() {
    let case = Case::new();
    // cap_net_raw=ep, revision 2.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let archive = Archive::default()
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.a", b"with \n and \0"),
            ("SCHILY.xattr.security.selinux", b"label"),
        ])
        .file("ping", b"")
        .pax(&[("SCHILY.xattr.user.a", b"1")])
        .symlink("s", "ping");
    assert_eq!(case.good(&archive.end()).ignored_xattrs, 2);
    assert_eq!(
        xattr(&case, "ping", "security.capability").unwrap(),
        capability
    );
    assert_eq!(xattr(&case, "ping", "user.a").unwrap(), b"with \n and \0");
    assert_eq!(xattr(&case, "ping", "security.selinux"), None);
    let bad = Archive::default().pax(&[("SCHILY.xattr.security.capability", b"x")]);
    case.refused(
        &bad.file("bad", b"").end(),
        &["security.capability", "\"bad\""],
    );
}
