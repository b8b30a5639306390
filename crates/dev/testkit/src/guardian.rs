//! The process that holds an engine's namespaces, so that a restarted engine finds the same
//! ones, and that cleans up when the test dies without doing so itself (killed, aborted).
//!
//! ```text
//! test ── spawn ──▶ guardian: new mount and network namespace, lo up
//! test ◀─ "ready" ─ guardian: reads its standard input
//! test ── "done" ─▶ guardian ends                       (the test has cleaned up)
//! test ── EOF ────▶ guardian kills, removes, ends       (the test has died)
//! ```

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::cgroup::Scope;
use crate::engine::{HOST, MACHINE, NAME_SERVER, UPLINK_MTU};

/// Arguments: the engine's root, the addresses and the MTU of the uplink with a name server, or
/// four empty ones, then the parent cgroup in every hierarchy.
const SCRIPT: &str = r#"
uplink() {
    : > "$root/machine" && unshare --net="$root/machine" true || return 1
    ip link add uplink0 mtu "$3" type veth peer name uplink0 mtu "$3" netns "$root/machine" || return 1
    ip address add "$1/24" dev uplink0 && ip link set uplink0 up || return 1
    ip route add default via "$2" || return 1
    nsenter --net="$root/machine" sh -c 'ip link set lo up && ip link set uplink0 up &&
        ip address add "$1/24" dev uplink0' sh "$2" || return 1
    printf 'nameserver 127.0.0.53\nnameserver %s\nsearch example.test\n' "$4" > "$root/resolv.conf"
    mount --bind "$root/resolv.conf" /etc/resolv.conf
}
root=$1; shift
ip link set lo up || exit 1
[ -z "$1" ] || uplink "$@" || exit 1
shift 4
echo ready
read -r word && [ "$word" = done ] && exit 0
round=0
while [ $round -lt 50 ]; do
    processes=$(find "$@" -name cgroup.procs -exec cat {} + 2>/dev/null)
    [ -n "$processes" ] || break
    kill -s KILL $processes 2>/dev/null
    round=$((round + 1)); sleep 0.1
done
find "$@" -depth -type d -exec rmdir {} + 2>/dev/null
rm -rf --one-file-system "$root"
"#;

#[derive(Debug)]
pub(crate) struct Guardian {
    child: Child,
}

impl Guardian {
    /// Starts it and waits until its namespaces are there.
    pub(crate) fn start(root: &Path, scope: &Scope, uplink: bool) -> Self {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--net",
            "--propagation",
            "private",
            "--",
            "/bin/sh",
            "-c",
            SCRIPT,
            "guardian",
        ]);
        command.arg(root);
        if uplink {
            command.args([HOST, MACHINE, &UPLINK_MTU.to_string(), NAME_SERVER]);
        } else {
            command.args([""; 4]);
        }
        command.args(scope.directories()).current_dir("/");
        // A group of its own: whoever ends the test's group must not end its guardian.
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start unshare (package util-linux): {error}"),
        };
        let mut line = String::new();
        let said = child
            .stdout
            .take()
            .map(|pipe| BufReader::new(pipe).read_line(&mut line));
        assert!(
            matches!(said, Some(Ok(_))) && line == "ready\n",
            "the guardian could not make its namespaces (root? package iproute2?); its words are above"
        );
        Self { child }
    }

    /// The process whose namespaces the engine runs in.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A command that executes `program` in the namespaces, without a process in between.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--net", "--target", &self.id().to_string(), "--"])
            .arg(program);
        command
    }

    /// Ends it, and the namespaces unless somebody else is in them.
    pub(crate) fn dismiss(&mut self) {
        if let Some(mut pipe) = self.child.stdin.take() {
            // It can only have died before; then it has cleaned up.
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Background;
    use crate::programs::require_root;
    use crate::wait::wait_until;
    use std::fs;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A scope, its guardian, and a process in both.
    fn inhabited(name: &str) -> (std::path::PathBuf, Scope, Guardian, Background) {
        require_root();
        let name = format!("berth-test-{name}-{}", std::process::id());
        let root = Path::new("/var/tmp").join(&name);
        fs::create_dir(&root).expect("nobody else uses the name");
        let scope = Scope::create(&name);
        let guardian = Guardian::start(&root, &scope, false);
        let mut command = Command::new("/bin/sh");
        command
            .args([
                "-c",
                "for f; do echo $$ > $f; done; echo in; exec sleep 1000",
                "sh",
            ])
            .args(scope.entrances());
        let mut inhabitant = Background::start(&mut command);
        assert_eq!(inhabitant.next_line().as_deref(), Some("in"));
        let found: Vec<u32> = scope.processes().into_iter().map(|(id, _)| id).collect();
        assert_eq!(found, [inhabitant.id()]);
        (root, scope, guardian, inhabitant)
    }

    #[test]
    fn it_cleans_up_after_a_test_that_died() {
        let (root, scope, mut guardian, inhabitant) = inhabited("died");
        drop(guardian.child.stdin.take());
        assert_eq!(inhabitant.finish().status, 137);
        wait_until("the guardian has ended", LIMIT, || {
            guardian.child.try_wait().transpose()
        })
        .expect("it is our child");
        assert!(!root.exists(), "the root stays");
        assert!(
            scope
                .directories()
                .iter()
                .all(|directory| !directory.exists()),
            "a cgroup stays"
        );
    }

    #[test]
    fn a_test_that_lives_cleans_up_itself() {
        let (root, scope, mut guardian, inhabitant) = inhabited("lives");
        guardian.dismiss();
        assert_eq!(
            scope.processes().len(),
            1,
            "a dismissed guardian kills nobody"
        );
        assert!(scope.kill(), "something does not die");
        assert_eq!(inhabitant.finish().status, 137);
        assert!(scope.remove().is_empty(), "a cgroup stays");
        fs::remove_dir(&root).expect("the root is empty");
    }

    #[test]
    fn its_namespaces_are_not_ours_and_loopback_is_up() {
        let (root, scope, mut guardian, _inhabitant) = inhabited("spaces");
        let here = fs::read_link("/proc/self/ns/net").expect("/proc is mounted");
        let mut command = guardian.command(Path::new("/bin/sh"));
        command.args(["-c", "readlink /proc/self/ns/net; ip -oneline link show up"]);
        let output = crate::command::run(&mut command);
        assert!(
            !output.ok().starts_with(&*here.to_string_lossy()),
            "{output}"
        );
        assert!(
            output.ok().contains("lo: <LOOPBACK,UP,LOWER_UP>"),
            "{output}"
        );
        guardian.dismiss();
        assert!(scope.kill() && scope.remove().is_empty());
        fs::remove_dir(&root).expect("the root is empty");
    }
}
