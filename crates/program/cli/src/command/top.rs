//! `berth top`

use berth_console::table::columns_from;
use clap::Args;

use crate::engine::{Context, refused};
use crate::exit::Outcome;
use crate::usage::{Arity, Usage};

const USAGE: Usage = Usage {
    synopsis: "CONTAINER [ps OPTIONS]",
    about: "Display the running processes of a container",
    aliases: "berth container top, berth top",
    arity: Arity::Some,
};

/// The least width of a column, with its padding.
const COLUMN_MIN: usize = 20;

#[derive(Debug, Args)]
struct Flags {
    /// The container, then the options of `ps`.
    #[arg(trailing_var_arg = true)]
    arguments: Vec<String>,
}

/// Prints the container's processes.
pub async fn run(context: &Context, invoked: &str, args: &[String]) -> Outcome {
    let flags: Flags = USAGE.parse(invoked, args)?;
    let (name, options) = match flags.arguments.split_first() {
        Some((name, options)) => (name.as_str(), options.join(" ")),
        None => ("", String::new()),
    };
    let client = context.client().await?;
    let top = client.containers().top(name, &options).await;
    let top = top.map_err(|e| refused(&e))?;
    let mut lines = vec![top.titles];
    lines.extend(top.processes);
    crate::say::out(&columns_from(&lines, COLUMN_MIN));
    Ok(0)
}
