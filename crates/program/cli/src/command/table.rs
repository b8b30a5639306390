//! The commands: those that are built, by every name, and those of Docker that are not.

/// The commands that are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `attach`
    Attach,
    /// `image bootstrap`
    Bootstrap,
    /// `commit`
    Commit,
    /// `cp`
    Cp,
    /// `create`
    Create,
    /// `system df`
    Df,
    /// `diff`
    Diff,
    /// `events`
    Events,
    /// `exec`
    Exec,
    /// `export`
    Export,
    /// `system fsck`
    Fsck,
    /// `history`
    History,
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
    /// `network inspect`
    InspectNetwork,
    /// `kill`
    Kill,
    /// `lab`
    Lab,
    /// `load`
    Load,
    /// `logs`
    Logs,
    /// `network ls`
    Networks,
    /// `pause`
    Pause,
    /// `container prune`
    PruneContainers,
    /// `image prune`
    PruneImages,
    /// `system prune`
    PruneSystem,
    /// `port`
    Port,
    /// `ps`
    Ps,
    /// `pull`
    Pull,
    /// `rename`
    Rename,
    /// `restart`
    Restart,
    /// `rm`
    Rm,
    /// `rmi`
    Rmi,
    /// `run`
    Run,
    /// `save`
    Save,
    /// `start`
    Start,
    /// `stats`
    Stats,
    /// `stop`
    Stop,
    /// `tag`
    Tag,
    /// `debug tasks`
    Tasks,
    /// `top`
    Top,
    /// `unpause`
    Unpause,
    /// `update`
    Update,
    /// `version`
    Version,
    /// `wait`
    Wait,
}

/// The built commands by the words that call them; the text of those that help lists.
pub const COMMANDS: &[(&str, Verb, &str)] = &[
    (
        "attach",
        Verb::Attach,
        "Attach local standard input, output, and error streams to a running container",
    ),
    (
        "commit",
        Verb::Commit,
        "Create a new image from a container's changes",
    ),
    (
        "cp",
        Verb::Cp,
        "Copy files/folders between a container and the local filesystem",
    ),
    ("create", Verb::Create, "Create a new container"),
    (
        "diff",
        Verb::Diff,
        "Inspect changes to files or directories on a container's filesystem",
    ),
    (
        "events",
        Verb::Events,
        "Get real time events from the server",
    ),
    (
        "exec",
        Verb::Exec,
        "Execute a command in a running container",
    ),
    (
        "export",
        Verb::Export,
        "Export a container's filesystem as a tar archive",
    ),
    ("history", Verb::History, "Show the history of an image"),
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
    (
        "load",
        Verb::Load,
        "Load an image from a tar archive or STDIN",
    ),
    ("logs", Verb::Logs, "Fetch the logs of a container"),
    (
        "pause",
        Verb::Pause,
        "Pause all processes within one or more containers",
    ),
    (
        "port",
        Verb::Port,
        "List port mappings or a specific mapping for the container",
    ),
    ("ps", Verb::Ps, "List containers"),
    ("pull", Verb::Pull, "Download an image from a registry"),
    ("rename", Verb::Rename, "Rename a container"),
    ("restart", Verb::Restart, "Restart one or more containers"),
    ("rm", Verb::Rm, "Remove one or more containers"),
    ("rmi", Verb::Rmi, "Remove one or more images"),
    (
        "run",
        Verb::Run,
        "Create and run a new container from an image",
    ),
    (
        "save",
        Verb::Save,
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
    ),
    ("start", Verb::Start, "Start one or more stopped containers"),
    (
        "stats",
        Verb::Stats,
        "Display a live stream of container(s) resource usage statistics",
    ),
    ("stop", Verb::Stop, "Stop one or more running containers"),
    (
        "tag",
        Verb::Tag,
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    ),
    (
        "top",
        Verb::Top,
        "Display the running processes of a container",
    ),
    (
        "unpause",
        Verb::Unpause,
        "Unpause all processes within one or more containers",
    ),
    (
        "update",
        Verb::Update,
        "Update configuration of one or more containers",
    ),
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
    (
        "container commit",
        Verb::Commit,
        "Create a new image from a container's changes",
    ),
    (
        "container cp",
        Verb::Cp,
        "Copy files/folders between a container and the local filesystem",
    ),
    ("container create", Verb::Create, "Create a new container"),
    (
        "container diff",
        Verb::Diff,
        "Inspect changes to files or directories on a container's filesystem",
    ),
    (
        "container exec",
        Verb::Exec,
        "Execute a command in a running container",
    ),
    (
        "container export",
        Verb::Export,
        "Export a container's filesystem as a tar archive",
    ),
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
    (
        "container pause",
        Verb::Pause,
        "Pause all processes within one or more containers",
    ),
    (
        "container prune",
        Verb::PruneContainers,
        "Remove all stopped containers",
    ),
    (
        "container port",
        Verb::Port,
        "List port mappings or a specific mapping for the container",
    ),
    ("container ps", Verb::Ps, ""),
    ("container remove", Verb::Rm, ""),
    ("container rename", Verb::Rename, "Rename a container"),
    (
        "container restart",
        Verb::Restart,
        "Restart one or more containers",
    ),
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
        "container stats",
        Verb::Stats,
        "Display a live stream of container(s) resource usage statistics",
    ),
    (
        "container stop",
        Verb::Stop,
        "Stop one or more running containers",
    ),
    (
        "container top",
        Verb::Top,
        "Display the running processes of a container",
    ),
    (
        "container unpause",
        Verb::Unpause,
        "Unpause all processes within one or more containers",
    ),
    (
        "container update",
        Verb::Update,
        "Update configuration of one or more containers",
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
        "image history",
        Verb::History,
        "Show the history of an image",
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
    (
        "image load",
        Verb::Load,
        "Load an image from a tar archive or STDIN",
    ),
    ("image ls", Verb::Images, "List images"),
    ("image prune", Verb::PruneImages, "Remove unused images"),
    (
        "image pull",
        Verb::Pull,
        "Download an image from a registry",
    ),
    ("image remove", Verb::Rmi, ""),
    ("image rm", Verb::Rmi, "Remove one or more images"),
    (
        "image save",
        Verb::Save,
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
    ),
    (
        "image tag",
        Verb::Tag,
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    ),
    (
        "network inspect",
        Verb::InspectNetwork,
        "Display detailed information on one or more networks",
    ),
    ("network list", Verb::Networks, ""),
    ("network ls", Verb::Networks, "List networks"),
    (
        "debug tasks",
        Verb::Tasks,
        "Show what the engine is doing at this moment, and what each thing waits for",
    ),
    ("system df", Verb::Df, "Show docker disk usage"),
    (
        "system events",
        Verb::Events,
        "Get real time events from the server",
    ),
    (
        "system fsck",
        Verb::Fsck,
        "Check that disk, kernel and database agree",
    ),
    ("system info", Verb::Info, "Display system-wide information"),
    ("system prune", Verb::PruneSystem, "Remove unused data"),
];

/// The groups that have built commands in them.
pub const GROUPS: [(&str, &str); 5] = [
    ("container", "Manage containers"),
    ("debug", "Look into the engine"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("system", "Manage Docker"),
];

/// Docker's commands that are not built, one level each.
pub const UNBUILT: &[&str] = &[
    "bake",
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "completion",
    "compose",
    "config",
    "context",
    "login",
    "logout",
    "manifest",
    "node",
    "plugin",
    "push",
    "search",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
    "volume",
    "image build",
    "image push",
    "network connect",
    "network create",
    "network disconnect",
    "network prune",
    "network remove",
    "network rm",
    "system dial-stdio",
    "uninstall",
];
