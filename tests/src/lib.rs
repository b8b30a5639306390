//! Black-box tests of the programs; see `tests/*.rs`. This library holds what they share.
//!
//! They execute the programs that lie in the build directory; `cargo xtask ci` builds them first.

use berth_testkit::{Engine, Output, Terminal};

/// The image that [`Engine::with_busybox`] imports.
pub const IMAGE: &str = "busybox:test";

/// Mask of Docker's 14 default capabilities.
pub const DEFAULT_CAPABILITIES: &str = "00000000a80425fb";

/// `docker run --rm --network none FLAGS busybox:test COMMAND`.
#[track_caller]
pub fn run(engine: &Engine, flags: &[&str], command: &[&str]) -> Output {
    engine.docker(
        &[
            &["run", "--rm", "--network", "none"][..],
            flags,
            &[IMAGE],
            command,
        ]
        .concat(),
    )
}

/// As [`run`], with a shell script as the command.
#[track_caller]
pub fn script(engine: &Engine, flags: &[&str], script: &str) -> Output {
    run(engine, flags, &["/bin/sh", "-c", script])
}

/// `docker run --detach --name NAME --network none FLAGS busybox:test /bin/sh -c SCRIPT`; the id.
#[track_caller]
pub fn detached(engine: &Engine, name: &str, flags: &[&str], script: &str) -> String {
    let head = ["run", "--detach", "--name", name, "--network", "none"];
    let tail = [IMAGE, "/bin/sh", "-c", script];
    engine
        .docker(&[&head[..], flags, &tail].concat())
        .text()
        .to_owned()
}

/// One field of `docker inspect`, by its template.
#[track_caller]
pub fn inspect(engine: &Engine, name: &str, template: &str) -> String {
    engine
        .docker(&["inspect", "--format", template, name])
        .text()
        .to_owned()
}

/// The value of a line `Key:<white space>value`, as in `/proc/self/status`.
pub fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(str::trim)
}

/// Runs forever, and ends at once when asked to.
pub const IDLE: &str = "trap 'exit 0' TERM INT; while :; do sleep 1 & wait $!; done";

/// Types a line and waits for what the shell makes of it, which is not what was typed.
#[track_caller]
pub fn converse(terminal: &mut Terminal, word: &str) {
    terminal.send(&format!("echo {word}$((20+22))\r"));
    terminal.expect(&format!("{word}42"));
}

/// Waits in the shell until the size of the terminal is this one, which comes by a request of its
/// own.
#[track_caller]
pub fn expect_size(terminal: &mut Terminal, size: &str) {
    terminal.send(&format!(
        "until [ \"$(stty size)\" = '{size}' ]; do sleep 0.1; done; echo re''sized\r"
    ));
    terminal.expect("resized");
}
