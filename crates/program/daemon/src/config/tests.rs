//! Flags and files, as tables.

use super::*;
use std::ffi::OsString;

fn args(list: &[&str]) -> Vec<OsString> {
    std::iter::once("berthd")
        .chain(list.iter().copied())
        .map(OsString::from)
        .collect()
}

fn run(list: &[&str]) -> Result<Config, String> {
    match read(args(list)) {
        Ok(Asked::Run(config)) => Ok(*config),
        Ok(Asked::Validated) => Err("validated".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn with_file(text: &str, flags: &[&str]) -> Result<Config, String> {
    let file = file(text);
    let mut list = vec!["--config-file", file.path().to_str().unwrap()];
    list.extend(flags);
    run(&list)
}

#[test]
fn roots_and_sockets_default_beside_docker() {
    let config = with_file("", &[]).unwrap();
    assert_eq!(config.data_root, Path::new("/var/lib/berth"));
    assert_eq!(config.sockets, [Path::new("/run/berth/berth.sock")]);
    assert_eq!(config.pidfile, Path::new("/run/berth/berthd.pid"));
    assert_eq!(config.groups.parent, "/berth");
    assert_eq!(config.default_network, DefaultNetwork::Bridge);
}

#[test]
fn flags_and_file_say_the_same_things() {
    let flags = with_file(
        "",
        &[
            "--data-root=/d",
            "-H",
            "unix:///a.sock",
            "-H",
            "unix:///b.sock",
            "-D",
            "-b",
            "none",
            "--default-ulimit",
            "nofile=1:2",
            "--exec-root",
            "/e",
            "--log-opt",
            "max-size=1m",
        ],
    )
    .unwrap();
    let json = r#"{"data-root":"/d","hosts":["unix:///a.sock","unix:///b.sock"],"debug":true,
        "bridge":"none","exec-root":"/e","log-opts":{"max-size":"1m"},
        "default-ulimits":{"nofile":{"Name":"nofile","Soft":1,"Hard":2}}}"#;
    assert_eq!(with_file(json, &[]).unwrap(), flags);
    assert_eq!(flags.sockets.len(), 2);
    assert_eq!(flags.defaults.ulimits, [("nofile".to_owned(), 1, 2)]);
    assert_eq!(flags.default_network, DefaultNetwork::None);
}

#[test]
fn of_a_repeated_flag_the_last_counts() {
    let config = with_file(
        "",
        &["--data-root", "/a", "--data-root", "/b", "-D", "-D=false"],
    )
    .unwrap();
    assert_eq!(config.data_root, Path::new("/b"));
    assert!(!config.debug);
}

#[track_caller]
fn refused(result: Result<Config, String>, part: &str) {
    let error = result.unwrap_err();
    assert!(error.contains(part), "{error}");
}

#[test]
fn spares_are_few_or_none() {
    let spares = |flags: &[&str]| run(flags).map(|config| config.spares);
    let default = spares(&[]).unwrap();
    assert!(default.monitors > 0 && default.networks > 0);
    let none = spares(&["--spare-monitors=0", "--spare-networks", "0"]).unwrap();
    assert_eq!((none.monitors, none.networks), (0, 0));
    for wrong in ["65", "-1", "many"] {
        refused(
            run(&[&format!("--spare-monitors={wrong}")]),
            "0 (none) to 64",
        );
    }
}

#[test]
fn what_is_wrong_is_named() {
    refused(
        with_file(r#"{"colour":"red","data-root":"/d"}"#, &[]),
        "configuration option: colour",
    );
    refused(with_file("{", &[]), "not JSON");
    refused(with_file("[]", &[]), "JSON object");
    refused(
        with_file(r#"{"debug":"yes"}"#, &[]),
        "\"debug\": expected true or false",
    );
    refused(
        with_file(r#"{"debug":true}"#, &["-D"]),
        "both as a flag and in the configuration file: debug",
    );
    refused(
        run(&["--config-file", "/nonexistent/berth.json"]),
        "/nonexistent/berth.json",
    );
    refused(run(&["--no-such-flag"]), "--no-such-flag");
    refused(with_file("", &["-H", "tcp://127.0.0.1:1"]), "not built yet");
    refused(with_file("", &["-H", "unix://x"]), "absolute");
    refused(with_file("", &["--mtu", "12"]), "mtu");
    refused(with_file("", &["--bip", "1.2.3.4"]), "172.17.0.1/16");
    refused(
        with_file("", &["--tlsverify"]),
        "--tlsverify is not built yet",
    );
    refused(with_file("", &["--storage-driver", "zfs"]), "zfs");
    refused(
        with_file("", &["--cgroup-parent", "/a/../b"]),
        "cgroup-parent",
    );
    let driver = |name| format!("native.cgroupdriver={name}");
    for (name, parent, reason) in [
        ("systemd", "/berth", "cgroup-parent for systemd cgroup"),
        ("systemd", "a--b.slice", "no name of a slice"),
        ("cgroupfs", "a.slice", "native.cgroupdriver=systemd"),
        ("none", "/berth", "invalid option"),
    ] {
        let flags = ["--exec-opt", &driver(name), "--cgroup-parent", parent];
        refused(with_file("", &flags), reason);
    }
    refused(with_file("", &["-H", "fd://3"]), "give fd://");
    refused(with_file("", &["--validate"]), "validated");
}

#[test]
fn senseless_options_are_accepted_with_a_notice() {
    let config = with_file(
        r#"{"live-restore":true,"features":{"buildkit":true}}"#,
        &[
            "--containerd",
            "/x.sock",
            "--userland-proxy=false",
            "--tls=false",
        ],
    )
    .unwrap();
    let all = config.notices.join("\n");
    for part in [
        "--containerd",
        "--userland-proxy",
        "--live-restore",
        "--feature",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert!(!all.contains("--tls"));
}

#[test]
fn the_default_network_is_dockers_unless_flags_say_otherwise() {
    let plain = with_file("", &[]).unwrap().network;
    assert_eq!(plain.bridge.as_deref(), Some("docker0"));
    assert!(plain.address.is_none() && plain.pool.is_none() && plain.mtu.is_none());
    assert!(plain.talk && plain.masquerade && plain.forward && plain.firewall);
    assert!(plain.publish_on.is_unspecified());

    let set = with_file(
        r#"{"icc":false,"mtu":1400}"#,
        &[
            "--bridge=br0",
            "--bip=10.1.0.1/24",
            "--fixed-cidr=10.1.0.128/25",
            "--ip-masq=false",
            "--iptables=false",
            "--ip=127.0.0.1",
        ],
    )
    .unwrap();
    assert_eq!(set.notices, Vec::<String>::new());
    let set = set.network;
    assert_eq!(set.bridge.as_deref(), Some("br0"));
    assert_eq!(set.address, Some(("10.1.0.1".parse().unwrap(), 24)));
    assert_eq!(set.pool, Some(("10.1.0.128".parse().unwrap(), 25)));
    assert_eq!(set.mtu, Some(1400));
    assert!(!set.talk && !set.masquerade && set.forward && !set.firewall);
    assert!(set.publish_on.is_loopback());
}

#[test]
fn impossible_networks_are_refused() {
    for (flags, part) in [
        (&["--bip=10.1.0.0/24"][..], "the network itself"),
        (&["--bip=10.1.0.1/31"], "at most 30 bits"),
        (
            &["--bip=10.1.0.1/24", "--fixed-cidr=10.2.0.0/25"],
            "not part",
        ),
        (
            &["--bip=10.1.0.1/24", "--fixed-cidr=10.1.0.0/16"],
            "not part",
        ),
        (&["--bridge=none", "--bip=10.1.0.1/24"], "contradict"),
        (&["--bridge=a/b"], "no name of a link"),
        (&["--bridge=abcdefghijklmnop"], "no name of a link"),
        (&["--ip=::1"], "no IPv4 address"),
        (&["--mtu=67"], "mtu"),
    ] {
        refused(with_file("", flags), part);
    }
}

#[test]
fn the_machine_decides_on_the_driver_where_nobody_else_does() {
    let drivers = |flags: &[&str]| {
        let groups = with_file("", flags).unwrap().groups;
        [false, true].map(|both| groups.driver_on(both))
    };
    use Driver::{Cgroupfs, Systemd};
    assert_eq!(drivers(&[]), [Cgroupfs, Systemd]);
    for (option, driver) in [("cgroupfs", Cgroupfs), ("systemd", Systemd)] {
        let option = format!("native.cgroupdriver={option}");
        assert_eq!(drivers(&["--exec-opt", &option]), [driver; 2]);
    }
    assert_eq!(drivers(&["--cgroup-parent", "/a"]), [Cgroupfs; 2]);
    assert_eq!(drivers(&["--cgroup-parent", "a-b.slice"]), [Systemd; 2]);
    let sliced = with_file("", &["--cgroup-parent", "a-b.slice"]).unwrap();
    assert_eq!(sliced.groups.slice.group(), "/a.slice/a-b.slice");
}

#[test]
fn passed_sockets_stand_alone_or_beside_others() {
    let of = |flags: &[&str]| {
        let config = with_file("", flags).unwrap();
        (config.passed_sockets, config.sockets.len())
    };
    assert_eq!(of(&[]), (false, 1));
    assert_eq!(of(&["-H", "fd://"]), (true, 0));
    assert_eq!(of(&["-H", "fd://", "-H", "unix:///a.sock"]), (true, 1));
}
