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
