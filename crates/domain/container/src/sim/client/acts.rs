//! The requests, each with what must be so once it is answered.

use berth_shim::AttachWant;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::super::board::Known;
use super::super::seam::spawn;
use super::{CODES, Client, DEADLINE, NAMES, POLICIES, Target, root};
use crate::exec::{ExecSettings, ExecState};
use crate::service::WaitCondition;
use crate::update::Change;

impl Client {
    pub(super) async fn start(&self, target: &Target) {
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

    pub(super) async fn stop(&self, target: &Target) {
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

    pub(super) async fn kill(&self, target: &Target) {
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

    pub(super) async fn pause(&self, target: &Target) {
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

    pub(super) async fn unpause(&self, target: &Target) {
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

    pub(super) async fn restart(&self, target: &Target) {
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

    pub(super) async fn rename(&self, target: &Target) {
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

    pub(super) async fn update(&self, target: &Target) {
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

    pub(super) async fn remove(&self, target: &Target) {
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
    pub(super) fn wait(&self, target: &Target) {
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

    pub(super) async fn exec(&self, target: &Target) {
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
    pub(super) async fn attach(&self, target: &Target) {
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
