//! systemd's manager on the system bus (`org.freedesktop.systemd1(5)`): transient scopes, and how
//! the machine is.

use std::time::{Duration, Instant};

use super::bus::{Bus, BusError};
use super::slice::Slice;
use super::wire::{Call, Message, Writer};

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
/// The method that makes a scope.
const START: &str = "StartTransientUnit";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Longest conversation with systemd. On a busy machine at boot it answers late.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest conversation about how the machine is: an engine that ends does not wait for long.
const QUESTION_PATIENCE: Duration = Duration::from_secs(5);
/// How long a scope of the same name, whose processes have ended, may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How long its going is waited for before the name is tried again.
const GONE_LOOK: Duration = Duration::from_millis(100);

/// Since this version scopes have an `OOMPolicy`, and would be ended as a whole when one process
/// of theirs is killed for want of memory.
const OOM_POLICY_SINCE: u32 = 253;

/// What scopes of the name exist already is told by this error.
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// systemd's manager.
#[derive(Debug, Clone)]
pub struct Manager {
    version: u32,
}

/// A scope to be made.
#[derive(Debug, Clone, Copy)]
pub struct ScopeRequest<'a> {
    /// The unit's name, ending in `.scope`.
    pub unit: &'a str,
    /// The slice that it goes into.
    pub slice: &'a Slice,
    /// What it is, for a person.
    pub description: &'a str,
    /// Its first process, in the numbers of systemd's namespace.
    pub pid: i32,
    /// Units that are stopped earlier than it when the machine goes down.
    pub stopped_after: &'a [&'a str],
}

impl Manager {
    /// Asks systemd for its version.
    ///
    /// # Errors
    /// There is no bus, or systemd does not answer on it.
    pub fn connect() -> Result<Self, BusError> {
        let text = property("Version", PATIENCE)?;
        Ok(Self {
            version: version(&text),
        })
    }

    /// The number of the version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether the machine is going down.
    ///
    /// # Errors
    /// As [`Manager::connect`].
    pub fn is_stopping() -> Result<bool, BusError> {
        Ok(property("SystemState", QUESTION_PATIENCE)? == "stopping")
    }

    /// Makes a scope and returns when the process is in it. systemd leaves what is below the
    /// scope's control group alone, ends the scope when it is empty, and forgets it then.
    ///
    /// # Errors
    /// systemd does not answer, refuses, or has a scope of this name that does not go.
    pub fn start_scope(&self, request: ScopeRequest<'_>) -> Result<(), BusError> {
        self.converse(&mut Bus::connect(PATIENCE)?, request)
    }

    fn converse(&self, bus: &mut Bus, request: ScopeRequest<'_>) -> Result<(), BusError> {
        let talk = |source| BusError::Talk {
            call: START,
            source,
        };
        for member in ["JobRemoved", "UnitRemoved"] {
            // The third argument of the one signal is the unit, the first of the other.
            let argument = if member == "JobRemoved" { 2 } else { 0 };
            let unit = request.unit;
            bus.listen(&format!(
                "type='signal',sender='{DESTINATION}',path='{PATH}',interface='{MANAGER}',member='{member}',arg{argument}='{unit}'"
            ))
            .map_err(talk)?;
        }
        bus.send(&ask("Subscribe", "", Writer::default()))
            .map_err(talk)?;
        let since = Instant::now();
        loop {
            match self.try_scope(bus, request) {
                // The last run's scope is empty, and systemd is about to find that out.
                Err(error) if error.is(EXISTS) && since.elapsed() < GONE_WITHIN => {
                    await_removal(bus, GONE_LOOK).map_err(talk)?;
                }
                other => return other,
            }
        }
    }

    fn try_scope(&self, bus: &mut Bus, request: ScopeRequest<'_>) -> Result<(), BusError> {
        let call = ask(START, "ssa(sv)a(sa(sv))", self.scope(request));
        let mut results: Vec<Vec<String>> = Vec::new();
        let mut keep = |message: Message| {
            if message.member == "JobRemoved" {
                results.push(message.texts);
            }
        };
        let answer = bus.call(START, &call, &mut keep)?;
        let job = answer.into_iter().next().unwrap_or_default();
        loop {
            // Job, unit, result.
            let ended = results.iter().find(|texts| texts.first() == Some(&job));
            match ended.and_then(|texts| texts.get(2)) {
                Some(result) if result == "done" => return Ok(()),
                Some(result) => {
                    return Err(BusError::Job {
                        unit: request.unit.to_owned(),
                        result: result.clone(),
                    });
                }
                None => {}
            }
            let message = bus.receive().map_err(|source| BusError::Talk {
                call: START,
                source,
            })?;
            if message.member == "JobRemoved" {
                results.push(message.texts);
            }
        }
    }

    /// The arguments of `StartTransientUnit`.
    fn scope(&self, request: ScopeRequest<'_>) -> Writer {
        let mut out = Writer::default();
        out.string(request.unit);
        out.string("fail");
        out.array(8, |properties| {
            let mut put = |name: &str, signature: &str, value: &dyn Fn(&mut Writer)| {
                properties.structure(|property| {
                    property.string(name);
                    property.variant(signature, value);
                });
            };
            put("Description", "s", &|v| v.string(request.description));
            put("Slice", "s", &|v| v.string(request.slice.name()));
            put("PIDs", "au", &|v| {
                v.array(4, |list| list.u32(request.pid.unsigned_abs()));
            });
            // Controllers for the groups below, and systemd's word that it leaves those alone.
            put("Delegate", "b", &|v| v.bool(true));
            // The container has limits of its own; the default of units is none of them.
            put("TasksMax", "t", &|v| v.u64(u64::MAX));
            // A run that failed leaves no name behind.
            put("CollectMode", "s", &|v| v.string("inactive-or-failed"));
            // Stopping goes against the direction of starting. `sysinit.target` keeps file systems
            // mounted until the monitor has recorded the end; a later one would be a cycle, for
            // it comes after the sockets.
            put("After", "as", &|v| {
                v.array(4, |list| list.string("sysinit.target"));
            });
            put("Before", "as", &|v| {
                v.array(4, |list| {
                    request
                        .stopped_after
                        .iter()
                        .for_each(|unit| list.string(unit));
                });
            });
            if self.version >= OOM_POLICY_SINCE {
                put("OOMPolicy", "s", &|v| v.string("continue"));
            }
        });
        // No further units.
        out.array(8, |_| {});
        out
    }
}

/// Waits for the news that the unit is gone, or until it is time to try again.
fn await_removal(bus: &mut Bus, look: Duration) -> std::io::Result<()> {
    let until = Instant::now() + look;
    while let Some(message) = bus.receive_until(until)? {
        if message.member == "UnitRemoved" {
            break;
        }
    }
    Ok(())
}

fn ask<'a>(member: &'a str, signature: &'a str, arguments: Writer) -> Call<'a> {
    Call {
        destination: DESTINATION,
        path: PATH,
        interface: MANAGER,
        member,
        arguments: (signature, arguments),
    }
}

/// A property of the manager that is a text.
fn property(name: &'static str, patience: Duration) -> Result<String, BusError> {
    let mut arguments = Writer::default();
    arguments.string(MANAGER);
    arguments.string(name);
    let call = Call {
        interface: "org.freedesktop.DBus.Properties",
        ..ask("Get", "ss", arguments)
    };
    let mut bus = Bus::connect(patience)?;
    let texts = bus.call(name, &call, drop)?;
    Ok(texts.into_iter().next().unwrap_or_default())
}

/// The number at the begin of `252.38-1~deb12u1` or `v256`.
fn version(text: &str) -> u32 {
    let digits = text.trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit());
    let number = digits.get(..end.unwrap_or(digits.len()));
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::super::wire::{self, FIXED, incoming};
    use super::*;

    /// What the other side of a conversation does with a call.
    type Answer = fn(&str, usize, u32) -> Vec<Vec<u8>>;

    /// Plays the bus and systemd: gives each call, by its name, by how many calls of that name came
    /// before, and by its number, to `answer`.
    fn play(mut socket: UnixStream, answer: Answer) {
        let mut greeting = [0; 128];
        let read = socket.read(&mut greeting).unwrap();
        assert!(greeting[..read].starts_with(b"\0AUTH EXTERNAL 3"));
        assert!(greeting[..read].ends_with(b"\r\nBEGIN\r\n"));
        socket.write_all(b"OK 0123\r\n").unwrap();
        let (mut number, mut starts) = (0, 0);
        let mut head = [0; FIXED];
        while socket.read_exact(&mut head).is_ok() {
            let mut rest = vec![0; wire::length(&head).unwrap() - FIXED];
            socket.read_exact(&mut rest).unwrap();
            let call = Message::decode(&[&head[..], &rest].concat()).unwrap();
            number += 1;
            for message in answer(&call.member, starts, number) {
                socket.write_all(&message).unwrap();
            }
            starts += usize::from(call.member == START);
        }
    }

    fn start(answer: Answer) -> Result<(), BusError> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let player = thread::spawn(move || play(theirs, answer));
        let mut bus = Bus::enter(ours, Instant::now() + Duration::from_secs(2)).unwrap();
        let request = ScopeRequest {
            unit: "a.scope",
            slice: &Slice::system(),
            description: "a",
            pid: 7,
            stopped_after: &[],
        };
        let result = Manager { version: 252 }.converse(&mut bus, request);
        drop(bus);
        player.join().unwrap();
        result
    }

    fn text(value: &str) -> (&'static str, Writer) {
        let mut out = Writer::default();
        out.string(value);
        ("s", out)
    }

    fn removed(job: &str, result: &str) -> Vec<u8> {
        let mut out = Writer::default();
        out.u32(1);
        for text in [job, "a.scope", result] {
            out.string(text);
        }
        incoming(4, "JobRemoved", 0, ("uoss", out))
    }

    #[test]
    fn a_scope_is_there_when_its_job_is_done() {
        let result = start(|call, _, number| match call {
            START => vec![
                removed("/job/1", "failed"),
                incoming(2, "", number, text("/job/2")),
                removed("/job/2", "done"),
            ],
            _ => vec![incoming(2, "", number, text(":1.1"))],
        });
        result.unwrap();
    }

    #[test]
    fn a_scope_of_the_last_run_is_waited_for() {
        let result = start(|call, earlier, number| match (call, earlier) {
            (START, 0) => vec![
                incoming(3, EXISTS, number, text("Unit a.scope already exists.")),
                incoming(4, "UnitRemoved", 0, text("a.scope")),
            ],
            (START, _) => vec![
                incoming(2, "", number, text("/job/2")),
                removed("/job/2", "done"),
            ],
            _ => Vec::new(),
        });
        result.unwrap();
    }

    #[test]
    fn a_refusal_a_failed_job_and_silence_are_errors() {
        let refused = start(|call, _, number| match call {
            START => vec![incoming(3, "a.b.Bad", number, text("no such slice"))],
            _ => Vec::new(),
        });
        let said = refused.unwrap_err().to_string();
        assert_eq!(
            said,
            "systemd refuses StartTransientUnit: no such slice (a.b.Bad)"
        );
        let failed = start(|call, _, number| match call {
            START => vec![
                incoming(2, "", number, text("/job/2")),
                removed("/job/2", "canceled"),
            ],
            _ => Vec::new(),
        });
        assert!(matches!(failed, Err(BusError::Job { result, .. }) if result == "canceled"));
        let silent = start(|_, _, _| Vec::new());
        let Err(BusError::Talk { source, .. }) = silent else {
            panic!("{silent:?}");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::TimedOut);
    }

    #[test]
    fn the_version_is_a_number_at_the_begin() {
        assert_eq!(
            ["252.38-1~deb12u1", "v256", "257", ""].map(version),
            [252, 256, 257, 0]
        );
    }
}
