//! Capability sets against the running kernel. They belong to a thread, so each case has its own.

use std::thread;

use berth_sys::caps::{self, CapSet, Capability, CapsError, ThreadCaps};

fn in_thread(case: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(case).join().unwrap());
}

/// A set of the calling thread as `/proc` shows it.
fn shown(field: &str) -> CapSet {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    CapSet::from_bits(u64::from_str_radix(line.trim(), 16).unwrap())
}

#[test]
fn the_bounding_set_ends_where_the_kernel_says() {
    let last = caps::last_cap().unwrap();
    assert_eq!(caps::bounding().unwrap(), shown("CapBnd:"));
    assert_eq!(caps::bounding().unwrap().bits() >> last >> 1, 0);
}

#[test]
fn a_thread_is_left_with_what_it_keeps() {
    in_thread(|| {
        let before = caps::bounding().unwrap();
        let keep = CapSet::DOCKER_DEFAULT.intersection(before);
        caps::limit_bounding(keep).unwrap();
        assert_eq!(caps::bounding().unwrap(), keep);
        let wanted = ThreadCaps {
            effective: keep,
            permitted: keep,
            inheritable: CapSet::EMPTY,
        };
        caps::set(&wanted).unwrap();
        assert_eq!(caps::get().unwrap(), wanted);
        assert_eq!(shown("CapEff:"), keep);
        assert_eq!(shown("CapPrm:"), keep);

        let more = keep.union(CapSet::of(&[Capability::SysAdmin]));
        let error = caps::set(&ThreadCaps {
            permitted: more,
            ..wanted
        })
        .unwrap_err();
        assert!(matches!(error, CapsError::Set { permitted, .. } if permitted == more));
        assert!(error.to_string().contains("CAP_SYS_ADMIN"), "{error}");
    });
    // Other threads keep theirs.
    assert!(
        caps::get()
            .unwrap()
            .effective
            .contains(Capability::SysAdmin)
    );
}

#[test]
fn without_setpcap_nothing_is_dropped() {
    in_thread(|| {
        let before = caps::bounding().unwrap();
        caps::set(&ThreadCaps::default()).unwrap();
        let error = caps::limit_bounding(CapSet::EMPTY).unwrap_err();
        assert!(
            matches!(error, CapsError::DropBounding { number: 0, .. }),
            "{error:?}"
        );
        assert_eq!(caps::bounding().unwrap(), before);
    });
}

#[test]
fn ambient_needs_inheritable() {
    in_thread(|| {
        let kill = CapSet::of(&[Capability::Kill]);
        let permitted = CapSet::of(&[Capability::Kill, Capability::Chown]);
        caps::set(&ThreadCaps {
            effective: permitted,
            permitted,
            inheritable: kill,
        })
        .unwrap();
        caps::raise_ambient(kill).unwrap();
        assert_eq!(shown("CapAmb:"), kill);
        let error = caps::raise_ambient(permitted).unwrap_err();
        assert!(error.to_string().contains("CAP_CHOWN"), "{error}");
        caps::clear_ambient().unwrap();
        assert_eq!(shown("CapAmb:"), CapSet::EMPTY);
    });
}
