//! `berth images`

use std::collections::BTreeMap;

use berth_api::Filters;
use berth_api::image::ImageSummary;
use berth_types::Timestamp;
use clap::Args;

use crate::engine::{Context, refused};
use crate::exit::{Exit, Outcome};
use crate::format::list::{Field, Layout, Row};
use crate::format::{human, text};
use crate::options::value;
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    aliases: "berth image ls, berth image list, berth images",
    arity: Arity::Optional,
};

/// What a row has, by its name in templates, with its heading.
const FIELDS: [Field; 11] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const NONE: &str = "<none>";

#[derive(Debug, Args)]
struct Flags {
    /// Show all images (default hides intermediate images)
    #[arg(long, short = 'a')]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(long, short = 'f', value_name = "filter", value_parser = value::filter)]
    filter: Vec<(String, String)>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(long, short = 'q')]
    quiet: bool,
    /// List multi-platform images as a tree (EXPERIMENTAL)
    #[arg(long)]
    tree: bool,
    arguments: Vec<String>,
}

/// Lists the images, one row for each of their names.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    if flags.tree {
        return Err(Exit::failed(
            "berth: '--tree' is not built yet: images have one platform here",
        ));
    }
    let format = flags.format.as_deref().unwrap_or_default();
    let columns: &[&str] = if flags.digests {
        &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
    } else {
        &["Repository", "Tag", "ID", "CreatedSince", "Size"]
    };
    let layout = Layout::parse(format, columns, &FIELDS).map_err(Exit::failed)?;
    let mut filters = Filters::default();
    for (key, value) in &flags.filter {
        filters.add(key, value);
    }
    if let Some(name) = flags.arguments.first() {
        filters.add("reference", name);
    }
    let client = context.client().await?;
    let found = client
        .images()
        .list(flags.all, &filters)
        .await
        .map_err(|e| refused(&e))?;
    let shown = match flags.digests {
        true => Digests::Rows,
        false if layout.shows("Digest", &FIELDS) => Digests::Beside,
        false => Digests::None,
    };
    let now = Timestamp::now();
    let named = found
        .iter()
        .flat_map(|image| names(image, shown).into_iter().map(move |n| (image, n)));
    if flags.quiet && format.is_empty() {
        for (image, _) in named {
            say!("{}", shown_id(&image.id, flags.no_trunc));
        }
        return Ok(0);
    }
    let rows: Vec<Row> = named
        .map(|(image, name)| row(image, &name, flags.no_trunc, now))
        .collect();
    crate::say::out(&layout.write(&rows, &FIELDS).map_err(Exit::failed)?);
    Ok(0)
}

/// The table of images that disk usage has: what each has alone and with others.
pub fn space_table<'a>(
    images: impl Iterator<Item = &'a ImageSummary>,
    now: Timestamp,
) -> Result<String, String> {
    let columns = [
        "Repository",
        "Tag",
        "ID",
        "CreatedSince",
        "Size",
        "SharedSize",
        "UniqueSize",
        "Containers",
    ];
    let rows: Vec<Row> = images
        .map(|image| {
            // An image is one thing here, whatever its names.
            let tag = image.repo_tags.first().and_then(|t| t.rsplit_once(':'));
            let (repository, tag) = tag.unwrap_or((NONE, NONE));
            let name = Name {
                repository: repository.to_owned(),
                tag: tag.to_owned(),
                digest: NONE.to_owned(),
            };
            row(image, &name, false, now)
        })
        .collect();
    Layout::parse("", &columns, &FIELDS)?.write(&rows, &FIELDS)
}

fn shown_id(id: &str, whole: bool) -> &str {
    if whole { id } else { text::short_id(id) }
}

/// Which digests are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digests {
    /// None.
    None,
    /// Those of repositories with tags, beside the tags.
    Beside,
    /// All, with rows of their own where there is no tag.
    Rows,
}

/// One name of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    repository: String,
    tag: String,
    digest: String,
}

/// The names an image is listed by: its tags, with its digests where these are shown, and the
/// repositories that know it by digest only; `<none>` if there are none at all.
fn names(image: &ImageSummary, digests: Digests) -> Vec<Name> {
    let mut by_repository: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (repository, digest) in image.repo_digests.iter().filter_map(|d| d.split_once('@')) {
        by_repository.entry(repository).or_default().push(digest);
    }
    let name = |repository: &str, tag: &str, digest: &str| Name {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: digest.to_owned(),
    };
    let mut names = Vec::new();
    let mut tagged = Vec::new();
    for (repository, tag) in image.repo_tags.iter().filter_map(|t| t.rsplit_once(':')) {
        tagged.push(repository);
        match by_repository.get(repository) {
            Some(known) if digests != Digests::None => {
                names.extend(known.iter().map(|digest| name(repository, tag, digest)));
            }
            _ => names.push(name(repository, tag, NONE)),
        }
    }
    for (repository, known) in by_repository.iter().filter(|(r, _)| !tagged.contains(r)) {
        if digests == Digests::Rows {
            names.extend(known.iter().map(|digest| name(repository, NONE, digest)));
        } else {
            names.push(name(repository, NONE, ""));
        }
    }
    if names.is_empty() {
        names.push(name(NONE, NONE, NONE));
    }
    names
}

fn row(image: &ImageSummary, name: &Name, whole: bool, now: Timestamp) -> Row {
    let created = Timestamp::from_nanos(image.created.saturating_mul(1_000_000_000));
    let since = if image.created <= 0 {
        "N/A".to_owned()
    } else {
        format!("{} ago", human::duration(created.age(now)))
    };
    let known = |n: i64, text: String| if n < 0 { "N/A".to_owned() } else { text };
    let shared = image.shared_size;
    vec![
        shown_id(&image.id, whole).into(),
        name.repository.as_str().into(),
        name.tag.as_str().into(),
        name.digest.as_str().into(),
        since.into(),
        human::go_time(image.created).into(),
        human::decimal_size(image.size, 3).into(),
        known(image.containers, image.containers.to_string()).into(),
        human::decimal_size(image.size, 4).into(),
        known(shared, human::decimal_size(shared, 4)).into(),
        known(shared, human::decimal_size(image.size - shared, 4)).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_row() {
        let image = |tags: &[&str], digests: &[&str]| ImageSummary {
            repo_tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            repo_digests: digests.iter().map(|t| (*t).to_owned()).collect(),
            ..ImageSummary::default()
        };
        for (image, digests, wanted) in [
            (
                image(&["a:1", "reg:5000/b:2"], &[]),
                Digests::None,
                "a|1|<none> reg:5000/b|2|<none>",
            ),
            (image(&[], &[]), Digests::Rows, "<none>|<none>|<none>"),
            (
                image(&["a:1"], &["a@sha256:e"]),
                Digests::None,
                "a|1|<none>",
            ),
            (
                image(&["a:1"], &["a@sha256:e", "b@sha256:e"]),
                Digests::Rows,
                "a|1|sha256:e b|<none>|sha256:e",
            ),
            (image(&[], &["a@sha256:e"]), Digests::None, "a|<none>|"),
            (
                image(&["a:1"], &["a@sha256:e", "b@sha256:e"]),
                Digests::Beside,
                "a|1|sha256:e b|<none>|",
            ),
        ] {
            let found: Vec<String> = names(&image, digests)
                .iter()
                .map(|n| format!("{}|{}|{}", n.repository, n.tag, n.digest))
                .collect();
            assert_eq!(found.join(" "), wanted);
        }
    }
}
