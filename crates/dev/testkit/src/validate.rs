//! Checks answers against the description of Docker's API.
//!
//! `dev/api-fields.tsv` holds the facts of the description (fields, types, what is required, what
//! may be `null`, values of enumerations), `dev/api-responses.tsv` which definition answers which
//! request. An inline object has the name of its place: `ContainerSummary.HostConfig`; `.item`
//! and `.value` stand for the elements of a list and a map. The field `=` gives a definition that
//! is no object.
//!
//! The description and Docker's own engine differ in places. Where clients live with what the
//! engine does, the two tables [`NULL_ALLOWED`] and [`UNKNOWN_ALLOWED`] say so; nothing else is
//! forgiven.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use serde_json::Value;

const FIELDS: &str = include_str!("../../../../dev/api-fields.tsv");
const RESPONSES: &str = include_str!("../../../../dev/api-responses.tsv");

/// Fields that Docker's engine answers with `null` although the description does not say so: Go
/// slices, maps and pointers that were never set.
pub const NULL_ALLOWED: &[(&str, &[&str])] = &[
    ("ContainerConfig", &["Cmd", "Entrypoint", "Volumes"]),
    ("DeviceRequest", &["DeviceIDs", "Capabilities", "Options"]),
    (
        "EndpointSettings",
        &["IPAMConfig", "Links", "Aliases", "DNSNames"],
    ),
    ("ExecInspectResponse", &["ExitCode"]),
    ("Health", &["Log"]),
    ("IPAM", &["Options", "Config"]),
    (
        "HostConfig",
        &[
            "Binds",
            "VolumesFrom",
            "CapAdd",
            "CapDrop",
            "ExtraHosts",
            "GroupAdd",
            "Links",
            "SecurityOpt",
            "DeviceCgroupRules",
            "DeviceRequests",
            "MemorySwappiness",
            "OomKillDisable",
            "MaskedPaths",
            "ReadonlyPaths",
        ],
    ),
    ("PluginsInfo", &["Authorization"]),
    ("RegistryServiceConfig", &["Mirrors"]),
    ("SystemInfo", &["GenericResources"]),
];

/// Fields that Docker's engine answers although the description does not have them: what old
/// clients read of a progress stream.
pub const UNKNOWN_ALLOWED: &[(&str, &[&str])] = &[
    ("BuildInfo", &["error", "progress"]),
    ("CreateImageInfo", &["error", "progress", "aux"]),
    ("PushImageInfo", &["id", "error", "progress", "aux"]),
];

/// One place where an answer is not what the description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The place, as in `State.Health.Log[2].End`; empty for the whole answer.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "(answer)"
        } else {
            &self.path
        };
        write!(f, "{path}: {}", self.problem)
    }
}

/// One line of the table of fields.
struct Field {
    kind: &'static str,
    required: bool,
    nullable: bool,
    values: BTreeSet<&'static str>,
}

type Definitions = BTreeMap<&'static str, BTreeMap<&'static str, Field>>;

static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(|| {
    let mut definitions = Definitions::new();
    for line in FIELDS.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let &[definition, field, kind, required, nullable, values] = columns.as_slice() else {
            panic!("api-fields.tsv: not six columns: {line:?}");
        };
        let values = values.split(',').filter(|value| !value.is_empty());
        definitions.entry(definition).or_default().insert(
            field,
            Field {
                kind,
                required: required == "y",
                nullable: nullable == "y",
                values: values
                    .map(|value| if value == "\"\"" { "" } else { value })
                    .collect(),
            },
        );
    }
    definitions
});

/// The type of an answer, by method, path as the description writes it (`/containers/{id}/json`)
/// and status; `None` where the description has no such answer or no body for it.
pub fn response(method: &str, path: &str, status: u16) -> Option<&'static str> {
    RESPONSES.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let &[this_method, this_path, this_status, definition] = columns.as_slice() else {
            panic!("api-responses.tsv: not four columns: {line:?}");
        };
        let same = this_method == method && this_path == path && this_status == status.to_string();
        (same && definition != "-").then_some(definition)
    })
}

/// Checks a value against a type: a definition's name or `array<…>`, `map<…>`, `string` and so
/// on. No violations means that it is as described.
///
/// # Panics
///
/// If there is no such definition: that is a mistake in the test, not in the answer.
pub fn validate(definition: &str, value: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    check(definition, value, "", &mut found);
    found
}

fn report(path: &str, problem: String, found: &mut Vec<Violation>) {
    found.push(Violation {
        path: path.to_owned(),
        problem,
    });
}

fn check(kind: &str, value: &Value, path: &str, found: &mut Vec<Violation>) {
    if let Some(kind) = kind.strip_suffix('?') {
        if !value.is_null() {
            check(kind, value, path, found);
        }
    } else if let Some(element) = inside(kind, "array<") {
        let Value::Array(list) = value else {
            return mismatch("a list", value, path, found);
        };
        for (index, value) in list.iter().enumerate() {
            check(element, value, &format!("{path}[{index}]"), found);
        }
    } else if let Some(element) = inside(kind, "map<") {
        let Value::Object(map) = value else {
            return mismatch("an object", value, path, found);
        };
        for (key, value) in map {
            check(element, value, &format!("{path}[{key:?}]"), found);
        }
    } else {
        let (fits, expected) = match kind {
            "any" => (true, "anything"),
            "string" => (value.is_string(), "a string"),
            "integer" => (value.is_i64() || value.is_u64(), "a whole number"),
            "number" => (value.is_number(), "a number"),
            "boolean" => (value.is_boolean(), "a boolean"),
            "object" => (value.is_object(), "an object"),
            definition => return check_definition(definition, value, path, found),
        };
        if !fits {
            mismatch(expected, value, path, found);
        }
    }
}

fn inside<'a>(kind: &'a str, opening: &str) -> Option<&'a str> {
    kind.strip_prefix(opening)?.strip_suffix('>')
}

fn mismatch(expected: &str, value: &Value, path: &str, found: &mut Vec<Violation>) {
    report(path, format!("expected {expected}, found {value}"), found);
}

fn check_definition(name: &str, value: &Value, path: &str, found: &mut Vec<Violation>) {
    let fields = DEFINITIONS
        .get(name)
        .unwrap_or_else(|| panic!("the description has no definition {name:?}"));
    if let Some(whole) = fields.get("=") {
        check(whole.kind, value, path, found);
        return check_values(whole, value, path, found);
    }
    let Value::Object(object) = value else {
        return mismatch("an object", value, path, found);
    };
    for (key, field) in fields {
        if field.required && !object.contains_key(*key) {
            report(path, format!("{key} is missing"), found);
        }
    }
    for (key, value) in object {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match fields.get(key.as_str()) {
            Some(field) => check_field(name, key, field, value, &path, found),
            None if listed(UNKNOWN_ALLOWED, name, key) => {}
            None => report(&path, format!("{name} has no such field"), found),
        }
    }
}

fn check_field(
    definition: &str,
    key: &str,
    field: &Field,
    value: &Value,
    path: &str,
    found: &mut Vec<Violation>,
) {
    if value.is_null() {
        if !field.nullable && !listed(NULL_ALLOWED, definition, key) {
            report(
                path,
                format!("null is not allowed for {}", field.kind),
                found,
            );
        }
        return;
    }
    check(field.kind, value, path, found);
    check_values(field, value, path, found);
}

fn check_values(field: &Field, value: &Value, path: &str, found: &mut Vec<Violation>) {
    if let Value::String(text) = value
        && !field.values.is_empty()
        && !field.values.contains(text.as_str())
    {
        report(
            path,
            format!("{text:?} is none of {:?}", field.values),
            found,
        );
    }
}

fn listed(table: &[(&str, &[&str])], definition: &str, key: &str) -> bool {
    table
        .iter()
        .any(|(name, keys)| *name == definition && keys.contains(&key))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{DEFINITIONS, NULL_ALLOWED, RESPONSES, UNKNOWN_ALLOWED};
    use super::{check, response, validate};

    fn problems(definition: &str, value: Value) -> Vec<String> {
        validate(definition, &value)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_docker_answers_is_valid() {
        let state = json!({
            "Status": "running", "Running": true, "Pid": 12, "ExitCode": 0, "Error": "",
            "Health": {"Status": "healthy", "FailingStreak": 0, "Log": null},
        });
        let host_config = json!({
            "Binds": null, "PidsLimit": null, "Memory": 0, "CgroupnsMode": "private",
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "PortBindings": {"80/tcp": null, "81/udp": [{"HostIp": "", "HostPort": "8081"}]},
        });
        let answer = json!({"Id": "ab", "State": state, "HostConfig": host_config, "Mounts": []});
        assert_eq!(problems("ContainerInspectResponse", answer), [""; 0]);
        assert_eq!(problems("ErrorResponse", json!({"message": "no"})), [""; 0]);
        assert_eq!(
            problems("CreateImageInfo", json!({"status": "x", "error": "y"})),
            [""; 0]
        );
        let list = response("GET", "/containers/json", 200).unwrap();
        assert_eq!(
            problems(list, json!([{"Id": "ab", "Names": ["/x"]}])),
            [""; 0]
        );
    }

    #[test]
    fn each_sort_of_fault_is_found_in_its_place() {
        for (definition, answer, problem) in [
            ("ErrorResponse", json!({}), "(answer): message is missing"),
            (
                "ErrorResponse",
                json!([]),
                "(answer): expected an object, found []",
            ),
            (
                "ContainerState",
                json!({"Pid": 1.5}),
                "Pid: expected a whole number, found 1.5",
            ),
            (
                "ContainerState",
                json!({"Status": null}),
                "Status: null is not allowed for string",
            ),
            (
                "ContainerState",
                json!({"status": ""}),
                "status: ContainerState has no such field",
            ),
            (
                "array<ContainerSummary>",
                json!([{"Names": ["/a"]}, {"Names": [1]}]),
                "[1].Names[0]: expected a string, found 1",
            ),
            (
                "NetworkSettings",
                json!({"Ports": {"80/tcp": {}}}),
                "Ports[\"80/tcp\"]: expected a list, found {}",
            ),
            (
                "MountPoint",
                json!({"Type": "magic"}),
                "Type: \"magic\" is none of {\"bind\", \"cluster\", \"image\", \"npipe\", \
                 \"tmpfs\", \"volume\"}",
            ),
            (
                "ContainerSummary",
                json!({"HostConfig": {"Memory": 1}}),
                "HostConfig.Memory: ContainerSummary.HostConfig has no such field",
            ),
        ] {
            assert_eq!(problems(definition, answer), [problem], "{definition}");
        }
    }

    #[test]
    fn the_tables_are_closed_and_forgive_only_what_needs_it() {
        for (definition, fields) in DEFINITIONS.iter() {
            for (field, facts) in fields {
                // Panics on a type that does not exist; the value's violations do not matter.
                check(facts.kind, &json!([{}]), definition, &mut Vec::new());
                check(facts.kind, &json!({ "key": {} }), field, &mut Vec::new());
            }
        }
        for line in RESPONSES.lines().skip(1) {
            let definition = line.rsplit('\t').next().unwrap();
            if definition != "-" {
                validate(definition, &json!([]));
            }
        }
        for (definition, keys) in NULL_ALLOWED {
            for key in *keys {
                assert!(!DEFINITIONS[definition][key].nullable, "{definition}.{key}");
            }
        }
        for (definition, keys) in UNKNOWN_ALLOWED {
            for key in *keys {
                assert!(
                    !DEFINITIONS[definition].contains_key(key),
                    "{definition}.{key}"
                );
            }
        }
    }
}
