//! A log on a file system that is full. Runs as root, in a mount namespace of its own.

use std::fs;
use std::os::fd::AsFd;

use berth_shim::log::Writer;
use berth_shim::protocol::Stream;
use berth_sys::process::unshare_namespaces;
use berth_sys::rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use berth_sys::rustix::thread::UnshareFlags;
use berth_types::Timestamp;

#[test]
fn records_are_dropped_counted_and_the_loss_noted() {
    // The namespace belongs to this thread and goes away with it, and with it the file system.
    unshare_namespaces(UnshareFlags::NEWNS).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    let top = std::env::temp_dir().join(format!("berth-log-full-{}", std::process::id()));
    fs::create_dir_all(&top).unwrap();
    mount(
        "tmpfs",
        &top,
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=64k"),
    )
    .unwrap();

    let directory = fs::File::open(&top).unwrap();
    let mut log = Writer::open(directory.as_fd(), "log".into(), 1 << 20, 3).unwrap();
    let filler = top.join("filler");
    fs::write(&filler, vec![0; 48 << 10]).unwrap();
    let line = [&[b'x'; 999][..], b"\n"].concat();
    log.write(Stream::Stdout, &line.repeat(30), Timestamp::from_nanos(1));
    let lost = log.dropped();
    assert!((10..30).contains(&lost), "{lost} of 30");
    log.write(Stream::Stdout, b"short\n", Timestamp::from_nanos(1));
    let whole = fs::read_to_string(top.join("log")).unwrap();
    assert!(whole.ends_with("}\n"), "no torn record is left");
    let short_fits = whole.contains("short");
    let lost = if short_fits { lost } else { lost + 1 };

    fs::remove_file(&filler).unwrap();
    log.write(Stream::Stdout, b"again\n", Timestamp::from_nanos(1));
    assert_eq!(log.dropped(), 0);
    let text = fs::read_to_string(top.join("log")).unwrap();
    assert!(text.starts_with(&whole));
    let notice = format!("berth: {lost} log records were dropped");
    assert!(text.contains(&notice), "{notice}");
    assert!(text.lines().last().unwrap().contains("again"));
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    berth_sys::rustix::mount::unmount(&top, berth_sys::rustix::mount::UnmountFlags::DETACH)
        .unwrap();
    fs::remove_dir(&top).unwrap();
}
