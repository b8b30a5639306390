//! A class at its terminals: a participant, a trainer who watches and one who joins.

use std::fs;

use berth_testkit::{Engine, Terminal};
use berth_tests::{IMAGE, inspect};

fn class(engine: &Engine) {
    let list = engine.scratch().join("class.txt");
    fs::write(&list, "ann\nbob\n").expect("the directory is ours");
    let list = list.to_string_lossy().into_owned();
    engine
        .berth(&["lab", "allocate", &list, "--image", IMAGE])
        .ok();
}

/// Types a sum and waits for its result, which the echo of the keys does not hold.
#[track_caller]
fn ask(terminal: &mut Terminal, word: &str) {
    terminal.send(&format!("echo {word}-$((40 + 2))\r"));
    terminal.expect(&format!("{word}-42"));
}

#[test]
fn a_participant_is_watched_joined_and_told() {
    let engine = Engine::with_busybox();
    let before = engine.census();
    class(&engine);
    let mut ann = engine.berth_on_terminal(&["lab", "open", "ann"]);
    ask(&mut ann, "first");

    // A late watcher gets what the screen shows now, and what follows.
    let mut trainer = engine.berth_on_terminal(&["lab", "watch", "ann", "--as", "Tilda"]);
    trainer.expect("first-42");
    ann.expect("Tilda is watching");
    ask(&mut ann, "second");
    trainer.expect("second-42");
    // A watcher's keys go nowhere.
    trainer.send("echo typed-$((40 + 2))\r");
    ask(&mut ann, "third");
    trainer.expect("third-42");

    // Who joins types, and both see it; the stock client is just another participant.
    let mut helper = engine.berth_on_terminal(&["lab", "join", "ann", "--as", "Hugo"]);
    helper.expect("third-42");
    ann.expect("Hugo types with you");
    ask(&mut helper, "joined");
    ann.expect("joined-42");
    trainer.expect("joined-42");
    let mut stock = engine.docker_on_terminal(&["attach", "ann"]);
    ask(&mut stock, "stock");
    let seen = ann.expect("stock-42");
    assert!(!seen.contains("typed-42"), "a watcher typed: {seen}");

    trainer.send("q");
    assert_eq!(trainer.finish().0, 0);
    helper.send("\x10\x11");
    assert_eq!(helper.finish().0, 0);
    stock.send("\x10\x11");
    // The stock client calls leaving an error.
    assert_eq!(stock.finish().0, 1);
    ask(&mut ann, "alone");
    ann.send("\x10\x11");
    assert_eq!(ann.finish().0, 0);

    // The next look finds the same shell as it was left.
    let mut again = engine.berth_on_terminal(&["lab", "open", "ann"]);
    again.expect("alone-42");
    ask(&mut again, "again");
    again.send("\x10\x11");
    assert_eq!(again.finish().0, 0);
    engine.berth(&["lab", "deallocate", "--all"]).ok();
    engine.assert_unchanged_since(&before);
}

#[test]
fn exit_ends_the_shell_and_never_the_files() {
    let engine = Engine::with_busybox();
    class(&engine);
    let mut ann = engine.berth_on_terminal(&["lab", "open", "ann"]);
    ann.send("echo precious >/kept\r");
    ask(&mut ann, "done");
    ann.send("exit\r");
    assert_eq!(ann.finish().0, 0);
    let mut again = engine.berth_on_terminal(&["lab", "open", "ann"]);
    again.send("cat /kept\r");
    again.expect("precious");
    again.send("\x10\x11");
    assert_eq!(again.finish().0, 0);
    // A stopped box is started by its opening.
    engine.docker(&["stop", "bob"]).ok();
    assert_eq!(inspect(&engine, "bob", "{{.State.Running}}"), "false");
    let mut bob = engine.berth_on_terminal(&["lab", "open", "bob"]);
    ask(&mut bob, "up");
    bob.send("\x10\x11");
    assert_eq!(bob.finish().0, 0);
}

#[test]
fn what_is_no_box_is_refused() {
    let engine = Engine::with_busybox();
    class(&engine);
    let command = ["run", "-dit", "--name", "own", IMAGE, "/bin/sh"];
    engine.docker(&command).ok();
    for (command, part) in [
        (["lab", "open", "nobody"], "there is no box of \"nobody\""),
        (["lab", "watch", "own"], "no box of a lab"),
        (["lab", "join", "own"], "no box of a lab"),
    ] {
        engine.berth(&command).fails(1, &[part]);
    }
    engine.docker(&["stop", "-t", "0", "ann"]).ok();
    engine
        .berth(&["lab", "watch", "ann"])
        .fails(1, &["does not run", "berth lab open ann"]);
}
