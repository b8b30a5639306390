//! Which crate may depend on which. The folder a crate lies in is its layer; arrows point to the
//! folders above, and inside a folder only where [`INSIDE`] names them.

use std::path::Path;

use serde_json::Value;

use super::Findings;

/// From the bottom to the top.
const LAYERS: [&str; 5] = ["base", "mechanism", "domain", "edge", "program"];

/// Arrows between crates of one folder, as `(from, to)`.
const INSIDE: [(&str, &str); 11] = [
    ("api", "types"),
    ("runtime", "sys"),
    ("store", "sys"),
    ("shim", "runtime"),
    ("shim", "sys"),
    ("unpack", "sys"),
    ("image", "storage"),
    ("container", "image"),
    ("container", "storage"),
    ("container", "network"),
    ("lab", "console"),
];

/// Crates that reach less far than their folder would let them, as folders or single crates:
/// clients of the API know nothing of the engine, and the engine knows nothing of the lab.
const NARROWED: [(&str, &[&str]); 5] = [
    ("console", &["base", "sys"]),
    ("lab", &["base", "console"]),
    ("bootstrap", &["base", "mechanism"]),
    ("cli", &["base", "console", "bootstrap"]),
    ("daemon", &["base", "mechanism", "domain"]),
];

/// Crates that wrap the kernel's interface, and the only crate that may use them.
const KERNEL_CRATES: [&str; 2] = ["rustix", "libc"];
const KERNEL_USER: &str = "sys";

/// Where a workspace crate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// `crates/<layer>/<name>`.
    Layer { layer: usize, name: String },
    /// `crates/dev/*`: helps tests, so product crates see it as a dev-dependency only.
    Dev,
    /// `tests` and `xtask`, on which nobody depends.
    Outside,
    /// Nowhere that the house has a room for.
    Unknown,
}

fn place(directory: &str) -> Place {
    let parts: Vec<&str> = directory.split('/').collect();
    match parts.as_slice() {
        ["tests" | "xtask"] => Place::Outside,
        ["crates", "dev", _] => Place::Dev,
        ["crates", layer, name] => match LAYERS.iter().position(|known| known == layer) {
            Some(layer) => Place::Layer {
                layer,
                name: (*name).to_owned(),
            },
            None => Place::Unknown,
        },
        _ => Place::Unknown,
    }
}

/// Why the crate in directory `from` may not depend on the one in `to`; `None` when it may.
fn refusal(from: &str, to: &str, for_tests_only: bool) -> Option<String> {
    match (place(from), place(to)) {
        (Place::Unknown, _) => Some(format!("{from} lies in no known folder")),
        (_, Place::Outside) => Some(format!("nothing may depend on {to}")),
        (Place::Outside | Place::Dev, _) => None,
        (_, Place::Unknown) => Some(format!("{to} lies in no known folder")),
        (Place::Layer { .. }, Place::Dev) if for_tests_only => None,
        (Place::Layer { .. }, Place::Dev) => Some(format!("{to} may only be a dev-dependency")),
        (
            Place::Layer { layer, name },
            Place::Layer {
                layer: target_layer,
                name: target,
            },
        ) => {
            let target_folder = LAYERS.get(target_layer).copied().unwrap_or_default();
            if let Some((_, reach)) = NARROWED.iter().find(|(narrowed, _)| *narrowed == name)
                && !reach.contains(&target_folder)
                && !reach.contains(&target.as_str())
            {
                return Some(format!("{name} may depend on {} only", reach.join(", ")));
            }
            let allowed = target_layer < layer
                || (target_layer == layer && INSIDE.contains(&(name.as_str(), target.as_str())));
            (!allowed).then(|| {
                format!(
                    "arrows point from {} down, or as listed inside a folder",
                    LAYERS[layer]
                )
            })
        }
    }
}

/// Checks every declared dependency of every workspace crate, whatever its kind or platform.
pub fn check(root: &Path, metadata: &Value, findings: &mut Findings) {
    for package in metadata["packages"].as_array().into_iter().flatten() {
        if !package["source"].is_null() {
            continue;
        }
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let Some(from) = manifest
            .parent()
            .and_then(|directory| relative(root, directory))
        else {
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let name = dependency["name"].as_str().unwrap_or_default();
            let is_user = matches!(place(&from), Place::Layer { name, .. } if name == KERNEL_USER);
            if KERNEL_CRATES.contains(&name) && !is_user {
                findings.breach(
                    format!("{from}/Cargo.toml"),
                    format!("only berth-{KERNEL_USER} may depend on {name}"),
                );
            }
            let Some(to) = dependency["path"]
                .as_str()
                .and_then(|path| relative(root, Path::new(path)))
            else {
                continue;
            };
            if let Some(reason) = refusal(&from, &to, dependency["kind"] == "dev") {
                findings.breach(
                    format!("{from}/Cargo.toml"),
                    format!("may not depend on {name}: {reason}"),
                );
            }
        }
    }
}

fn relative(root: &Path, directory: &Path) -> Option<String> {
    directory
        .strip_prefix(root)
        .ok()
        .map(|path| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arrows() {
        for (from, to, for_tests_only, allowed) in [
            ("crates/base/api", "crates/base/types", false, true),
            ("crates/base/types", "crates/base/api", false, false),
            (
                "crates/mechanism/shim",
                "crates/mechanism/runtime",
                false,
                true,
            ),
            (
                "crates/mechanism/runtime",
                "crates/mechanism/shim",
                false,
                false,
            ),
            (
                "crates/mechanism/store",
                "crates/mechanism/sys",
                false,
                true,
            ),
            (
                "crates/mechanism/store",
                "crates/mechanism/runtime",
                false,
                false,
            ),
            ("crates/mechanism/sys", "crates/domain/image", false, false),
            (
                "crates/domain/storage",
                "crates/mechanism/unpack",
                false,
                true,
            ),
            (
                "crates/domain/container",
                "crates/domain/image",
                false,
                true,
            ),
            (
                "crates/domain/image",
                "crates/domain/container",
                false,
                false,
            ),
            ("crates/edge/lab", "crates/base/api", false, true),
            ("crates/edge/lab", "crates/domain/container", false, false),
            ("crates/edge/lab", "crates/edge/console", false, true),
            ("crates/edge/lab", "crates/mechanism/sys", false, false),
            ("crates/edge/console", "crates/mechanism/sys", false, true),
            ("crates/edge/console", "crates/mechanism/shim", false, false),
            ("crates/edge/console", "crates/edge/lab", false, false),
            ("crates/program/cli", "crates/edge/console", false, true),
            ("crates/program/cli", "crates/edge/lab", false, false),
            ("crates/program/cli", "crates/base/api", false, true),
            ("crates/program/cli", "crates/mechanism/sys", false, false),
            (
                "crates/program/daemon",
                "crates/domain/container",
                false,
                true,
            ),
            ("crates/program/daemon", "crates/edge/lab", false, false),
            ("crates/program/daemon", "crates/program/cli", false, false),
            ("crates/domain/image", "crates/dev/testkit", true, true),
            ("crates/domain/image", "crates/dev/testkit", false, false),
            ("crates/dev/testkit", "crates/base/api", false, true),
            ("tests", "crates/program/daemon", false, true),
            ("crates/base/api", "xtask", true, false),
            ("crates/attic/old", "crates/base/types", false, false),
            ("crates/base/api", "crates/attic/old", false, false),
        ] {
            assert_eq!(
                refusal(from, to, for_tests_only).is_none(),
                allowed,
                "{from} -> {to}"
            );
        }
    }

    #[test]
    fn the_kernel_is_reached_through_one_crate() {
        let package = |directory: &str, dependency: &str| {
            json!({"packages": [{"source": null, "manifest_path": format!("/r/{directory}/Cargo.toml"),
                "dependencies": [{"name": dependency, "kind": null}]}]})
        };
        for (directory, dependency, breaches) in [
            ("crates/mechanism/sys", "rustix", 0),
            ("crates/mechanism/shim", "rustix", 1),
            ("xtask", "libc", 1),
            ("crates/mechanism/shim", "serde", 0),
        ] {
            let mut findings = Findings::default();
            check(
                Path::new("/r"),
                &package(directory, dependency),
                &mut findings,
            );
            assert_eq!(
                findings.breaches.len(),
                breaches,
                "{directory} -> {dependency}"
            );
        }
    }
}
