//! The commands: one module for each, and the table that finds them.

pub mod attach;
pub mod attached;
pub mod bootstrap;
pub mod create;
mod each;
pub mod images;
pub mod import;
pub mod info;
pub mod inspect;
pub mod kill;
pub mod lab;
pub mod logs;
pub mod names;
pub mod ps;
pub mod rm;
pub mod run;
pub mod start;
pub mod stop;
pub mod system;
pub mod table;
pub mod timings;
pub mod version;
pub mod wait;

use crate::engine::Context;
use crate::exit::{Exit, Outcome};
use crate::usage::Usage;
use table::Verb;

/// Finds the command that `words` name and runs it.
pub async fn dispatch(context: &Context, words: &[String]) -> Outcome {
    let found = names::find(words).map_err(Exit::failed)?;
    let names::Found {
        verb,
        invoked,
        taken,
    } = match found {
        names::Named::Command(found) => found,
        names::Named::Help(text) => {
            crate::say::out(&text);
            return Ok(0);
        }
    };
    let args = words.get(taken..).unwrap_or_default();
    let invoked = invoked.as_str();
    match verb {
        Verb::Attach => attach::run(context, invoked, args).await,
        Verb::Bootstrap => bootstrap::run(context, invoked, args).await,
        Verb::Create => create::run(context, invoked, args).await,
        Verb::Fsck => system::fsck(context, invoked, args).await,
        Verb::Images => images::run(context, invoked, args).await,
        Verb::Import => import::run(context, invoked, args).await,
        Verb::Info => info::run(context, invoked, args).await,
        Verb::Inspect => inspect::run(context, invoked, args, inspect::Kinds::Any).await,
        Verb::InspectContainer => {
            inspect::run(context, invoked, args, inspect::Kinds::Container).await
        }
        Verb::InspectImage => inspect::run(context, invoked, args, inspect::Kinds::Image).await,
        Verb::Kill => kill::run(context, invoked, args).await,
        Verb::Lab => lab::run(context, args),
        Verb::Logs => logs::run(context, invoked, args).await,
        Verb::Ps => ps::run(context, invoked, args).await,
        Verb::Rm => rm::run(context, invoked, args).await,
        Verb::Run => run::run(context, invoked, args).await,
        Verb::Start => start::run(context, invoked, args).await,
        Verb::Stop => stop::run(context, invoked, args).await,
        Verb::Version => version::run(context, invoked, args).await,
        Verb::Wait => wait::run(context, invoked, args).await,
    }
}

/// The error of a command whose flags contradict each other or its arguments.
fn misuse(usage: &Usage, invoked: &str, sentence: &str) -> Exit {
    usage.wrong(invoked, crate::exit::FAILED, &format!("berth: {sentence}"))
}
