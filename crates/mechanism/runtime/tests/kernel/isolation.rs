//! What a container sees of the host, and what it may do.

use std::fs;

use berth_sys::seccomp::{Action, Profile, compile};
use berth_types::oci::{NamespaceKind, Rlimit};

use super::Case as Entry;
use super::support::{Case, leak};

pub const CASES: &[Entry] = &[
    ("namespaces_are_its_own", namespaces_are_its_own),
    (
        "a_namespace_that_is_not_listed_is_the_hosts",
        a_namespace_that_is_not_listed_is_the_hosts,
    ),
    ("it_joins_namespaces", it_joins_namespaces),
    (
        "it_is_process_one_with_its_own_name",
        it_is_process_one_with_its_own_name,
    ),
    ("rights_are_dockers", rights_are_dockers),
    ("a_user_has_no_rights", a_user_has_no_rights),
    ("seccomp_is_loaded", seccomp_is_loaded),
    ("mounting_is_refused", mounting_is_refused),
    (
        "kernel_settings_cannot_be_written",
        kernel_settings_cannot_be_written,
    ),
    ("masked_paths_are_empty", masked_paths_are_empty),
    ("masks_are_not_the_hosts_null", masks_are_not_the_hosts_null),
    (
        "only_the_standard_descriptors_are_open",
        only_the_standard_descriptors_are_open,
    ),
    (
        "devices_are_complete_and_restricted",
        devices_are_complete_and_restricted,
    ),
    (
        "sysctls_are_set_in_the_container_only",
        sysctls_are_set_in_the_container_only,
    ),
    (
        "signals_and_process_settings_are_fresh",
        signals_and_process_settings_are_fresh,
    ),
    (
        "control_groups_are_private_and_read_only",
        control_groups_are_private_and_read_only,
    ),
];

const NAMESPACES: [&str; 6] = ["mnt", "net", "uts", "pid", "ipc", "cgroup"];

fn links(of: &str) -> String {
    NAMESPACES
        .map(|n| format!("readlink /proc/{of}/ns/{n}"))
        .join("; ")
}

fn host_links() -> Vec<String> {
    let link = |n| fs::read_link(format!("/proc/self/ns/{n}")).unwrap();
    NAMESPACES
        .iter()
        .map(|n| link(n).to_str().unwrap().to_owned())
        .collect()
}

fn namespaces_are_its_own() {
    let output = Case::new("namespaces").output(&links("self"));
    let inside: Vec<&str> = output.lines().collect();
    assert_eq!(inside.len(), NAMESPACES.len());
    for (own, host) in inside.iter().zip(host_links()) {
        assert_ne!(*own, host);
    }
}

fn a_namespace_that_is_not_listed_is_the_hosts() {
    let mut case = Case::new("shared");
    for kind in [
        NamespaceKind::Network,
        NamespaceKind::Uts,
        NamespaceKind::Ipc,
        NamespaceKind::Pid,
    ] {
        case.share(kind);
    }
    let output = case.output(&links("self"));
    let same: Vec<bool> = output
        .lines()
        .zip(host_links())
        .map(|(a, b)| *a == b)
        .collect();
    assert_eq!(same, [false, true, true, true, true, false]);
    // A host name would be the host's.
    case.bundle.spec.hostname = "x".to_owned();
    assert!(case.failure().message.contains("UTS"));
}

fn it_joins_namespaces() {
    let mut first = Case::new("joined");
    let (running, _output) = first.script("sleep 60").start().unwrap();
    let pid = running.started.init.pid;
    let mut second = Case::new("joining");
    let joined = [
        (NamespaceKind::Network, "net"),
        (NamespaceKind::Ipc, "ipc"),
        (NamespaceKind::Pid, "pid"),
    ];
    for (kind, name) in joined {
        let namespaces = &mut second.linux().namespaces;
        let entry = namespaces.iter_mut().find(|n| n.kind == kind).unwrap();
        entry.path = Some(format!("/proc/{pid}/ns/{name}"));
    }
    let before = fs::read_link("/proc/self/ns/pid_for_children").unwrap();
    let output = second.output("readlink /proc/1/ns/net; readlink /proc/self/ns/net; readlink /proc/1/ns/ipc; readlink /proc/self/ns/ipc; test $$ != 1");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], lines[1]);
    assert_eq!(lines[2], lines[3]);
    assert_eq!(
        fs::read_link("/proc/self/ns/pid_for_children").unwrap(),
        before
    );
    berth_sys::pidfd::send_signal(&running.init_pidfd, 9).unwrap();
    super::support::finish(running, String::new());
}

fn it_is_process_one_with_its_own_name() {
    let mut case = Case::new("one");
    case.bundle.spec.domainname = "example".to_owned();
    let script = "echo $$; hostname; cat /proc/sys/kernel/domainname; cat /sys/class/net/lo/flags; \
                  set -- /proc/[0-9]*; echo $#; id -u; umask; pwd; echo $HOME";
    assert_eq!(
        case.output(script),
        "1\nbox\nexample\n0x9\n1\n0\n0022\n/\n/root\n"
    );
}

fn status(case: &mut Case) -> impl Fn(&str) -> String + use<> {
    let text = case.output("cat /proc/self/status");
    move |key| {
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(&format!("{key}:")));
        line.unwrap_or("").trim().to_owned()
    }
}

fn rights_are_dockers() {
    let mut case = Case::new("rights");
    case.process().no_new_privileges = true;
    let field = status(&mut case);
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(field(set), "00000000a80425fb", "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(
        (field("NoNewPrivs"), field("Seccomp")),
        ("1".to_owned(), "0".to_owned())
    );
}

fn a_user_has_no_rights() {
    let mut case = Case::new("user");
    case.bundle.user = "app".to_owned();
    case.bundle.groups = vec!["4711".to_owned()];
    let field = status(&mut case);
    assert_eq!(field("CapEff"), "0000000000000000");
    assert_eq!(field("CapBnd"), "00000000a80425fb");
    assert_eq!(field("Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(field("Groups"), "1001 2000 4711");
    assert_eq!(
        case.output("echo $HOME; echo ok > /dev/stdout"),
        "/home/app\nok\n"
    );
    // An ambient capability survives the change of user, which is its purpose.
    let capabilities = case.process().capabilities.as_mut().unwrap();
    capabilities.ambient = vec!["CAP_NET_RAW".to_owned()];
    capabilities.inheritable = vec!["CAP_NET_RAW".to_owned()];
    assert_eq!(status(&mut case)("CapEff"), "0000000000002000");
}

fn seccomp_is_loaded() {
    let mut case = Case::new("seccomp");
    let names = ["mkdir", "mkdirat"].map(str::to_owned).to_vec();
    let rule = berth_sys::seccomp::Rule {
        names,
        action: Action::Errno(121),
        conditions: Vec::new(),
    };
    let native = berth_sys::arch::Arch::NATIVE;
    let profile = Profile {
        default_action: Action::Allow,
        architectures: vec![native],
        rules: vec![rule],
    };
    case.filter = Some(compile(&profile).unwrap());
    for no_new_privileges in [false, true] {
        case.process().no_new_privileges = no_new_privileges;
        case.bundle.user = "app".to_owned();
        assert_eq!(status(&mut case)("Seccomp"), "2");
        assert_eq!(status(&mut case)("CapEff"), "0000000000000000");
        let output = case.output("mkdir /tmp/x 2>&1 || true");
        assert!(output.contains("Remote I/O error"), "{output}");
    }
}

fn mounting_is_refused() {
    let output = Case::new("mount")
        .output("mount -t tmpfs none /tmp 2>&1; mount | grep -c ' /tmp ' || true");
    assert!(
        output.contains("denied") || output.contains("not permitted"),
        "{output}"
    );
    assert!(output.ends_with("\n0\n"), "{output}");
}

fn kernel_settings_cannot_be_written() {
    let mut case = Case::new("settings");
    let script = "for f in /proc/sys/kernel/panic /proc/sysrq-trigger /sys/kernel/uevent_helper \
                  /sys/fs/cgroup/*/cgroup.procs; do echo 0 2>/dev/null > $f && echo wrote $f; done; \
                  touch /proc/irq/x 2>/dev/null && echo made; true";
    let output = case.output(&format!("( {script} ) 2>/dev/null"));
    assert_eq!(output, "");
}

fn masked_paths_are_empty() {
    let script = "cat /proc/kcore /proc/keys /proc/timer_list; ls /proc/scsi /sys/firmware; true";
    let output = Case::new("masks").output(script);
    let content: Vec<&str> = output
        .lines()
        .filter(|l| !l.is_empty() && !l.ends_with(':'))
        .collect();
    assert!(
        content.iter().all(|l| l.contains("No such file")),
        "{output}"
    );
}

/// Who may change the mode of a mask must not change the host's device.
fn masks_are_not_the_hosts_null() {
    let before = fs::metadata("/dev/null").unwrap();
    let mut case = Case::new("mask-mode");
    case.output("chmod 640 /proc/keys; touch -d 2001-01-01 /proc/keys 2>/dev/null; true");
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!(before.permissions(), after.permissions());
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
}

fn only_the_standard_descriptors_are_open() {
    let _leaks: Vec<_> = (0..20).map(|_| leak("/")).collect();
    // The glob's own directory is the fourth.
    let output = Case::new("census").output("exec ls -l /proc/1/fd; true");
    let numbers: Vec<&str> = output
        .lines()
        .filter_map(|l| l.split(" -> ").next()?.rsplit(' ').next())
        .collect();
    assert!(
        numbers.contains(&"0") && numbers.contains(&"1") && numbers.contains(&"2"),
        "{output}"
    );
    let others = output
        .lines()
        .filter(|l| l.contains(" -> ") && !l.contains("pipe:"));
    let others: Vec<&str> = others.filter_map(|l| l.split(" -> ").nth(1)).collect();
    assert!(
        others
            .iter()
            .all(|t| *t == "/dev/null" || t.starts_with("/proc/")),
        "{output}"
    );
    assert!(others.len() <= 2, "{output}");
}

fn devices_are_complete_and_restricted() {
    let mut case = Case::new("devices");
    case.linux().devices.push(berth_types::oci::Device {
        path: "/dev/extra/mem".to_owned(),
        kind: 'c',
        major: 1,
        minor: 1,
        file_mode: 0o640,
        uid: 5,
        gid: 6,
    });
    let script = "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' /dev/$d; done; \
                  stat -c '%t:%T %a %u:%g' /dev/extra/mem; \
                  for l in fd stdin stdout stderr ptmx core; do readlink /dev/$l; done; \
                  dd if=/dev/zero of=/dev/null bs=1 count=1 2>/dev/null && echo usable; \
                  dd if=/dev/extra/mem bs=1 count=1 2>/dev/null || echo forbidden; \
                  grep -c ' /dev/' /proc/self/mounts; stat -c %a /dev/shm";
    let expected = "/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n\
                    /dev/random 1:8 666\n/dev/urandom 1:9 666\n/dev/tty 5:0 666\n\
                    1:1 640 5:6\n\
                    /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n\
                    /proc/kcore\nusable\nforbidden\n3\n1777\n";
    assert_eq!(case.output(script), expected);
}

fn sysctls_are_set_in_the_container_only() {
    let mut case = Case::new("sysctl");
    let set = |case: &mut Case, name: &str, value: &str| {
        case.linux()
            .sysctl
            .insert(name.to_owned(), value.to_owned());
    };
    set(&mut case, "net.ipv4.ip_default_ttl", "77");
    set(&mut case, "kernel.msgmax", "4321");
    let files = [
        "/proc/sys/net/ipv4/ip_default_ttl",
        "/proc/sys/kernel/msgmax",
    ];
    let host = files.map(|f| fs::read_to_string(f).unwrap());
    assert_eq!(
        case.output(&format!("cat {} {}", files[0], files[1])),
        "77\n4321\n"
    );
    assert_eq!(files.map(|f| fs::read_to_string(f).unwrap()), host);
    set(&mut case, "kernel.panic", "1");
    assert!(case.failure().message.contains("kernel.panic"));
}

fn signals_and_process_settings_are_fresh() {
    let mut case = Case::new("signals");
    case.process().oom_score_adj = Some(321);
    case.process().rlimits = vec![Rlimit {
        kind: "RLIMIT_NOFILE".to_owned(),
        soft: 100,
        hard: 200,
    }];
    // Not by a shell, which sets some of its own.
    let outcome = case
        .args(&["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"])
        .run()
        .unwrap();
    assert_eq!(
        outcome.output,
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
    let output =
        case.output("cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; cat /proc/self/stat");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..3], ["321", "100", "200"]);
    // Fields 5 and 6: process group and session are those of process 1.
    let after = lines[3].rsplit(") ").next().unwrap();
    let fields: Vec<&str> = after.split(' ').collect();
    assert_eq!(fields[2..4], ["1", "1"]);
}

fn control_groups_are_private_and_read_only() {
    let mut case = Case::new("cgroupns");
    let output = case.output("cat /proc/self/cgroup");
    let unified = |l: &&str| !l.starts_with("0::");
    assert!(
        output.lines().filter(unified).all(|l| l.ends_with(":/")),
        "{output}"
    );
    let options = case.output("grep ' /sys/fs/cgroup' /proc/self/mounts");
    assert!(options.lines().count() > 0);
    assert!(
        options
            .lines()
            .all(|l| l.contains(" ro,nosuid,nodev,noexec,")),
        "{options}"
    );
    // The mounts show the container's own group and nothing above.
    let own = case.output(
        "cat /sys/fs/cgroup/pids/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null | grep -c . ",
    );
    assert_eq!(own.trim(), "3", "sh, cat and grep");
}
