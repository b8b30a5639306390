//! `berth system fsck`

use berth_console::table::columns;
use clap::Args;

use crate::engine::{Context, refused};
use crate::exit::{FAILED, Outcome};
use crate::say::say;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "[OPTIONS]",
    about: "Check that disk, kernel and database agree; the exit status is 1 if they do not",
    aliases: "",
    arity: Arity::None,
};

#[derive(Debug, Args)]
struct Flags {
    /// Format output: 'json'
    #[arg(long, value_name = "string")]
    format: Option<String>,
    arguments: Vec<String>,
}

/// Has the engine check its state and prints what it found.
pub async fn fsck(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let json = match flags.format.as_deref() {
        None | Some("") => false,
        Some("json") => true,
        Some(_) => {
            return Err(super::misuse(
                &USAGE,
                invoked,
                "'--format' takes 'json' only",
            ));
        }
    };
    let client = context.client().await?;
    let report = client.fsck().await.map_err(|e| refused(&e))?;
    if json {
        say!("{}", serde_json::to_string(&report).unwrap_or_default());
    } else if report.clean {
        say!("clean: disk, kernel and database agree");
    } else {
        let mut lines = vec![vec!["KIND", "SUBJECT", "MESSAGE"]];
        let rows = report.findings.iter();
        lines.extend(rows.map(|f| vec![f.kind.as_str(), f.subject.as_str(), f.message.as_str()]));
        crate::say::out(&columns(&lines));
    }
    Ok(if report.clean { 0 } else { FAILED })
}
