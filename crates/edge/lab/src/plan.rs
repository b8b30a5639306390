//! What is to be done for each name: decided from what is wanted and what is there, without
//! touching anything.

use std::collections::BTreeMap;

use berth_api::container::ContainerSummary;

/// The label that says which lab a container is a seat of.
pub const LAB_LABEL: &str = "berth.lab";
/// The label that says whose seat it is.
pub const SEAT_LABEL: &str = "berth.lab.seat";

/// A container as the planner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its id.
    pub id: String,
    /// The lab it says it is a seat of.
    pub lab: Option<String>,
    /// Whose seat it says it is.
    pub seat: Option<String>,
    /// Its state, in the engine's word.
    pub state: String,
    /// The image it was made from.
    pub image: String,
}

/// What is to be done for one name of an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allocation {
    /// There is nothing: create a seat and start it.
    Create,
    /// The seat is there and does not run: start it.
    Start {
        /// Its id.
        id: String,
    },
    /// The seat is there and runs: leave it alone.
    Keep {
        /// Its id.
        id: String,
    },
    /// Something is in the way; nothing is touched.
    Refuse {
        /// What, and what to do.
        reason: String,
    },
}

/// What is to be done for one name of a deallocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The seat is there: remove it.
    Remove {
        /// Its id.
        id: String,
    },
    /// There is no such container, which is what was wanted.
    Missing,
    /// The container of that name is no seat of this lab; nothing is touched.
    Refuse {
        /// Why, and what to do.
        reason: String,
    },
}

/// The containers of the engine by name.
pub fn by_name(containers: &[ContainerSummary]) -> BTreeMap<String, Observed> {
    let mut found = BTreeMap::new();
    for container in containers {
        let observed = Observed {
            id: container.id.clone(),
            lab: container.labels.get(LAB_LABEL).cloned(),
            seat: container.labels.get(SEAT_LABEL).cloned(),
            state: container.state.clone(),
            image: container.image.clone(),
        };
        for name in &container.names {
            let name = name.strip_prefix('/').unwrap_or(name);
            found.insert(name.to_owned(), observed.clone());
        }
    }
    found
}

/// What is to be done so that `name` has a running seat in `lab`.
pub fn allocation(name: &str, lab: &str, observed: Option<&Observed>) -> Allocation {
    let Some(there) = observed else {
        return Allocation::Create;
    };
    if let Some(reason) = foreign(name, lab, there) {
        return Allocation::Refuse { reason };
    }
    let id = there.id.clone();
    match there.state.as_str() {
        "running" | "restarting" => Allocation::Keep { id },
        "created" | "exited" => Allocation::Start { id },
        "paused" => Allocation::Refuse {
            reason: "the seat is paused: unpause it, then allocate again".to_owned(),
        },
        other => Allocation::Refuse {
            reason: format!("the seat is {other}: deallocate it, then allocate again"),
        },
    }
}

/// What is to be done so that `name` has no seat in `lab`.
pub fn removal(name: &str, lab: &str, observed: Option<&Observed>) -> Removal {
    match observed {
        None => Removal::Missing,
        Some(there) => match foreign(name, lab, there) {
            Some(reason) => Removal::Refuse { reason },
            None => Removal::Remove {
                id: there.id.clone(),
            },
        },
    }
}

/// The names of all seats of a lab, or of every lab.
pub fn seats(observed: &BTreeMap<String, Observed>, lab: Option<&str>) -> Vec<String> {
    let is_seat = |(name, there): &(&String, &Observed)| {
        let its = there.lab.as_deref();
        its.is_some_and(|its| lab.is_none_or(|lab| lab == its))
            && there.seat.as_deref() == Some(name.as_str())
    };
    let seats = observed.iter().filter(is_seat);
    seats.map(|(name, _)| name.clone()).collect()
}

/// Why the container is not this lab's seat of that name, if it is not.
fn foreign(name: &str, lab: &str, there: &Observed) -> Option<String> {
    match (&there.lab, &there.seat) {
        (Some(its), Some(seat)) if its == lab && seat == name => None,
        (Some(its), _) if its != lab => Some(format!(
            "the name is taken by a seat of the lab {its:?}: choose another name, or deallocate \
             it there"
        )),
        (Some(_), _) => Some(
            "the name is taken by another seat of this lab that was renamed: name it back, or \
             remove it"
                .to_owned(),
        ),
        (None, _) => Some(
            "the name is taken by a container that is no seat of a lab: choose another name, or \
             remove that container"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(lab: Option<&str>, seat: Option<&str>, state: &str) -> Observed {
        Observed {
            id: "i".to_owned(),
            lab: lab.map(str::to_owned),
            seat: seat.map(str::to_owned),
            state: state.to_owned(),
            image: "img".to_owned(),
        }
    }

    fn verb(allocation: &Allocation) -> &'static str {
        match allocation {
            Allocation::Create => "create",
            Allocation::Start { .. } => "start",
            Allocation::Keep { .. } => "keep",
            Allocation::Refuse { .. } => "refuse",
        }
    }

    #[test]
    fn allocation_takes_only_what_is_its_own() {
        assert_eq!(allocation("ann", "go", None), Allocation::Create);
        for (lab, seat, state, wanted) in [
            (Some("go"), Some("ann"), "running", "keep"),
            (Some("go"), Some("ann"), "exited", "start"),
            (Some("go"), Some("ann"), "created", "start"),
            (Some("go"), Some("ann"), "restarting", "keep"),
            (Some("go"), Some("ann"), "paused", "refuse"),
            (Some("go"), Some("ann"), "dead", "refuse"),
            (Some("go"), Some("ann"), "removing", "refuse"),
            (Some("rust"), Some("ann"), "running", "refuse"),
            (Some("go"), Some("bob"), "running", "refuse"),
            (Some("go"), None, "exited", "refuse"),
            (None, Some("ann"), "running", "refuse"),
            (None, None, "exited", "refuse"),
        ] {
            let there = observed(lab, seat, state);
            let found = allocation("ann", "go", Some(&there));
            assert_eq!(verb(&found), wanted, "{lab:?} {seat:?} {state}");
        }
    }

    #[test]
    fn removal_takes_only_what_is_its_own() {
        assert_eq!(removal("ann", "go", None), Removal::Missing);
        for (lab, seat, state, taken) in [
            (Some("go"), Some("ann"), "running", true),
            (Some("go"), Some("ann"), "dead", true),
            (Some("rust"), Some("ann"), "exited", false),
            (Some("go"), Some("bob"), "exited", false),
            (None, None, "exited", false),
        ] {
            let there = observed(lab, seat, state);
            let found = removal("ann", "go", Some(&there));
            assert_eq!(
                matches!(found, Removal::Remove { .. }),
                taken,
                "{lab:?} {seat:?}"
            );
        }
    }

    #[test]
    fn all_seats_are_those_of_labs_and_under_their_own_name() {
        let there = BTreeMap::from([
            (
                "ann".to_owned(),
                observed(Some("go"), Some("ann"), "running"),
            ),
            (
                "bob".to_owned(),
                observed(Some("rust"), Some("bob"), "exited"),
            ),
            (
                "cid".to_owned(),
                observed(Some("go"), Some("dan"), "exited"),
            ),
            ("eve".to_owned(), observed(None, None, "running")),
        ]);
        assert_eq!(seats(&there, None), ["ann", "bob"]);
        assert_eq!(seats(&there, Some("go")), ["ann"]);
        assert_eq!(seats(&there, Some("c")), [""; 0]);
    }

    #[test]
    fn names_come_without_their_slash() {
        let container = ContainerSummary {
            names: vec!["/ann".to_owned()],
            labels: [(LAB_LABEL.to_owned(), "go".to_owned())].into(),
            ..ContainerSummary::default()
        };
        assert_eq!(by_name(&[container])["ann"].lab.as_deref(), Some("go"));
    }
}
