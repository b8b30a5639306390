//! Verdicts of the default profile, and refusals of broken ones.

use berth_sys::caps::Capability;
use berth_sys::seccomp::{Filter, compile};

use super::*;

const EPERM: Action = Action::Errno(1);
const ENOSYS: Action = Action::Errno(38);
const NEW_USER: u64 = 0x1000_0000;

fn host(arch: Arch) -> Host {
    Host {
        arch,
        kernel: KernelVersion {
            major: 5,
            minor: 10,
        },
    }
}

fn default_filter(caps: CapSet, arch: Arch) -> Filter {
    compile(&resolve_for(default_profile_json(), caps, host(arch)).unwrap()).unwrap()
}

/// What the filter does with a call given by name and first argument.
fn verdict(filter: &Filter, arch: Arch, name: &str, argument: u64) -> Action {
    let number = arch.syscall_number(name).unwrap();
    filter
        .simulate(arch, number, [argument, 0, 0, 0, 0, 0])
        .unwrap()
}

#[test]
fn default_profile_confines_on_every_abi() {
    let cases = [
        ("read", 0, Action::Allow),
        ("ptrace", 0, Action::Allow),
        ("chroot", 0, Action::Allow),
        ("mount", 0, EPERM),
        ("unshare", NEW_USER, EPERM),
        ("setns", 0, EPERM),
        ("bpf", 0, EPERM),
        ("keyctl", 0, EPERM),
        ("userfaultfd", 0, EPERM),
        ("io_uring_setup", 0, EPERM),
        ("kexec_load", 0, EPERM),
        ("clone", 0x11, Action::Allow),
        ("clone", 0x11 | NEW_USER, EPERM),
        ("clone", 0x0002_0000, EPERM),
        ("clone3", 0, ENOSYS),
        ("socket", 2, Action::Allow),
        ("socket", 38, EPERM),
        ("socket", 39, Action::Allow),
        ("socket", 40, EPERM),
        ("socket", 44, Action::Allow),
        ("personality", 0, Action::Allow),
        ("personality", 8, Action::Allow),
        ("personality", 0x2_0008, Action::Allow),
        ("personality", 0xffff_ffff, Action::Allow),
        ("personality", 0x40_0000, EPERM),
        ("removexattrat", 0, Action::Allow),
        ("open_tree_attr", 0, ENOSYS),
    ];
    for native in [Arch::X86_64, Arch::Aarch64] {
        let filter = default_filter(CapSet::DOCKER_DEFAULT, native);
        let abis: &[Arch] = match native {
            Arch::X86_64 => &[Arch::X86_64, Arch::X86, Arch::X32],
            _ => &[Arch::Aarch64, Arch::Arm],
        };
        for abi in abis {
            for (name, argument, action) in cases {
                assert_eq!(
                    verdict(&filter, *abi, name, argument),
                    action,
                    "{name} of {abi:?}"
                );
            }
        }
    }
}

/// The kernel takes the lower half of the address family only, so a filter must not be passed
/// with bits in the upper half.
#[test]
fn socket_families_cannot_be_hidden_in_the_upper_half() {
    let filter = default_filter(CapSet::DOCKER_DEFAULT, Arch::X86_64);
    for family in [2, 38, 40] {
        assert_eq!(
            verdict(&filter, Arch::X86_64, "socket", 1 << 32 | family),
            EPERM
        );
    }
}

#[test]
fn abis_of_other_machines_are_killed() {
    let filter = default_filter(CapSet::DOCKER_DEFAULT, Arch::X86_64);
    assert_eq!(
        verdict(&filter, Arch::Aarch64, "read", 0),
        Action::KillProcess
    );
    let filter = default_filter(CapSet::DOCKER_DEFAULT, Arch::Aarch64);
    assert_eq!(verdict(&filter, Arch::X86, "read", 0), Action::KillProcess);
    assert_eq!(verdict(&filter, Arch::Arm, "set_tls", 0), Action::Allow);
}

#[test]
fn capabilities_open_what_they_are_for() {
    let cases = [
        (Capability::SysAdmin, "mount"),
        (Capability::SysAdmin, "clone3"),
        (Capability::SysAdmin, "unshare"),
        (Capability::Bpf, "bpf"),
        (Capability::Perfmon, "perf_event_open"),
        (Capability::SysBoot, "reboot"),
        (Capability::SysModule, "finit_module"),
        (Capability::SysNice, "mbind"),
        (Capability::SysPacct, "acct"),
        (Capability::SysPtrace, "process_madvise"),
        (Capability::SysRawio, "iopl"),
        (Capability::SysTime, "clock_settime"),
        (Capability::SysTtyConfig, "vhangup"),
        (Capability::Syslog, "syslog"),
        (Capability::DacReadSearch, "open_by_handle_at"),
    ];
    let without = default_filter(CapSet::DOCKER_DEFAULT, Arch::X86_64);
    for (capability, name) in cases {
        let caps = CapSet::DOCKER_DEFAULT.union(CapSet::of(&[capability]));
        let with = default_filter(caps, Arch::X86_64);
        assert_eq!(
            verdict(&with, Arch::X86_64, name, NEW_USER),
            Action::Allow,
            "{name}"
        );
        assert_ne!(
            verdict(&without, Arch::X86_64, name, NEW_USER),
            Action::Allow,
            "{name}"
        );
    }
    let filter = default_filter(CapSet::EMPTY, Arch::X86_64);
    assert_eq!(verdict(&filter, Arch::X86_64, "chroot", 0), EPERM);
}

#[test]
fn kernel_and_architecture_conditions_are_answered() {
    let old = Host {
        arch: Arch::X86_64,
        kernel: KernelVersion { major: 4, minor: 7 },
    };
    let profile = resolve_for(default_profile_json(), CapSet::DOCKER_DEFAULT, old).unwrap();
    assert_eq!(
        verdict(&compile(&profile).unwrap(), Arch::X86_64, "ptrace", 0),
        EPERM
    );
    let profile = resolve_for(default_profile_json(), CapSet::EMPTY, host(Arch::Aarch64)).unwrap();
    assert_eq!(profile.architectures, [Arch::Aarch64, Arch::Arm]);
    assert!(
        profile
            .rules
            .iter()
            .all(|rule| !rule.names.contains(&"modify_ldt".to_owned()))
    );
}

/// The filter is loaded on every start, so its size is part of the design.
#[test]
fn default_filter_stays_small() {
    let filter = default_filter(CapSet::DOCKER_DEFAULT, Arch::X86_64);
    assert!(
        filter.instructions().len() < 700,
        "{}",
        filter.instructions().len()
    );
}

#[test]
fn simple_profiles_resolve() {
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"],
        "syscalls": [{"name": "mkdir", "action": "SCMP_ACT_ERRNO", "args": null},
                     {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}"#;
    let profile = resolve_for(json, CapSet::EMPTY, host(Arch::X86_64)).unwrap();
    assert_eq!(profile.architectures, [Arch::X86_64]);
    let filter = compile(&profile).unwrap();
    assert_eq!(verdict(&filter, Arch::X86_64, "mkdir", 0), EPERM);
    assert_eq!(
        verdict(&filter, Arch::X86_64, "chmod", 0),
        Action::Errno(13)
    );
    assert_eq!(
        verdict(&filter, Arch::X86_64, "fchmodat2", 0),
        Action::Allow
    );
}

#[test]
fn broken_profiles_are_refused_by_name() {
    let check = |json: &str, words: &[&str]| {
        let error = resolve_for(json, CapSet::EMPTY, host(Arch::X86_64)).unwrap_err();
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    let rule =
        |rule: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    check("{", &["JSON"]);
    check("{}", &["JSON"]);
    check(
        r#"{"defaultAction": "DENY"}"#,
        &["\"DENY\"", "SCMP_ACT_ERRNO"],
    );
    check(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}"#,
        &["5000", "4095"],
    );
    check(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"]}"#,
        &["\"x86\"", "SCMP_ARCH_X86_64"],
    );
    check(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
            "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}"#,
        &["architectures", "archMap"],
    );
    check(
        &rule(r#"{"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"}"#),
        &["names"],
    );
    check(
        &rule(r#"{"names": ["kill"], "action": "SCMP_ACT_NOTIFY"}"#),
        &["SCMP_ACT_NOTIFY"],
    );
    let argument = |index: u32, op: &str| {
        rule(&format!(
            r#"{{"names": ["kill"], "action": "SCMP_ACT_LOG",
                "args": [{{"index": {index}, "value": 1, "op": "{op}"}}]}}"#
        ))
    };
    check(&argument(0, "=="), &["\"==\"", "SCMP_CMP_EQ"]);
    check(&argument(6, "SCMP_CMP_EQ"), &["kill", "6", "0 to 5"]);
    let minimum =
        rule(r#"{"names": ["kill"], "action": "SCMP_ACT_LOG", "includes": {"minKernel": "new"}}"#);
    check(&minimum, &["\"new\"", "4.8"]);
}

#[test]
fn kernel_releases_are_read() {
    let version = |release| KernelVersion::from_release(release).map(|v| (v.major, v.minor));
    assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
    assert_eq!(version("3.12-1-amd64"), Some((3, 12)));
    assert_eq!(version("5.4+"), Some((5, 4)));
    assert_eq!(version("linux"), None);
    assert!(resolve(default_profile_json(), &CapSet::EMPTY).is_ok());
}
