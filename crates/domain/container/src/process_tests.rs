//! What a process may do, and what it is told.

use super::*;
use crate::record::{Settings, State};
use berth_sys::caps::CapSet;
use berth_types::{ContainerId, Digest, Scope, Timestamp};

fn record(env: &[&str], tty: bool) -> Record {
    Record {
        id: ContainerId::from_bytes([0xcd; 32]),
        name: "box".into(),
        owner: Scope::root(),
        created: Timestamp::from_nanos(0),
        image: Digest::from_sha256([1; 32]),
        image_owner: Scope::root(),
        image_name: "img".into(),
        layers: vec![],
        settings: Settings {
            cmd: Some(vec!["sh".into()]),
            hostname: "h".into(),
            working_dir: "/w".into(),
            env: env.iter().map(|e| (*e).to_owned()).collect(),
            tty,
            ..Settings::default()
        },
        host: HostSettings {
            console_size: [10, 20],
            cap_drop: vec!["ALL".into()],
            security_opt: vec!["no-new-privileges".into()],
            ulimits: vec![("nofile".into(), 10, 20)],
            ..HostSettings::default()
        },
        state: State::created(),
        forms: crate::Forms::default(),
    }
}

fn facts() -> HostFacts {
    HostFacts {
        cgroup_parent: "/berth".into(),
        scopes: None,
        devices: vec![],
        hostname: "host".into(),
        capabilities: CapSet::ALL,
        open_files: 1 << 20,
    }
}

fn settings(env: &[&str]) -> ExecSettings {
    ExecSettings {
        command: vec!["id".into()],
        env: env.iter().map(|e| (*e).to_owned()).collect(),
        ..ExecSettings::default()
    }
}

#[test]
fn only_a_terminal_has_a_name_and_a_size() {
    let with = main(&record(&[], true), &facts()).unwrap();
    assert!(with.terminal && with.env.contains(&TERM.to_owned()));
    let size = ConsoleSize {
        height: 10,
        width: 20,
    };
    assert_eq!(with.console_size, Some(size));
    let without = main(&record(&[], false), &facts()).unwrap();
    assert!(!without.terminal && without.console_size.is_none());
    assert_eq!(without.env, [DEFAULT_PATH, "HOSTNAME=h"]);
    let own = main(&record(&["TERM=dumb"], true), &facts()).unwrap();
    assert_eq!(own.env, [DEFAULT_PATH, "HOSTNAME=h", "TERM=dumb"]);
}

#[test]
fn a_further_process_has_the_containers_rights_and_its_own_words() {
    let record = record(&["A=1", "B=2", "C=3"], true);
    let own = settings(&["B=own", "C", "D=4", "E"]);
    let process = further(&record, &facts(), &own, None).unwrap();
    assert_eq!(
        process.env,
        [DEFAULT_PATH, "HOSTNAME=h", "A=1", "B=own", "D=4"]
    );
    let first = main(&record, &facts()).unwrap();
    assert_eq!(process.capabilities, first.capabilities);
    assert_eq!(process.rlimits, first.rlimits);
    assert!(process.no_new_privileges && !process.terminal);
    assert_eq!((process.cwd.as_str(), process.args.len()), ("/w", 1));
    assert_eq!(process.console_size, None, "the size is the container's");
}

#[test]
fn all_rights_are_asked_for_and_nothing_else_changes() {
    let own = ExecSettings {
        privileged: true,
        working_dir: "/other".into(),
        ..settings(&[])
    };
    let process = further(&record(&[], false), &facts(), &own, None).unwrap();
    let effective = process.capabilities.unwrap().effective;
    assert_eq!(effective.len(), CapSet::ALL.iter().count());
    assert!(process.no_new_privileges);
    assert_eq!((process.cwd.as_str(), process.rlimits.len()), ("/other", 1));
}
