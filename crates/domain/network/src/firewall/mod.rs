//! The engine's firewall table: published ports, the way out, and who may not come in.
//!
//! One table of its own, set up as a whole in one transaction; a port is one element of a map.
//! Nobody else's table is touched. What others take out of it is put back ([`watch`]).

mod rules;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use berth_sys::netlink::nft::{Batch, Element, Tables};
use berth_sys::rustix::io::Errno;
use berth_types::task::{Wait, lock};

use crate::endpoint::Published;
pub(crate) use rules::Layout;
use watch::Watcher;

/// An element's value, by its map and key.
type Elements = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

/// The table, and who looks after it.
#[derive(Debug)]
pub(crate) struct Firewall {
    table: Arc<Table>,
    watcher: Watcher,
}

/// The table as it should be, and the way to make it so.
#[derive(Debug)]
struct Table {
    layout: Layout,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tables: Tables,
    elements: Elements,
}

impl Firewall {
    /// Sets the table up. One that an earlier engine left stays as it is until
    /// [`Firewall::settle`], so that its ports answer all the time.
    pub(crate) fn open(layout: Layout) -> io::Result<Self> {
        let mut tables = Tables::open()?;
        let is_there = tables.has(&layout.table)?;
        let own = tables.port()?;
        let state = Mutex::new(State {
            tables,
            elements: Elements::new(),
        });
        let table = Arc::new(Table { layout, state });
        let watcher = Watcher::start(Arc::clone(&table), own)?;
        if !is_there {
            table.apply()?;
        }
        Ok(Self { table, watcher })
    }

    /// Replaces what an earlier engine left by what is wanted, at one blow. Connections go on.
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.table.apply()
    }

    /// Counts ports of a container among those that are wanted; an earlier engine put them in.
    pub(crate) fn adopt(&self, ports: &[Published], container: Ipv4Addr) {
        self.table.lock().want(&elements(ports, container));
    }

    /// Redirects ports to a container.
    pub(crate) fn publish(&self, ports: &[Published], container: Ipv4Addr) -> io::Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        let elements = elements(ports, container);
        let mut state = self.table.lock();
        state.want(&elements);
        let put = |state: &mut State, again: bool| {
            let mut batch = Batch::new(&self.table.layout.table);
            if again {
                rules::change(&mut batch, &elements, false);
            }
            rules::change(&mut batch, &elements, true);
            state.tables.commit(batch)
        };
        let result = match put(&mut state, false) {
            // Left by an earlier engine, for a container that is gone.
            Err(error) if is(&error, Errno::EXIST) && put(&mut state, true).is_ok() => Ok(()),
            // Somebody removed the table, or one of the old ones is in the way of a new.
            Err(_) => state.apply(&self.table.layout),
            Ok(()) => Ok(()),
        };
        if result.is_err() {
            state.forget(&elements);
        }
        result
    }

    /// Ends the redirection of ports.
    pub(crate) fn withdraw(&self, ports: &[Published], container: Ipv4Addr) {
        if ports.is_empty() {
            return;
        }
        let elements = elements(ports, container);
        let mut state = self.table.lock();
        state.forget(&elements);
        let mut take = |elements: &[(&'static str, Element)]| {
            let mut batch = Batch::new(&self.table.layout.table);
            rules::change(&mut batch, elements, false);
            state.tables.commit(batch)
        };
        if take(&elements).is_ok() {
            return;
        }
        // One that is not there keeps the others in.
        for element in elements.chunks(1) {
            if let Err(error) = take(element)
                && !is(&error, Errno::NOENT)
            {
                tracing::warn!(%error, "cannot take a published port out of the firewall");
            }
        }
    }

    /// Removes the table.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.watcher.stop();
        let mut batch = Batch::new(&self.table.layout.table);
        batch.table();
        batch.remove_table();
        self.table.lock().tables.commit(batch)
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state, Wait::Firewall)
    }

    fn apply(&self) -> io::Result<()> {
        self.lock().apply(&self.layout)
    }
}

impl State {
    fn apply(&mut self, layout: &Layout) -> io::Result<()> {
        let elements = self.elements.iter();
        let elements: Vec<(&'static str, Element)> = elements
            .map(|((map, key), value)| (*map, (key.clone(), value.clone())))
            .collect();
        self.tables.commit(rules::whole(layout, &elements))
    }

    fn want(&mut self, elements: &[(&'static str, Element)]) {
        for (map, (key, value)) in elements {
            self.elements.insert((map, key.clone()), value.clone());
        }
    }

    fn forget(&mut self, elements: &[(&'static str, Element)]) {
        for (map, (key, _)) in elements {
            self.elements.remove(&(*map, key.clone()));
        }
    }
}

fn elements(ports: &[Published], container: Ipv4Addr) -> Vec<(&'static str, Element)> {
    ports
        .iter()
        .map(|port| rules::element(port, container))
        .collect()
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
