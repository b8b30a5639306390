//! Reading configuration documents, which others wrote. Pure.

use berth_types::oci::ImageConfig;
use serde_json::Value;

/// Bytes of a configuration document at most. Docker's own registry client takes no more.
pub(crate) const DOCUMENT_MAX: u64 = 4 << 20;

/// What a document says. Go's encoder writes `null` for what is not set, which here is the same
/// as leaving it out.
pub(crate) fn parse(text: &str) -> Result<ImageConfig, serde_json::Error> {
    let mut value: Value = serde_json::from_str(text)?;
    without_nulls(&mut value);
    serde_json::from_value(value)
}

/// The decoder limits how deep documents are, and so this recursion.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_nothing() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Labels":null,
            "Cmd":["sh"],"Volumes":null,"OnBuild":null,"ExposedPorts":{"80/tcp":{}}},
            "history":null,"rootfs":{"type":"layers","diff_ids":["sha256:1"]},"other":[null]}"#;
        let config = parse(text).unwrap();
        assert_eq!(config.config.cmd, Some(vec!["sh".to_owned()]));
        assert!(config.config.env.is_empty() && config.history.is_empty());
        assert_eq!(config.rootfs.diff_ids, ["sha256:1"]);
        assert!(parse("[1]").is_err() && parse("{").is_err());
    }
}
