//! Images as files: save and load, between engines and with another tool.

use std::path::Path;
use std::process::Command;

use berth_testkit::Engine;
use berth_tests::{IMAGE, inspect};

/// An image of two layers, with deletions and odd files, saved.
fn training(engine: &Engine) -> String {
    let script = "rm /etc/not-executable; rm -r /var/tmp; mkdir /var/tmp; echo x > /x; ln /x /y; \
                  mkfifo /p; ln -s nowhere /l; chmod 4711 /x";
    let head = ["run", "--name", "teacher", "--network", "none", IMAGE];
    engine
        .docker(&[&head[..], &["/bin/sh", "-c", script]].concat())
        .ok();
    let id = engine
        .docker(&["commit", "--author", "me", "teacher", "lab/training:1"])
        .text()
        .to_owned();
    engine.docker(&["rm", "teacher"]).ok();
    engine.docker(&["tag", "lab/training:1", "training"]).ok();
    id
}

#[track_caller]
fn save(engine: &Engine, names: &[&str]) -> String {
    let file = engine
        .scratch()
        .join(format!("{}.tar", names.join("-").replace(['/', ':'], "-")));
    let file = file.to_string_lossy().into_owned();
    engine
        .docker(&[&["save", "--output", &file], names].concat())
        .ok();
    file
}

#[track_caller]
fn shell(script: &str) {
    let done = Command::new("sh")
        .args(["-ec", script])
        .output()
        .expect("sh");
    assert!(done.status.success(), "{script}: {done:?}");
}

fn entries(engine: &Engine) -> usize {
    let path = engine.data_root().join("overlay2");
    std::fs::read_dir(path).map_or(0, Iterator::count)
}

#[test]
fn what_one_engine_saves_another_loads() {
    let one = Engine::with_busybox();
    let id = training(&one);
    let file = save(&one, &["lab/training:1", "training"]);
    // Saved twice it is the same file, also into a pipe.
    shell(&format!(
        "docker --host {} save lab/training:1 training | cmp - {file}",
        one.docker_host()
    ));

    let two = Engine::start();
    let load = |file: &str| two.docker(&["load", "--input", file]);
    assert_eq!(
        load(&file).lines(),
        [
            "Loaded image: lab/training:1",
            "Loaded image: training:latest"
        ]
    );
    assert_eq!(inspect(&two, "training", "{{.Id}}"), id);
    let seen = two.docker(&[
        "run", "--rm", "--network", "none", "training", "/bin/sh", "-c",
        "stat -c '%a %h' /x; ls -A /var/tmp /etc/not-executable 2>/dev/null; readlink /l; stat -c %F /p",
    ]);
    assert_eq!(seen.lines(), ["4711 2", "/var/tmp:", "nowhere", "fifo"]);
    two.assert_consistent();
    let layers = entries(&two);
    // What is there is not unpacked again; and what the other saves is byte for byte the same.
    load(&file).ok();
    assert_eq!(entries(&two), layers);
    let again = save(&two, &["lab/training:1", "training"]);
    shell(&format!("cmp {file} {again}"));

    // By id it has no name; compressed it is the same.
    two.docker(&["rmi", "--force", &id]).ok();
    two.assert_consistent();
    assert_eq!(entries(&two), 0);
    let nameless = save(&one, &[&id]);
    for (tool, ending) in [("gzip", "gz"), ("xz -0", "xz"), ("bzip2", "bz2")] {
        let packed = format!("{nameless}.{ending}");
        shell(&format!("{tool} < {nameless} > {packed}"));
        let loaded = load(&packed);
        assert_eq!(loaded.text(), format!("Loaded image ID: {id}"), "{tool}");
        two.docker(&["rmi", &id]).ok();
    }
    two.assert_consistent();
    assert_eq!(entries(&two), 0);
    one.docker(&["save", "missing:1"])
        .fails(1, &["No such image: missing:1"]);
}

/// `skopeo copy`, without a policy file.
#[track_caller]
fn skopeo(engine: &Engine, from: &str, to: &str) {
    let tmp = engine.scratch();
    shell(&format!(
        "TMPDIR={} skopeo --insecure-policy copy --quiet '{from}' '{to}'",
        tmp.display()
    ));
}

#[test]
fn another_tool_reads_and_writes_them() {
    if !Path::new("/usr/bin/skopeo").exists() {
        eprintln!("skipped: no skopeo on this machine");
        return;
    }
    let engine = Engine::with_busybox();
    let id = training(&engine);
    let ours = save(&engine, &["lab/training:1"]);
    let at = |name: &str| engine.scratch().join(name).to_string_lossy().into_owned();
    let (docker, oci) = (at("theirs-docker.tar"), at("theirs-oci.tar"));
    skopeo(
        &engine,
        &format!("docker-archive:{ours}"),
        &format!("docker-archive:{docker}:copied:1"),
    );
    skopeo(
        &engine,
        &format!("oci-archive:{ours}:1"),
        &format!("oci-archive:{oci}:copied:2"),
    );
    engine.docker(&["rmi", "--force", &id]).ok();
    for (file, name) in [(docker, "copied:1"), (oci, "copied:2")] {
        let loaded = engine.docker(&["load", "--input", &file]);
        assert_eq!(loaded.text(), format!("Loaded image: {name}"));
        assert_eq!(inspect(&engine, name, "{{.Id}}"), id, "{file}");
    }
    engine.assert_consistent();
}

#[test]
fn what_is_no_image_leaves_nothing() {
    let engine = Engine::with_busybox();
    training(&engine);
    let before = entries(&engine);
    let saved = save(&engine, &["lab/training:1"]);
    let place = engine.scratch().to_string_lossy().into_owned();
    // The script changes the unpacked archive; then it is packed again.
    let changed = |script: &str| {
        let file = format!("{place}/changed.tar");
        shell(&format!(
            "cd {place}; rm -rf c; mkdir c; cd c; tar xf {saved}; {script}; tar cf {file} ."
        ));
        engine.docker(&["load", "--input", &file])
    };
    engine.docker(&["rmi", "training", "lab/training:1"]).ok();
    let layer = "layer=$(ls -S blobs/sha256 | sed -n 2p)";
    let config = "config=$(grep -l '\"rootfs\"' blobs/sha256/* | xargs ls -S | tail -1)";
    for (script, parts) in [
        (
            "rm index.json manifest.json",
            "neither manifest.json nor index.json",
        ),
        (&format!("{config}; rm $config")[..], "lacks"),
        (
            &format!("{config}; sed -i s/amd64/s390x/ $config"),
            "digest",
        ),
        (
            &format!(
                "{config}; sed -i s/amd64/s390x/ $config; mv $config c.json; sed -i \"s,$config,c.json,\" manifest.json"
            ),
            "is for linux/s390x, and this engine runs linux/amd64",
        ),
        (&format!("{layer}; cp index.json blobs/sha256/$layer"), ""),
        (
            &format!("{layer}; ln -sf /etc/passwd blobs/sha256/$layer"),
            "lacks",
        ),
        (
            "echo '[{}]' > manifest.json",
            "manifest.json of the archive is wrong",
        ),
    ] {
        let refused = changed(script);
        assert!(
            refused.status != 0 && refused.stderr.contains(parts),
            "{script}: {refused:?}"
        );
        engine.assert_consistent();
    }
    engine
        .docker(&["load", "--input", "/bin/busybox"])
        .fails(1, &[]);
    assert_eq!(
        entries(&engine),
        before - 1,
        "only the training layer is gone"
    );
}

#[test]
fn killed_while_loading() {
    let mut engine = Engine::with_busybox();
    training(&engine);
    let file = save(&engine, &["lab/training:1"]);
    engine.docker(&["rmi", "training", "lab/training:1"]).ok();
    for failpoint in [
        "storage.ingest.after-rename",
        "image.load.after-ingest",
        "image.load.after-commit",
    ] {
        engine.terminate();
        engine.set_env("BERTH_FAILPOINT", Some(failpoint));
        engine.start_again();
        assert_ne!(engine.docker(&["load", "--input", &file]).status, 0);
        assert_eq!(engine.wait_for_end(), 128 + 9, "{failpoint}");
        engine.set_env("BERTH_FAILPOINT", None);
        engine.start_again();
        engine.assert_consistent();
        engine.docker(&["load", "--input", &file]).ok();
        engine.docker(&["rmi", "lab/training:1"]).ok();
        engine.assert_consistent();
    }
}
