//! The commands: those that are built, by every name, and those of Docker that are not.

/// The commands that are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `attach`
    Attach,
    /// `image bootstrap`
    Bootstrap,
    /// `create`
    Create,
    /// `system fsck`
    Fsck,
    /// `images`
    Images,
    /// `import`
    Import,
    /// `info`
    Info,
    /// `inspect`
    Inspect,
    /// `container inspect`
    InspectContainer,
    /// `image inspect`
    InspectImage,
    /// `kill`
    Kill,
    /// `lab`
    Lab,
    /// `logs`
    Logs,
    /// `ps`
    Ps,
    /// `rm`
    Rm,
    /// `run`
    Run,
    /// `start`
    Start,
    /// `stop`
    Stop,
    /// `version`
    Version,
    /// `wait`
    Wait,
}

/// The built commands by the words that call them; the text of those that help lists.
pub const COMMANDS: [(&str, Verb, &str); 37] = [
    (
        "attach",
        Verb::Attach,
        "Attach local standard input, output, and error streams to a running container",
    ),
    ("create", Verb::Create, "Create a new container"),
    ("images", Verb::Images, "List images"),
    (
        "import",
        Verb::Import,
        "Import the contents from a tarball to create a filesystem image",
    ),
    ("info", Verb::Info, "Display system-wide information"),
    (
        "inspect",
        Verb::Inspect,
        "Return low-level information on Docker objects",
    ),
    ("kill", Verb::Kill, "Kill one or more running containers"),
    (
        "lab",
        Verb::Lab,
        "Give every name of a list a box of its own",
    ),
    ("logs", Verb::Logs, "Fetch the logs of a container"),
    ("ps", Verb::Ps, "List containers"),
    ("rm", Verb::Rm, "Remove one or more containers"),
    (
        "run",
        Verb::Run,
        "Create and run a new container from an image",
    ),
    ("start", Verb::Start, "Start one or more stopped containers"),
    ("stop", Verb::Stop, "Stop one or more running containers"),
    (
        "version",
        Verb::Version,
        "Show the Docker version information",
    ),
    (
        "wait",
        Verb::Wait,
        "Block until one or more containers stop, then print their exit codes",
    ),
    (
        "container attach",
        Verb::Attach,
        "Attach local standard input, output, and error streams to a running container",
    ),
    ("container create", Verb::Create, "Create a new container"),
    (
        "container inspect",
        Verb::InspectContainer,
        "Display detailed information on one or more containers",
    ),
    (
        "container kill",
        Verb::Kill,
        "Kill one or more running containers",
    ),
    ("container list", Verb::Ps, ""),
    (
        "container logs",
        Verb::Logs,
        "Fetch the logs of a container",
    ),
    ("container ls", Verb::Ps, "List containers"),
    ("container ps", Verb::Ps, ""),
    ("container remove", Verb::Rm, ""),
    ("container rm", Verb::Rm, "Remove one or more containers"),
    (
        "container run",
        Verb::Run,
        "Create and run a new container from an image",
    ),
    (
        "container start",
        Verb::Start,
        "Start one or more stopped containers",
    ),
    (
        "container stop",
        Verb::Stop,
        "Stop one or more running containers",
    ),
    (
        "container wait",
        Verb::Wait,
        "Block until one or more containers stop, then print their exit codes",
    ),
    (
        "image bootstrap",
        Verb::Bootstrap,
        "Make a base image from this machine's packages, without a registry",
    ),
    (
        "image import",
        Verb::Import,
        "Import the contents from a tarball to create a filesystem image",
    ),
    (
        "image inspect",
        Verb::InspectImage,
        "Display detailed information on one or more images",
    ),
    ("image list", Verb::Images, ""),
    ("image ls", Verb::Images, "List images"),
    (
        "system fsck",
        Verb::Fsck,
        "Check that disk, kernel and database agree",
    ),
    ("system info", Verb::Info, "Display system-wide information"),
];

/// The groups that have built commands in them.
pub const GROUPS: [(&str, &str); 3] = [
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("system", "Manage Docker"),
];

/// Docker's commands that are not built, one level each.
pub const UNBUILT: &[&str] = &[
    "bake",
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "commit",
    "completion",
    "compose",
    "config",
    "context",
    "cp",
    "diff",
    "events",
    "exec",
    "export",
    "history",
    "load",
    "login",
    "logout",
    "manifest",
    "network",
    "node",
    "pause",
    "plugin",
    "port",
    "pull",
    "push",
    "rename",
    "restart",
    "rmi",
    "save",
    "search",
    "secret",
    "service",
    "stack",
    "stats",
    "swarm",
    "tag",
    "top",
    "trust",
    "unpause",
    "update",
    "volume",
    "container commit",
    "container cp",
    "container diff",
    "container exec",
    "container export",
    "container pause",
    "container port",
    "container prune",
    "container rename",
    "container restart",
    "container stats",
    "container top",
    "container unpause",
    "container update",
    "image build",
    "image history",
    "image load",
    "image prune",
    "image pull",
    "image push",
    "image rm",
    "image remove",
    "image save",
    "image tag",
    "system df",
    "system dial-stdio",
    "system events",
    "system prune",
    "uninstall",
];
