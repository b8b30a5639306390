//! The default network, through the stock client: isolation, addresses, the way out, names, and
//! published ports as the host, a neighbour and another machine see them.

use std::fs;
use std::time::Duration;

use berth_testkit::{Background, Engine, HOST, MACHINE, NAME_SERVER, UPLINK_MTU, wait_until};
use berth_tests::{IDLE, IMAGE, inspect};

/// What takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Serves its argument on port 80.
const SERVE: &str = "mkdir -p /www; echo $0 > /www/index.html; exec httpd -f -p 80 -h /www";

/// `docker run --detach --name NAME FLAGS busybox:test /bin/sh -c SCRIPT NAME`.
#[track_caller]
fn start(engine: &Engine, name: &str, flags: &[&str], script: &str) -> String {
    let head = ["run", "--detach", "--name", name];
    let tail = [IMAGE, "/bin/sh", "-c", script, name];
    let id = engine.docker(&[&head[..], flags, &tail].concat());
    id.text().to_owned()
}

fn address(engine: &Engine, name: &str) -> String {
    inspect(
        engine,
        name,
        "{{.NetworkSettings.Networks.bridge.IPAddress}}",
    )
}

/// A place that asks from.
#[derive(Debug, Clone, Copy)]
enum From<'a> {
    Host,
    Machine,
    Box(&'a str),
}

/// Runs busybox in a place; its output, if it says it went well.
fn ask(engine: &Engine, from: From<'_>, arguments: &[&str]) -> Option<String> {
    let output = match from {
        From::Host => engine.in_namespaces("busybox", arguments),
        From::Machine => engine.on_machine("busybox", arguments),
        From::Box(name) => inside(engine, name, arguments),
    };
    (output.status == 0).then(|| output.text().to_owned())
}

/// Runs busybox in the network namespace of a box.
fn inside(engine: &Engine, name: &str, arguments: &[&str]) -> berth_testkit::Output {
    let pid = inspect(engine, name, "{{.State.Pid}}");
    let net = format!("--net=/proc/{pid}/ns/net");
    engine.in_namespaces("nsenter", &[&[&net, "busybox"][..], arguments].concat())
}

/// What `http://to/` answers; none if nobody does.
fn get(engine: &Engine, from: From<'_>, to: &str) -> Option<String> {
    let url = format!("http://{to}/");
    // Its own limit of time crashes wget in some builds.
    let words = ["timeout", "2", "busybox", "wget", "-q", "-O", "-", &url];
    ask(engine, from, &words)
}

/// Insists that a page is there, after the server had its time to start.
#[track_caller]
fn page(engine: &Engine, from: From<'_>, to: &str, wanted: &str) {
    let found = wait_until("the server answers", LIMIT, || get(engine, from, to));
    assert_eq!(found, wanted, "{from:?} asks {to}");
}

#[track_caller]
fn nobody(engine: &Engine, from: From<'_>, to: &str) {
    assert_eq!(get(engine, from, to), None, "{from:?} asks {to}");
}

/// The engine's host without its containers, to compare with.
fn clean(engine: &Engine) {
    engine.assert_consistent();
}

#[test]
fn a_box_has_an_address_names_and_a_way_out() {
    let engine = Engine::with_network();
    start(&engine, "box", &["--hostname", "desk"], IDLE);
    let own = address(&engine, "box");
    assert!(own.starts_with("172.17."), "{own}");
    assert_eq!(
        inspect(
            &engine,
            "box",
            "{{.NetworkSettings.Networks.bridge.Gateway}}"
        ),
        "172.17.0.1"
    );
    assert_eq!(
        inspect(&engine, "box", "{{.NetworkSettings.IPAddress}}"),
        own
    );
    assert_eq!(
        inspect(&engine, "box", "{{.HostConfig.NetworkMode}}"),
        "bridge"
    );

    let links = inside(&engine, "box", &["ip", "address"]).ok().to_owned();
    for part in [
        "inet 127.0.0.1/8",
        &format!("inet {own}/16"),
        &format!("mtu {UPLINK_MTU}"),
        &inspect(
            &engine,
            "box",
            "{{.NetworkSettings.Networks.bridge.MacAddress}}",
        ),
    ] {
        assert!(links.contains(part), "{part}: {links}");
    }
    let routes = inside(&engine, "box", &["ip", "route"]).ok().to_owned();
    assert!(
        routes.contains("default via 172.17.0.1 dev eth0"),
        "{routes}"
    );

    // The host's own name server at 127.0.0.53 means nothing in here.
    let files = engine.docker(&[
        "run",
        "--rm",
        "--hostname",
        "files",
        "--add-host",
        "gate:host-gateway",
        IMAGE,
        "sh",
        "-c",
        "cat /etc/resolv.conf /etc/hosts; hostname -i; ping -c 1 -W 5 files",
    ]);
    let text = files.ok();
    for part in [
        &format!("nameserver {NAME_SERVER}\n")[..],
        "search example.test\n",
        "172.17.0.1\tgate\n",
        "\tfiles\n",
        "1 packets received",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("127.0.0.53"), "{text}");
    let own_dns = [
        "run",
        "--rm",
        "--dns",
        "192.0.2.9",
        IMAGE,
        "cat",
        "/etc/resolv.conf",
    ];
    let text = engine.docker(&own_dns).ok().to_owned();
    assert!(
        text.contains("nameserver 192.0.2.9") && !text.contains(NAME_SERVER),
        "{text}"
    );

    // Out, to a machine that knows no way back but to the host.
    let mut server = machine_server(&engine);
    page(&engine, From::Box("box"), MACHINE, "machine");
    assert!(!server.has_ended());
    // Not in, except where a port is published.
    nobody(&engine, From::Machine, &own);
    drop(server);
    clean(&engine);
}

/// A web server on the other machine, which tells that it is one.
fn machine_server(engine: &Engine) -> Background {
    let www = engine.scratch().join("www");
    fs::create_dir_all(&www).expect("the scratch directory is ours");
    fs::write(www.join("index.html"), "machine\n").expect("the scratch directory is ours");
    let home = www.to_string_lossy().into_owned();
    engine.on_machine_beside("busybox", &["httpd", "-f", "-p", "80", "-h", &home])
}

#[test]
fn boxes_do_not_see_each_other_or_the_engine() {
    let engine = Engine::with_network();
    start(
        &engine,
        "one",
        &[],
        &format!("echo secret > /tmp/own; {IDLE}"),
    );
    let look = "ps; ls /tmp /run /var/run 2>/dev/null; cat /proc/net/unix";
    let seen = engine.docker(&["run", "--rm", IMAGE, "sh", "-c", look]);
    let text = seen.ok();
    assert_eq!(
        text.matches("sleep").count(),
        0,
        "another's processes: {text}"
    );
    assert!(!text.contains("own"), "another's files: {text}");
    assert!(!text.contains("berth"), "the engine's socket: {text}");
    clean(&engine);
}

#[test]
fn published_ports_answer_where_they_should() {
    let engine = Engine::with_network();
    start(
        &engine,
        "web",
        &[
            "-p",
            "8080:80",
            "-p",
            "127.0.0.1:8081:80",
            "-p",
            "8053:53/udp",
        ],
        SERVE,
    );
    start(&engine, "neighbour", &[], IDLE);
    let neighbour = From::Box("neighbour");
    let own = address(&engine, "web");
    page(&engine, From::Host, "127.0.0.1:8080", "web");
    page(&engine, From::Host, &format!("{HOST}:8080"), "web");
    page(&engine, From::Machine, &format!("{HOST}:8080"), "web");
    page(&engine, neighbour, &format!("{HOST}:8080"), "web");
    page(&engine, neighbour, "172.17.0.1:8080", "web");
    page(&engine, neighbour, &format!("{own}:80"), "web");
    page(&engine, From::Box("web"), &format!("{HOST}:8080"), "web");

    page(&engine, From::Host, "127.0.0.1:8081", "web");
    nobody(&engine, From::Machine, &format!("{HOST}:8081"));
    nobody(&engine, neighbour, &format!("{HOST}:8081"));
    nobody(&engine, neighbour, "172.17.0.1:8081");

    // A datagram arrives where nobody listens for it, which the kernel counts.
    let unheard = |engine: &Engine| {
        let pid = inspect(engine, "web", "{{.State.Pid}}");
        let text = fs::read_to_string(format!("/proc/{pid}/net/snmp")).unwrap();
        let line = text
            .lines()
            .filter(|l| l.starts_with("Udp:"))
            .nth(1)
            .unwrap();
        line.split(' ').nth(2).unwrap().parse::<u64>().unwrap()
    };
    let before = unheard(&engine);
    let datagram = format!("echo x > /dev/udp/{HOST}/8053");
    engine.on_machine("bash", &["-c", &datagram]).ok();
    wait_until("the datagram arrives", LIMIT, || {
        (unheard(&engine) > before).then_some(())
    });

    let ports = engine.docker(&["port", "web"]).ok().to_owned();
    for line in [
        "80/tcp -> 0.0.0.0:8080",
        "80/tcp -> 127.0.0.1:8081",
        "53/udp -> 0.0.0.0:8053",
    ] {
        assert!(ports.lines().any(|l| l == line), "{line}: {ports}");
    }
    for words in [&["port", "web"][..], &["port", "web", "80"]] {
        let lines = |text: &str| -> Vec<String> {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let (ours, theirs) = (engine.berth(words), engine.docker(words));
        assert_eq!(lines(ours.ok()), lines(theirs.ok()));
    }
    let listed = engine.docker(&["ps", "--format", "{{.Names}} {{.Ports}}"]);
    assert_eq!(
        listed.lines(),
        [
            "neighbour ",
            "web 0.0.0.0:8053->53/udp, 0.0.0.0:8080->80/tcp, 127.0.0.1:8081->80/tcp",
        ]
    );
    let found = engine.docker(&["ps", "--quiet", "--filter", "publish=8080"]);
    assert_eq!(found.lines().len(), 1, "{found}");

    // A stop frees the port; another start takes it again.
    engine.docker(&["stop", "-t", "0", "web"]).ok();
    nobody(&engine, From::Host, &format!("{HOST}:8080"));
    assert_eq!(engine.docker(&["port", "web"]).text(), "");
    start(&engine, "second", &["-p", "8080:80"], SERVE);
    page(&engine, From::Machine, &format!("{HOST}:8080"), "second");
    engine.docker(&["start", "web"]).fails(
        1,
        &[
            "driver failed programming external connectivity on endpoint web",
            "Bind for 0.0.0.0:8080 failed: port is already allocated",
        ],
    );
    engine.docker(&["rm", "-f", "second"]).ok();
    engine.docker(&["start", "web"]).ok();
    page(&engine, From::Machine, &format!("{HOST}:8080"), "web");
    clean(&engine);
}

#[test]
fn a_port_that_is_taken_leaves_the_container_created() {
    let engine = Engine::with_network();
    start(&engine, "first", &["-p", "8080:80"], IDLE);
    let refused = engine.docker(&[
        "run", "-d", "--name", "late", "-p", "8080:80", IMAGE, "sleep", "1000",
    ]);
    refused.fails(
        125,
        &[
            "driver failed programming external connectivity on endpoint late",
            "Bind for 0.0.0.0:8080 failed: port is already allocated",
        ],
    );
    assert_eq!(inspect(&engine, "late", "{{.State.Status}}"), "created");
    assert_eq!(inspect(&engine, "late", "{{.State.ExitCode}}"), "128");
    assert_eq!(address(&engine, "late"), "");
    // A range finds the next free one, and so does no wish at all.
    start(&engine, "range", &["-p", "8080-8082:80"], IDLE);
    assert_eq!(
        engine.docker(&["port", "range", "80"]).text(),
        "0.0.0.0:8081"
    );
    start(
        &engine,
        "all",
        &["-P", "--expose", "80", "--expose", "81/udp"],
        SERVE,
    );
    let ports = engine.docker(&["port", "all"]).ok().to_owned();
    assert_eq!(ports.lines().count(), 2, "{ports}");
    let (_, chosen) = ports
        .lines()
        .find(|l| l.starts_with("80/tcp"))
        .unwrap()
        .rsplit_once(':')
        .unwrap();
    page(&engine, From::Machine, &format!("{HOST}:{chosen}"), "all");
    clean(&engine);
}

#[test]
fn addresses_and_ports_outlive_the_engine_and_a_flush() {
    let mut engine = Engine::with_network();
    start(&engine, "web", &["-p", "8080:80"], SERVE);
    let target = format!("{HOST}:8080");
    page(&engine, From::Machine, &target, "web");
    let before = (
        address(&engine, "web"),
        engine.docker(&["port", "web"]).ok().to_owned(),
    );
    let hold = "busybox nc 192.0.2.1 8080";
    let mut held = engine.on_machine_beside("sh", &["-c", &format!("(sleep 1000) | {hold}")]);
    engine.kill9();
    assert_eq!(get(&engine, From::Machine, &target).as_deref(), Some("web"));
    engine.start_again();
    assert_eq!(get(&engine, From::Machine, &target).as_deref(), Some("web"));
    assert!(!held.has_ended(), "a connection broke");
    drop(held);
    assert_eq!(before.0, address(&engine, "web"));
    assert_eq!(before.1, engine.docker(&["port", "web"]).ok());
    // What it has is nobody else's.
    start(&engine, "other", &[], IDLE);
    assert_ne!(address(&engine, "other"), before.0);
    engine
        .docker(&["run", "--rm", "-p", "8080:80", IMAGE, "true"])
        .fails(125, &["port is already allocated"]);
    clean(&engine);

    // Somebody flushes the firewall, all of it.
    engine.in_namespaces("nft", &["flush", "ruleset"]).ok();
    page(&engine, From::Machine, &target, "web");
    clean(&engine);

    // A restart of the container keeps its promises, though maybe not its address.
    engine.docker(&["stop", "-t", "0", "web"]).ok();
    engine.docker(&["start", "web"]).ok();
    let now = address(&engine, "web");
    page(&engine, From::Machine, &target, "web");
    let pid = inspect(&engine, "web", "{{.State.Pid}}");
    let hosts = fs::read_to_string(format!("/proc/{pid}/root/etc/hosts")).unwrap();
    assert!(
        hosts.lines().any(|l| l.starts_with(&format!("{now}\t"))),
        "{hosts}"
    );
    clean(&engine);
}

#[test]
fn networks_are_listed_and_shown() {
    let engine = Engine::with_network();
    let id = start(
        &engine,
        "box",
        &["--mac-address", "02:42:ac:11:00:99"],
        IDLE,
    );
    let names = engine.docker(&[
        "network",
        "ls",
        "--format",
        "{{.Name}} {{.Driver}} {{.Scope}}",
    ]);
    assert_eq!(
        names.lines(),
        ["bridge bridge local", "host host local", "none null local"]
    );
    let shown = engine.docker(&["network", "inspect", "bridge"]).json();
    let network = &shown[0];
    assert_eq!(network["IPAM"]["Config"][0]["Subnet"], "172.17.0.0/16");
    assert_eq!(network["IPAM"]["Config"][0]["Gateway"], "172.17.0.1");
    assert_eq!(
        network["Options"]["com.docker.network.bridge.name"],
        "docker0"
    );
    let endpoint = &network["Containers"][&id];
    assert_eq!(endpoint["Name"], "box");
    assert_eq!(endpoint["MacAddress"], "02:42:ac:11:00:99");
    assert_eq!(
        endpoint["IPv4Address"],
        format!("{}/16", address(&engine, "box"))
    );
    let head = &network["Id"].as_str().unwrap()[..12];
    assert_eq!(
        engine
            .docker(&["network", "inspect", "--format", "{{.Name}}", head])
            .text(),
        "bridge"
    );
    engine
        .docker(&["network", "inspect", "nosuch"])
        .fails(1, &["nosuch not found"]);
    assert_eq!(
        engine
            .berth(&[
                "network",
                "ls",
                "--format",
                "{{.Name}} {{.Driver}} {{.Scope}}"
            ])
            .ok(),
        names.ok()
    );
    assert_eq!(
        engine.berth(&["network", "inspect", "bridge"]).json()[0]["Id"],
        network["Id"]
    );
    let drivers = engine.docker(&["info", "--format", "{{.Plugins.Network}}"]);
    assert_eq!(drivers.text(), "[bridge host null]");

    // What Docker refuses of the default network is refused in its words.
    engine
        .docker(&["run", "--rm", "--ip", "172.17.0.9", IMAGE, "true"])
        .fails(
            125,
            &["user specified IP address is supported on user defined networks only"],
        );
    engine
        .docker(&["run", "--rm", "--network", "mine", IMAGE, "true"])
        .fails(125, &["not supported"]);
    clean(&engine);
}

#[test]
fn other_network_modes_stay_what_they_are() {
    let engine = Engine::with_network();
    let run = |network: &str, script: &str| {
        let list = [
            "run",
            "--rm",
            "--network",
            network,
            IMAGE,
            "sh",
            "-c",
            script,
        ];
        engine.docker(&list).ok().to_owned()
    };
    assert!(!run("none", "ip link").contains("eth0"));
    assert!(run("host", "ip link").contains("docker0"));
    start(&engine, "lender", &[], IDLE);
    let own = address(&engine, "lender");
    let lent = run(
        "container:lender",
        "ip address; cat /etc/hosts; ping -c 1 -W 5 127.0.0.1",
    );
    assert!(lent.contains(&format!("inet {own}/16")), "{lent}");
    assert!(lent.contains(&format!("{own}\t")), "{lent}");
    // The lender's address is free behind it, so nobody may keep it.
    start(&engine, "heir", &["--network", "container:lender"], IDLE);
    assert!(
        inside(&engine, "heir", &["ip", "link"])
            .text()
            .contains("eth0")
    );
    engine.docker(&["stop", "-t", "0", "lender"]).ok();
    assert!(
        !inside(&engine, "heir", &["ip", "link"])
            .text()
            .contains("eth0")
    );
    engine.docker(&["rm", "-f", "heir"]).ok();
    engine
        .docker(&[
            "run",
            "--rm",
            "--network",
            "container:lender",
            IMAGE,
            "true",
        ])
        .fails(125, &["cannot join network of a non running container"]);
    engine
        .docker(&[
            "run",
            "--rm",
            "--network",
            "container:lender",
            "-p",
            "80:80",
            IMAGE,
            "true",
        ])
        .fails(125, &["conflicting options: port publishing"]);
    let sysctl = [
        "run",
        "--rm",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        IMAGE,
        "cat",
    ];
    let set = engine.docker(&[&sysctl[..], &["/proc/sys/net/ipv4/ip_forward"]].concat());
    assert_eq!(set.text(), "1");
    clean(&engine);
}

#[test]
fn nothing_is_left_of_a_class_of_boxes() {
    let engine = Engine::with_network();
    engine.docker(&["run", "--rm", IMAGE, "true"]).ok();
    let before = engine.census();
    for name in ["box-a", "box-b", "box-c"] {
        start(&engine, name, &["-P", "--expose", "80"], IDLE);
    }
    engine.docker(&["rm", "-f", "box-a", "box-b", "box-c"]).ok();
    engine.assert_unchanged_since(&before);
    clean(&engine);
}

#[test]
fn coming_and_going_is_told_and_a_restarted_program_is_on_the_network_again() {
    let engine = Engine::with_network();
    let id = start(
        &engine,
        "loop",
        &["--restart", "on-failure:1", "-p", "8080:80"],
        "ip address show eth0; exit 3",
    );
    wait_until("it has given up", LIMIT, || {
        let state = inspect(&engine, "loop", "{{.State.Status}} {{.RestartCount}}");
        (state == "exited 1").then_some(())
    });
    let shown = engine.docker(&["logs", "loop"]);
    assert_eq!(shown.ok().matches("inet 172.17.").count(), 2, "{shown}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // The client sends whole seconds.
    let until = (now.unwrap().as_secs() + 1).to_string();
    let events = |flags: &[&str]| {
        let head = ["events", "--since", "0", "--until", &until];
        engine.docker(&[&head[..], flags].concat()).ok().to_owned()
    };
    let facts = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.container}}";
    let told = events(&["--filter", "type=network", "--format", facts]);
    let lines: Vec<String> = ["connect", "disconnect", "connect", "disconnect"]
        .map(|action| format!("{action} bridge {id}"))
        .into();
    assert_eq!(told.lines().collect::<Vec<_>>(), lines);
    let order = events(&["--format", "{{.Action}}"]);
    let at = |action: &str| order.lines().position(|l| l == action);
    assert!(
        at("connect") < at("start") && at("disconnect") < at("die"),
        "{order}"
    );
    start(&engine, "next", &["-p", "8080:80"], IDLE);
    clean(&engine);
}
