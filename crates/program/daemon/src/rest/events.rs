//! `GET /events`: what happened, then what happens.

use berth_api::events::{EventActor, EventMessage};
use berth_api::version::{ApiVersion, NEWEST};
use berth_api::{Filters, shape};
use berth_store::{Event, EventKind, Events, Missed};
use berth_types::Timestamp;
use berth_types::task::{self, Wait, waiting};
use bytes::Bytes;
use hyper::header::ACCEPT;

use super::error::{ApiError, ApiResult};
use super::moment::moment;
use super::reply;
use super::router::Call;
use crate::http::{Sender, channel};

/// The keys that Docker knows.
const KEYS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];
/// Keys whose value begins an object's id or name.
const NAMED: [&str; 9] = [
    "config",
    "container",
    "daemon",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "volume",
];
/// Actions that a filter names without what follows the colon.
const PREFIXES: [&str; 3] = ["health_status", "exec_create", "exec_start"];

/// What the client wants of the events, and how.
struct Wants {
    filters: Filters,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    version: ApiVersion,
    /// Records of `application/json-seq` begin with a separator.
    sequence: bool,
}

pub(super) fn stream(events: &Events, call: &Call) -> ApiResult {
    let now = Timestamp::now();
    let time = |key: &str| match call.query.text(key) {
        None => Ok(None),
        Some(text) => moment(text, now).map(Some).ok_or_else(|| {
            ApiError::invalid(format!(
                "invalid value for {key:?}: {text:?} is neither a time nor a duration"
            ))
        }),
    };
    let (since, until) = (time("since")?, time("until")?);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(ApiError::invalid(
            "`since` time cannot be after `until` time",
        ));
    }
    let filters = Filters::from_query(call.query.get("filters"))?;
    filters.accept(&KEYS)?;
    let accepted = call.request.headers().get(ACCEPT);
    let accepts = |kind: &str| {
        accepted
            .and_then(|v| v.to_str().ok())
            .is_some_and(|list| list.contains(kind))
    };
    let kind = if call.version < ApiVersion::new(1, 52) {
        "application/json"
    } else if accepts("application/json-seq") {
        "application/json-seq"
    } else if accepts("application/x-ndjson") {
        "application/x-ndjson"
    } else {
        "application/jsonl"
    };
    let wants = Wants {
        filters,
        since,
        until,
        version: call.version,
        sequence: kind == "application/json-seq",
    };
    let (sender, body) = channel();
    let scope = call.caller.scope.clone();
    let sees = move |event: &Event| scope.sees(&event.owner);
    tokio::spawn(task::here(send(events.clone(), wants, sees, sender)));
    Ok(reply::stream(body, kind))
}

async fn send(events: Events, wants: Wants, sees: impl Fn(&Event) -> bool, sender: Sender) {
    let (past, mut coming) = events.subscribe();
    let line =
        |event: &Event| (sees(event) && wants.fit(event)).then(|| Bytes::from(wants.line(event)));
    let asked = |event: &Event| {
        wants.since.is_some_and(|since| event.time >= since)
            && wants.until.is_none_or(|until| event.time <= until)
    };
    for line in past.iter().filter(|e| asked(e)).filter_map(|e| line(e)) {
        if sender.send(line).await.is_err() {
            return;
        }
    }
    let end = async {
        match wants.until {
            Some(until) => tokio::time::sleep(Timestamp::now().age(until)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    loop {
        let event = tokio::select! {
            () = sender.closed() => return,
            () = &mut end => return,
            event = waiting(Wait::News, None, coming.next()) => event,
        };
        match event {
            Ok(event) => {
                if let Some(line) = line(&event)
                    && sender.send(line).await.is_err()
                {
                    return;
                }
            }
            Err(Missed(missed)) => {
                tracing::warn!(
                    missed,
                    "a client of /events reads too slowly and has missed events: its stream ends here, so that it notices"
                );
                return;
            }
        }
    }
}

impl Wants {
    /// Whether an event passes the filters: Docker's rules, which compare some keys whatever
    /// sort of object the event is about.
    fn fit(&self, event: &Event) -> bool {
        let filters = &self.filters;
        if self.version < ApiVersion::new(1, 46)
            && event.kind == EventKind::Image
            && event.action == "create"
        {
            return false;
        }
        let any = |key: &str, test: &dyn Fn(&str) -> bool| {
            !filters.contains(key) || filters.values(key).any(test)
        };
        let name = event.attributes.get("name").map_or("", String::as_str);
        let whole = !filters.values("event").any(|v| PREFIXES.contains(&v));
        any("type", &|v| v == event.kind.word())
            && any("scope", &|v| v == "local")
            && any("event", &|v| {
                if whole {
                    event.action == v
                } else {
                    event.action.starts_with(v)
                }
            })
            && NAMED
                .iter()
                .all(|key| any(key, &|v| event.id.starts_with(v) || name.starts_with(v)))
            && any("image", &|v| is_image(event, v))
            && filters.values("label").all(|v| has_label(event, v))
    }

    fn line(&self, event: &Event) -> Vec<u8> {
        let message = EventMessage {
            kind: event.kind.word().to_owned(),
            action: event.action.clone(),
            actor: EventActor {
                id: event.id.clone(),
                attributes: event.attributes.clone(),
            },
            scope: "local".to_owned(),
            time: event.time.as_seconds(),
            time_nano: event.time.as_nanos(),
        };
        // Wire types always serialise.
        let mut value = serde_json::to_value(message).unwrap_or_default();
        if self.version < NEWEST {
            shape::event(&mut value, self.version);
        }
        let mut line = Vec::new();
        if self.sequence {
            line.push(0x1e);
        }
        line.extend(serde_json::to_vec(&value).unwrap_or_default());
        line.push(b'\n');
        line
    }
}

/// Whether an event is about an image, or about a container of it, by id or name, with or
/// without the tag.
fn is_image(event: &Event, wanted: &str) -> bool {
    let key = if event.kind == EventKind::Image {
        "name"
    } else {
        "image"
    };
    let name = event.attributes.get(key).map_or("", String::as_str);
    let bare = |text: &str| match text.rsplit_once(':') {
        Some((head, tag)) if !tag.contains('/') => head.to_owned(),
        _ => text.to_owned(),
    };
    [&event.id, name, &bare(&event.id), &bare(name)].contains(&wanted)
}

fn has_label(event: &Event, term: &str) -> bool {
    match term.split_once('=') {
        Some((key, value)) => event.attributes.get(key).is_some_and(|v| v == value),
        None => event.attributes.contains_key(term),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_types::Scope;

    fn event(action: &str) -> Event {
        let facts = [
            ("name", "web-1"),
            ("image", "busybox:test"),
            ("class", "rust"),
        ];
        Event {
            kind: EventKind::Container,
            action: action.to_owned(),
            id: "abc123".to_owned(),
            attributes: facts.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            owner: Scope::root(),
            time: Timestamp::from_nanos(1_500_000_000),
        }
    }

    fn wants(filters: &[(&str, &str)]) -> Wants {
        let mut set = Filters::default();
        filters.iter().for_each(|(k, v)| set.add(*k, *v));
        Wants {
            filters: set,
            since: None,
            until: None,
            version: NEWEST,
            sequence: false,
        }
    }

    #[test]
    fn filters_are_dockers() {
        let create = event("exec_create: sh -c true");
        for (filters, expected) in [
            (&[][..], true),
            (&[("container", "abc")][..], true),
            (&[("container", "web")], true),
            (&[("container", "eb")], false),
            (&[("event", "exec_create")], true),
            (&[("event", "exec")], false),
            (&[("event", "start"), ("event", "exec_create")], true),
            (&[("image", "busybox")], true),
            (&[("image", "busybox:test")], true),
            (&[("image", "busy")], false),
            (&[("label", "class")], true),
            (&[("label", "class=rust"), ("label", "other")], false),
            (&[("type", "image")], false),
            (&[("type", "image"), ("type", "container")], true),
            (&[("scope", "swarm")], false),
            (&[("network", "bridge")], false),
        ] {
            assert_eq!(wants(filters).fit(&create), expected, "{filters:?}");
        }
    }

    #[test]
    fn old_clients_do_not_see_an_image_created() {
        let mut made = event("create");
        made.kind = EventKind::Image;
        let mut old = wants(&[]);
        assert!(old.fit(&made));
        old.version = ApiVersion::new(1, 45);
        assert!(!old.fit(&made) && old.fit(&event("create")));
    }
}
