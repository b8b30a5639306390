//! What `strace -f -ttt -o FILE` writes, read as calls of roles.

use std::collections::HashMap;

/// Who makes a call.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    Engine,
    Monitor,
    /// A process of a container until it executes what it is for: the init, or that of an exec.
    Init,
    /// The same afterwards, and what it starts.
    Container,
}

impl Role {
    pub const COUNTED: [Self; 3] = [Self::Engine, Self::Monitor, Self::Init];
}

/// One system call.
#[derive(Debug, PartialEq)]
pub struct Call {
    /// Microseconds since 1970, at its begin.
    pub time: u64,
    pub role: Role,
    pub name: String,
}

#[derive(Debug)]
pub struct Trace {
    pub calls: Vec<Call>,
}

/// A line's parts.
struct Line<'a> {
    process: u32,
    time: u64,
    /// The call as it is printed, with its arguments as far as they are known.
    text: &'a str,
}

impl Trace {
    /// `threads` are the engine's, `monitors` those there are, both at the begin.
    pub fn read(text: &str, threads: &[u32], monitors: &[u32]) -> Self {
        let lines: Vec<Line<'_>> = text.lines().filter_map(parse).collect();
        let mut roles: HashMap<u32, Role> = HashMap::new();
        roles.extend(threads.iter().map(|thread| (*thread, Role::Engine)));
        roles.extend(monitors.iter().map(|monitor| (*monitor, Role::Monitor)));
        // A child's first calls may stand before its parent's clone is seen to return.
        for (parent, child, is_thread) in children(&lines) {
            let role = match (roles.get(&parent), is_thread) {
                (Some(role), true) => *role,
                (Some(Role::Engine), false) => Role::Monitor,
                (Some(Role::Monitor), false) => Role::Init,
                _ => Role::Container,
            };
            roles.insert(child, role);
        }
        let mut calls = Vec::new();
        let mut pending: HashMap<u32, &str> = HashMap::new();
        for line in &lines {
            let Some(role) = roles.get(&line.process).copied() else {
                continue;
            };
            let resumed = line.text.starts_with("<... ");
            let name = if resumed {
                pending.remove(&line.process).unwrap_or_default()
            } else {
                line.text.split('(').next().unwrap_or_default()
            };
            if line.text.ends_with("<unfinished ...>") {
                pending.insert(line.process, name);
            }
            if !resumed {
                calls.push(Call {
                    time: line.time,
                    role,
                    name: name.to_owned(),
                });
            }
            let executed = name == "execve" && line.text.ends_with("= 0");
            if executed && role == Role::Init {
                roles.insert(line.process, Role::Container);
            }
        }
        Self { calls }
    }
}

/// Parent, child, and whether it is a thread of the parent, in order of time.
fn children(lines: &[Line<'_>]) -> Vec<(u32, u32, bool)> {
    let mut found = Vec::new();
    let mut pending: HashMap<u32, bool> = HashMap::new();
    for line in lines {
        let is_clone = ["clone", "clone3", "vfork", "fork"].iter().any(|name| {
            let after = line.text.strip_prefix(name);
            after.is_some_and(|rest| rest.starts_with('('))
                || line.text.starts_with(&format!("<... {name} resumed>"))
        });
        if !is_clone {
            continue;
        }
        let is_thread = line.text.contains("CLONE_THREAD")
            || (line.text.starts_with("<... ") && pending.get(&line.process) == Some(&true));
        if line.text.ends_with("<unfinished ...>") {
            pending.insert(line.process, is_thread);
        }
        let result = line.text.rsplit_once("= ").map(|(_, result)| result.trim());
        if let Some(child) = result.and_then(|result| result.parse().ok()) {
            found.push((line.process, child, is_thread));
        }
    }
    found
}

/// `PID SECONDS.MICROSECONDS TEXT`, where the text is a call: no signal, no end.
fn parse(line: &str) -> Option<Line<'_>> {
    let (process, rest) = line.split_once(' ')?;
    let (time, text) = rest.trim_start().split_once(' ')?;
    let (seconds, micros) = time.split_once('.')?;
    let text = text.trim();
    if text.starts_with("---") || text.starts_with("+++") {
        return None;
    }
    Some(Line {
        process: process.parse().ok()?,
        time: seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?,
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_inherited_and_end_with_the_execution() {
        let text = "\
7 1.000001 read(3, \"\"..., 10) = 5
8 1.000002 vfork( <unfinished ...>
20 1.000003 execve(\"/proc/self/fd/9\", [...], [...]) = 0
8 1.000004 <... vfork resumed>) = 20
20 1.000005 clone3({flags=CLONE_NEWNS|CLONE_PIDFD, exit_signal=SIGCHLD}, 88 <unfinished ...>
21 1.000006 mount(\"a\", \"b\", ...) = 0
20 1.000007 <... clone3 resumed> => {pidfd=[5]}, 88) = 21
21 1.000008 execve(\"/bin/true\", [...], [...] <unfinished ...>
7 1.000009 clone(child_stack=0x1, flags=CLONE_VM|CLONE_THREAD) = 9
9 1.000010 write(1, \"\"..., 1) = 1
21 1.000011 <... execve resumed>) = 0
21 1.000012 brk(NULL) = 0x1
21 1.000013 --- SIGTERM {si_signo=SIGTERM} ---
99 1.000014 read(0) = 0
30 1.000015 recvmsg(3, ...) = 1
";
        let trace = Trace::read(text, &[7, 8], &[30]);
        let found: Vec<(u64, Role, &str)> = trace
            .calls
            .iter()
            .map(|call| (call.time - 1_000_000, call.role, call.name.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (1, Role::Engine, "read"),
                (2, Role::Engine, "vfork"),
                (3, Role::Monitor, "execve"),
                (5, Role::Monitor, "clone3"),
                (6, Role::Init, "mount"),
                (8, Role::Init, "execve"),
                (9, Role::Engine, "clone"),
                (10, Role::Engine, "write"),
                (12, Role::Container, "brk"),
                (15, Role::Monitor, "recvmsg"),
            ]
        );
    }
}
