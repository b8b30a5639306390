//! An engine that starts takes its containers up side by side, waits for none that does not
//! answer, and takes that one up later.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use berth_testkit::{Engine, wait_until};

/// A hung test ends after this.
const LIMIT: Duration = Duration::from_secs(60);

fn monitor(engine: &Engine, id: &str) -> String {
    let all = engine.processes();
    let found = all
        .iter()
        .find(|(_, line)| line.contains("berth-shim") && line.contains(id));
    let (pid, _) = found.unwrap_or_else(|| panic!("no monitor of {id} in {all:#?}"));
    pid.to_string()
}

#[test]
fn a_monitor_that_is_silent_holds_up_only_its_own_container() {
    let mut engine = Engine::with_busybox();
    let names = ["well", "silent", "mute"];
    let ids = names.map(|name| {
        let words = ["run", "-d", "--network", "none", "--name", name];
        let what = ["busybox:test", "sleep", "1000"];
        let started = engine.docker(&[&words[..], &what].concat());
        started.ok();
        started.text().to_owned()
    });
    let monitors = ids.clone().map(|id| monitor(&engine, &id));
    engine.kill9();
    engine
        .in_namespaces("kill", &["-STOP", &monitors[1], &monitors[2]])
        .ok();
    engine.start_again();

    let (told, tells) = mpsc::channel();
    thread::scope(|scope| {
        let engine = &engine;
        for name in ["silent", "mute"] {
            let told = told.clone();
            scope.spawn(move || {
                let output = engine.docker(&["exec", name, "true"]);
                let _ = told.send(output);
            });
        }
        // The list and the well one do not wait for that.
        let listed = engine.request("GET", "/containers/json", None).json();
        assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed:#}");
        engine.docker(&["exec", "well", "true"]).ok();
        assert!(tells.try_recv().is_err(), "a stopped monitor has answered");
        for _ in 0..2 {
            let output = tells.recv_timeout(LIMIT).expect("an answer in time");
            assert!(output.stderr.contains("does not answer"), "{output}");
        }
    });
    // Its program is ended by number, and its monitor with it.
    engine.docker(&["rm", "--force", "mute"]).ok();
    // Who answers again is taken up without a further start.
    engine.in_namespaces("kill", &["-CONT", &monitors[1]]).ok();
    wait_until("the monitor is asked again", LIMIT, || {
        (engine.docker(&["exec", "silent", "true"]).status == 0).then_some(())
    });
    engine.docker(&["stop", "-t", "0", "silent"]).ok();
    let state = engine.docker(&["inspect", "--format", "{{.State.ExitCode}}", "silent"]);
    assert_eq!(state.text(), "137", "its own monitor has recorded the end");
}
