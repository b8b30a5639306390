//! `berthd`: the engine. Configuration is parsed whole, then every part is built in order of
//! dependency and handed to the routers that use it.

mod across;
mod config;
mod host;
mod http;
mod neighbour;
mod quiet;
mod rest;
mod workers;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use berth_container::{Containers, Deps, HostCapacity, HostFacts, POOL_THREADS, READER};
use berth_image::Images;
use berth_network::{NetworkConfig, Networks};
use berth_shim::{Placement, ShimLauncher};
use berth_storage::Storage;
use berth_store::Db;
use berth_sys::systemd::listeners;
use berth_types::task::{self, Subject};
use berth_types::{Caller, InstallId, Timestamp, chain};
use berth_unpack::Unpacker;
use hyper::Request;
use hyper::body::Incoming;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use config::{Asked, Config, ConfigError};
use host::Host;
use http::{Lane, Listener};
use rest::{
    Api, ContainersApi, ExecApi, FilesApi, IMPORTS, ImagesApi, LifeApi, NetworksApi, SAVES,
    SystemApi,
};

/// Threads for what blocks: those of the containers' pools, should all of them hang, and as many
/// again as two hundred requests need for logs, imports and counting. Made when needed only.
const BLOCKING: usize = POOL_THREADS + 200;
/// Arenas of the allocator: one for each of the threads that run requests. More serve nobody faster
/// and keep more.
const ARENAS: i32 = 2;

fn main() -> ExitCode {
    // Started by the engine itself, for what it must not do itself.
    if std::env::args_os()
        .next()
        .is_some_and(|name| name == READER)
    {
        return berth_container::reader();
    }
    berth_sys::memory::bound_arenas(ARENAS);
    let config = match config::read(std::env::args_os()) {
        Ok(Asked::Run(config)) => config,
        Ok(Asked::Validated) => {
            println!("configuration OK");
            return ExitCode::SUCCESS;
        }
        Err(ConfigError::Flags(error)) => error.exit(),
        Err(error) => {
            eprintln!("berthd: {}", chain(&error));
            return ExitCode::FAILURE;
        }
    };
    init_log(&config);
    // Before anything is opened: the descriptors are known by their numbers.
    let passed = match listeners() {
        Ok(passed) => passed,
        Err(error) => {
            eprintln!("berthd: {}", chain(&error));
            return ExitCode::FAILURE;
        }
    };
    match run(*config, passed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("berthd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn init_log(config: &Config) {
    let level = match (config.debug, config.log_level.as_str()) {
        (true, _) | (_, "debug") => tracing::Level::DEBUG,
        (_, "warn") => tracing::Level::WARN,
        (_, "error") => tracing::Level::ERROR,
        _ => tracing::Level::INFO,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
}

fn run(config: Config, passed: Vec<UnixListener>) -> anyhow::Result<()> {
    anyhow::ensure!(
        berth_sys::rustix::process::geteuid().is_root(),
        "the engine makes namespaces and mounts and has to run as root"
    );
    host::raise_open_files();
    let runtime = workers::runtime(BLOCKING).context("cannot start the engine's threads")?;
    let served = runtime.block_on(serve(config, passed));
    // A thread that hangs in the kernel is not waited for: it goes with the process.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config, passed: Vec<UnixListener>) -> anyhow::Result<()> {
    anyhow::ensure!(
        !config.passed_sockets || !passed.is_empty(),
        "no sockets found via socket activation: make sure the service was started by systemd"
    );
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    let shim = host::helper("berth-shim")?;
    let unpack = host::helper("berth-unpack")?;
    make_dir(&config.data_root, 0o711)?;
    make_dir(&config.exec_root, 0o711)?;
    make_dir(&config.exec_root.join("containers"), 0o700)?;

    let database = config.data_root.join("meta.db");
    Storage::expect_database(&config.data_root, &database).map_err(report)?;
    let agrees = |id, commits| Storage::expect_root(&config.data_root, id, commits);
    let db = Db::open_if(&database, agrees).map_err(report)?;
    // Whoever has the database has the sockets, and may be asked from here on what takes so long.
    let _lane = Lane::open(&config.sockets, rest::alone);
    let storage =
        Storage::open(&config.data_root, db.clone(), Unpacker::new(unpack)).map_err(report)?;
    let images = Images::open(db.clone(), storage.clone()).map_err(report)?;
    let (run, data) = (&config.exec_root, &config.data_root);
    let mut launcher = ShimLauncher::new(&shim, run, data, config.spares.monitors)
        .context("cannot prepare the monitor's program")?;
    let mut host = Host::read();
    let cgroup_parent = format!("{}/{}", config.groups.parent, db.install_id());
    let scopes = neighbour::scopes(&config, &host).await?;
    match &scopes {
        Some(scopes) => {
            host.cgroup_driver = "systemd";
            host.look_at_groups(&config.groups.slice.group());
            launcher = launcher.placed_by(Arc::clone(scopes) as Arc<dyn Placement>);
        }
        None => {
            make_cgroup(&config.exec_root, &cgroup_parent);
            host.look_at_groups(&cgroup_parent);
        }
    }
    let launcher = Arc::new(launcher);
    let host = Arc::new(host);
    let facts = HostFacts {
        cgroup_parent: cgroup_parent.clone(),
        scopes,
        devices: host::devices(),
        hostname: host.name.clone(),
        capabilities: berth_sys::caps::bounding()
            .context("cannot read the engine's capabilities")?,
        open_files: host::open_files(),
    };
    let capacity = HostCapacity {
        cpus: host.cpus,
        swap_limit: host.support.swap,
    };
    let networks = task::begin("open-networks", Subject::Engine)
        .run(open_networks(&config, db.install_id()))
        .await?;
    let events = db.events().clone();
    let stir = quiet::Stir::default();
    tokio::spawn(quiet::give_back(stir.clone(), events.clone()));
    let (containers, boot) = Containers::open(Deps {
        db: db.clone(),
        storage: storage.clone(),
        images: images.clone(),
        networks: networks.clone(),
        launcher: Arc::clone(&launcher) as _,
        exec_root: config.exec_root.clone(),
        facts,
        capacity,
    })
    .await
    .map_err(report)?;
    tracing::info!(?boot, "state taken up");

    let config = Arc::new(config);
    let api = Api {
        containers: ContainersApi {
            containers: containers.clone(),
            images: images.clone(),
            config: Arc::clone(&config),
        },
        exec: ExecApi {
            containers: containers.clone(),
        },
        files: FilesApi::new(containers.clone()),
        images: ImagesApi {
            images: images.clone(),
            containers: containers.clone(),
            storage: storage.clone(),
            imports: Arc::new(Semaphore::new(IMPORTS)),
            saves: Arc::new(Semaphore::new(SAVES)),
        },
        networks: NetworksApi {
            networks: networks.clone(),
            containers: containers.clone(),
            config: Arc::clone(&config),
            since: Timestamp::now(),
        },
        life: LifeApi {
            containers: containers.clone(),
            images: images.clone(),
            storage: storage.clone(),
            events,
        },
        system: SystemApi {
            containers: containers.clone(),
            networks: networks.clone(),
            images,
            storage,
            db,
            host,
            config: Arc::clone(&config),
        },
    };
    let served = listen(&config, passed, api, stir).await;
    let _ = tokio::task::spawn_blocking(move || containers.close_readers()).await;
    // Monitors that have no container go with the engine.
    let _ = tokio::task::spawn_blocking(move || launcher.close()).await;
    // So does the bridge if no container is on it.
    let _ = tokio::task::spawn_blocking(move || networks.close()).await;
    // The levels above the containers go with the last of them.
    berth_container::leave_own_group(&config.exec_root, &cgroup_parent);
    served
}

/// Sets the default network up, off the threads that answer requests.
async fn open_networks(config: &Config, install_id: InstallId) -> anyhow::Result<Networks> {
    let options = &config.network;
    let wanted = NetworkConfig {
        install_id,
        bridge: options.bridge.clone(),
        address: options.address,
        pool: options.pool,
        mtu: options.mtu,
        talk: options.talk,
        masquerade: options.masquerade,
        forward: options.forward,
        firewall: options.firewall,
        spares: config.spares.networks,
    };
    tokio::task::spawn_blocking(task::blocking(move || Networks::open(wanted)))
        .await
        .context("the default network was not set up")
}

/// An error with its causes, for a person at a terminal.
fn report(error: impl std::error::Error) -> anyhow::Error {
    anyhow::anyhow!(chain(&error))
}

/// Makes the control group that the containers' groups go into, so that no start has to. Where
/// that fails, starts try it again and say why.
fn make_cgroup(exec_root: &Path, path: &str) {
    use berth_sys::cgroup::Cgroup;
    if Cgroup::open(path).is_ok() {
        return;
    }
    if let Err(error) = berth_container::make_own_group(exec_root, path) {
        tracing::warn!("{}", chain(&error));
    }
    if let Err(error) = Cgroup::create(path, &berth_types::oci::Resources::default()) {
        tracing::warn!("{}", chain(&error));
    }
}

fn make_dir(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

async fn listen(
    config: &Config,
    passed: Vec<UnixListener>,
    api: Api,
    stir: quiet::Stir,
) -> anyhow::Result<()> {
    let group = group(config)?;
    let notifier = neighbour::notifier();
    let containers = api.containers.containers.clone();
    let mut listeners = Vec::new();
    // What was passed and not asked for is closed.
    for socket in passed.into_iter().filter(|_| config.passed_sockets) {
        let listener = Listener::passed(socket).context("cannot listen on a passed socket")?;
        tracing::info!("API listen on fd://, {}", listener.name());
        listeners.push(listener);
    }
    for path in &config.sockets {
        let listener = Listener::bind(path, group)
            .with_context(|| format!("cannot listen on unix://{}", path.display()))?;
        tracing::info!("API listen on unix://{}", path.display());
        listeners.push(listener);
    }
    let _pidfile = Pidfile::write(&config.pidfile)?;
    let (stop, stopped) = watch::channel(false);
    let mut servers = tokio::task::JoinSet::new();
    for listener in listeners {
        let (api, stir) = (api.clone(), stir.clone());
        let handler = move |caller: Caller, request: Request<Incoming>| {
            stir.note();
            api.clone().handle(caller, request)
        };
        servers.spawn(http::serve(listener, handler, stopped.clone()));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    notifier.tell("READY=1");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = neighbour::heartbeat(&notifier) => notifier.tell("WATCHDOG=1"),
            // dockerd reads its configuration again; a closed terminal must not end the engine.
            Some(()) = hangup.recv() => {
                tracing::warn!("SIGHUP: the configuration is not read again: restart the engine for that; containers go on");
            }
        }
    }
    notifier.tell("STOPPING=1");
    neighbour::end_with_machine(&containers, &notifier).await;
    tracing::info!("stopping; containers that run go on and the next start takes them up");
    stop.send_replace(true);
    while servers.join_next().await.is_some() {}
    Ok(())
}

/// The group that may use the sockets: the one that was asked for, or Docker's where it exists.
fn group(config: &Config) -> anyhow::Result<Option<u32>> {
    match &config.group {
        Some(name) => match host::group_id(name) {
            Some(id) => Ok(Some(id)),
            None => {
                anyhow::bail!("group {name:?} does not exist: make it, or give another --group")
            }
        },
        None => Ok(None),
    }
}

/// The file that holds the process id, removed at an orderly end.
struct Pidfile(PathBuf);

impl Pidfile {
    fn write(path: &Path) -> anyhow::Result<Self> {
        let written =
            fs::File::create(path).and_then(|mut f| writeln!(f, "{}", std::process::id()));
        written.with_context(|| format!("cannot write the pidfile {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // A pidfile that stays is overwritten by the next engine.
        let _ = fs::remove_file(&self.0);
    }
}
