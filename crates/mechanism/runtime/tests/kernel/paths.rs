//! Mounts: what an image, a volume or a working directory could do to lead them out.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use berth_sys::process::unshare_namespaces;
use berth_sys::rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use berth_sys::rustix::thread::UnshareFlags;
use berth_types::launch::{Rootfs, StartFailureKind};

use super::Case as Entry;
use super::support::{Case, leak};

pub const CASES: &[Entry] = &[
    ("a_link_at_dev_stays_inside", a_link_at_dev_stays_inside),
    ("a_link_at_proc_is_refused", a_link_at_proc_is_refused),
    (
        "a_volume_target_cannot_leave_the_root",
        a_volume_target_cannot_leave_the_root,
    ),
    (
        "volumes_of_files_and_directories",
        volumes_of_files_and_directories,
    ),
    ("a_volume_cannot_cover_procfs", a_volume_cannot_cover_procfs),
    ("bad_mounts_are_explained", bad_mounts_are_explained),
    ("mount_options_take_effect", mount_options_take_effect),
    ("propagation_is_as_asked", propagation_is_as_asked),
    (
        "a_readonly_root_has_writable_mounts",
        a_readonly_root_has_writable_mounts,
    ),
    (
        "a_working_directory_through_procfs_is_refused",
        working_directory_through_procfs,
    ),
    (
        "a_working_directory_is_made_for_its_user",
        a_working_directory_is_made_for_its_user,
    ),
    ("a_root_of_many_layers", a_root_of_many_layers),
    (
        "a_root_of_layers_with_long_names",
        a_root_of_layers_with_long_names,
    ),
    ("a_root_that_is_a_directory", a_root_that_is_a_directory),
    (
        "a_root_that_cannot_be_mounted_is_explained",
        a_root_that_cannot_be_mounted_is_explained,
    ),
    (
        "nothing_of_the_host_stays_mounted",
        nothing_of_the_host_stays_mounted,
    ),
];

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).unwrap().next().is_none()
}

fn a_link_at_dev_stays_inside() {
    let mut case = Case::new("dev-link");
    let outside = case.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::remove_dir(case.image.join("dev")).unwrap();
    symlink(&outside, case.image.join("dev")).unwrap();
    assert_eq!(case.output("echo x > /dev/null; echo ok"), "ok\n");
    assert!(is_empty(&outside));
}

fn a_link_at_proc_is_refused() {
    let case = Case::new("proc-link");
    fs::remove_dir(case.image.join("proc")).unwrap();
    fs::create_dir(case.image.join("tmp/fake")).unwrap();
    symlink("/tmp/fake", case.image.join("proc")).unwrap();
    let failure = case.failure();
    assert_eq!(failure.kind, StartFailureKind::BadMount);
    assert!(
        failure.message.contains("ordinary directory"),
        "{}",
        failure.message
    );
}

fn a_volume_target_cannot_leave_the_root() {
    let mut case = Case::new("escape");
    let outside = case.dir.join("outside");
    let volume = case.dir.join("volume");
    for directory in [&outside, &volume] {
        fs::create_dir(directory).unwrap();
    }
    symlink(&outside, case.image.join("away")).unwrap();
    symlink("../../../../../../../..", case.image.join("up")).unwrap();
    case.mount("bind", &volume, "/away/one", "rbind,rprivate");
    case.mount("bind", &volume, "/up/tmp/two", "rbind,rprivate");
    let script = format!("touch /tmp/two/here; ls {}/one", outside.display());
    assert_eq!(case.output(&script), "here\n");
    assert!(is_empty(&outside));
    assert!(!Path::new("/tmp/two").exists());
}

fn volumes_of_files_and_directories() {
    let mut case = Case::new("volumes");
    let file = case.dir.join("hosts");
    fs::write(&file, "text\n").unwrap();
    let directory = case.dir.join("data");
    fs::create_dir(&directory).unwrap();
    case.mount("bind", &file, "/etc/hosts", "rbind,ro");
    case.mount("bind", &directory, "/srv/deep/data", "rbind");
    let script =
        "cat /etc/hosts; touch /srv/deep/data/new; touch /etc/hosts 2>/dev/null || echo ro";
    assert_eq!(case.output(script), "text\nro\n");
    assert!(directory.join("new").exists());
}

fn a_volume_cannot_cover_procfs() {
    for destination in ["/proc", "/proc/sys/kernel", "/link"] {
        let mut case = Case::new("cover");
        symlink("/proc/sys", case.image.join("link")).unwrap();
        let volume = case.dir.join("volume");
        fs::create_dir(&volume).unwrap();
        case.mount("bind", volume, destination, "rbind");
        let failure = case.failure();
        assert_eq!(failure.kind, StartFailureKind::BadMount, "{destination}");
        assert!(failure.message.contains("procfs"), "{}", failure.message);
    }
    let mut case = Case::new("uptime");
    let file = case.dir.join("uptime");
    fs::write(&file, "1 1\n").unwrap();
    case.mount("bind", file, "/proc/uptime", "bind");
    assert_eq!(case.output("cat /proc/uptime"), "1 1\n");
}

fn bad_mounts_are_explained() {
    let check = |kind: &str, source: &str, destination: &str, options: &str, expected: &str| {
        let mut case = Case::new("bad-mount");
        case.mount(kind, source, destination, options);
        let failure = case.failure();
        assert_eq!(failure.kind, StartFailureKind::BadMount);
        assert!(failure.message.contains(expected), "{}", failure.message);
        assert!(failure.message.contains(destination), "{}", failure.message);
    };
    check(
        "bind",
        "/nonexistent",
        "/x",
        "rbind",
        "bind source path does not exist: /nonexistent",
    );
    check("bind", "/etc", "/etc/passwd", "rbind", "not a directory");
    check("bind", "/etc/passwd", "/etc", "rbind", "not a directory");
    check(
        "bind",
        "/etc",
        "/x",
        "rbind,nonsense",
        "unknown mount option \"nonsense\"",
    );
    check("tmpfs", "tmpfs", "/x", "nonsense=1", "\"nonsense=1\"");
    check("tmpfs", "tmpfs", "/x", "size=many", "\"size=many\"");
    check("nosuchfs", "none", "/x", "rw", "nosuchfs");
    check("tmpfs", "tmpfs", "/", "rw", "root");
}

fn mount_options_take_effect() {
    let mut case = Case::new("options");
    case.mount(
        "tmpfs",
        "tmpfs",
        "/a",
        "nosuid,nodev,noexec,noatime,size=4k,mode=1750",
    );
    case.mount("tmpfs", "tmpfs", "/tmp", "strictatime,ro");
    fs::set_permissions(
        case.image.join("tmp"),
        std::os::unix::fs::PermissionsExt::from_mode(0o711),
    )
    .unwrap();
    let output = case.output("grep -E ' /(a|tmp) ' /proc/self/mounts; stat -c %a /a /tmp");
    let lines: Vec<&str> = output.lines().collect();
    assert!(
        lines[0].contains(" rw,nosuid,nodev,noexec,noatime,size=4k,mode=1750"),
        "{output}"
    );
    assert!(lines[1].starts_with("tmpfs /tmp tmpfs ro,"), "{output}");
    assert!(!lines[1].contains("relatime"), "{output}");
    assert_eq!(
        lines[2..],
        ["1750", "711"],
        "a tmpfs takes the mode of what it covers"
    );
}

/// The case is its own host here: a mount namespace with one shared directory.
fn propagation_is_as_asked() {
    let mut case = Case::new("propagation");
    unshare_namespaces(UnshareFlags::NEWNS).unwrap();
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change("/", shared).unwrap();
    let volume = case.dir.join("volume");
    fs::create_dir_all(volume.join("later")).unwrap();
    mount_bind(&volume, &volume).unwrap();
    mount_change(&volume, MountPropagationFlags::SHARED).unwrap();
    for (destination, options) in [
        ("/s", "rbind,rshared"),
        ("/d", "rbind,rslave"),
        ("/p", "rbind,rprivate"),
        ("/n", "rbind"),
    ] {
        case.mount("bind", &volume, destination, options);
    }
    case.linux().rootfs_propagation = "rslave".to_owned();
    let script = "echo ready; read line < /s/go; for d in s d p n; do ls /$d/later; echo $d; done; \
                  grep -E ' /[sdpn] ' /proc/self/mountinfo >&2";
    berth_sys::rustix::fs::mknodat(
        berth_sys::rustix::fs::CWD,
        volume.join("go"),
        berth_sys::rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let (running, output) = case.script(script).start().unwrap();
    // The container runs: what is mounted on the host now arrives where it was asked to.
    let later = case.dir.join("other");
    fs::create_dir(&later).unwrap();
    File::create(later.join("new")).unwrap();
    mount_bind(&later, volume.join("later")).unwrap();
    fs::write(volume.join("go"), "go\n").unwrap();
    let text = std::io::read_to_string(output).unwrap();
    super::support::finish(running, String::new());
    assert!(text.starts_with("ready\nnew\ns\nnew\nd\np\nn\n"), "{text}");
    let field = |at: &str| {
        text.lines()
            .find(|l| l.contains(&format!(" {at} ")))
            .unwrap()
            .to_owned()
    };
    assert!(field("/s").contains("shared:"), "{text}");
    assert!(
        field("/d").contains("master:") && !field("/d").contains("shared:"),
        "{text}"
    );
    assert!(
        !field("/p").contains("master:") && !field("/p").contains("shared:"),
        "{text}"
    );
    for mounted in [volume.join("later"), volume] {
        let flags = berth_sys::rustix::mount::UnmountFlags::empty();
        berth_sys::rustix::mount::unmount(mounted, flags).unwrap();
    }
}

fn a_readonly_root_has_writable_mounts() {
    let mut case = Case::new("readonly");
    case.bundle.spec.root.readonly = true;
    case.mount("tmpfs", "tmpfs", "/scratch", "rw");
    let script = "touch /x 2>/dev/null || echo ro; touch /scratch/x /dev/shm/x && echo rw";
    assert_eq!(case.output(script), "ro\nrw\n");
}

fn working_directory_through_procfs() {
    let _leaks: Vec<_> = (0..8).map(|_| leak("/")).collect();
    for number in 3..24 {
        let mut case = Case::new("cwd");
        symlink(format!("/proc/self/fd/{number}"), case.image.join("way")).unwrap();
        for cwd in [format!("/proc/self/fd/{number}"), "/way".to_owned()] {
            case.process().cwd = cwd;
            let failure = case.failure();
            assert!(
                failure.message.contains("working directory"),
                "{}",
                failure.message
            );
        }
    }
}

fn a_working_directory_is_made_for_its_user() {
    let mut case = Case::new("make-cwd");
    case.bundle.user = "app".to_owned();
    case.process().cwd = "/srv/new".to_owned();
    assert!(case.failure().message.contains("/srv/new"));
    case.bundle.make_cwd = true;
    case.bundle.spec.root.readonly = true;
    assert_eq!(case.output("pwd; stat -c %u:%g ."), "/srv/new\n1000:1001\n");
}

fn layers(case: &mut Case, count: usize, name: impl Fn(usize) -> String) {
    let Rootfs::Overlay { lower, .. } = &mut case.bundle.rootfs else {
        unreachable!()
    };
    for index in 0..count {
        let layer = case.dir.join(name(index));
        fs::create_dir_all(layer.join("layers")).unwrap();
        File::create(layer.join(format!("layers/{index}"))).unwrap();
        lower.push(layer.to_str().unwrap().to_owned());
    }
}

fn a_root_of_many_layers() {
    let mut case = Case::new("layers");
    layers(&mut case, 300, |index| format!("layer-{index}"));
    assert_eq!(case.output("ls /layers | grep -c ."), "300\n");
}

/// Too long for the call that adds one layer: the older way is taken.
fn a_root_of_layers_with_long_names() {
    let mut case = Case::new("long");
    if let Rootfs::Overlay { volatile, .. } = &mut case.bundle.rootfs {
        *volatile = true;
    }
    layers(&mut case, 100, |index| {
        format!("{}/{index}", "x".repeat(250))
    });
    assert_eq!(
        case.output("ls /layers | grep -c .; touch /new; ls /new"),
        "100\n/new\n"
    );
    assert!(case.dir.join("upper/new").exists());
}

fn a_root_that_is_a_directory() {
    let mut case = Case::new("directory");
    case.bundle.rootfs = Rootfs::Directory(case.image.to_str().unwrap().to_owned());
    assert_eq!(case.output("touch /here; ls -d /bin/sh"), "/bin/sh\n");
    assert!(case.image.join("here").exists());
}

fn a_root_that_cannot_be_mounted_is_explained() {
    let mut case = Case::new("bad-root");
    layers(&mut case, 1, |_| "layer".to_owned());
    fs::remove_dir_all(case.dir.join("layer")).unwrap();
    let failure = case.failure();
    assert_eq!(failure.kind, StartFailureKind::Internal);
    assert!(failure.message.contains("/layer"), "{}", failure.message);
}

fn nothing_of_the_host_stays_mounted() {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut case = Case::new("mounts");
    let output = case.output("cat /proc/self/mounts");
    let expected = [
        " / overlay",
        " /proc ",
        " /dev ",
        " /sys ",
        " /dev/pts ",
        " /dev/shm ",
    ];
    for mount in expected {
        assert!(output.contains(mount), "{mount}: {output}");
    }
    assert!(!output.contains(" ext4 "), "{output}");
    let roots = output
        .lines()
        .filter(|l| l.split(' ').nth(1) == Some("/"))
        .count();
    assert_eq!(roots, 1, "{output}");
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}
