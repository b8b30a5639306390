//! The proof that an engine is in order, and that nothing of it is left.

use std::thread;
use std::time::Duration;

use super::Engine;
use crate::census::Census;
use crate::http;
use crate::wait::try_until;

/// What follows an answer is done within this time.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// Looks at what is there, some milliseconds apart, that have to see the same.
const SAME_LOOKS: u32 = 15;
/// How long these are tried for.
const REST_LIMIT: Duration = Duration::from_secs(2);

impl Engine {
    /// Insists that disk, kernel and database agree (`berth system fsck`).
    ///
    /// # Panics
    /// When they do not, with every finding.
    #[track_caller]
    pub fn assert_consistent(&self) {
        if let Err(findings) = self.check_state() {
            panic!("{findings}");
        }
    }

    /// Cleaning up may follow an answer, so the check is repeated for a while.
    fn check_state(&self) -> Result<(), String> {
        let mut checked = self.berth(&["system", "fsck"]);
        try_until(SETTLE_LIMIT, || {
            if checked.status != 0 {
                checked = self.berth(&["system", "fsck"]);
            }
            (checked.status == 0).then_some(())
        })
        .ok_or_else(|| checked.to_string())
    }

    /// Insists that everything the engine has made is as it was at `before`, once it has cleaned
    /// up what its answers left to be cleaned up.
    ///
    /// # Panics
    /// When it does not get there, with every difference.
    #[track_caller]
    pub fn assert_unchanged_since(&self, before: &Census) {
        let settled = try_until(SETTLE_LIMIT, || (*before == self.census()).then_some(()));
        if settled.is_none() {
            before.assert_same(&self.census());
        }
    }

    /// Everything the engine has made in its namespaces, cgroups and directories so far.
    ///
    /// The kernel takes the links of a namespace away some time after the last program in it has
    /// ended: the census is one that has been the same for some looks.
    pub fn census(&self) -> Census {
        let mut census = self.ground.census();
        let mut same = 0;
        let settled = || {
            let now = self.ground.census();
            same = if now == census { same + 1 } else { 0 };
            census = now;
            (same == SAME_LOOKS).then_some(())
        };
        // What never rests shows in whatever it is compared with.
        let _ = try_until(REST_LIMIT, settled);
        census
    }

    /// Asks for the removal of every container. What was refused.
    fn remove_each(&self) -> std::io::Result<Vec<String>> {
        let mut refused = Vec::new();
        let listed = http::request(&self.socket(), "GET", "/containers/json?all=1", None)?.json();
        for container in listed.as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap_or_default();
            let path = format!("/containers/{id}?force=1");
            let answer = http::request(&self.socket(), "DELETE", &path, None)?;
            // One that removes itself may be gone or on its way.
            let gone = matches!(answer.status, 204 | 404 | 409);
            refused.extend((!gone).then(|| format!("{path}: {answer:?}")));
        }
        Ok(refused)
    }

    /// Removes the containers as a user would. Whatever goes wrong shows in what is left.
    fn remove_containers(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.child.is_none()
            && self.ground.path("data/meta.db").exists()
            && let Err(reason) = self.try_start()
        {
            complaints.push(reason);
            return complaints;
        }
        if self.child.is_some() {
            match self.remove_each() {
                Ok(refused) => complaints.extend(refused),
                Err(error) => complaints.push(format!("removing containers: {error}")),
            }
        }
        if self.child.is_some() {
            complaints.extend(self.check_state().err());
        }
        complaints.extend(self.try_terminate().err());
        complaints
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("-- log of the engine\n{}", self.log());
            self.kill9();
            for stuck in self.ground.raze() {
                eprintln!("cleaning up: {stuck}");
            }
            return;
        }
        let mut faults = self.remove_containers();
        faults.extend(self.ground.remains());
        let log = self.log();
        self.kill9();
        faults.extend(self.ground.raze());
        assert!(
            faults.is_empty(),
            "the engine left something behind:\n{}\n-- its log\n{log}",
            faults.join("\n")
        );
    }
}
