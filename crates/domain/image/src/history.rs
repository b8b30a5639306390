//! How an image came to be, step by step. Pure but for the sizes.

use berth_types::Timestamp;
use berth_types::oci::History;

/// One step of an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When; [`Timestamp::NEVER`] if the image does not say.
    pub created: Timestamp,
    /// The command.
    pub created_by: String,
    /// A remark.
    pub comment: String,
    /// Bytes of the layer; 0 where the step made none.
    pub bytes: u64,
}

/// The steps, the newest first. `layers` are the sizes of the layers from the lowest up; those
/// that the history does not mention are steps without a word.
pub(crate) fn steps(history: &[History], layers: &[u64]) -> Vec<Step> {
    let told = history.iter().filter(|step| !step.empty_layer).count();
    let untold = layers.len().saturating_sub(told);
    let mut sizes = layers.iter().copied();
    let silent = History::default();
    let all = std::iter::repeat_n(&silent, untold).chain(history);
    let mut steps: Vec<Step> = all
        .map(|step| Step {
            created: step
                .created
                .as_deref()
                .and_then(|text| text.parse().ok())
                .unwrap_or(Timestamp::NEVER),
            created_by: step.created_by.clone(),
            comment: step.comment.clone(),
            bytes: if step.empty_layer {
                0
            } else {
                sizes.next().unwrap_or(0)
            },
        })
        .collect();
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_belong_to_the_steps_that_made_them() {
        let step = |command: &str, empty_layer| History {
            created_by: command.to_owned(),
            empty_layer,
            ..History::default()
        };
        let history = [step("ADD", false), step("ENV", true), step("RUN", false)];
        let shown = |history: &[History], layers: &[u64]| -> Vec<(String, u64)> {
            let steps = steps(history, layers).into_iter();
            steps.map(|s| (s.created_by, s.bytes)).collect()
        };
        let pair = |a: &str, b| (a.to_owned(), b);
        assert_eq!(
            shown(&history, &[5, 7]),
            [pair("RUN", 7), pair("ENV", 0), pair("ADD", 5)]
        );
        assert_eq!(
            shown(&history, &[1, 5, 7]).last(),
            Some(&pair("", 1)),
            "a layer without a word is the oldest"
        );
        assert_eq!(shown(&history, &[5])[0], pair("RUN", 0));
    }
}
