//! One engine of a history, and the disk that the first one finds.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use berth_image::Images;
use berth_network::{NetworkConfig, Networks};
use berth_storage::Storage;
use berth_store::simulated::Disk;
use berth_store::{Db, Listener, StoreError, Table};
use berth_sys::caps::CapSet;
use berth_types::{Digest, Timestamp};
use berth_unpack::Unpacker;
use tokio::time::{Instant, sleep, timeout};

use super::super::board::Board;
use super::super::check::{Order, View};
use super::super::seam::{chance, delay, spawn};
use super::super::world::World;
use super::History;
use crate::create::HostCapacity;
use crate::service::Containers;
use crate::shared::Deps;
use crate::spec::HostFacts;

/// The image that containers are made of: nothing.
const DOCUMENT: &str =
    r#"{"architecture":"amd64","config":{},"os":"linux","rootfs":{"diff_ids":[],"type":"layers"}}"#;
/// Its digest.
pub(in crate::sim) const IMAGE_ID: &str =
    "067c4dd72da4d166811c210f3d96a24e0f1c7ed7f02f905f6f78e03d500f7c59";
/// As `berth-image` has it.
const IMAGES: Table<(String, Digest), serde_json::Value> = Table::new("image.images", 1);
/// Written to see whether that goes.
const PROBE: Table<u64, u64> = Table::new("simulation.probe", 1);

/// A disk with an empty engine's database on it, and one image.
pub(super) fn fresh() -> Disk {
    static TEMPLATE: OnceLock<Disk> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let disk = Disk::new();
        let (db, _service) = disk.open_here().expect("a database");
        let id: Digest = format!("sha256:{IMAGE_ID}").parse().expect("a digest");
        let row = serde_json::json!({
            "owner": berth_types::Scope::root(),
            "document": DOCUMENT,
            "layers": [],
            "size": 0,
            "added": Timestamp::from_nanos(0),
        });
        let key = (berth_types::Scope::root().name().to_owned(), id);
        db.write(move |txn| txn.put(&IMAGES, &key, &row))
            .map_err(berth_store::WriteError::<StoreError>::flatten)
            .expect("an image");
        drop(db);
        disk
    });
    template.copy()
}

/// An engine that is up.
pub(in crate::sim) struct Engine {
    pub containers: Containers,
    pub(super) db: Db,
    storage: Storage,
    images: Images,
    events: tokio::sync::Mutex<Listener>,
    /// Tasks that there were before its own.
    pub(super) tasks: usize,
}

impl Engine {
    pub(super) fn view<'a>(
        &'a self,
        world: &'a World,
        board: &'a Board,
        exec_root: &'a Path,
        data_root: &'a Path,
    ) -> View<'a> {
        View {
            containers: &self.containers,
            db: &self.db,
            storage: &self.storage,
            images: &self.images,
            world,
            board,
            exec_root,
            data_root,
        }
    }

    /// Whether its store writes no more: what was reported as failed turned out to be there.
    pub(super) fn is_at_its_end(&self) -> bool {
        let probe = |txn: &mut berth_store::WriteTxn<'_>| txn.put(&PROBE, &0, &0);
        let result = self
            .db
            .write(probe)
            .map_err(berth_store::WriteError::flatten);
        matches!(result, Err(StoreError::Diverged { .. }))
    }

    /// What was told came in order.
    pub(super) async fn events(&self, board: &Board) {
        let mut order = Order::default();
        let mut events = self.events.lock().await;
        while let Ok(event) = timeout(Duration::ZERO, events.next()).await {
            match event {
                Ok(event) => order.take(&event, board),
                // More than is kept: where it begins is not known.
                Err(_) => order = Order::default(),
            }
        }
    }
}

impl History {
    /// Opens an engine over the disk as it is.
    pub(super) async fn open(&self, began: Instant) -> Option<Engine> {
        let (data, run) = (self.root.path().join("data"), self.root.path().join("run"));
        let made = std::fs::create_dir_all(&data)
            .and_then(|()| std::fs::create_dir_all(run.join("containers")));
        let wrong = |what: &str, error: &dyn std::error::Error| {
            let text = berth_types::chain(error);
            self.board.wrong(format!("cannot open {what}: {text}"));
        };
        made.map_err(|e| wrong("the directories", &e)).ok()?;
        let opened = self.disk.open_here();
        let (db, service) = opened.map_err(|e| wrong("the database", &e)).ok()?;
        spawn(service.run(|| {
            let takes = chance().map_or(Duration::ZERO, |chance| delay(&chance));
            sleep(takes)
        }));
        let events = db.events().subscribe().1;
        let unpacker = Unpacker::new("/nonexistent");
        let storage = Storage::open(&data, db.clone(), unpacker);
        let storage = storage.map_err(|e| wrong("the storage", &e)).ok()?;
        let images = Images::open(db.clone(), storage.clone());
        let images = images.map_err(|e| wrong("the images", &e)).ok()?;
        let networks = Networks::open(NetworkConfig {
            install_id: db.install_id(),
            bridge: None,
            address: None,
            pool: None,
            mtu: None,
            talk: false,
            masquerade: false,
            forward: false,
            firewall: false,
            spares: 0,
        });
        let deps = Deps {
            db: db.clone(),
            storage: storage.clone(),
            images: images.clone(),
            networks,
            launcher: Arc::new(self.world.clone()),
            exec_root: run,
            facts: HostFacts {
                cgroup_parent: "/berth-simulated".to_owned(),
                scopes: None,
                devices: Vec::new(),
                hostname: "simulated".to_owned(),
                capabilities: CapSet::DOCKER_DEFAULT,
                open_files: 1024,
            },
            capacity: HostCapacity {
                cpus: 2,
                swap_limit: false,
            },
        };
        let tasks = alive();
        let opened = Containers::open(deps).await;
        let (containers, report) = opened.map_err(|e| wrong("the containers", &e)).ok()?;
        self.board.note(began, format_args!("{report:?}"));
        Some(Engine {
            containers,
            db,
            storage,
            images,
            events: tokio::sync::Mutex::new(events),
            tasks,
        })
    }
}

/// Tasks of the runtime that are not over.
pub(super) fn alive() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}
