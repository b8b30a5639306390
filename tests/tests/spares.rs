//! What is made ahead of starts is used, may be killed, and ends with its engine.

use std::time::Duration;

use berth_testkit::{Engine, EngineBuilder, wait_until};
use berth_tests::{IMAGE, inspect};

const LIMIT: Duration = Duration::from_secs(60);

/// Monitors that wait for a container.
fn waiting(engine: &Engine) -> Vec<u32> {
    let processes = engine.processes().into_iter();
    let spare = processes.filter(|(_, line)| line == "berth-shim spare");
    spare.map(|(pid, _)| pid).collect()
}

/// Links that no container has.
fn links(engine: &Engine) -> usize {
    let list = engine.in_namespaces("ip", &["-o", "link"]);
    list.text().matches(":spare").count()
}

/// Waits until there are this many of both.
fn settle(engine: &Engine, monitors: usize, of_links: usize) -> Vec<u32> {
    wait_until("the spares", LIMIT, || {
        let found = waiting(engine);
        (found.len() == monitors && links(engine) == of_links).then_some(found)
    })
}

fn kill(pid: u32) {
    let pid = pid.to_string();
    let status = std::process::Command::new("kill")
        .args(["-9", &pid])
        .status();
    assert!(status.unwrap().success());
}

fn monitor_of(engine: &Engine, id: &str) -> Option<u32> {
    let mut processes = engine.processes().into_iter();
    processes.find_map(|(pid, line)| (line == format!("berth-shim {id}")).then_some(pid))
}

/// `docker run --rm`, on the bridge and without a network.
fn starts(engine: &Engine) {
    let echo = |network: &str| {
        let words = ["run", "--rm", "--network", network, IMAGE, "ip", "addr"];
        engine.docker(&words).ok().to_owned()
    };
    assert!(echo("bridge").contains("172.17.0."));
    let alone = echo("none");
    assert!(
        alone.contains("127.0.0.1/8") && !alone.contains("eth0"),
        "{alone}"
    );
}

#[test]
fn spares_are_used_and_replaced_and_end_with_the_engine() {
    let mut engine = Engine::with_network();
    let before = settle(&engine, 2, 2);
    let words = ["run", "--detach", "--name", "box", IMAGE, "sleep", "1000"];
    let id = engine.docker(&words).ok().trim().to_owned();
    let monitor = monitor_of(&engine, &id).expect("its monitor has its name");
    assert!(
        before.contains(&monitor),
        "{monitor} was none of {before:?}"
    );

    // Somebody kills those that wait: the next starts do without, and others come.
    settle(&engine, 2, 2).into_iter().for_each(kill);
    starts(&engine);
    settle(&engine, 2, 2).into_iter().for_each(kill);
    settle(&engine, 2, 2);

    engine.kill9();
    settle(&engine, 0, 0);
    engine.start_again();
    settle(&engine, 2, 2);
    assert_eq!(inspect(&engine, "box", "{{.State.Running}}"), "true");
    starts(&engine);
    engine.assert_consistent();

    // An orderly end waits for them.
    engine.terminate();
    assert_eq!((waiting(&engine).len(), links(&engine)), (0, 0));
    engine.start_again();
    engine.docker(&["rm", "--force", "box"]).ok();
}

#[test]
fn an_engine_without_spares_makes_what_it_needs() {
    let none = ["--spare-monitors", "0", "--spare-networks", "0"];
    let engine = EngineBuilder::new().network().args(&none).start();
    engine.import_busybox();
    starts(&engine);
    assert_eq!((waiting(&engine).len(), links(&engine)), (0, 0));
}
