//! The processes of a container as `ps` on the host shows them, without a `ps`: read from
//! `/proc` for the members of the container's control group.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use berth_types::{Caller, Timestamp};

use crate::effects;
use crate::error::ContainerError;
use crate::service::Containers;
use crate::threads::Work;

/// Clock ticks of `/proc/PID/stat` in a second (`USER_HZ`).
const TICKS: u64 = 100;
/// Processes that are shown at most.
const PROCESSES_MAX: usize = 65_536;
/// Columns that may be asked for, as often as one is named.
const COLUMNS_MAX: usize = 64;
/// Columns of `ps -ef`.
const FULL: &str = "user:UID,pid,ppid,c,stime,tty,time,cmd";
/// Columns of `ps aux`.
const USERS: &str = "user,pid,pcpu,pmem,vsz,rss,tty,stat,start,time:TIME,command";
/// Columns that `-o` knows.
const KNOWN: &str = "user, uid, pid, ppid, c, pcpu, pmem, vsz, rss, tty, stat, stime, start, \
                     etime, time, comm, cmd, command, args, ni, pri, nlwp, pgid, sid";

/// A table of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    /// The columns' titles.
    pub titles: Vec<String>,
    /// One row per process, in the order of the titles.
    pub rows: Vec<Vec<String>>,
}

impl Containers {
    /// The processes of a container, in the columns that `ps` would show for `arguments`.
    ///
    /// # Errors
    /// It does not run, or the arguments ask for what is not supported.
    pub async fn top(
        &self,
        caller: &Caller,
        key: &str,
        arguments: &str,
    ) -> Result<Processes, ContainerError> {
        let columns = columns(arguments)?;
        let record = self.get(caller, key)?;
        let id = record.id;
        if !record.state.phase.is_live() {
            return Err(ContainerError::Conflict(format!(
                "container {id} is not running"
            )));
        }
        let shared = Arc::clone(&self.shared);
        let read = move || {
            let mut pids = effects::group(&shared, id)?.pids()?;
            pids.sort_unstable();
            pids.truncate(PROCESSES_MAX);
            let machine = Machine::read();
            let rows = pids
                .into_iter()
                .filter_map(Process::read)
                .map(|process| {
                    columns
                        .iter()
                        .map(|c| process.show(&c.key, &machine))
                        .collect()
                })
                .collect();
            Ok(Processes {
                titles: columns.into_iter().map(|c| c.title).collect(),
                rows,
            })
        };
        let work = Work::looking(id, "read the processes");
        self.shared.threads.run(work, read).await?
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    key: String,
    title: String,
}

fn unsupported(what: &str) -> ContainerError {
    ContainerError::Unsupported(format!(
        "ps {what} is not supported: give \"-ef\", \"aux\" or \"-o\" with columns out of {KNOWN}"
    ))
}

/// Which columns arguments of `ps` mean. Which processes they select means nothing here: all of
/// the container's are shown.
fn columns(arguments: &str) -> Result<Vec<Column>, ContainerError> {
    let mut words = arguments.split_whitespace();
    let mut chosen = String::new();
    let mut default = FULL;
    while let Some(word) = words.next() {
        let list = match word {
            "-ef" | "-e" | "-A" | "-f" | "ef" | "-eF" | "-a" | "-x" | "ax" | "x" | "a" | "e" => {
                continue;
            }
            "aux" | "-aux" | "au" | "u" | "auxww" | "auxw" | "-u" => {
                default = USERS;
                continue;
            }
            "-w" | "-ww" | "w" | "ww" => continue,
            "-o" | "o" | "-eo" | "-axo" | "axo" | "-ao" | "-Ao" | "--format" => {
                words.next().ok_or_else(|| unsupported(word))?
            }
            other => ["-eo", "-axo", "-o", "--format="]
                .iter()
                .find_map(|flag| other.strip_prefix(flag))
                .filter(|list| !list.is_empty())
                .ok_or_else(|| unsupported(other))?,
        };
        if !chosen.is_empty() {
            chosen.push(',');
        }
        chosen.push_str(list);
    }
    let list = if chosen.is_empty() { default } else { &chosen };
    if list.split(',').count() > COLUMNS_MAX {
        return Err(ContainerError::Invalid(format!(
            "ps has more than {COLUMNS_MAX} columns: ask for fewer"
        )));
    }
    list.split(',').map(column).collect()
}

/// `key`, `key=TITLE` or, for the fixed lists above, `key:TITLE`.
fn column(text: &str) -> Result<Column, ContainerError> {
    let (key, title) = text
        .split_once(['=', ':'])
        .map_or((text, None), |(key, title)| (key, Some(title)));
    let known = match key {
        "user" | "euser" | "uname" => ("user", "USER"),
        "uid" | "euid" => ("uid", "UID"),
        "pid" => ("pid", "PID"),
        "ppid" => ("ppid", "PPID"),
        "pgid" | "pgrp" => ("pgid", "PGID"),
        "sid" | "sess" | "session" => ("sid", "SID"),
        "c" => ("c", "C"),
        "pcpu" | "%cpu" => ("pcpu", "%CPU"),
        "pmem" | "%mem" => ("pmem", "%MEM"),
        "vsz" | "vsize" => ("vsz", "VSZ"),
        "rss" | "rssize" => ("rss", "RSS"),
        "tty" | "tt" | "tname" => ("tty", "TTY"),
        "stat" => ("stat", "STAT"),
        "s" | "state" => ("s", "S"),
        "stime" => ("stime", "STIME"),
        "start" | "start_time" => ("stime", "START"),
        "etime" => ("etime", "ELAPSED"),
        "time" | "cputime" => ("time", "TIME"),
        "comm" | "ucmd" => ("comm", "COMMAND"),
        "cmd" => ("cmd", "CMD"),
        "command" | "args" => ("cmd", "COMMAND"),
        "ni" | "nice" => ("ni", "NI"),
        "pri" => ("pri", "PRI"),
        "nlwp" | "thcount" => ("nlwp", "NLWP"),
        _ => return Err(unsupported(&format!("with the column {key:?}"))),
    };
    Ok(Column {
        key: known.0.to_owned(),
        title: title.unwrap_or(known.1).to_owned(),
    })
}

/// What all rows need to know.
struct Machine {
    users: HashMap<u32, String>,
    booted: i64,
    uptime: u64,
    memory: u64,
    now: Timestamp,
}

impl Machine {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str, key: &str| -> Option<u64> {
            let text = fs::read_to_string(path).ok()?;
            let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            Some((fields.nth(1)?.parse().ok()?, name))
        };
        let uptime = text("/proc/uptime");
        Self {
            users: text("/etc/passwd").lines().rev().filter_map(user).collect(),
            booted: number("/proc/stat", "btime ")
                .and_then(|n| i64::try_from(n).ok())
                .unwrap_or(0),
            uptime: uptime
                .split('.')
                .next()
                .and_then(|s| s.parse().ok())
                .unwrap_or(0),
            memory: number("/proc/meminfo", "MemTotal:").unwrap_or(0),
            now: Timestamp::now(),
        }
    }
}

/// One process.
struct Process {
    pid: i32,
    uid: u32,
    /// The fields of `/proc/PID/stat` behind the name, from the state on.
    stat: Vec<String>,
    name: String,
    command: String,
    rss_kib: u64,
}

impl Process {
    /// Reads a process; one that has ended meanwhile is none.
    fn read(pid: i32) -> Option<Self> {
        let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
        let stat = String::from_utf8_lossy(&file("stat")?).into_owned();
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let status = String::from_utf8_lossy(&file("status")?).into_owned();
        let line = |key: &str| status.lines().find_map(|l| l.strip_prefix(key));
        let uid = line("Uid:")?.split_whitespace().nth(1)?.parse().ok()?;
        let rss = line("VmRSS:").and_then(|l| l.split_whitespace().next()?.parse().ok());
        let raw = file("cmdline").unwrap_or_default();
        let words = String::from_utf8_lossy(&raw);
        let command = words.trim_end_matches('\0').replace(['\0', '\n'], " ");
        Some(Self {
            pid,
            uid,
            stat: tail.split_whitespace().map(str::to_owned).collect(),
            command: if command.is_empty() {
                format!("[{name}]")
            } else {
                command
            },
            name,
            rss_kib: rss.unwrap_or(0),
        })
    }

    /// Field `n` of `proc_pid_stat(5)`, counted as there.
    fn field(&self, n: usize) -> i64 {
        let text = n.checked_sub(3).and_then(|at| self.stat.get(at));
        text.and_then(|t| t.parse().ok()).unwrap_or(0)
    }

    fn ticks(&self, n: usize) -> u64 {
        u64::try_from(self.field(n)).unwrap_or(0)
    }

    /// Seconds of processor time.
    fn cpu(&self) -> u64 {
        (self.ticks(14) + self.ticks(15)) / TICKS
    }

    /// Seconds since it was started.
    fn age(&self, machine: &Machine) -> u64 {
        machine.uptime.saturating_sub(self.ticks(22) / TICKS)
    }

    fn show(&self, key: &str, machine: &Machine) -> String {
        let age = self.age(machine);
        let busy = (self.cpu() * 1000).checked_div(age).unwrap_or(0);
        match key {
            "user" => {
                let name = machine.users.get(&self.uid).cloned();
                name.unwrap_or_else(|| self.uid.to_string())
            }
            "uid" => self.uid.to_string(),
            "pid" => self.pid.to_string(),
            "ppid" => self.field(4).to_string(),
            "pgid" => self.field(5).to_string(),
            "sid" => self.field(6).to_string(),
            "c" => (busy / 10).min(99).to_string(),
            "pcpu" => tenths(busy),
            "pmem" => tenths(
                (self.rss_kib * 1000)
                    .checked_div(machine.memory)
                    .unwrap_or(0),
            ),
            "vsz" => (self.ticks(23) / 1024).to_string(),
            "rss" => self.rss_kib.to_string(),
            "tty" => terminal(self.field(7)),
            "s" => self.state().to_owned(),
            "stat" => self.stat_word(),
            "stime" => started(machine, self.ticks(22) / TICKS),
            "etime" => elapsed(age),
            "time" => clock(self.cpu()),
            "comm" => self.name.clone(),
            "ni" => self.field(19).to_string(),
            "pri" => (39 - self.field(18)).to_string(),
            "nlwp" => self.field(20).to_string(),
            _ => self.command.clone(),
        }
    }

    fn state(&self) -> &str {
        self.stat.first().map_or("?", String::as_str)
    }

    /// The state with the marks of `ps(1)`.
    fn stat_word(&self) -> String {
        let mut word = self.state().to_owned();
        let nice = self.field(19);
        for (mark, set) in [
            ('<', nice < 0),
            ('N', nice > 0),
            ('s', self.field(6) == i64::from(self.pid)),
            ('l', self.field(20) > 1),
            ('+', self.field(8) == self.field(5) && self.field(7) != 0),
        ] {
            if set {
                word.push(mark);
            }
        }
        word
    }
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

/// `HH:MM:SS`, with days before it where there are any.
fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let time = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 {
        format!("{days}-{time}")
    } else {
        time
    }
}

/// The same without hours where there are none.
fn elapsed(seconds: u64) -> String {
    if seconds < 3600 {
        format!("{:02}:{:02}", seconds / 60, seconds % 60)
    } else {
        clock(seconds)
    }
}

/// The time of day of a start, or the date of one that is a day ago; in UTC.
fn started(machine: &Machine, since_boot: u64) -> String {
    let seconds = i64::try_from(since_boot).unwrap_or(0) + machine.booted;
    let text = Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000)).to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    if machine.now.as_seconds() - seconds < 86_400 {
        time.get(..5).unwrap_or(time).to_owned()
    } else {
        date.to_owned()
    }
}

/// The name of a terminal by its device number (`makedev(3)`): pseudo-terminals are majors 136
/// to 143.
fn terminal(device: i64) -> String {
    let major = (device >> 8) & 0xfff;
    let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_choose_columns() {
        let titles = |text: &str| {
            columns(text)
                .map(|list| {
                    list.into_iter()
                        .map(|c| c.title)
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .map_err(|e| e.to_string())
        };
        let full = "UID PID PPID C STIME TTY TIME CMD";
        for arguments in ["", "-ef", "-e -f"] {
            assert_eq!(titles(arguments).as_deref(), Ok(full), "{arguments}");
        }
        let users = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND";
        assert_eq!(titles("aux").as_deref(), Ok(users));
        assert_eq!(titles("-o pid,comm").as_deref(), Ok("PID COMMAND"));
        assert_eq!(titles("-eo pid=,args=WHAT").as_deref(), Ok(" WHAT"));
        assert_eq!(titles("-o pid -o user").as_deref(), Ok("PID USER"));
        assert!(titles("-o wchan").unwrap_err().contains("not supported"));
        assert!(titles(&format!("-o pid{}", ",pid".repeat(64))).is_err());
        assert!(titles("--forest").unwrap_err().contains("-ef"));
    }

    #[test]
    fn spans_and_terminals_as_ps_writes_them() {
        assert_eq!(clock(59), "00:00:59");
        assert_eq!(clock(90_061), "1-01:01:01");
        assert_eq!(elapsed(61), "01:01");
        assert_eq!(terminal(136 << 8 | 3), "pts/3");
        assert_eq!(terminal(0), "?");
    }

    #[test]
    fn this_process_is_shown() {
        let machine = Machine::read();
        let pid = i32::try_from(std::process::id()).unwrap();
        let this = Process::read(pid).unwrap();
        assert_eq!(this.show("pid", &machine), pid.to_string());
        assert!(this.show("nlwp", &machine).parse::<u32>().unwrap() >= 1);
        assert!(!this.show("cmd", &machine).is_empty());
        assert!(this.show("rss", &machine).parse::<u64>().unwrap() > 0);
    }
}
