//! Names for containers that were given none: a mood and a word of the harbour.

/// Moods.
const MOODS: [&str; 48] = [
    "able", "amber", "avid", "bold", "brave", "breezy", "bright", "brisk", "calm", "clear",
    "clever", "coral", "crisp", "daring", "deft", "eager", "early", "fair", "fleet", "fresh",
    "gentle", "glad", "golden", "hardy", "honest", "jolly", "keen", "kind", "lively", "lucid",
    "mellow", "merry", "nimble", "patient", "plucky", "proud", "quick", "quiet", "ready", "robust",
    "salty", "sharp", "silver", "steady", "sunny", "swift", "tidy", "witty",
];
/// Words of the harbour.
const THINGS: [&str; 48] = [
    "anchor", "barge", "beacon", "bollard", "bosun", "bow", "breaker", "buoy", "cable", "capstan",
    "cleat", "compass", "crane", "cutter", "davit", "deck", "dinghy", "dock", "ferry", "fjord",
    "gangway", "halyard", "harbour", "haven", "hawser", "helm", "hull", "jetty", "keel", "ketch",
    "lantern", "lighter", "mast", "mooring", "oar", "pier", "pilot", "port", "quay", "rudder",
    "sail", "schooner", "sextant", "sloop", "tide", "tiller", "tug", "wharf",
];

/// The name that `seed` picks; from the second attempt on with a number, so that some name is
/// free before long.
pub fn pick(seed: u32, attempt: u32) -> String {
    let at = |list: &[&'static str; 48], n: u32| list[(n % 48) as usize];
    let name = format!("{}_{}", at(&MOODS, seed), at(&THINGS, seed / 48));
    if attempt == 0 {
        name
    } else {
        format!("{name}{}", seed / (48 * 48) % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_typed_back() {
        for seed in 0..5000 {
            crate::create::check_name(&pick(seed, seed % 2)).unwrap();
        }
    }
}
