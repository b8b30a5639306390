//! `/berth/terminals`: who sits where, and when something last happened there.

use berth_api::Filters;
use berth_api::berth::TerminalSummary;
use berth_container::{Containers, Filter, Record, Terminal};
use berth_image::Images;

use super::error::{ApiError, ApiResult};
use super::reply;
use super::router::Call;

/// The terminals of the containers that run, by the filters of `GET /containers/json`.
pub(super) async fn list(containers: &Containers, images: &Images, call: &Call) -> ApiResult {
    let filters = Filters::from_query(call.query.get("filters"))?;
    let filter = Filter::new(filters.to_map()).map_err(|e| ApiError::invalid(e.to_string()))?;
    let ancestor = |record: &Record, name: &str| {
        images
            .resolve(&call.caller, name)
            .is_ok_and(|image| image.id == record.image)
    };
    let records = filter.apply(containers.all(&call.caller), ancestor);
    let terminals = containers.terminals(records).await;
    let list: Vec<TerminalSummary> = terminals.iter().map(summary).collect();
    Ok(reply::ok(&list))
}

fn summary(terminal: &Terminal) -> TerminalSummary {
    let Terminal { record, state } = terminal;
    TerminalSummary {
        id: record.id.to_string(),
        name: record.name.clone(),
        rows: state.size.height,
        columns: state.size.width,
        last_input: state.input.to_string(),
        last_output: state.output.to_string(),
        typing: state.typing,
        watching: state.watching,
    }
}
