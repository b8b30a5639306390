//! The founding document about a training lab, command by command and in its order: with the
//! stock docker CLI, and again with `berth`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use berth_testkit::{Engine, EngineBuilder, Output, Terminal, program};
use berth_tests::IMAGE;

/// As the document prints them.
const ALLOCATE: &str = r#"#!/bin/sh

file=$1

# If filename not passed exit
if [ -z "${file}" ]
then
	echo "Usage: allocate <filename>"
	exit
fi

while read user || [[ -n "$user" ]]
do
	container_id="$(docker create -it --name $user training:v1 /bin/bash)"
	echo "$user: $container_id"
done < "$file"
"#;

const DEALLOCATE: &str = r#"#!/bin/sh

file=$1

if [ -z "${file}" ]
then
	echo "Usage: delete <file>"
	exit
fi

while read user || [[ -n "$user" ]]
do
	docker rm $user
done < "$file"
"#;

/// The five users of the document; the last line has no end.
const USERS: &str = "user1\nuser2\nuser3\nuser4\nuser5";

/// Whoever the document calls `docker`.
#[derive(Clone, Copy)]
enum Client {
    Docker,
    Berth,
}

struct Lab {
    engine: Engine,
    client: Client,
}

impl Lab {
    fn new(client: Client) -> Self {
        let engine = EngineBuilder::new().network().start();
        engine.import_busybox();
        let lab = Self { engine, client };
        lab.make_ubuntu();
        lab
    }

    /// An image of the document's name with a `/bin/bash`; its shell is busybox's.
    fn make_ubuntu(&self) {
        let bash = "printf '#!/bin/sh\\nexec /bin/sh \"$@\"\\n' >/bin/bash; chmod 755 /bin/bash";
        let make = ["run", "--name", "base", IMAGE, "/bin/sh", "-c", bash];
        self.engine.docker(&make).ok();
        self.engine.docker(&["commit", "base", "ubuntu"]).ok();
        self.engine.docker(&["rm", "base"]).ok();
    }

    fn run(&self, command: &[&str]) -> Output {
        match self.client {
            Client::Docker => self.engine.docker(command),
            Client::Berth => self.engine.berth(command),
        }
    }

    fn on_terminal(&self, command: &[&str]) -> Terminal {
        match self.client {
            Client::Docker => self.engine.docker_on_terminal(command),
            Client::Berth => self.engine.berth_on_terminal(command),
        }
    }

    /// Runs one of the document's scripts under bash, with the client under the name `docker`.
    fn script(&self, name: &str, text: &str) -> Output {
        let scratch = self.engine.scratch();
        let write = |name: &str, text: &str| {
            let path = scratch.join(name);
            fs::write(&path, text).expect("the directory is ours");
            path.to_string_lossy().into_owned()
        };
        let (script, users) = (write(name, text), write("userfiles", USERS));
        let host = format!("DOCKER_HOST={}", self.engine.docker_host());
        let path = format!("PATH={}", self.search_path(&scratch).display());
        let command = [&host, &path, "bash", script.as_str(), users.as_str()];
        self.engine.in_namespaces("env", &command)
    }

    /// A directory list that has the client as `docker`, before all others.
    fn search_path(&self, scratch: &Path) -> PathBuf {
        let usual = std::env::var("PATH").unwrap_or_default();
        match self.client {
            Client::Docker => PathBuf::from(usual),
            Client::Berth => {
                let directory = scratch.join("bin");
                if fs::create_dir(&directory).is_ok() {
                    symlink(program("berth"), directory.join("docker")).expect("it is empty");
                }
                PathBuf::from(format!("{}:{usual}", directory.display()))
            }
        }
    }
}

#[test]
fn the_document_with_the_stock_client() {
    the_document(&Lab::new(Client::Docker));
}

#[test]
fn the_document_with_berth() {
    the_document(&Lab::new(Client::Berth));
}

fn the_document(lab: &Lab) {
    make_the_environment(lab);
    allocate(lab);
    use_a_box(lab);
    observe_it(lab);
    deallocate(lab);
}

/// "Creation of training environment".
fn make_the_environment(lab: &Lab) {
    let command = ["run", "--name", "traincont", "-it", "ubuntu", "/bin/bash"];
    let mut shell = lab.on_terminal(&command);
    shell.send("echo course >/course; rm /etc/group; echo ready-$((40 + 2))\r");
    shell.expect("ready-42");
    shell.send("exit\r");
    assert_eq!(shell.finish().0, 0);
    let listed = lab.run(&["container", "ls", "-a"]);
    let row = listed.lines().into_iter().find(|l| l.contains("traincont"));
    let row = row.expect("it is listed").to_owned();
    assert!(row.contains("Exited (0)"), "{listed}");
    lab.run(&["commit", "traincont", "training:v1"]).ok();
    let found = ["run", "--rm", "training:v1", "/bin/sh", "-c"];
    let look = "cat /course; test ! -e /etc/group";
    assert_eq!(lab.run(&[&found[..], &[look]].concat()).ok(), "course\n");
}

/// "Allocation of container for each user".
fn allocate(lab: &Lab) {
    let create = ["create", "-it", "--name", "abc", "training:v1", "/bin/bash"];
    assert_eq!(lab.run(&create).text().len(), 64);
    let output = lab.script("allocate", ALLOCATE);
    let lines = output.ok().lines().collect::<Vec<_>>();
    assert_eq!(lines.len(), 5, "{output}");
    for (line, user) in lines.iter().zip(USERS.lines()) {
        let (name, id) = line.split_once(": ").expect("a name and an id");
        assert_eq!((name, id.len()), (user, 64), "{output}");
    }
    let created = lab.run(&["ps", "-aq", "--filter", "status=created"]);
    assert_eq!(created.lines().len(), 6, "{created}");
}

/// "Using an allocated container" and "Safety of containers".
fn use_a_box(lab: &Lab) {
    for round in ["first", "second"] {
        assert_eq!(lab.run(&["start", "abc"]).text(), "abc");
        let mut shell = lab.on_terminal(&["attach", "abc"]);
        if round == "first" {
            shell.send("echo mine >/mine; ls /var/run/docker.sock /run/berth; command -v docker; ps | wc -l; echo end-$((6 * 7))\r");
            let said = shell.expect("end-42");
            assert!(said.contains("No such file"), "{said}");
            let count = said.lines().filter_map(|l| l.trim().parse::<u32>().ok());
            let processes = count.max().expect("a number of processes");
            assert!(processes < 8, "foreign processes are seen: {said}");
        } else {
            shell.send("cat /mine /course; echo end-$((6 * 7))\r");
            let said = shell.expect("end-42");
            assert!(said.contains("mine") && said.contains("course"), "{said}");
        }
        shell.send("exit\r");
        assert_eq!(shell.finish().0, 0, "{round}");
        let state = ["inspect", "--format", "{{.State.Status}}", "abc"];
        assert_eq!(lab.run(&state).text(), "exited", "{round}");
    }
    // What one user makes no other user has.
    lab.run(&["start", "user1"]).ok();
    let look = [
        "exec",
        "user1",
        "/bin/sh",
        "-c",
        "test ! -e /mine && echo none",
    ];
    assert_eq!(lab.run(&look).text(), "none");
    lab.run(&["stop", "-t", "0", "user1"]).ok();
}

/// "Monitoring containers".
fn observe_it(lab: &Lab) {
    lab.run(&["start", "abc"]).ok();
    let stats = lab.run(&["stats", "--no-stream", "abc"]);
    let lines = stats.ok().lines().collect::<Vec<_>>();
    assert_eq!(lines.len(), 2, "{stats}");
    for title in [
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "NET I/O",
        "BLOCK I/O",
        "PIDS",
    ] {
        assert!(lines[0].contains(title), "{title}: {stats}");
    }
    assert!(
        lines[1].contains("abc") && lines[1].contains('%'),
        "{stats}"
    );
    let mut shell = lab.on_terminal(&["attach", "abc"]);
    shell.send("echo said-$((6 * 7))\r");
    shell.expect("said-42");
    let logs = lab.run(&["logs", "abc"]);
    assert!(logs.ok().contains("said-42"), "{logs}");
    let mut following = lab.on_terminal(&["logs", "-f", "abc"]);
    following.expect("said-42");
    shell.send("echo more-$((6 * 7))\r");
    following.expect("more-42");
    shell.send("exit\r");
    assert_eq!(shell.finish().0, 0);
    assert_eq!(following.finish().0, 0, "the log ends with the container");
}

/// "Deleting containers".
fn deallocate(lab: &Lab) {
    assert_eq!(lab.run(&["rm", "abc"]).text(), "abc");
    let output = lab.script("deallocate", DEALLOCATE);
    assert_eq!(output.ok().trim_end(), USERS, "{output}");
    let left = lab.run(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(left.text(), "traincont");
    lab.run(&["rm", "traincont"]).ok();
    lab.run(&["rmi", "training:v1"]).ok();
}
