//! Terminals and further processes: the stock docker CLI at a real terminal, and the API beneath.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use berth_testkit::validate::{response, validate};
use berth_testkit::{Engine, Terminal, wait_until};
use berth_tests::{IDLE, IMAGE, converse, detached, expect_size, inspect};
use serde_json::{Value, json};

/// `docker run -it --rm --network none --name NAME FLAGS busybox:test COMMAND` on a terminal.
fn run_it(engine: &Engine, name: &str, flags: &[&str], command: &[&str]) -> Terminal {
    let head = ["run", "-it", "--rm", "--network", "none", "--name", name];
    engine.docker_on_terminal(&[&head[..], flags, &[IMAGE], command].concat())
}

/// A shell in a container of its own, with its terminal, that nobody is attached to.
fn seat(engine: &Engine, name: &str, flags: &[&str]) {
    let head = ["run", "-dit", "--network", "none", "--name", name];
    engine.docker(&[&head[..], flags, &[IMAGE]].concat()).ok();
}

#[test]
fn a_shell_on_a_terminal() {
    let engine = Engine::with_busybox();
    let mut shell = run_it(&engine, "shell", &[], &[]);
    shell.expect("# ");
    converse(&mut shell, "one");
    shell.send("tty; echo term=$TERM\r");
    shell.expect("/dev/pts/0");
    shell.expect("term=xterm");
    expect_size(&mut shell, "24 80");
    shell.resize(33, 101);
    expect_size(&mut shell, "33 101");
    assert_eq!(inspect(&engine, "shell", "{{.Config.Tty}}"), "true");
    shell.send("exit 7\r");
    assert_eq!(shell.finish().0, 7);
    assert!(engine.docker(&["ps", "-aq"]).text().is_empty());
}

#[test]
fn the_first_program_sees_the_clients_size_and_its_keys() {
    let engine = Engine::with_busybox();
    let sized = run_it(&engine, "sized", &[], &["stty", "size"]);
    let (status, said) = sized.finish();
    assert_eq!((status, said.trim()), (0, "24 80"));
    let script = "trap 'echo cau''ght; exit 5' INT; echo rea''dy; while :; do sleep 1; done";
    let mut deaf = run_it(&engine, "deaf", &[], &["sh", "-c", script]);
    deaf.expect("ready");
    deaf.send("\x03");
    deaf.expect("caught");
    assert_eq!(deaf.finish().0, 5);
}

#[test]
fn clients_leave_and_come_back_to_one_shell() {
    let engine = Engine::with_busybox();
    let mut first = run_it(&engine, "shell", &[], &[]);
    first.expect("# ");
    converse(&mut first, "first");
    first.send("\x10\x11");
    assert_eq!(first.finish().0, 0);
    assert_eq!(inspect(&engine, "shell", "{{.State.Status}}"), "running");

    let mut one = engine.docker_on_terminal(&["attach", "shell"]);
    let mut other = engine.docker_on_terminal(&["attach", "--detach-keys", "ctrl-a,x", "shell"]);
    // A client that is not attached yet sees nothing of what is typed: wait for both to see it.
    wait_until("both see it", Duration::from_secs(60), || {
        let seen = |t: &mut Terminal| {
            t.send("\r");
            t.shows("# ", Duration::from_secs(1)).then_some(())
        };
        seen(&mut one).and(seen(&mut other))
    });
    one.send("echo both$((20+22))\r");
    one.expect("both42");
    other.expect("both42");
    other.send("\x01x");
    assert!(other.finish().1.contains("read escape sequence"));
    converse(&mut one, "still");
    one.send("exit 3\r");
    assert_eq!(one.finish().0, 3);
}

#[test]
fn start_and_attach_brings_a_shell_back() {
    let engine = Engine::with_busybox();
    engine
        .docker(&[
            "create",
            "-it",
            "--name",
            "again",
            "--network",
            "none",
            IMAGE,
        ])
        .ok();
    for code in [4, 6] {
        let mut shell = engine.docker_on_terminal(&["start", "-ai", "again"]);
        shell.expect("# ");
        converse(&mut shell, "run");
        shell.send(&format!("exit {code}\r"));
        assert_eq!(shell.finish().0, code);
    }
    // The log of a terminal is raw: no frames in it.
    let logs = engine.docker(&["logs", "again"]);
    assert!(logs.ok().contains("run42\r\n"), "{logs}");
    let answer = engine.request("GET", "/containers/again/logs?stdout=1", None);
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/vnd.docker.raw-stream")
    );
    let refused = engine.request("POST", "/containers/again/resize?h=10&w=20", None);
    assert_eq!(refused.status, 409, "{refused:?}");
}

#[test]
fn input_without_a_terminal_ends_where_the_client_ends_it() {
    let engine = Engine::with_busybox();
    detached(&engine, "box", &[], IDLE);
    let docker = format!("docker --host {}", engine.docker_host());
    for command in [
        format!("run --rm -i --network none {IMAGE} sh -c 'cat; echo end'"),
        "exec -i box sh -c 'cat; echo end'".to_owned(),
    ] {
        let piped = format!("seq 1 20000 | {docker} {command}");
        let done = Command::new("sh")
            .args(["-c", &piped])
            .output()
            .expect("sh");
        let text = String::from_utf8_lossy(&done.stdout);
        assert!(text.ends_with("\n20000\nend\n"), "{command}: {done:?}");
        assert_eq!(text.lines().count(), 20001, "{command}");
    }
}

#[test]
fn further_processes_on_a_terminal() {
    let engine = Engine::with_busybox();
    seat(&engine, "box", &[]);
    let mut shell = engine.docker_on_terminal(&["exec", "-it", "box", "sh"]);
    shell.expect("# ");
    converse(&mut shell, "exec");
    expect_size(&mut shell, "24 80");
    shell.resize(40, 90);
    expect_size(&mut shell, "40 90");
    let ids = inspect(&engine, "box", "{{json .ExecIDs}}");
    assert_eq!(ids.len(), 68, "one id: {ids}");
    shell.send("exit 9\r");
    assert_eq!(shell.finish().0, 9);
    assert_eq!(inspect(&engine, "box", "{{json .ExecIDs}}"), "null");

    let mut left = engine.docker_on_terminal(&["exec", "-it", "box", "sh"]);
    left.expect("# ");
    left.send("echo $$ > /tmp/left; ech''o written\r");
    left.expect("written");
    left.send("\x10\x11");
    left.finish();
    let alive = "kill -0 $(cat /tmp/left) && echo alive";
    let alive = engine.docker(&["exec", "box", "sh", "-c", alive]);
    assert_eq!(
        alive.text(),
        "alive",
        "a process goes on without its client"
    );
}

#[test]
fn further_processes_and_their_flags() {
    let engine = Engine::with_busybox();
    let flags = [
        "-e",
        "A=container",
        "-e",
        "B=kept",
        "-w",
        "/var",
        "--label",
        "x=y",
    ];
    detached(&engine, "box", &flags, IDLE);
    let exec = |flags: &[&str], script: &str| {
        engine.docker(&[&["exec"][..], flags, &["box", "sh", "-c", script]].concat())
    };
    let plain = exec(&[], "echo $A $B $(pwd) $(id -u); echo err >&2; exit 3");
    plain.expect_status(3);
    assert_eq!(
        (plain.stdout.as_str(), plain.stderr.as_str()),
        ("container kept /var 0\n", "err\n")
    );
    let flagged = exec(
        &["-e", "A=own", "-e", "C=new", "-u", "app", "-w", "/tmp"],
        "echo $A $B $C $(pwd) $(id -u):$(id -g) $HOME",
    );
    assert_eq!(flagged.text(), "own kept new /tmp 1000:1000 /home/app");

    let caps = "grep CapEff /proc/self/status | cut -f2";
    let (few, all) = (exec(&[], caps), exec(&["--privileged"], caps));
    assert_eq!(few.text(), berth_tests::DEFAULT_CAPABILITIES);
    let bits = |text: &str| u64::from_str_radix(text, 16).expect("a mask").count_ones();
    assert!(bits(all.text()) > bits(few.text()), "{all}");

    exec(&["-d"], "echo made > /tmp/made").ok();
    wait_until("it is made", Duration::from_secs(30), || {
        (exec(&[], "cat /tmp/made").stdout == "made\n").then_some(())
    });
    // The same limits and namespaces as the container's own program has.
    let own = exec(
        &[],
        "for n in pid mnt ipc uts net cgroup; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done; grep -c . /proc/self/limits",
    );
    assert_eq!(own.lines().len(), 1, "a namespace differs: {own}");
    for (command, status, part) in [
        ("no-such-program", 127, "executable file not found"),
        ("/etc/not-executable", 126, "permission denied"),
    ] {
        let said = engine.docker(&["exec", "box", command]);
        said.expect_status(status);
        assert!(said.stdout.contains(part), "{said}");
    }
    let nobody = engine.docker(&["exec", "-u", "nobody-here", "box", "true"]);
    assert!(
        nobody.status == 126 && nobody.stdout.contains("nobody-here"),
        "{nobody}"
    );
    engine.docker(&["stop", "box"]).ok();
    engine
        .docker(&["exec", "box", "true"])
        .fails(1, &["is not running"]);
}

/// Asks, checks the status, and the answer where the description has one.
#[track_caller]
fn ask(
    engine: &Engine,
    (method, path, template): (&str, &str, &str),
    body: Option<&Value>,
    status: u16,
) -> Value {
    let answer = engine.request(method, path, body);
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{method} {path}: {text}");
    let Some(definition) = response(method, template, status) else {
        return Value::Null;
    };
    if definition == "-" {
        return Value::Null;
    }
    let value = answer.json();
    let violations = validate(definition, &value);
    assert!(violations.is_empty(), "{method} {path}: {violations:#?}");
    value
}

#[test]
fn the_api_of_further_processes() {
    let engine = Engine::with_busybox();
    let create = ("POST", "/containers/box/exec", "/containers/{id}/exec");
    let sleep = json!({"Cmd": ["sleep", "1000"], "AttachStdout": true});
    ask(&engine, create, Some(&sleep), 404);
    detached(&engine, "box", &[], IDLE);
    for wrong in [
        json!({"Cmd": []}),
        json!({}),
        json!({"Cmd": ["a"], "DetachKeys": "ctrl-1"}),
        json!({"Cmd": ["a"], "WorkingDir": "relative"}),
        json!({"Cmd": ["a"], "Env": ["=x"]}),
    ] {
        let said = engine.request("POST", "/containers/box/exec", Some(&wrong));
        assert_eq!(said.status, 400, "{wrong}");
    }
    let nothing = engine.request("POST", "/containers/box/exec", Some(&json!({"Cmd": []})));
    assert_eq!(nothing.json()["message"], "No exec command specified");

    let id = ask(&engine, create, Some(&sleep), 201)["Id"].clone();
    let id = id.as_str().expect("a text").to_owned();
    assert_eq!(id.len(), 64);
    let path = |end: &str| format!("/exec/{id}/{end}");
    let (json_path, start_path) = (path("json"), path("start"));
    let look = ("GET", json_path.as_str(), "/exec/{id}/json");
    let begin = ("POST", start_path.as_str(), "/exec/{id}/start");
    let created = ask(&engine, look, None, 200);
    assert_eq!(
        (&created["Running"], &created["ExitCode"]),
        (&json!(false), &Value::Null)
    );
    ask(&engine, begin, Some(&json!({"Detach": true})), 200);
    let running = ask(&engine, look, None, 200);
    assert_eq!(
        (&running["Running"], &running["ExitCode"]),
        (&json!(true), &Value::Null)
    );
    assert!(running["Pid"].as_i64() > Some(0), "{running}");
    assert_eq!(running["ProcessConfig"]["arguments"], json!(["1000"]));
    ask(&engine, begin, Some(&json!({"Detach": true})), 409);
    ask(
        &engine,
        ("POST", &path("resize?h=1&w=1"), "/exec/{id}/resize"),
        None,
        400,
    );
    ask(
        &engine,
        ("POST", &path("resize?h=x&w=1"), "/exec/{id}/resize"),
        None,
        400,
    );

    engine.docker(&["kill", "box"]).ok();
    let ended = wait_until(
        "it goes with its container",
        Duration::from_secs(30),
        || {
            let now = ask(&engine, look, None, 200);
            (now["Running"] == json!(false)).then_some(now)
        },
    );
    assert_eq!(ended["ExitCode"], json!(137));
    ask(&engine, begin, Some(&json!({"Detach": true})), 409);
    ask(&engine, create, Some(&sleep), 409);
    engine.docker(&["rm", "box"]).ok();
    ask(&engine, look, None, 404);
    ask(&engine, begin, Some(&json!({"Detach": true})), 404);
}

/// Sends a request that becomes a stream; the connection behind the answer's headers, and those.
#[track_caller]
fn hijacked(engine: &Engine, path: &str, body: &str) -> (UnixStream, String) {
    let mut socket = UnixStream::connect(engine.socket()).expect("connect");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time limit");
    write!(
        socket,
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("send a request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("the answer's headers");
        head.extend(byte);
    }
    (socket, String::from_utf8_lossy(&head).into_owned())
}

/// Reads until `text` has come.
#[track_caller]
fn read_until(socket: &mut UnixStream, text: &str) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(text) {
        let n = socket.read(&mut buffer).expect("more output");
        assert!(n > 0, "no {text:?} in {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn the_exit_code_is_there_when_the_stream_ends() {
    let engine = Engine::with_busybox();
    detached(&engine, "box", &[], IDLE);
    for code in 0..20 {
        let script = format!("echo x; exit {code}");
        let body = json!({"Cmd": ["sh", "-c", script], "AttachStdout": true});
        let made = engine
            .request("POST", "/containers/box/exec", Some(&body))
            .json();
        let id = made["Id"].as_str().expect("an id");
        let (mut stream, head) = hijacked(&engine, &format!("/exec/{id}/start"), "{}");
        assert!(
            head.starts_with("HTTP/1.1 101 UPGRADED\r\n")
                && head.contains("application/vnd.docker.multiplexed-stream"),
            "{head}"
        );
        let mut output = Vec::new();
        stream.read_to_end(&mut output).expect("the output");
        assert_eq!(output, b"\x01\0\0\0\0\0\0\x02x\n");
        let seen = engine
            .request("GET", &format!("/exec/{id}/json"), None)
            .json();
        assert_eq!(seen["ExitCode"], json!(code), "{seen}");
    }
}

#[test]
fn the_engine_looks_for_the_keys_itself() {
    let engine = Engine::with_busybox();
    seat(&engine, "box", &[]);
    let attach = "/containers/box/attach?stream=1&stdin=1&stdout=1&stderr=1";
    let wrong = engine.request("POST", &format!("{attach}&detachKeys=ctrl-1"), None);
    assert_eq!(wrong.status, 400);
    for (keys, typed) in [("", "\x10\x11"), ("&detachKeys=ctrl-a,b", "\x01b")] {
        let (mut stream, head) = hijacked(&engine, &format!("{attach}{keys}"), "");
        assert!(head.contains("application/vnd.docker.raw-stream"), "{head}");
        // A sequence that is not completed is the program's.
        stream
            .write_all(b"echo ke\x10\x7fys$((20+22))\r")
            .expect("type");
        if keys.is_empty() {
            read_until(&mut stream, "42");
        }
        stream.write_all(typed.as_bytes()).expect("type");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("a clean end");
    }
    assert_eq!(inspect(&engine, "box", "{{.State.Status}}"), "running");
}

#[test]
fn who_comes_late_sees_the_screen_and_is_announced() {
    let engine = Engine::with_busybox();
    seat(&engine, "box", &["--label", "class=go"]);
    detached(&engine, "plain", &["--label", "class=go"], IDLE);
    let attach = |extra: &str| {
        let path = format!("/containers/box/attach?stream=1&stdout=1&stderr=1{extra}");
        hijacked(&engine, &path, "").0
    };
    let mut typist = attach("&stdin=1");
    typist
        .write_all(b"echo sc''reen$((20+22))\r")
        .expect("type");
    read_until(&mut typist, "screen42");
    let mut watcher = attach("&screen=1&role=watch&announce=teacher%20is%20watching");
    read_until(&mut watcher, "screen42");
    read_until(&mut typist, "teacher is watching");

    let filters = "%7B%22label%22%3A%5B%22class%3Dgo%22%5D%7D";
    let listed = engine.request("GET", &format!("/berth/terminals?filters={filters}"), None);
    let listed = listed.json();
    let list = listed.as_array().expect("a list");
    assert_eq!(list.len(), 1, "{listed:#}");
    assert_eq!(list[0]["Name"], json!("box"));
    assert_eq!(
        (&list[0]["Typing"], &list[0]["Watching"]),
        (&json!(1), &json!(1))
    );
    assert!(
        !list[0]["LastOutput"]
            .as_str()
            .expect("a time")
            .starts_with("0001")
    );
    for wrong in ["&role=king", "&announce=a%0Ab"] {
        let path = format!("/containers/box/attach?stream=1&stdout=1{wrong}");
        assert_eq!(engine.request("POST", &path, None).status, 400, "{wrong}");
    }
    let path = "/containers/plain/attach?stream=1&stdout=1&screen=1";
    assert_eq!(engine.request("POST", path, None).status, 400);
}

#[test]
fn who_listens_hears_of_processes_and_of_clients_that_come_and_go() {
    let engine = Engine::with_busybox();
    seat(&engine, "box", &["--label", "class=go"]);
    engine
        .docker(&["exec", "box", "sh", "-c", "exit 3"])
        .expect_status(3);
    let mut client = engine.docker_on_terminal(&["attach", "box"]);
    client.send("\r");
    client.expect("# ");
    client.send("\x10\x11");
    client.finish();
    let facts = "{{index .Actor.Attributes \"name\"}} {{index .Actor.Attributes \"class\"}} {{index .Actor.Attributes \"exitCode\"}}";
    let format = format!("{{{{.Action}}}}|{facts}");
    let heard = |action: &str| {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock")
            .as_secs();
        let until = (now + 1).to_string();
        let said = engine.docker(&[
            "events", "--since", "1", "--until", &until, "--format", &format,
        ]);
        let line = said
            .lines()
            .into_iter()
            .find(|line| line.starts_with(action));
        line.map(str::to_owned)
    };
    // The client is gone before the engine has noticed.
    wait_until("the leaving is told", Duration::from_secs(30), || {
        heard("detach|")
    });
    for (action, facts) in [
        ("exec_create: sh -c exit 3|", "box go "),
        ("exec_start: sh -c exit 3|", "box go "),
        ("exec_die|", "box go 3"),
        ("attach|", "box go "),
        ("resize|", "box go "),
    ] {
        assert_eq!(heard(action), Some(format!("{action}{facts}")));
    }

    engine.docker(&["pause", "box"]).ok();
    let body = json!({"Cmd": ["true"]});
    let refused = engine.request("POST", "/containers/box/exec", Some(&body));
    let attach = engine.request("POST", "/containers/box/attach?stream=1&stdout=1", None);
    assert_eq!((refused.status, attach.status), (409, 409));
    assert!(
        refused.json()["message"]
            .as_str()
            .expect("a text")
            .contains("is paused")
    );
    engine.docker(&["unpause", "box"]).ok();
    engine.docker(&["exec", "box", "true"]).ok();
}

#[test]
fn clients_that_leave_further_processes_cost_nothing() {
    let engine = Engine::with_busybox();
    detached(&engine, "box", &[], IDLE);
    let id = engine.id().expect("a running engine");
    let open_files = || std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count);
    let before = open_files();
    for round in 0..60 {
        let body = json!({"Cmd": ["sh", "-c", "echo x; exit 4"], "AttachStdout": true,
            "AttachStdin": true, "Tty": round % 2 == 0});
        let made = engine
            .request("POST", "/containers/box/exec", Some(&body))
            .json();
        let exec = made["Id"].as_str().expect("an id");
        let (stream, _) = hijacked(&engine, &format!("/exec/{exec}/start"), "{}");
        drop(stream);
    }
    wait_until(
        "the engine lets go of them",
        Duration::from_secs(30),
        || (open_files() <= before + 4).then_some(()),
    );
    assert_eq!(inspect(&engine, "box", "{{json .ExecIDs}}"), "null");
}

#[test]
fn terminals_and_processes_outlive_the_engine() {
    let mut engine = Engine::with_busybox();
    seat(&engine, "box", &[]);
    let body = json!({"Cmd": ["sh", "-c", "echo $$ > /tmp/pid; exec sleep 1000"]});
    let made = engine
        .request("POST", "/containers/box/exec", Some(&body))
        .json();
    let id = made["Id"].as_str().expect("an id").to_owned();
    let begun = json!({"Detach": true});
    let start = engine.request("POST", &format!("/exec/{id}/start"), Some(&begun));
    assert_eq!(start.status, 200);
    wait_until("it runs", Duration::from_secs(30), || {
        let pid = engine.docker(&["exec", "box", "cat", "/tmp/pid"]);
        (pid.status == 0 && !pid.stdout.is_empty()).then_some(())
    });
    engine.kill9();
    engine.start_again();
    let forgotten = engine.request("GET", &format!("/exec/{id}/json"), None);
    assert_eq!(forgotten.status, 404);
    let alive = "kill -0 $(cat /tmp/pid) && echo alive";
    let alive = engine.docker(&["exec", "box", "sh", "-c", alive]);
    assert_eq!(alive.text(), "alive");
    let mut shell = engine.docker_on_terminal(&["attach", "box"]);
    shell.send("\r");
    shell.expect("# ");
    converse(&mut shell, "adopted");
    expect_size(&mut shell, "24 80");
    shell.send("exit 0\r");
    assert_eq!(shell.finish().0, 0);
}

#[test]
fn docker_py_runs_further_processes() {
    let engine = Engine::with_busybox();
    let installed = Command::new("python3")
        .args(["-c", "import docker"])
        .output();
    if !installed.is_ok_and(|done| done.status.success()) {
        eprintln!("the Python package docker is not installed: nothing to test");
        return;
    }
    detached(&engine, "box", &[], IDLE);
    let script = r#"
import docker, sys
client = docker.DockerClient(base_url=sys.argv[1])
box = client.containers.get("box")
print(box.exec_run(["sh", "-c", "echo out; exit 3"]))
print(box.exec_run("sh -c 'echo out; echo err >&2'", demux=True))
print(box.exec_run("id -u", user="app", tty=True).output)
print(b"".join(box.exec_run("seq 3", stream=True).output))
sock = box.exec_run("cat", stdin=True, socket=True).output
sock._sock.sendall(b"typed\n")
print(sock.read(14)[8:])
"#;
    let done = Command::new("python3")
        .args(["-c", script, &engine.docker_host()])
        .output()
        .expect("python3");
    let said = String::from_utf8_lossy(&done.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "ExecResult(exit_code=3, output=b'out\\n')",
            "ExecResult(exit_code=0, output=(b'out\\n', b'err\\n'))",
            "b'1000\\r\\n'",
            "b'1\\n2\\n3\\n'",
            "b'typed\\n'",
        ],
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
