//! The commands: one module for each, and the table that finds them.

mod archive;
pub mod attach;
pub mod attached;
pub mod bootstrap;
pub mod commit;
pub mod cp;
pub mod create;
pub mod df;
pub mod diff;
mod each;
pub mod events;
pub mod exec;
pub mod export;
pub mod history;
mod image_name;
pub mod images;
pub mod import;
pub mod info;
pub mod inspect;
pub mod kill;
pub mod lab;
pub mod load;
mod local;
pub mod logs;
pub mod names;
pub mod network;
pub mod pause;
pub mod port;
mod progress;
pub mod prune;
pub mod ps;
pub mod pull;
pub mod rename;
pub mod restart;
pub mod rm;
pub mod rmi;
pub mod run;
pub mod start;
pub mod stats;
pub mod stop;
pub mod system;
pub mod table;
pub mod tag;
pub mod tasks;
pub mod timings;
pub mod top;
pub mod update;
mod usage_row;
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
        Verb::Commit => commit::run(context, invoked, args).await,
        Verb::Cp => cp::run(context, invoked, args).await,
        Verb::Create => create::run(context, invoked, args).await,
        Verb::Df => df::run(context, invoked, args).await,
        Verb::Diff => diff::run(context, invoked, args).await,
        Verb::Events => events::run(context, invoked, args).await,
        Verb::Exec => exec::run(context, invoked, args).await,
        Verb::Export => export::export(context, invoked, args).await,
        Verb::Fsck => system::fsck(context, invoked, args).await,
        Verb::History => history::run(context, invoked, args).await,
        Verb::Images => images::run(context, invoked, args).await,
        Verb::Import => import::run(context, invoked, args).await,
        Verb::Info => info::run(context, invoked, args).await,
        Verb::Inspect => inspect::run(context, invoked, args, inspect::Kinds::Any).await,
        Verb::InspectContainer => {
            inspect::run(context, invoked, args, inspect::Kinds::Container).await
        }
        Verb::InspectImage => inspect::run(context, invoked, args, inspect::Kinds::Image).await,
        Verb::InspectNetwork => inspect::run(context, invoked, args, inspect::Kinds::Network).await,
        Verb::Kill => kill::run(context, invoked, args).await,
        Verb::Lab => lab::run(context, args),
        Verb::Load => load::run(context, invoked, args).await,
        Verb::Logs => logs::run(context, invoked, args).await,
        Verb::Networks => network::list(context, invoked, args).await,
        Verb::Pause => pause::pause(context, invoked, args).await,
        Verb::Port => port::run(context, invoked, args).await,
        Verb::PruneContainers => prune::containers(context, invoked, args).await,
        Verb::PruneImages => prune::images(context, invoked, args).await,
        Verb::PruneSystem => prune::system(context, invoked, args).await,
        Verb::Ps => ps::run(context, invoked, args).await,
        Verb::Pull => pull::run(context, invoked, args).await,
        Verb::Rename => rename::run(context, invoked, args).await,
        Verb::Restart => restart::run(context, invoked, args).await,
        Verb::Rm => rm::run(context, invoked, args).await,
        Verb::Rmi => rmi::run(context, invoked, args).await,
        Verb::Run => run::run(context, invoked, args).await,
        Verb::Save => export::save(context, invoked, args).await,
        Verb::Start => start::run(context, invoked, args).await,
        Verb::Stats => stats::run(context, invoked, args).await,
        Verb::Stop => stop::run(context, invoked, args).await,
        Verb::Tag => tag::run(context, invoked, args).await,
        Verb::Tasks => tasks::run(context, invoked, args).await,
        Verb::Top => top::run(context, invoked, args).await,
        Verb::Unpause => pause::unpause(context, invoked, args).await,
        Verb::Update => update::run(context, invoked, args).await,
        Verb::Version => version::run(context, invoked, args).await,
        Verb::Wait => wait::run(context, invoked, args).await,
    }
}

/// The error of a command whose flags contradict each other or its arguments.
fn misuse(usage: &Usage, invoked: &str, sentence: &str) -> Exit {
    usage.wrong(invoked, crate::exit::FAILED, &format!("berth: {sentence}"))
}
