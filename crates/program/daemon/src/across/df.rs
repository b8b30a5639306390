//! `system df`: what containers, images, volumes and builds take up. Blocking: sizes of
//! containers are counted file by file.

use std::collections::{BTreeMap, BTreeSet};

use berth_api::container::ContainerSummary;
use berth_api::disk::{DiskUsage, Usage};
use berth_api::image::ImageSummary;
use berth_container::{Containers, Record};
use berth_image::{Filter, Images, Listed};
use berth_storage::Storage;
use berth_types::{Caller, Digest, LayerId, Timestamp};

use crate::rest::convert;

/// The sorts of things that take up space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// What containers wrote.
    Container,
    /// Images.
    Image,
    /// Volumes.
    Volume,
    /// What builds left.
    BuildCache,
}

impl Sort {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Container, Self::Image, Self::Volume, Self::BuildCache];

    /// By the word on the API.
    pub fn by_word(word: &str) -> Option<Self> {
        match word {
            "container" => Some(Self::Container),
            "image" => Some(Self::Image),
            "volume" => Some(Self::Volume),
            "build-cache" => Some(Self::BuildCache),
            _ => None,
        }
    }
}

/// Counts the sorts that are asked for, as far as the caller sees the objects.
pub fn disk_usage(
    caller: &Caller,
    containers: &Containers,
    images: &Images,
    storage: &Storage,
    sorts: &[Sort],
) -> DiskUsage {
    let has = |sort| sorts.contains(&sort);
    let all = containers.all(caller);
    DiskUsage {
        image_usage: has(Sort::Image).then(|| {
            let mut users: BTreeMap<Digest, i64> = BTreeMap::new();
            all.iter()
                .for_each(|r| *users.entry(r.image).or_default() += 1);
            let listed = images.list(caller, &Filter::default());
            let bytes = |id| storage.layer(id).map_or(0, |layer| layer.bytes);
            image_usage(&listed, &users, bytes)
        }),
        container_usage: has(Sort::Container).then(|| {
            let now = Timestamp::now();
            let mut names = convert::ImageNames::new(images, caller);
            let mut summary = |r: &Record| convert::summary(r, containers, &mut names, now, true);
            let active = all.iter().filter(|r| r.state.phase.is_active()).count();
            let items: Vec<(bool, ContainerSummary)> = all
                .iter()
                .map(|r| (r.state.phase.is_active(), summary(r)))
                .collect();
            container_usage(active, items)
        }),
        // There are no volumes and no builds yet, and so nothing of theirs.
        volume_usage: has(Sort::Volume).then(Usage::default),
        build_cache_usage: has(Sort::BuildCache).then(Usage::default),
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn container_usage(active: usize, items: Vec<(bool, ContainerSummary)>) -> Usage<ContainerSummary> {
    let size = |(_, item): &&(bool, ContainerSummary)| item.size_rw.unwrap_or(0);
    Usage {
        active_count: count(active),
        total_count: count(items.len()),
        reclaimable: items
            .iter()
            .filter(|(active, _)| !active)
            .map(|i| size(&i))
            .sum(),
        total_size: items.iter().map(|i| size(&i)).sum(),
        items: items.into_iter().map(|(_, item)| item).collect(),
    }
}

/// Layers are counted once, however many images stand on them; what an unused image would give
/// back is what no used one shares.
fn image_usage(
    listed: &[Listed],
    users: &BTreeMap<Digest, i64>,
    bytes: impl Fn(LayerId) -> u64,
) -> Usage<ImageSummary> {
    let mut holders: BTreeMap<LayerId, u32> = BTreeMap::new();
    let mut in_use: BTreeSet<LayerId> = BTreeSet::new();
    let used = |entry: &Listed| users.get(&entry.image.id).copied().unwrap_or(0);
    for entry in listed {
        for layer in &entry.image.layers {
            *holders.entry(*layer).or_default() += 1;
            if used(entry) > 0 {
                in_use.insert(*layer);
            }
        }
    }
    let total: u64 = holders.keys().map(|id| bytes(*id)).sum();
    let held: u64 = in_use.iter().map(|id| bytes(*id)).sum();
    let item = |entry: &Listed| {
        let layers = entry.image.layers.iter();
        let shared = layers.filter(|id| holders.get(id).is_some_and(|n| *n > 1));
        ImageSummary {
            shared_size: signed(shared.map(|id| bytes(*id)).sum()),
            containers: used(entry),
            ..convert::image_summary(entry)
        }
    };
    Usage {
        active_count: count(listed.iter().filter(|e| used(e) > 0).count()),
        total_count: count(listed.len()),
        reclaimable: signed(total.saturating_sub(held)),
        total_size: signed(total),
        items: listed.iter().map(item).collect(),
    }
}
