//! No room, at each call that may need some: every operation is carried out again and again, and the
//! first, the second, the third … of its calls fails, in the engine, its monitors and its helpers
//! alike. It is done or refused with a sentence, the engine lives, nothing half-made is left, and
//! the same works behind it, without a restart. So with each sync, which fails with an I/O error.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use berth_testkit::{Engine, EngineBuilder, Fault, Faults, exchange, wait_until};
use berth_tests::{IDLE, IMAGE, detached};
use serde_json::{Value, json};

#[path = "power_cut/parts.rs"]
#[allow(dead_code, reason = "the other test chooses at random as well")]
mod parts;

/// No operation has so many calls.
const CALLS_MAX: u64 = 3000;
/// What follows an answer is done within this time.
const SETTLE: Duration = Duration::from_secs(60);
const FAULTS: [Fault; 3] = [Fault::NoRoomOnce, Fault::NoRoomFrom, Fault::NoSyncOnce];

const TAR: &str = "application/x-tar";
const JSON: &str = "application/json";

/// A request: method, path, and the media type and bytes of a body.
type Request = (&'static str, String, Option<(&'static str, Vec<u8>)>);

/// Something that is done, what has to be there before, and how it is undone, which may be
/// needless.
struct Operation {
    name: &'static str,
    before: Vec<Request>,
    act: Vec<Request>,
    undo: Vec<Request>,
    /// What the act answers where it has happened already.
    again: u16,
}

fn post(path: &str) -> Request {
    ("POST", path.to_owned(), None)
}

fn delete(path: &str) -> Request {
    ("DELETE", path.to_owned(), None)
}

fn send(path: &str, kind: &'static str, body: Vec<u8>) -> Request {
    ("POST", path.to_owned(), Some((kind, body)))
}

fn create() -> Request {
    let body = json!({
        "Image": IMAGE,
        "Cmd": ["sh", "-c", "echo some output; exit 7"],
        "HostConfig": {"NetworkMode": "none"},
    });
    let body = body.to_string().into_bytes();
    send("/containers/create?name=new", JSON, body)
}

fn operations() -> Vec<Operation> {
    // Any archive will do, and one with few files has few calls.
    let rootfs = || parts::image("none:1", 2).0;
    let remove = || delete("/containers/new?force=1");
    let run = || vec![post("/containers/new/start"), post("/containers/new/wait")];
    let loaded = || send("/images/load", TAR, parts::image("loaded:1", 1).0);
    let operation = |name, before, act, undo, again| Operation {
        name,
        before,
        act,
        undo,
        again,
    };
    let policy = json!({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}});
    let policy = policy.to_string().into_bytes();
    let import = send(
        "/images/create?fromSrc=-&repo=imported&tag=1",
        TAR,
        rootfs(),
    );
    let put = (
        "PUT",
        "/containers/full/archive?path=/d".to_owned(),
        Some((TAR, rootfs())),
    );
    let tagged = format!("/images/{IMAGE}/tag?repo=tagged&tag=1");
    vec![
        operation("create", vec![], vec![create()], vec![remove()], 409),
        operation("run", vec![create()], run(), vec![remove()], 304),
        operation(
            "commit",
            vec![],
            vec![post("/commit?container=full&repo=committed&tag=1")],
            vec![delete("/images/committed:1?force=1")],
            201,
        ),
        operation(
            "load",
            vec![],
            vec![loaded()],
            vec![delete("/images/loaded:1?force=1")],
            200,
        ),
        operation(
            "import",
            vec![],
            vec![import],
            vec![delete("/images/imported:1?force=1")],
            200,
        ),
        operation(
            "tag",
            vec![],
            vec![post(&tagged)],
            vec![delete("/images/tagged:1")],
            201,
        ),
        operation(
            "rename",
            vec![],
            vec![post("/containers/full/rename?name=other")],
            vec![post("/containers/other/rename?name=full")],
            404,
        ),
        operation(
            "update",
            vec![],
            vec![send("/containers/idle/update", JSON, policy)],
            vec![],
            200,
        ),
        operation("copy", vec![], vec![put], vec![], 200),
        operation("rm", vec![create()], vec![remove()], vec![], 404),
        operation(
            "rm behind a run",
            [vec![create()], run()].concat(),
            vec![remove()],
            vec![],
            404,
        ),
        operation(
            "rmi",
            vec![loaded()],
            vec![delete("/images/loaded:1?force=1")],
            vec![],
            404,
        ),
    ]
}

/// An engine whose calls can be made to fail.
struct Place {
    engine: Engine,
    faults: Faults,
}

/// A data root in memory: what is synced here is synced often.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // It fails only where the engine has left a mount, which the engine's end has said.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What came of a request: done, or refused with these words.
type Outcome = Result<(), String>;

impl Place {
    fn ask(&self, (method, path, body): &Request) -> (u16, String) {
        let body = body.as_ref().map(|(kind, bytes)| (*kind, bytes.as_slice()));
        let answer = exchange(&self.engine.socket(), method, path, body);
        let answer = answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        (answer.status, said)
    }

    /// Asks for each in turn, until one is refused.
    fn perform(&self, requests: &[Request], again: u16) -> Outcome {
        for request in requests {
            let (status, said) = self.ask(request);
            let refused = status >= 300 && status != again || said.contains("errorDetail");
            if refused {
                return Err(format!("{} {}: {status} {said}", request.0, request.1));
            }
        }
        Ok(())
    }

    /// Insists that the engine finds nothing wrong with itself.
    fn check(&self, what: &str) {
        let mut found = String::new();
        let waited = catch_unwind(AssertUnwindSafe(|| {
            wait_until("the engine is clean", SETTLE, || {
                let (status, said) = self.ask(&("GET", "/berth/fsck".to_owned(), None));
                found = said;
                let report: Value = serde_json::from_str(&found).unwrap_or_default();
                (status == 200 && report["clean"] == true).then_some(())
            });
        }));
        assert!(waited.is_ok(), "{what}: {found}");
    }

    /// One operation with one fault; the calls that failed, none where there are not so many.
    fn strike(&self, operation: &Operation, fault: Fault, number: u64) -> Vec<String> {
        let Operation {
            name,
            before,
            act,
            undo,
            again,
        } = operation;
        self.perform(before, 0).unwrap();
        self.faults.arm(fault, number);
        let outcome = self.perform(act, 0);
        // Reading goes on.
        let (listed, _) = self.ask(&("GET", "/containers/json?all=1".to_owned(), None));
        let failed = self.faults.disarm();
        let what = format!("{name}, {fault:?} {number}, failed {failed:?}, {outcome:?}");
        assert_eq!(listed, 200, "{what}");
        if let Err(said) = &outcome {
            assert!(!failed.is_empty(), "{what}");
            assert!(names_the_cause(said, fault), "{what}");
        }
        // The same again; where it did happen, it says so.
        if let Err(said) = self.perform(act, *again) {
            panic!("{what}\nand again: {said}\n{}", self.engine.log());
        }
        if *name == "run" {
            let (_, said) = self.ask(&("GET", "/containers/new/json".to_owned(), None));
            let found: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(found["State"]["Status"], "exited", "{what}: {said}");
            assert_eq!(found["State"]["ExitCode"], 7, "{what}: {said}");
        }
        self.perform(undo, 0)
            .unwrap_or_else(|said| panic!("{what}\nundoing: {said}"));
        self.check(&what);
        failed
    }
}

/// Whether somebody who reads it knows what is wrong and what to do.
fn names_the_cause(said: &str, fault: Fault) -> bool {
    let said = said.to_lowercase();
    match fault {
        Fault::NoSyncOnce => {
            said.contains("input/output error") || said.contains("check that its file system")
        }
        Fault::NoRoomOnce | Fault::NoRoomFrom => {
            let cause = said.contains("no space left on device");
            cause && (said.contains("free some") || said.contains("has space"))
        }
    }
}

#[test]
fn no_room_at_each_call() {
    let directory = Directory(PathBuf::from(format!(
        "/dev/shm/berth-each-{}",
        std::process::id()
    )));
    let root = directory.0.join("root");
    fs::create_dir_all(&root).unwrap();
    let faults = Faults::below(&root);
    let engine = EngineBuilder::new()
        .data_root(&root)
        .faults(&faults)
        .limit(Duration::from_secs(3600))
        .start();
    engine.import_busybox();
    detached(&engine, "idle", &[], IDLE);
    detached(
        &engine,
        "full",
        &[],
        "echo kept > /kept; mkdir /d; head -c 9000 /dev/zero > /d/z",
    );
    engine.docker(&["wait", "full"]).ok();
    let place = Place { engine, faults };
    for operation in &operations() {
        for fault in FAULTS {
            each_call(&place, operation, fault);
        }
    }
    drop(place);
    drop(directory);
}

/// One operation with one fault at the first of its calls, the second, and so on to its last.
fn each_call(place: &Place, operation: &Operation, fault: Fault) {
    let begun = Instant::now();
    let mut callers = BTreeSet::new();
    let calls = (1..CALLS_MAX).find(|number| {
        let failed = place.strike(operation, fault, *number);
        let caller = |call: &String| call.rsplit(" by ").next().map(str::to_owned);
        callers.extend(failed.iter().filter_map(caller));
        failed.is_empty()
    });
    let calls = calls.unwrap_or_else(|| panic!("{} has no end", operation.name)) - 1;
    // A change of rows alone finds its room reserved, and `cp` syncs nothing.
    let needs = calls > 0 || fault != Fault::NoRoomOnce;
    assert!(needs, "{} needs nothing", operation.name);
    println!(
        "{}: each of {calls} calls, {fault:?}, {:.1} s, by {callers:?}",
        operation.name,
        begun.elapsed().as_secs_f64()
    );
}
