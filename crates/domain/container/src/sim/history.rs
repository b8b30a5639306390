//! One history from its seed: engines one after the other, over one disk and one world.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use berth_store::simulated::Disk;
use berth_types::{Caller, Timestamp};
use tokio::time::{Instant, sleep, timeout};

mod engine;

pub(super) use engine::IMAGE_ID;
use engine::{Engine, alive, fresh};

use super::board::Board;
use super::check::View;
use super::client::{Client, DEADLINE};
use super::seam::{self, Chance, Stage, chance, spawn};
use super::world::{self, World};

/// Engines in one history.
const ENGINES: u64 = 3;
/// Everything that was begun is over after so long: a pause before a restart takes a minute.
const QUIET: Duration = Duration::from_secs(150);

/// What came of a history.
pub(super) struct Outcome {
    pub wrong: Vec<String>,
    pub log: Vec<String>,
    /// Requests that were answered with success.
    pub answers: u64,
}

/// How an engine ended.
enum Ended {
    /// With nothing left to do.
    Well,
    /// Killed; the disk is as the next engine finds it.
    Killed(Disk),
}

/// What lasts from engine to engine.
struct History {
    chance: Arc<Chance>,
    board: Board,
    world: World,
    root: tempfile::TempDir,
    disk: Disk,
    date: Timestamp,
}

/// Plays the history of `seed`.
pub(super) fn play(seed: u64, aloud: bool) -> Outcome {
    let mut history = History::new(seed, aloud);
    let board = history.board.clone();
    world::set(Some(history.world.clone()));
    let played = catch_unwind(AssertUnwindSafe(|| history.play()));
    world::set(None);
    Stage::leave();
    if played.is_err() {
        board.wrong("something panicked".to_owned());
    }
    Outcome {
        wrong: board.wrongs(),
        log: board.log(),
        answers: board.answers(),
    }
}

/// One engine on a machine on which nothing happens by itself, for a story of its own.
pub(super) struct Scene {
    pub engine: Engine,
    pub world: World,
    pub disk: Disk,
    history: Board,
    root: std::path::PathBuf,
}

impl Scene {
    /// Everybody is of one mind, once everything is over.
    pub(super) async fn is_well(&self) -> Vec<String> {
        sleep(QUIET).await;
        let (run, data) = (self.root.join("run"), self.root.join("data"));
        self.engine
            .view(&self.world, &self.history, &run, &data)
            .quiet();
        self.history.wrongs()
    }
}

/// Plays a story.
pub(super) fn story(script: impl AsyncFnOnce(Scene)) {
    let history = History::new(1, false);
    world::set(Some(history.world.clone()));
    let runtime = runtime();
    runtime.block_on(seam::scope(history.chance.split(), async {
        let began = Instant::now();
        history.stage(began, Arc::default());
        history.world.calm(true);
        let engine = history.open(began).await.expect("an engine");
        let scene = Scene {
            engine,
            world: history.world.clone(),
            disk: history.disk.clone(),
            history: history.board.clone(),
            root: history.root.path().to_owned(),
        };
        script(scene).await;
    }));
    drop(runtime);
    world::set(None);
    Stage::leave();
}

/// Time stands still in it while anybody has something to do.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

impl History {
    fn new(seed: u64, aloud: bool) -> Self {
        let memory = Path::new("/dev/shm");
        let builder = tempfile::Builder::new();
        let root = if memory.is_dir() {
            builder.tempdir_in(memory)
        } else {
            builder.tempdir()
        };
        let root = root.expect("a directory");
        Self {
            chance: Chance::new(seed),
            board: Board::new(aloud),
            world: World::new(&root.path().join("data")),
            root,
            disk: fresh(),
            date: Timestamp::from_nanos(1_700_000_000_000_000_000),
        }
    }

    fn stage(&self, began: Instant, skew: Arc<AtomicI64>) {
        Stage {
            began,
            date: self.date,
            skew,
        }
        .enter();
    }

    fn play(&mut self) {
        let engines = 1 + self.chance.below(ENGINES);
        let mut number = 1;
        while self.board.wrongs().is_empty() {
            match self.engine(number >= engines) {
                Ended::Killed(disk) => self.disk = disk,
                Ended::Well => return,
            }
            number += 1;
        }
    }

    /// The life of one engine, in a runtime of its own: all its tasks go with it.
    fn engine(&mut self, last: bool) -> Ended {
        let runtime = runtime();
        let chance = self.chance.split();
        let ended = runtime.block_on(seam::scope(chance, self.life(last)));
        drop(runtime);
        ended
    }

    async fn life(&mut self, last: bool) -> Ended {
        let began = Instant::now();
        let skew = Arc::new(AtomicI64::new(0));
        self.stage(began, Arc::clone(&skew));
        self.world.calm(false);
        self.board.set_faults(false);
        self.board
            .note(began, format_args!("an engine starts, the last: {last}"));
        let chance = chance().expect("a stream");
        let opened = timeout(DEADLINE, self.open(began)).await;
        let engine = match opened {
            Ok(Some(engine)) => engine,
            Ok(None) => return Ended::Well,
            Err(_) => {
                self.board.wrong("the engine does not come up".to_owned());
                return Ended::Well;
            }
        };
        self.world.with_engine();
        let exec_root = self.root.path().join("run");
        let data_root = self.root.path().join("data");
        let view = engine.view(&self.world, &self.board, &exec_root, &data_root);
        view.promises();
        let killed_after = (!last || chance.percent(50)).then(|| match chance.below(3) {
            0 => chance.millis(300),
            1 => chance.millis(3000),
            _ => chance.millis(30_000),
        });
        let clients = self.clients(&engine, &chance, began);
        let disturbance = self.disturbance(&chance, skew);
        let all = async {
            for client in clients {
                if client.await.is_err() {
                    self.board.wrong("a client panicked".to_owned());
                }
            }
        };
        let over = match killed_after {
            Some(after) if !last => timeout(after, all).await.is_ok(),
            _ => {
                all.await;
                true
            }
        };
        if !over || !last {
            let disk = self.kill(&chance, began).await;
            self.date = seam::date();
            return Ended::Killed(disk);
        }
        disturbance.abort();
        self.disk.fail(u64::MAX, 0);
        self.world.calm(true);
        sleep(QUIET).await;
        if engine.is_at_its_end() {
            self.board
                .note(began, format_args!("it wants to be started again"));
            self.date = seam::date();
            return Ended::Killed(self.disk.copy());
        }
        self.board.note(began, format_args!("it is quiet"));
        view.quiet();
        view.promises();
        view.stopped();
        self.end(&engine, &view).await;
        engine.events(&self.board).await;
        Ended::Well
    }

    fn clients(
        &self,
        engine: &Engine,
        chance: &Chance,
        began: Instant,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let clients = 2 + chance.below(3);
        let numbers = 0..usize::try_from(clients).unwrap_or(2);
        numbers
            .map(|number| {
                let client = Client {
                    number,
                    containers: engine.containers.clone(),
                    world: self.world.clone(),
                    board: self.board.clone(),
                    chance: chance.split(),
                    began,
                };
                spawn(client.live(6 + chance.below(12)))
            })
            .collect()
    }

    /// What happens to programs, disk and clock by itself.
    fn disturbance(&self, chance: &Chance, skew: Arc<AtomicI64>) -> tokio::task::JoinHandle<()> {
        let (world, disk, board) = (self.world.clone(), self.disk.clone(), self.board.clone());
        let chance = chance.split();
        let failing = chance.percent(30);
        spawn(async move {
            loop {
                sleep(Duration::from_millis(5) + chance.millis(2500)).await;
                match chance.below(10) {
                    0..6 => world.disturb(&chance),
                    6..8 if failing => {
                        board.set_faults(true);
                        disk.fail(chance.below(12), 1 + chance.below(6));
                    }
                    8 => {
                        let hours = i64::try_from(chance.below(5)).unwrap_or(0) - 2;
                        skew.store(hours * 3_600_000_000_000, Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
        })
    }

    /// Kills the engine, or takes the power away; returns the disk as it is then.
    async fn kill(&self, chance: &Chance, began: Instant) -> Disk {
        let power = chance.percent(40);
        if chance.percent(30) {
            // In the middle of what it writes.
            self.board.set_faults(true);
            self.disk.fail(chance.below(8), u64::MAX);
            sleep(chance.millis(20)).await;
        }
        self.board
            .note(began, format_args!("killed; with the power: {power}"));
        if !power {
            self.world.without_engine(chance);
            return self.disk.copy();
        }
        self.world.power_cut();
        let run = self.root.path().join("run");
        if let Err(error) = std::fs::remove_dir_all(&run) {
            self.board.wrong(format!("the exec root stays: {error}"));
        }
        self.disk.after_power_cut(|| chance.percent(50))
    }

    /// Removes everything: nothing is left.
    async fn end(&self, engine: &Engine, view: &View<'_>) {
        for record in engine.containers.all(&Caller::root()) {
            let id = record.id.to_string();
            let caller = Caller::root();
            let removed = engine.containers.remove(&caller, &id, true);
            match timeout(DEADLINE, removed).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self
                    .board
                    .wrong(format!("rm -f at the end: {}", berth_types::chain(&error))),
                Err(_) => self.board.wrong("rm -f at the end: no answer".to_owned()),
            }
        }
        if timeout(DEADLINE, engine.containers.settled())
            .await
            .is_err()
        {
            self.board
                .wrong("removals do not come to an end".to_owned());
        }
        sleep(QUIET).await;
        view.nothing();
        let (tasks, before) = (alive(), engine.tasks);
        if tasks > before {
            self.board
                .wrong(format!("{tasks} tasks are left of what were {before}"));
        }
    }
}
