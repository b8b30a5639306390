//! Merging and checking, as tables.

use super::*;

fn image() -> ImageDefaults {
    ImageDefaults {
        user: "app".into(),
        env: vec!["PATH=/bin".into(), "A=image".into()],
        entrypoint: Some(vec!["/entry".into()]),
        cmd: Some(vec!["default".into()]),
        working_dir: "/srv".into(),
        labels: [("from".to_owned(), "image".to_owned())].into(),
        stop_signal: "SIGINT".into(),
        ..ImageDefaults::default()
    }
}

fn create(request: CreateRequest) -> Result<Record, ContainerError> {
    let defaults = image();
    let owner = Scope::root();
    let facts = ImageFacts {
        owner: &owner,
        id: Digest::from_sha256([1; 32]),
        layers: &[],
        defaults: &defaults,
    };
    let id = ContainerId::from_bytes([0xab; 32]);
    let capacity = HostCapacity {
        cpus: 2,
        swap_limit: true,
    };
    let now = Timestamp::from_nanos(1);
    record(
        id,
        "box".into(),
        Scope::root(),
        request,
        facts,
        capacity,
        now,
    )
    .map(|(r, _)| r)
}

fn with(settings: Settings) -> CreateRequest {
    CreateRequest {
        image: "i".into(),
        settings,
        ..CreateRequest::default()
    }
}

#[track_caller]
fn command(entrypoint: Option<&[&str]>, cmd: Option<&[&str]>, expected: &[&str]) {
    let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let settings = Settings {
        entrypoint: entrypoint.map(list),
        cmd: cmd.map(list),
        ..Settings::default()
    };
    let got = create(with(settings)).map(|r| r.command());
    assert_eq!(got.unwrap_or_default(), list(expected));
}

#[test]
fn entry_point_and_command_combine_as_docker_does() {
    command(None, None, &["/entry", "default"]);
    command(None, Some(&["mine"]), &["/entry", "mine"]);
    command(Some(&["/mine"]), None, &["/mine"]);
    command(Some(&["/mine"]), Some(&["x"]), &["/mine", "x"]);
    command(Some(&[""]), Some(&["sh"]), &["sh"]);
    command(Some(&[""]), None, &[]);
}

#[test]
fn the_request_wins_over_the_image() {
    let record = create(with(Settings {
        env: vec!["A=mine".into(), "B=2".into(), "PATH".into()],
        labels: [("from".to_owned(), "request".to_owned())].into(),
        ..Settings::default()
    }))
    .unwrap();
    assert_eq!(record.settings.env, ["A=mine", "B=2"]);
    assert_eq!(record.settings.labels["from"], "request");
    assert_eq!(record.settings.user, "app");
    assert_eq!(record.settings.working_dir, "/srv");
    assert_eq!(record.settings.stop_signal, "SIGINT");
    assert_eq!(record.settings.hostname, "abababababab");
}

#[track_caller]
fn refused(request: CreateRequest, part: &str) {
    let error = create(request).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

fn bind(source: &str, target: &str) -> Bind {
    Bind {
        source: source.into(),
        target: target.into(),
        read_only: false,
        propagation: String::new(),
        flat: false,
        short: None,
    }
}

fn binding(binds: Vec<Bind>) -> CreateRequest {
    let host = HostSettings {
        binds,
        ..HostSettings::default()
    };
    CreateRequest {
        image: "i".into(),
        host,
        ..CreateRequest::default()
    }
}

#[test]
fn bad_requests_are_refused_in_words_that_help() {
    let settings = Settings {
        working_dir: "rel".into(),
        ..Settings::default()
    };
    refused(with(settings), "absolute path");
    refused(
        with(Settings {
            env: vec!["=x".into()],
            ..Settings::default()
        }),
        "environment",
    );
    refused(
        with(Settings {
            hostname: "a b".into(),
            ..Settings::default()
        }),
        "hostname",
    );
    refused(
        with(Settings {
            stop_signal: "NO".into(),
            ..Settings::default()
        }),
        "invalid signal",
    );
    refused(
        binding(vec![bind("data", "/x")]),
        "named volumes are not built",
    );
    refused(binding(vec![bind("/d", "x")]), "must be absolute");
    refused(binding(vec![bind("/d", "/")]), "can't be '/'");
    refused(binding(vec![bind("/d", "/a/../b")]), "..");
    refused(
        binding(vec![bind("/d", "/a"), bind("/e", "/a/")]),
        "Duplicate mount point: /a",
    );
    let odd = Bind {
        propagation: "upward".into(),
        ..bind("/d", "/a")
    };
    refused(binding(vec![odd]), "propagation");
    let host = HostSettings {
        cap_add: vec!["FLY".into()],
        ..HostSettings::default()
    };
    refused(
        CreateRequest {
            host,
            ..with(Settings::default())
        },
        "FLY",
    );
}

#[test]
fn names() {
    for good in ["a1", "user.one", "A_b-c"] {
        check_name(good).unwrap();
    }
    for bad in ["", "a", "-ab", "a b", "a/b", "ä1", &"a".repeat(300)] {
        assert!(check_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_cannot_be_executed_is_refused_early() {
    let command = Settings {
        cmd: Some(vec!["sh".into(), "a\0b".into()]),
        ..Settings::default()
    };
    refused(with(command), "NUL byte");
    let env = Settings {
        cmd: Some(vec!["sh".into()]),
        env: vec!["A=b\0".into()],
        ..Settings::default()
    };
    refused(with(env), "NUL byte");
}
