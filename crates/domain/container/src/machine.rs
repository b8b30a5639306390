//! What this crate has of the machine beside files and monitors: threads that may block, tasks, the
//! date, chance. In one place, so that a simulation can stand in for it; without one these are the
//! ordinary things.

#[cfg(test)]
pub(crate) use crate::sim::seam::{blocking, date, random, spawn};
#[cfg(not(test))]
pub(crate) use ordinary::{blocking, date, random, spawn};

#[cfg_attr(test, allow(dead_code))]
pub(crate) mod ordinary {
    use std::io;

    use berth_sys::rustix::rand;
    use berth_types::Timestamp;
    use tokio::task::JoinHandle;

    /// Runs `work` where it may block.
    pub(crate) fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        tokio::task::spawn_blocking(work)
    }

    /// Runs a task beside those there are.
    pub(crate) fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        tokio::spawn(task)
    }

    /// The machine's date, which people set.
    pub(crate) fn date() -> Timestamp {
        Timestamp::now()
    }

    /// Fills `bytes` by chance.
    pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            let rest = &mut bytes[filled..];
            filled += rand::getrandom(rest, rand::GetRandomFlags::empty())?;
        }
        Ok(())
    }
}
