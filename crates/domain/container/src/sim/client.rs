//! Who asks for what, and what must be so once it is answered.
//!
//! Some containers are one client's alone: of these it is known exactly what was promised. Others
//! are shared, and everybody does with them what comes to mind.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use berth_shim::AttachWant;
use berth_types::{Caller, ContainerId, chain};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep_until, timeout};

use super::board::{Board, Known, Own};
use super::seam::{Chance, spawn};
use super::world::World;
use crate::create::CreateRequest;
use crate::error::ContainerError;
use crate::exec::{ExecSettings, ExecState};
use crate::record::RestartPolicy;
use crate::service::{Containers, WaitCondition};
use crate::update::Change;

/// No request takes longer: the longest patience with a stop, a program that hangs, and a disk and
/// a monitor that take their time at every step.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);
/// Clients take turns within so many milliseconds: no two of them ask at the same moment, so that
/// it does not matter who of them is woken first.
const TURNS: u64 = 8;
/// Names that containers of one's own have.
const NAMES: [&str; 5] = ["ada", "bob", "cyd", "dan", "eve"];
/// Names of shared containers.
const SHARED: [&str; 2] = ["one", "two"];
const POLICIES: [RestartPolicy; 4] = [
    RestartPolicy::No,
    RestartPolicy::Always,
    RestartPolicy::UnlessStopped,
    RestartPolicy::OnFailure { max: 2 },
];
/// Exit codes of programs and starts in this world: of the first, of signals, of failed starts,
/// of what nobody saw.
const CODES: [i32; 13] = [0, 1, 2, 3, 7, 126, 127, 128, 137, 139, 143, 255, 129];

/// One client.
#[derive(Clone)]
pub(super) struct Client {
    pub number: usize,
    pub containers: Containers,
    pub world: World,
    pub board: Board,
    pub chance: Arc<Chance>,
    pub began: Instant,
}

/// What a request is about.
struct Target {
    key: String,
    /// Nothing where the key means no container now.
    id: Option<ContainerId>,
    own: Option<Own>,
}

/// A request for a container.
pub(super) fn request(
    name: Option<&str>,
    auto_remove: bool,
    policy: RestartPolicy,
) -> CreateRequest {
    let mut request = CreateRequest {
        name: name.map(str::to_owned),
        image: super::history::IMAGE_ID.to_owned(),
        ..CreateRequest::default()
    };
    request.settings.cmd = Some(vec!["program".to_owned()]);
    request.host.auto_remove = auto_remove;
    request.host.restart = policy;
    request.host.security_opt = vec!["seccomp=unconfined".to_owned()];
    request
}

/// Who asks.
fn root() -> &'static Caller {
    static ROOT: OnceLock<Caller> = OnceLock::new();
    ROOT.get_or_init(Caller::root)
}

impl Client {
    /// Makes so many requests, one after the other.
    pub(super) async fn live(self, requests: u64) {
        for _ in 0..requests {
            self.think().await;
            self.act().await;
        }
    }

    async fn think(&self) {
        let pause = match self.chance.below(10) {
            0..5 => self.chance.millis(20),
            5..9 => self.chance.millis(500),
            _ => self.chance.millis(8000),
        };
        let at = Instant::now().duration_since(self.began) + pause;
        let round = u64::try_from(at.as_millis()).unwrap_or(0) / TURNS + 1;
        let turn = round * TURNS + self.number as u64;
        sleep_until(self.began + Duration::from_millis(turn)).await;
    }

    /// Makes a request, which has to be answered.
    async fn ask<T>(
        &self,
        what: &str,
        request: impl Future<Output = Result<T, ContainerError>>,
    ) -> Result<T, ContainerError> {
        let who = self.number;
        self.board
            .note(self.began, format_args!("client {who}: {what}"));
        let answer = timeout(DEADLINE, request).await;
        let text = match &answer {
            Err(_) => "is not answered".to_owned(),
            Ok(Ok(_)) => "done".to_owned(),
            Ok(Err(error)) => chain(error),
        };
        self.board
            .note(self.began, format_args!("client {who}: {what}: {text}"));
        let Ok(answer) = answer else {
            self.board.wrong(format!("{what} is not answered"));
            return Err(ContainerError::ShuttingDown);
        };
        match &answer {
            Ok(_) => self.board.answered(),
            Err(_) if self.board.faults() => {}
            Err(
                ContainerError::Store(_) | ContainerError::Storage(_) | ContainerError::Io { .. },
            ) => {
                self.board
                    .wrong(format!("{what} failed on a healthy machine: {text}"));
            }
            Err(_) => {}
        }
        answer
    }

    async fn act(&self) {
        let mine = |own: &Own| own.owner == self.number && own.exists.may_be(&true);
        let owns: Vec<Own> = self.board.owns().into_iter().filter(mine).collect();
        let create = owns.is_empty() || (owns.len() < 3 && self.chance.percent(15));
        if create && self.chance.percent(70) {
            return self.create().await;
        }
        let own = if owns.is_empty() || self.chance.percent(35) {
            None
        } else {
            let at = self.chance.below(owns.len() as u64);
            owns.into_iter().nth(usize::try_from(at).unwrap_or(0))
        };
        let key = match &own {
            Some(own) => match own.name.certain() {
                Some(name) if self.chance.percent(30) && own.exists.certain().is_some() => {
                    name.clone()
                }
                _ => own.id.clone(),
            },
            None => self.chance.pick(&SHARED).to_owned(),
        };
        let found = self.containers.get(root(), &key).ok();
        let id = found.map(|record| record.id);
        if own.is_none() && id.is_none() {
            let policy = self.chance.pick(&POLICIES);
            let what = format!("create {key}");
            let request = request(Some(&key), false, policy);
            let _ = self
                .ask(&what, self.containers.create(root(), request))
                .await;
            return;
        }
        let target = Target { key, id, own };
        match self.chance.below(100) {
            0..22 => self.start(&target).await,
            22..36 => self.stop(&target).await,
            36..46 => self.kill(&target).await,
            46..54 => self.pause(&target).await,
            54..62 => self.unpause(&target).await,
            62..70 => self.restart(&target).await,
            70..75 => self.rename(&target).await,
            75..81 => self.update(&target).await,
            81..89 => self.remove(&target).await,
            89..93 => self.wait(&target),
            93..97 => self.exec(&target).await,
            _ => self.attach(&target).await,
        }
    }

    async fn create(&self) {
        let name = self.chance.pick(&NAMES);
        let auto_remove = self.chance.percent(20);
        let policy = if auto_remove {
            RestartPolicy::No
        } else {
            self.chance.pick(&POLICIES)
        };
        let request = request(Some(name), auto_remove, policy);
        let what = format!("create {name} ({policy:?}, auto-remove {auto_remove})");
        let made = self
            .ask(&what, self.containers.create(root(), request))
            .await;
        let Ok(created) = made else { return };
        self.board.put(Own {
            owner: self.number,
            id: created.id.to_string(),
            exists: Known::sure(true),
            name: Known::sure(name.to_owned()),
            policy: Known::sure(policy),
            auto_remove,
            stopped: Known::sure(true),
        });
        self.expect(self.known(&created.id.to_string()), || {
            format!("{name} was created and is not there")
        });
    }

    fn known(&self, key: &str) -> bool {
        self.containers.get(root(), key).is_ok()
    }

    fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.board
                .wrong(format!("client {}: {}", self.number, what()));
        }
    }

    /// Changes what is known of a container of one's own.
    fn change(&self, target: &Target, change: impl FnOnce(&mut Own)) {
        if let Some(own) = &target.own {
            self.board.change(&own.id, change);
        }
    }

    /// Takes back what a request that failed might have changed, unless it may have.
    fn restore(&self, target: &Target) {
        if let (Some(own), false) = (&target.own, self.board.faults()) {
            self.board.put(own.clone());
        }
    }

    /// What is known once a request was made that an own container alone is asked.
    fn run(&self, target: &Target) -> Option<u64> {
        self.world.run(&target.id?)
    }

    fn gone_is_right(&self, target: &Target, error: &ContainerError, what: &str) {
        let sure = |own: &Own| own.exists.certain() == Some(&true) && !own.auto_remove;
        if let (ContainerError::NotFound(_), Some(own)) = (error, &target.own) {
            self.expect(!sure(own), || {
                format!("{what} {}: it is not found, and was never removed", own.id)
            });
        }
    }

    async fn start(&self, target: &Target) {
        let before = target.id.map_or(0, |id| self.world.started(&id));
        self.change(target, |own| {
            own.stopped.or(false);
            if own.auto_remove {
                own.exists.or(false);
            }
        });
        let what = format!("start {}", target.key);
        let started = self.containers.start(root(), &target.key);
        match self.ask(&what, started).await {
            Ok(report) => {
                let now = target.id.map_or(0, |id| self.world.started(&id));
                self.expect(report.unchanged || now > before, || {
                    format!("{what} was answered, and nothing was started")
                });
                self.change(target, |own| own.stopped = Known::sure(false));
            }
            Err(error) => self.gone_is_right(target, &error, "start"),
        }
    }

    async fn stop(&self, target: &Target) {
        let run = self.run(target);
        let hangs = target.id.is_some_and(|id| self.world.hangs(&id));
        let seconds = self.chance.pick(&[0, 1, 2, 10]);
        self.change(target, |own| {
            own.stopped.or(true);
            own.exists.or(!own.auto_remove);
        });
        let what = format!("stop -t {seconds} {}", target.key);
        let stopped = self
            .containers
            .stop(root(), &target.key, Some(seconds), None);
        match self.ask(&what, stopped).await {
            Ok(report) if report.unchanged => {
                self.restore(target);
                if target.own.as_ref().is_some_and(|own| own.auto_remove) {
                    self.change(target, |own| own.exists.or(false));
                }
            }
            Ok(_) => {
                self.expect(run.is_none() || hangs || self.run(target) != run, || {
                    format!("{what} was answered, and its program lives")
                });
                if target.own.is_some() {
                    self.expect(self.run(target).is_none(), || {
                        format!("{what} was answered, and it was started again")
                    });
                    self.change(target, |own| own.stopped = Known::sure(true));
                }
            }
            Err(error) => self.gone_is_right(target, &error, "stop"),
        }
    }

    async fn kill(&self, target: &Target) {
        let run = self.run(target);
        let hangs = target.id.is_some_and(|id| self.world.hangs(&id));
        let name = self.chance.pick(&["KILL", "KILL", "TERM", "HUP"]);
        self.change(target, |own| {
            own.stopped.or(true);
            own.exists.or(!own.auto_remove);
        });
        let what = format!("kill -s {name} {}", target.key);
        let killed = self.containers.kill(root(), &target.key, name);
        match self.ask(&what, killed).await {
            Ok(()) if name == "KILL" => {
                self.expect(run.is_none() || hangs || self.run(target) != run, || {
                    format!("{what} was answered, and its program lives")
                });
                if !hangs {
                    self.change(target, |own| own.stopped = Known::sure(true));
                }
            }
            Ok(()) => {}
            Err(error) => self.gone_is_right(target, &error, "kill"),
        }
    }

    async fn pause(&self, target: &Target) {
        let run = self.run(target);
        let what = format!("pause {}", target.key);
        let paused = self.containers.pause(root(), &target.key);
        match self.ask(&what, paused).await {
            Ok(()) if target.own.is_some() => {
                let frozen = target.id.is_some_and(|id| self.world.is_frozen_now(&id));
                self.expect(frozen || self.run(target) != run, || {
                    format!("{what} was answered, and it is not frozen")
                });
            }
            Ok(()) => {}
            Err(error) => self.gone_is_right(target, &error, "pause"),
        }
    }

    async fn unpause(&self, target: &Target) {
        let what = format!("unpause {}", target.key);
        let thawed = self.containers.unpause(root(), &target.key);
        match self.ask(&what, thawed).await {
            Ok(()) if target.own.is_some() => {
                let frozen = target.id.is_some_and(|id| self.world.is_frozen_now(&id));
                self.expect(!frozen, || format!("{what} was answered, and it is frozen"));
            }
            Ok(()) => {}
            Err(error) => self.gone_is_right(target, &error, "unpause"),
        }
    }

    async fn restart(&self, target: &Target) {
        let before = target.id.map_or(0, |id| self.world.started(&id));
        self.change(target, |own| {
            own.stopped.or(false);
            own.exists.or(!own.auto_remove);
        });
        let seconds = self.chance.pick(&[0, 1, 10]);
        let what = format!("restart -t {seconds} {}", target.key);
        let restarted = self
            .containers
            .restart(root(), &target.key, Some(seconds), None);
        match self.ask(&what, restarted).await {
            Ok(()) => {
                let now = target.id.map_or(0, |id| self.world.started(&id));
                self.expect(now > before, || {
                    format!("{what} was answered, and nothing was started")
                });
                self.change(target, |own| own.stopped = Known::sure(false));
            }
            Err(error) => self.gone_is_right(target, &error, "restart"),
        }
    }

    async fn rename(&self, target: &Target) {
        // Shared ones keep their names.
        let Some(own) = &target.own else { return };
        let name = self.chance.pick(&NAMES);
        self.change(target, |own| own.name.or(name.to_owned()));
        let what = format!("rename {} {name}", target.key);
        let renamed = self.containers.rename(root(), &target.key, name);
        match self.ask(&what, renamed).await {
            Ok(()) => {
                self.change(target, |own| own.name = Known::sure(name.to_owned()));
                let found = self.containers.get(root(), name);
                let gone = own.auto_remove && found.is_err();
                let right = found.is_ok_and(|record| record.id.to_string() == own.id);
                self.expect(gone || right, || {
                    format!("{what} was answered, and the name is not its")
                });
            }
            Err(error) => {
                self.gone_is_right(target, &error, "rename");
                self.restore(target);
            }
        }
    }

    async fn update(&self, target: &Target) {
        let policy = self.chance.pick(&POLICIES);
        self.change(target, |own| own.policy.or(policy));
        let change = Change {
            restart: Some(policy),
            ..Change::default()
        };
        let what = format!("update --restart {policy:?} {}", target.key);
        let updated = self.containers.update(root(), &target.key, change);
        match self.ask(&what, updated).await {
            Ok(_) => {
                self.change(target, |own| own.policy = Known::sure(policy));
                if let (Some(_), Ok(record)) =
                    (&target.own, self.containers.get(root(), &target.key))
                {
                    self.expect(record.host.restart == policy, || {
                        format!("{what} was answered, and it has another policy")
                    });
                }
            }
            Err(error) => {
                self.gone_is_right(target, &error, "update");
                self.restore(target);
            }
        }
    }

    async fn remove(&self, target: &Target) {
        let force = self.chance.percent(70);
        self.change(target, |own| own.exists.or(false));
        let what = format!("rm force={force} {}", target.key);
        let removed = self.containers.remove(root(), &target.key, force);
        match self.ask(&what, removed).await {
            Ok(()) => {
                self.change(target, |own| own.exists = Known::sure(false));
                if let Some(own) = &target.own {
                    self.expect(!self.known(&own.id), || {
                        format!("{what} was answered, and it is there")
                    });
                }
                self.expect(self.run(target).is_none(), || {
                    format!("{what} was answered, and its program lives")
                });
            }
            Err(error) => {
                self.gone_is_right(target, &error, "rm");
                if !force {
                    self.restore(target);
                }
            }
        }
    }

    /// Waits beside everything else.
    fn wait(&self, target: &Target) {
        let Some(id) = target.id else { return };
        let run = self.world.run(&id);
        let next = self.chance.percent(50);
        let condition = if next {
            WaitCondition::NextExit
        } else {
            WaitCondition::NotRunning
        };
        let Ok(seen) = self.containers.get(root(), &target.key) else {
            return;
        };
        let Ok(wait) = self.containers.wait(root(), &target.key, condition) else {
            return;
        };
        let (client, key) = (self.clone(), target.key.clone());
        let live = seen.state.phase.is_live();
        spawn(async move {
            let what = format!("wait {condition:?} {key}");
            let who = client.number;
            client
                .board
                .note(client.began, format_args!("client {who}: {what}"));
            let record = wait.await;
            let code = record.state.exit_code;
            client.board.note(
                client.began,
                format_args!("client {who}: {what}: {code} {:?}", record.state.phase),
            );
            client.expect(CODES.contains(&code), || {
                format!("{what} was answered with {code}")
            });
            // The run that it met, where the engine and the machine were of one mind then.
            let run = run.filter(|_| live);
            if let Some(expected) = run.and_then(|run| client.world.code_of(&id, run)) {
                client.expect(code == expected, || {
                    format!("{what} was answered with {code}, and the run ended with {expected}")
                });
            } else if run.is_some() {
                client.expect(false, || format!("{what} was answered while the run lives"));
            }
        });
    }

    async fn exec(&self, target: &Target) {
        let settings = ExecSettings {
            command: vec!["further".to_owned()],
            attach: [false, true, true],
            ..ExecSettings::default()
        };
        let what = format!("exec {}", target.key);
        let created = self.containers.exec_create(root(), &target.key, settings);
        let Ok(id) = self.ask(&what, created).await else {
            return;
        };
        let caller = root();
        let key = id.to_string();
        let detached = self.chance.percent(50);
        let begin = async {
            let begun = self.containers.exec_start(caller, &key, detached, None);
            begun.await?.await
        };
        let Ok(streams) = self.ask(&format!("{what}: start"), begin).await else {
            return;
        };
        let Ok(exec) = self.containers.exec(caller, &key) else {
            return;
        };
        let over = timeout(DEADLINE, exec.ended()).await;
        self.expect(over.is_ok(), || format!("{what}: nobody sees its end"));
        let right = matches!(
            exec.state(),
            ExecState::Ended {
                code: 7 | 126 | 127 | 137,
                ..
            }
        );
        self.expect(right, || format!("{what} is {:?}", exec.state()));
        if let Some(mut streams) = streams {
            let mut output = Vec::new();
            let read = timeout(DEADLINE, streams.read_to_end(&mut output)).await;
            self.expect(read.is_ok(), || format!("{what}: its output has no end"));
        }
    }

    /// Attaches and reads what comes, beside everything else.
    async fn attach(&self, target: &Target) {
        let what = format!("attach {}", target.key);
        let want = AttachWant::new(false, true, true);
        let attached = self.containers.attach(root(), &target.key, want);
        if let Ok(mut streams) = self.ask(&what, attached).await {
            let leaves = self.chance.percent(20).then(|| self.chance.millis(5000));
            spawn(async move {
                let mut output = Vec::new();
                let read = streams.read_to_end(&mut output);
                match leaves {
                    Some(after) => drop(timeout(after, read).await),
                    None => drop(read.await),
                }
            });
        }
    }
}
