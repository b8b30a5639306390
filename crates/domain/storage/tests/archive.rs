//! Trees into tar streams, read again by another implementation. Needs root: device nodes and
//! `trusted.` attributes.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use berth_storage::archive::{Form, TreeOptions, Written, write_path, write_tree};
use berth_sys::rustix::fs::{
    CWD, FileType, Mode, OFlags, XattrFlags, makedev, mknodat, openat, setxattr,
};

fn directory(path: &Path) -> OwnedFd {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

fn options(form: Form, name: &str) -> TreeOptions {
    TreeOptions {
        form,
        name: name.into(),
        cross_mounts: false,
    }
}

fn written(top: &Path, form: Form, name: &str) -> (Vec<u8>, Written) {
    let mut out = Vec::new();
    let report = write_tree(directory(top).as_fd(), &options(form, name), &mut out).unwrap();
    (out, report)
}

/// Path, type and link target of every entry.
fn entries(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let show = |entry: tar::Entry<'_, &[u8]>| {
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let link = entry.link_name_bytes();
        let link = link.map(|l| format!(" -> {}", String::from_utf8_lossy(&l)));
        let kind = char::from(entry.header().entry_type().as_byte());
        format!("{kind} {path}{}", link.unwrap_or_default())
    };
    archive
        .entries()
        .unwrap()
        .map(|e| show(e.unwrap()))
        .collect()
}

#[test]
fn an_upper_directory_becomes_a_layer() {
    let place = tempfile::tempdir().unwrap();
    let top = place.path();
    fs::create_dir_all(top.join("etc/deep")).unwrap();
    fs::write(top.join("etc/a"), "one").unwrap();
    fs::hard_link(top.join("etc/a"), top.join("z")).unwrap();
    symlink("/etc/passwd", top.join("link")).unwrap();
    fs::write(top.join("etc/.wh.mean"), "").unwrap();
    let _socket = UnixListener::bind(top.join("socket")).unwrap();
    let root = directory(top);
    let device = |name: &str, kind, major, minor| {
        mknodat(&root, name, kind, Mode::from(0o600), makedev(major, minor)).unwrap();
    };
    device("gone", FileType::CharacterDevice, 0, 0);
    device("null", FileType::CharacterDevice, 1, 3);
    device("pipe", FileType::Fifo, 0, 0);
    let attribute = |path: &str, name: &str, value: &[u8]| {
        setxattr(top.join(path), name, value, XattrFlags::empty()).unwrap();
    };
    attribute("etc/deep", "trusted.overlay.opaque", b"y");
    attribute("etc/a", "user.kept", b"v");
    attribute("etc/a", "trusted.left", b"v");

    let (archive, report) = written(top, Form::Layer, "");
    let expected = [
        "5 etc/",
        "0 etc/a",
        "5 etc/deep/",
        "0 etc/deep/.wh..wh..opq",
        "0 .wh.gone",
        "2 link -> /etc/passwd",
        "3 null",
        "6 pipe",
        "1 z -> etc/a",
    ];
    assert_eq!(entries(&archive), expected);
    assert_eq!(
        (report.sockets, report.ambiguous, report.entries),
        (1, 1, 9)
    );
    assert_eq!(
        written(top, Form::Layer, "").0,
        archive,
        "the same bytes again"
    );
    let text = String::from_utf8_lossy(&archive);
    assert!(text.contains("SCHILY.xattr.user.kept=v") && !text.contains("trusted."));
    assert!(text.contains("mtime="), "times below a second");

    let plain = entries(&written(top, Form::Plain, "x").0);
    assert!(plain.contains(&"5 x/".to_owned()) && plain.contains(&"3 x/gone".to_owned()));
    assert!(plain.contains(&"0 x/etc/.wh.mean".to_owned()));
    assert!(plain.contains(&"1 x/z -> x/etc/a".to_owned()));
}

#[test]
fn what_was_renamed_by_reference_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let moved = place.path().join("moved");
    fs::create_dir(&moved).unwrap();
    setxattr(
        &moved,
        "trusted.overlay.redirect",
        b"/old",
        XattrFlags::empty(),
    )
    .unwrap();
    let top = directory(place.path());
    let refused = write_tree(top.as_fd(), &options(Form::Layer, ""), Vec::new()).unwrap_err();
    assert!(
        refused.to_string().contains("redirect_dir=off"),
        "{refused}"
    );
    assert!(write_tree(top.as_fd(), &options(Form::Plain, ""), Vec::new()).is_ok());
}

#[test]
fn one_name_is_an_archive_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("d")).unwrap();
    fs::write(place.path().join("d/f"), "x").unwrap();
    symlink("/etc", place.path().join("l")).unwrap();
    let top = directory(place.path());
    let path = |name, shown| {
        let mut out = Vec::new();
        write_path(top.as_fd(), name, &options(Form::Plain, shown), &mut out).unwrap();
        entries(&out)
    };
    assert_eq!(path(c"d", "n"), ["5 n/", "0 n/f"]);
    assert_eq!(path(c"l", "l"), ["2 l -> /etc"]);
}

/// Takes as much as the limit, then fails.
struct Narrow(usize);

impl std::io::Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_sub(bytes.len());
        if self.0 == 0 {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_huge_file_streams_and_a_lost_reader_ends_it() {
    let place = tempfile::tempdir().unwrap();
    let file = File::create(place.path().join("huge")).unwrap();
    // Sparse: a terabyte that takes nothing.
    file.set_len(1 << 40).unwrap();
    let top = directory(place.path());
    let ended = write_tree(top.as_fd(), &options(Form::Layer, ""), Narrow(64 << 20));
    assert!(ended.unwrap_err().to_string().contains("cannot write"));
}

#[test]
fn a_layer_gives_back_what_was_written() {
    let place = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    let helper = test.parent().and_then(Path::parent).unwrap();
    let db = berth_store::Db::open(&place.path().join("meta.db")).unwrap();
    let unpacker = berth_unpack::Unpacker::new(helper.join("berth-unpack"));
    let storage = berth_storage::Storage::open(place.path(), db, unpacker).unwrap();

    let tree = tempfile::tempdir().unwrap();
    let script = format!(
        r#"cd {}
        mkdir -p a/$(printf 'x%.0s' $(seq 200))/b "sp ace" set; chmod 2775 set; chmod 1777 a
        echo one > a/one; ln a/one zwei; chown 3000000:4000000 a/one; chmod 6755 a/one
        printf x > "$(printf 'bad\377name')"; printf y > "$(printf 'new\nline')"
        mkfifo pipe; ln pipe pipe2; ln -s "$(printf 'y%.0s' $(seq 300))" long; ln long long2
        mknod null c 1 3; mknod disk b 8 0; mknod gone c 0 0; mknod a/gone c 0 0
        touch -h -d '1960-01-01 00:00:00.5' a/one; truncate -s 3M sparse; : > empty
        cp /bin/true plain"#,
        tree.path().display()
    );
    let done = std::process::Command::new("bash")
        .args(["-ec", &script])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let capability = b"\x01\0\0\x02\x00\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for (path, name, value) in [
        ("a", "trusted.overlay.opaque", &b"y"[..]),
        ("plain", "user.b", b"2\n"),
        ("plain", "user.a", b""),
        ("plain", "security.capability", capability),
    ] {
        setxattr(tree.path().join(path), name, value, XattrFlags::empty()).unwrap();
    }
    let (archive, _) = written(tree.path(), Form::Layer, "");
    let file = place.path().join("archive.tar");
    fs::write(&file, &archive).unwrap();
    let layer = File::open(&file).unwrap().into();
    let layer = storage.ingest_layer("test", layer, None).unwrap();
    let mut stream = storage.layer_stream(layer.id).unwrap();
    assert_eq!(stream.length, archive.len() as u64);
    let mut again = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut again).unwrap();
    assert!(again == archive, "reassembled");
    // The unpacked layer is the tree that was written: nothing is lost on the way.
    let (unpacked, _) = written(&storage.paths().layer(layer.id), Form::Layer, "");
    assert_eq!(entries(&unpacked), entries(&archive));
    assert!(unpacked == archive, "unpacked and written again");
}
