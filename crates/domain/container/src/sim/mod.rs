//! The engine's containers in a simulation: the whole service above a store on a disk in memory and
//! monitors without processes, in a time of its own, on one thread.
//!
//! A history is what its seed says: which requests several clients make and when, how long the disk
//! and the monitors take, which programs end on their own and when, what fails, when the engine is
//! killed or the power goes. Whatever happens, what [`check`] says has to hold. A history that
//! breaks a rule is printed with its seed, and `BERTH_SIM_SEED=<seed> cargo test -p berth-container
//! --lib sim -- --nocapture` is that history again, event for event.
//!
//! | part | here |
//! |---|---|
//! | `seam` | threads, tasks, date and chance of the crate under test |
//! | `world` | monitors, programs and control groups, and what becomes of them |
//! | `client` | who asks for what, and what must be so once it is answered |
//! | `check` | what holds when nothing is under way |
//! | `history` | one history from its seed: engines one after the other over one disk |

mod board;
mod check;
mod client;
mod history;
pub(crate) mod seam;
mod stories;
mod world;

pub(crate) use world::groups;
