//! An exit record on a file system that is full. Runs as root, in a mount namespace of its own.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;

use berth_shim::exit_record;
use berth_sys::process::unshare_namespaces;
use berth_sys::rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use berth_sys::rustix::thread::UnshareFlags;
use berth_types::Timestamp;
use berth_types::launch::{EXIT_RECORD_VERSION, ExitRecord};

#[test]
fn the_record_takes_the_place_of_a_file_that_is_there() {
    // The namespace belongs to this thread and goes away with it, and with it the file system.
    unshare_namespaces(UnshareFlags::NEWNS).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    let top = std::env::temp_dir().join(format!("berth-exit-full-{}", std::process::id()));
    fs::create_dir_all(&top).unwrap();
    let flags = MountFlags::empty();
    mount("tmpfs", &top, "tmpfs", flags, Some(c"size=64k")).unwrap();
    fs::write(top.join("hostname"), "name\n").unwrap();
    let mut filler = File::create(top.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}

    let directory = File::open(&top).unwrap();
    let record = ExitRecord {
        version: EXIT_RECORD_VERSION,
        code: 7,
        oom_killed: false,
        at: Timestamp::from_nanos(1),
        reason: Some("of some length".repeat(20)),
    };
    exit_record::write(directory.as_fd(), &record, true).unwrap();
    assert_eq!(exit_record::read(&directory).unwrap(), Some(record.clone()));
    // There is no second file to take: it is said, and nothing is left.
    exit_record::remove(&directory).unwrap();
    filler.write_all(&[0; 4096]).unwrap();
    let error = exit_record::write(directory.as_fd(), &record, true).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(!top.join("exit.json.new").exists());
    drop((filler, directory));
    unmount(&top, UnmountFlags::DETACH).unwrap();
    fs::remove_dir(&top).unwrap();
}
