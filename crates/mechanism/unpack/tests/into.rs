//! Unpacking into a tree that is in use. Runs as root.

mod common;

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use berth_unpack::protocol::Destination;
use berth_unpack::{UnpackError, Unpacked};
use common::*;

/// A tree with a directory `home` in it, which archives are unpacked into.
fn tree() -> Case {
    let case = Case::new();
    fs::create_dir_all(case.path("home/there")).unwrap();
    fs::create_dir(case.path("data")).unwrap();
    fs::write(case.path("home/file"), "old").unwrap();
    symlink("/data", case.path("home/link")).unwrap();
    fs::set_permissions(case.path("home"), fs::Permissions::from_mode(0o700)).unwrap();
    case
}

fn unpack(case: &Case, archive: &[u8], keep_kinds: bool) -> Result<Unpacked, UnpackError> {
    let into = Destination {
        directory: "home".to_owned(),
        keep_kinds,
        owner: Some((7, 8)),
    };
    let target = File::open(case.target()).unwrap();
    let result = unpacker().unpack_into(file_of(archive), target.as_fd(), into, &case.budget);
    case.check_outside();
    result
}

#[test]
fn names_are_relative_to_the_directory_and_links_to_the_tree() {
    let case = tree();
    let archive = Archive::default()
        .directory("./")
        .file("file", b"new")
        .file("link/below", b"through the link")
        .hard_link("other", "file")
        .file(".wh.there", b"a name like any other")
        .end();
    unpack(&case, &archive, true).unwrap();
    assert_eq!(case.read("home/file"), b"new");
    assert_eq!(case.read("data/below"), b"through the link");
    assert_eq!(case.meta("home/other").ino(), case.meta("home/file").ino());
    assert_eq!(case.read("home/.wh.there"), b"a name like any other");
    assert!(case.path("home/there").is_dir());
    assert_eq!(
        (case.meta("home/file").uid(), case.meta("home/file").gid()),
        (7, 8)
    );
    let home = case.meta("home");
    assert_eq!(
        (home.mode() & 0o777, home.uid()),
        (0o700, 0),
        "the directory itself stays"
    );
}

#[test]
fn a_directory_stays_a_directory_where_that_is_asked_for() {
    let case = tree();
    let file = Archive::default().file("there", b"x").end();
    let directory = Archive::default().directory("file").end();
    for (archive, words) in [
        (&file, "cannot overwrite directory"),
        (&directory, "cannot overwrite non-directory"),
    ] {
        let error = unpack(&case, archive, true).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(case.path("home/there").is_dir() && case.path("home/file").is_file());
    unpack(&case, &file, false).unwrap();
    assert!(case.path("home/there").is_file());
}

#[test]
fn nothing_leads_out() {
    let case = tree();
    symlink("../../..", case.path("home/up")).unwrap();
    let archive = Archive::default().file("up/canary", b"mine").end();
    unpack(&case, &archive, true).unwrap();
    assert_eq!(case.read("canary"), b"mine", "above the tree is the tree");
    let archive = Archive::default().file("../../canary", b"mine").end();
    assert!(unpack(&case, &archive, true).is_err());
}
