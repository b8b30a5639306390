//! `berth events`

use berth_api::Filters;
use berth_api::events::EventMessage;
use berth_types::Timestamp;
use clap::Args;
use serde_json::Value;

use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::format::json::escape_html;
use crate::format::template::Template;
use crate::options::moment::point_in_time;
use crate::options::value;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Get real time events from the server",
    aliases: "berth system events, berth events",
    arity: Arity::None,
};

#[derive(Debug, Args)]
struct Flags {
    /// Filter output based on conditions provided
    #[arg(long, short = 'f', value_name = "filter", value_parser = value::filter)]
    filter: Vec<(String, String)>,
    /// Format output using a custom template: 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string")]
    until: Option<String>,
    arguments: Vec<String>,
}

/// How an event is printed.
enum Layout {
    Text,
    Json,
    Line(Template),
}

/// Prints what happens, an event a line, as it happens.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let layout = match flags.format.as_deref().map(str::trim) {
        None | Some("") => Layout::Text,
        Some("json" | "{{json .}}") => Layout::Json,
        Some(text) => Layout::Line(Template::parse(text).map_err(Exit::failed)?),
    };
    let now = Timestamp::now();
    let bound = |text: &Option<String>| match text.as_deref() {
        Some(text) => point_in_time(text, now).map(Some).map_err(Exit::failed),
        None => Ok(None),
    };
    let (since, until) = (bound(&flags.since)?, bound(&flags.until)?);
    let mut filters = Filters::default();
    for (key, value) in &flags.filter {
        filters.add(key, value);
    }
    let client = context.client().await?;
    let events = client
        .events(since.as_deref(), until.as_deref(), &filters)
        .await;
    let mut events = events.map_err(|e| refused(&e))?;
    while let Some(event) = events.next().await.map_err(|e| refused(&e))? {
        let line = match &layout {
            Layout::Text => text(&event),
            Layout::Json => escape_html(&value_of(&event).to_string()),
            Layout::Line(template) => template
                .fill(&with_go_names(value_of(&event)))
                .map_err(Exit::failed)?,
        };
        crate::say::out(&(line + "\n"));
    }
    Ok(0)
}

fn value_of(event: &EventMessage) -> Value {
    serde_json::to_value(event).unwrap_or_default()
}

/// In templates some fields have the names of Go's structures, not those of the JSON.
fn with_go_names(mut value: Value) -> Value {
    let copies = [
        ("/scope", "Scope"),
        ("/time", "Time"),
        ("/timeNano", "TimeNano"),
        ("/Action", "Status"),
        ("/Actor/ID", "ID"),
        ("/Actor/Attributes/image", "From"),
    ]
    .map(|(pointer, name)| (name, value.pointer(pointer).cloned()));
    if let Some(fields) = value.as_object_mut() {
        for (name, copy) in copies {
            fields.insert(name.to_owned(), copy.unwrap_or_else(|| "".into()));
        }
    }
    value
}

/// `2025-05-30T12:07:14.123456789Z container start 4f5e… (image=debian, name=web)`
fn text(event: &EventMessage) -> String {
    let mut line = format!(
        "{} {} {} {}",
        Timestamp::from_nanos(event.time_nano).fixed_width(),
        event.kind,
        event.action,
        event.actor.id
    );
    if !event.actor.attributes.is_empty() {
        let facts: Vec<String> = event
            .actor
            .attributes
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        line.push_str(&format!(" ({})", facts.join(", ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use berth_api::events::{EventActor, EventMessage};

    use super::text;

    #[test]
    fn an_event_is_a_line() {
        let event = EventMessage {
            kind: "container".to_owned(),
            action: "start".to_owned(),
            actor: EventActor {
                id: "4f".to_owned(),
                attributes: [("name", "web"), ("image", "debian")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
            },
            time_nano: 1_748_606_834_000_000_005,
            ..EventMessage::default()
        };
        assert_eq!(
            text(&event),
            "2025-05-30T12:07:14.000000005Z container start 4f (image=debian, name=web)"
        );
    }
}
