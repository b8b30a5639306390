//! The part of Go's templates that Berth reads: text, `{{.Field.Field}}` and
//! `{{json .Field}}`, with `upper` and `lower`. Everything else is refused by name.

use serde_json::Value;

/// A template, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Action {
        function: Function,
        path: Vec<String>,
        at: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Print,
    Json,
    Upper,
    Lower,
}

/// Names of fields whose Go type is a pointer: nothing in them is written `<nil>`.
const POINTERS: [&str; 10] = [
    "OomKillDisable",
    "PidsLimit",
    "MemorySwappiness",
    "Init",
    "Health",
    "StopTimeout",
    "Healthcheck",
    "IPAMConfig",
    "GraphDriver",
    "Platform",
];

/// Names of fields whose Go type is a map: nothing in them is written `map[]`.
const MAPS: [&str; 5] = ["Volumes", "Labels", "DriverOpts", "Options", "ExposedPorts"];

impl Template {
    /// Reads a template; `\t` and `\n` in its text are a tab and a line end.
    ///
    /// # Errors
    /// It is damaged, or uses what is not supported.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            push_text(&mut parts, &rest[..start]);
            let inner = &rest[start + 2..];
            let end = inner.find("}}").ok_or_else(|| {
                "template parsing error: template: :1: unclosed action".to_owned()
            })?;
            let at = text.len() - inner.len();
            parts.push(action(&inner[..end], at)?);
            rest = &inner[end + 2..];
        }
        push_text(&mut parts, rest);
        Ok(Self(parts))
    }

    /// The paths of fields that the template prints, in order.
    pub fn paths(&self) -> impl Iterator<Item = &[String]> {
        self.0.iter().filter_map(|part| match part {
            Part::Action { path, .. } => Some(path.as_slice()),
            Part::Text(_) => None,
        })
    }

    /// The template filled with `value`.
    ///
    /// # Errors
    /// A field does not exist.
    pub fn fill(&self, value: &Value) -> Result<String, String> {
        self.fill_with(|function, path, at| {
            let (found, name) = look_up(value, path, at)?;
            Ok(match function {
                Function::Json => found.to_string(),
                Function::Print => go_text(found, name),
                Function::Upper => go_text(found, name).to_uppercase(),
                Function::Lower => go_text(found, name).to_lowercase(),
            })
        })
    }

    fn fill_with(
        &self,
        mut action: impl FnMut(Function, &[String], usize) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Action { function, path, at } => {
                    out.push_str(&action(*function, path, *at)?);
                }
            }
        }
        Ok(out)
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.replace("\\t", "\t").replace("\\n", "\n")));
    }
}

fn action(text: &str, at: usize) -> Result<Part, String> {
    let unsupported = || {
        format!(
            "the template action {{{{{text}}}}} is not supported yet: use {{{{.Field}}}} or \
             {{{{json .Field}}}}"
        )
    };
    let trimmed = text.trim();
    let (function, path) = match trimmed.split_once(char::is_whitespace) {
        None => (Function::Print, trimmed),
        Some(("json", path)) => (Function::Json, path.trim()),
        Some(("upper", path)) => (Function::Upper, path.trim()),
        Some(("lower", path)) => (Function::Lower, path.trim()),
        Some(_) => return Err(unsupported()),
    };
    let names = path.strip_prefix('.').ok_or_else(unsupported)?;
    let offset = text.find(path).unwrap_or(0);
    let path: Vec<String> = match names {
        "" => Vec::new(),
        names => names.split('.').map(str::to_owned).collect(),
    };
    let word =
        |n: &String| !n.is_empty() && n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !path.iter().all(word) {
        return Err(unsupported());
    }
    Ok(Part::Action {
        function,
        path,
        at: at + offset,
    })
}

fn look_up<'a, 'b>(
    value: &'a Value,
    path: &'b [String],
    at: usize,
) -> Result<(&'a Value, &'b str), String> {
    let mut here = value;
    for name in path {
        let fail = |reason: String| {
            let whole = path.join(".");
            format!(
                "template parsing error: template: :1:{at}: executing \"\" at <.{whole}>: {reason}"
            )
        };
        here = match here {
            Value::Object(fields) => fields
                .get(name)
                .ok_or_else(|| fail(format!("map has no entry for key {name:?}")))?,
            Value::Null => {
                return Err(fail(format!(
                    "nil pointer evaluating interface {{}}.{name}"
                )));
            }
            _ => {
                return Err(fail(format!(
                    "can't evaluate field {name} in type interface {{}}"
                )));
            }
        };
    }
    Ok((here, path.last().map_or("", String::as_str)))
}

/// A value as Go prints it.
fn go_text(value: &Value, name: &str) -> String {
    let words = |items: Vec<String>| format!("[{}]", items.join(" "));
    match value {
        Value::Null if POINTERS.contains(&name) => "<nil>".to_owned(),
        Value::Null if MAPS.contains(&name) => "map[]".to_owned(),
        Value::Null => "[]".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => words(items.iter().map(|item| go_text(item, "")).collect()),
        Value::Object(fields) => {
            let mut pairs: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_text(value, key)))
                .collect();
            pairs.sort();
            format!("map{}", words(pairs))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Template;

    fn fill(template: &str) -> Result<String, String> {
        let value = json!({
            "Id": "abc",
            "State": {"Status": "running", "Running": true, "ExitCode": 0},
            "Config": {"Labels": {"b": "2", "a": "<1>"}, "Cmd": ["sh", "-c"], "Volumes": null},
            "HostConfig": {"CapAdd": null, "PidsLimit": null},
        });
        Template::parse(template)?.fill(&value)
    }

    #[test]
    fn values_print_as_in_go() {
        for (template, wanted) in [
            ("{{.Id}}", "abc"),
            (
                "a {{ .State.Status }}\\t{{.State.ExitCode}}{{.State.Running}}",
                "a running\t0true",
            ),
            ("{{.Config.Labels}}", "map[a:<1> b:2]"),
            ("{{.Config.Cmd}}", "[sh -c]"),
            (
                "{{.Config.Volumes}}{{.HostConfig.CapAdd}}{{.HostConfig.PidsLimit}}",
                "map[][]<nil>",
            ),
            ("{{json .Config.Labels}}", r#"{"b":"2","a":"<1>"}"#),
            ("{{upper .Id}}", "ABC"),
            ("no action", "no action"),
        ] {
            assert_eq!(fill(template).as_deref(), Ok(wanted), "{template}");
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        for (template, sentence) in [
            (
                "{{.Nope}}",
                "template parsing error: template: :1:2: executing \"\" at <.Nope>: map has no \
                 entry for key \"Nope\"",
            ),
            (
                "{{.Id",
                "template parsing error: template: :1: unclosed action",
            ),
            (
                "{{range .Mounts}}",
                "the template action {{range .Mounts}} is not supported yet: use {{.Field}} or \
                 {{json .Field}}",
            ),
        ] {
            assert_eq!(fill(template).unwrap_err(), sentence);
        }
        for bad in [
            "{{end}}",
            "{{.A | upper}}",
            "{{index .A 1}}",
            "{{$x}}",
            "{{.A..B}}",
        ] {
            assert!(fill(bad).is_err(), "{bad}");
        }
    }
}
