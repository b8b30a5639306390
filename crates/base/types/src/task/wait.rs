//! What can be waited for.

/// No limit to a wait.
pub(super) const NO_LIMIT: u64 = u64::MAX;

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Wait {
    /// It works.
    Nothing,
    /// One of the threads for what blocks.
    BlockingThread,
    /// The container to take the request, and to be done with it.
    Container,
    /// The monitor of a container to answer.
    Monitor,
    /// A monitor that said it ends to be gone.
    MonitorEnd,
    /// A commit of the database.
    Database,
    /// The lock over addresses and ports.
    NetworkLock,
    /// The lock over the firewall's table.
    Firewall,
    /// The kernel's answer about links, addresses or the firewall.
    Kernel,
    /// A program to end.
    Program,
    /// Processes to stand still, or to go on.
    Freezer,
    /// Killed processes to be gone.
    KilledProcesses,
    /// Another that has the same thing in hand.
    Turn,
    /// The helper that unpacks.
    Helper,
    /// Bytes to reach the disk.
    DiskSync,
    /// Files to be deleted that are too many to be left for after the answer.
    Deletion,
    /// Another that changes layers.
    Layers,
    /// The client to send.
    ClientToSend,
    /// The client to read.
    ClientToRead,
    /// Something to tell the client.
    News,
    /// The start of the engine to be over.
    Boot,
    /// A process that looks at files which may not answer.
    Files,
}

/// Every wait with its word, in the order of the numbers.
const WORDS: [(Wait, &str); 22] = [
    (Wait::Nothing, "nothing"),
    (Wait::BlockingThread, "blocking thread"),
    (Wait::Container, "container"),
    (Wait::Monitor, "monitor's answer"),
    (Wait::MonitorEnd, "monitor to end"),
    (Wait::Database, "database commit"),
    (Wait::NetworkLock, "network lock"),
    (Wait::Firewall, "firewall's lock"),
    (Wait::Kernel, "kernel's answer"),
    (Wait::Program, "program to end"),
    (Wait::Freezer, "freezer"),
    (Wait::KilledProcesses, "killed processes to go"),
    (Wait::Turn, "its turn"),
    (Wait::Helper, "unpacking helper"),
    (Wait::DiskSync, "disk sync"),
    (Wait::Deletion, "deletion"),
    (Wait::Layers, "layers' lock"),
    (Wait::ClientToSend, "client to send"),
    (Wait::ClientToRead, "client to read"),
    (Wait::News, "news"),
    (Wait::Boot, "engine's start"),
    (Wait::Files, "files to answer"),
];

impl Wait {
    /// The words for a person.
    pub fn words(self) -> &'static str {
        let known = WORDS.iter().find(|(wait, _)| *wait == self);
        known.map_or("", |(_, words)| words)
    }
}

/// A wait and when it began, as one number: neither is ever seen without the other.
pub(super) fn pack(wait: Wait, micros: u64) -> u64 {
    micros << 8 | u64::from(wait as u8)
}

/// The reverse of [`pack`].
pub(super) fn unpack(packed: u64) -> (Wait, u64) {
    let number = usize::try_from(packed & 0xff).unwrap_or_default();
    let wait = WORDS.get(number).map_or(Wait::Nothing, |(wait, _)| *wait);
    (wait, packed >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_is_read_back() {
        for (number, (wait, words)) in WORDS.iter().enumerate() {
            assert_eq!(usize::from(*wait as u8), number, "{words}");
            assert_eq!(unpack(pack(*wait, 77)), (*wait, 77));
        }
    }
}
