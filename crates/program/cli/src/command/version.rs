//! `berth version`

use std::fmt::Write as _;

use berth_api::client::Client;
use berth_api::system::{Version, VersionComponent};
use berth_api::version::NEWEST;
use clap::Args;
use serde_json::{Value, json};

use crate::engine::{Context, sentence};
use crate::exit::{Exit, Outcome};
use crate::format::template::Template;
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Show the Docker version information",
    aliases: "",
    arity: Arity::None,
};

/// Where the values of the client's part and of the engine's stand.
const CLIENT_COLUMN: usize = 20;

#[derive(Debug, Args)]
struct Flags {
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(long, short = 'f', value_name = "string")]
    format: Option<String>,
    arguments: Vec<String>,
}

/// The processor architecture in Go's words, which Docker's clients show.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Prints the versions of the client and of the engine; the client's also without an engine.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let format = flags.format.unwrap_or_default();
    let template = match format.as_str() {
        "" | "json" => None,
        text => Some(Template::parse(text).map_err(Exit::failed)?),
    };
    let asked = ask(context).await;
    let used = asked.as_ref().map_or(NEWEST.to_string(), |(client, _)| {
        client.version_used().to_string()
    });
    let server = asked.as_ref().ok().map(|(_, version)| version);
    match template {
        None if format.is_empty() => crate::say::out(&text(&used, &context.name(), server)),
        None => say!("{}", value(&used, &context.name(), server)),
        Some(template) => {
            let value = with_go_names(value(&used, &context.name(), server));
            say!("{}", template.fill(&value).map_err(Exit::failed)?);
        }
    }
    asked.map(|_| 0)
}

async fn ask(context: &Context) -> Result<(Client, Version), Exit> {
    let client = context.client().await?;
    let version = client
        .version()
        .await
        .map_err(|e| Exit::failed(sentence(&e)))?;
    Ok((client, version))
}

fn text(used: &str, context: &str, server: Option<&Version>) -> String {
    let newest = NEWEST.to_string();
    let api = if used == newest {
        newest
    } else {
        format!("{used} (downgraded from {newest})")
    };
    let mut out = "Client:\n".to_owned();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let name = format!(" {name}:");
            let _ = writeln!(out, "{name:CLIENT_COLUMN$}{value}");
        }
    };
    line("Version", env!("CARGO_PKG_VERSION"));
    line("API version", &api);
    line("OS/Arch", &format!("linux/{}", architecture()));
    line("Context", context);
    if let Some(server) = server {
        out.push_str(&server_text(server));
    }
    out
}

fn server_text(server: &Version) -> String {
    let mut out = match server.platform.name.as_str() {
        "" => "\nServer:\n".to_owned(),
        name => format!("\nServer: {name}\n"),
    };
    let own;
    let components = if server.components.is_empty() {
        own = [engine_of(server)];
        &own[..]
    } else {
        &server.components
    };
    for component in components {
        let _ = writeln!(out, " {}:", component.name);
        for (name, value) in component_lines(component) {
            let name = format!("  {name}:");
            let _ = writeln!(out, "{name:CLIENT_COLUMN$}{value}");
        }
    }
    out
}

/// What an engine that lists no components says about itself.
fn engine_of(server: &Version) -> VersionComponent {
    let details = [
        ("ApiVersion", server.api_version.clone()),
        ("MinAPIVersion", server.min_api_version.clone()),
        ("GitCommit", server.git_commit.clone()),
        ("GoVersion", server.go_version.clone()),
        ("BuildTime", server.build_time.clone()),
        ("Os", server.os.clone()),
        ("Arch", server.arch.clone()),
        ("Experimental", server.experimental.to_string()),
    ];
    VersionComponent {
        name: "Engine".to_owned(),
        version: server.version.clone(),
        details: details
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

fn component_lines(component: &VersionComponent) -> Vec<(String, String)> {
    let detail = |name: &str| component.details.get(name).cloned().unwrap_or_default();
    let mut lines = vec![("Version".to_owned(), component.version.clone())];
    if component.name != "Engine" {
        let others = component
            .details
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        lines.extend(others);
        return lines;
    }
    let minimum = match detail("MinAPIVersion").as_str() {
        "" => String::new(),
        oldest => format!(" (minimum version {oldest})"),
    };
    let mut add = |name: &str, value: String| lines.push((name.to_owned(), value));
    add("API version", format!("{}{minimum}", detail("ApiVersion")));
    add("Go version", detail("GoVersion"));
    add("Git commit", detail("GitCommit"));
    add("Built", ansi_time(&detail("BuildTime")));
    add("OS/Arch", format!("{}/{}", detail("Os"), detail("Arch")));
    add("Experimental", detail("Experimental"));
    lines
}

/// `Fri May 30 12:07:14 2025` for an RFC 3339 time; any other text as it is.
fn ansi_time(text: &str) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let Ok(time) = text.parse::<berth_types::Timestamp>() else {
        return text.to_owned();
    };
    let written = time.to_string();
    let number = |from: usize, to: usize| written.get(from..to).and_then(|t| t.parse().ok());
    let day = usize::try_from(time.as_seconds().div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let month: usize = number(5, 7).unwrap_or(1);
    let date: usize = number(8, 10).unwrap_or(1);
    let clock = written.get(11..19).unwrap_or_default();
    let year = written.get(..4).unwrap_or_default();
    let month = MONTHS.get(month - 1).unwrap_or(&"Jan");
    format!("{} {month} {date:2} {clock} {year}", DAYS[day])
}

fn value(used: &str, context: &str, server: Option<&Version>) -> Value {
    json!({
        "Client": {
            "Version": env!("CARGO_PKG_VERSION"),
            "ApiVersion": used,
            "DefaultAPIVersion": NEWEST.to_string(),
            "Os": "linux",
            "Arch": architecture(),
            "Context": context,
        },
        "Server": server,
    })
}

/// In templates these fields have the names of Go's structures, not those of the JSON.
fn with_go_names(mut value: Value) -> Value {
    for part in ["Client", "Server"] {
        if let Some(Value::Object(fields)) = value.get_mut(part)
            && let Some(version) = fields.get("ApiVersion").cloned()
        {
            fields.insert("APIVersion".to_owned(), version);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::ansi_time;

    #[test]
    fn build_times_are_ansi() {
        for (text, wanted) in [
            (
                "2025-05-30T12:07:14.000000000+00:00",
                "Fri May 30 12:07:14 2025",
            ),
            ("2026-11-02T00:00:00Z", "Mon Nov  2 00:00:00 2026"),
            ("yesterday", "yesterday"),
            ("", ""),
        ] {
            assert_eq!(ansi_time(text), wanted);
        }
    }
}
