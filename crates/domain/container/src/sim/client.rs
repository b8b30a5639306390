//! Who asks for what, and what must be so once it is answered.
//!
//! Some containers are one client's alone: of these it is known exactly what was promised. Others
//! are shared, and everybody does with them what comes to mind.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use berth_types::{Caller, ContainerId, chain};
use tokio::time::{Instant, sleep_until, timeout};

mod acts;

use super::board::{Board, Known, Own};
use super::seam::Chance;
use super::world::World;
use crate::create::CreateRequest;
use crate::error::ContainerError;
use crate::record::RestartPolicy;
use crate::service::Containers;

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
}
