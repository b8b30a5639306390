//! The words under which a container's work is listed while it is in flight.

use crate::lifecycle::Input;

/// What an input is work on.
pub(crate) fn kind(input: &Input) -> &'static str {
    match input {
        Input::Start | Input::Started(_) | Input::StartFailed(_) => "start",
        Input::Signal { .. } => "signal",
        Input::Stop { .. } => "stop",
        Input::Restart { .. } => "restart",
        Input::Close { .. } => "close",
        Input::Pause | Input::Frozen => "pause",
        Input::Unpause | Input::Thawed => "unpause",
        Input::Change => "change",
        Input::EngineStarted => "take-up",
        Input::Tick => "due",
        Input::Remove { .. } | Input::RemoveDone | Input::RemoveFailed => "remove",
        Input::OomKilled(_) => "note",
        Input::Ended(_) => "end",
    }
}
