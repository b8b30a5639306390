//! Files in and out of containers, and images that need no registry.

use berth_testkit::Engine;

#[test]
fn hello_world_comes_with_the_engine() {
    let engine = Engine::start();
    let hello = ["run", "--rm", "--network", "none", "hello-world"];
    let first = engine.docker(&hello);
    assert!(first.ok().starts_with("Hello from Berth."), "{first}");
    for line in [
        "Unable to find image 'hello-world:latest' locally",
        "latest: Pulling from library/hello-world",
        "Pull complete",
        "no registry was asked",
        "Digest: sha256:",
        "Status: Downloaded newer image for hello-world:latest",
    ] {
        assert!(first.stderr.contains(line), "{line:?} is not in:\n{first}");
    }
    let again = engine.docker(&hello);
    assert_eq!((again.ok(), again.stderr.as_str()), (first.ok(), ""));
    let pulled = engine.docker(&["pull", "hello-world"]);
    assert!(
        pulled
            .ok()
            .contains("Image is up to date for hello-world:latest"),
        "{pulled}"
    );
    let id = |engine: &Engine| {
        let id = engine.docker(&["image", "inspect", "--format", "{{.Id}}", "hello-world"]);
        id.text().to_owned()
    };
    let other = Engine::start();
    other.docker(&["pull", "--quiet", "hello-world"]).ok();
    assert_eq!(
        id(&engine),
        id(&other),
        "the image is the same in every engine"
    );
    let refused = engine.docker(&["pull", "hello-mars"]);
    assert_ne!(refused.status, 0);
    assert!(
        refused.stderr.contains("hello-mars:latest from a registry"),
        "{refused}"
    );
}

#[test]
fn the_hosts_packages_become_an_image_that_works() {
    let engine = Engine::start();
    let made = engine.berth(&["image", "bootstrap", "--from", "host", "--tag", "base:test"]);
    let id = made.text().to_owned();
    assert!(id.starts_with("sha256:"), "{made}");
    let format = "{{json .Config.Labels}} {{json .Config.Cmd}}";
    let described = engine.docker(&["image", "inspect", "--format", format, "base:test"]);
    for part in ["\"berth.bootstrap.from\":\"host\"", "[\"/bin/bash\"]"] {
        assert!(described.text().contains(part), "{described}");
    }
    let script = "set -e; bash --version >/dev/null; ls -la / >/dev/null; id; \
        for tool in dpkg sed grep tar find awk; do command -v $tool >/dev/null; done; \
        for tool in ps ip apt-get less python3; do \
            if command -v $tool >/dev/null; then case $tool in \
                ps) ps aux >/dev/null;; ip) ip link >/dev/null;; apt-get) apt-get --version >/dev/null;; \
                *) $tool --version >/dev/null;; esac; fi; done; \
        dpkg -l bash coreutils | grep -c ^ii; dpkg --audit; \
        su -s /bin/sh nobody -c 'id -un'; test ! -e /etc/resolv.conf -o -f /etc/resolv.conf; \
        test -z \"$(cat /etc/machine-id)\"; stat -c %a /tmp";
    let ran = engine.docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "base:test",
        "/bin/bash",
        "-c",
        script,
    ]);
    assert_eq!(
        ran.lines(),
        [
            "uid=0(root) gid=0(root) groups=0(root)",
            "2",
            "nobody",
            "1777"
        ],
        "{ran}"
    );
}
