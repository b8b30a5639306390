//! Events and disk usage for clients old and new.

use serde_json::{Value, json};

use super::{disk_usage, event};
use crate::disk::{DiskUsage, Usage};
use crate::image::ImageSummary;
use crate::version::{ApiVersion, NEWEST};

const OLD: ApiVersion = ApiVersion::new(1, 51);

fn usage(version: ApiVersion, verbose: bool) -> Value {
    let images = Usage {
        total_count: 1,
        total_size: 7,
        items: vec![ImageSummary::default()],
        ..Usage::default()
    };
    let usage = DiskUsage {
        image_usage: Some(images),
        container_usage: Some(Usage::default()),
        ..DiskUsage::default()
    };
    let mut answer = serde_json::to_value(usage).unwrap();
    disk_usage(&mut answer, version, verbose);
    answer
}

#[test]
fn disk_usage_is_lists_for_the_old_and_totals_for_the_new() {
    let old = usage(OLD, false);
    assert_eq!(old["LayersSize"], 7);
    assert_eq!(old["Images"][0]["Containers"], -1);
    assert_eq!(
        (&old["Containers"], &old["Volumes"]),
        (&json!([]), &json!(null))
    );
    assert!(old.get("ImageUsage").is_none());

    let both = usage(NEWEST, false);
    assert_eq!(both["ImageUsage"]["TotalSize"], 7);
    assert!(both["ImageUsage"].get("Items").is_none());
    assert_eq!(both["Images"].as_array().map(Vec::len), Some(1));

    let new = usage(NEWEST, true);
    assert_eq!(new["ImageUsage"]["Items"].as_array().map(Vec::len), Some(1));
    assert!(new.get("Images").is_none() && new.get("VolumeUsage").is_none());
}

#[test]
fn old_clients_read_an_event_in_three_more_fields() {
    let message = json!({
        "Type": "container", "Action": "die",
        "Actor": {"ID": "1", "Attributes": {"image": "web"}},
    });
    let mut old = message.clone();
    event(&mut old, OLD);
    assert_eq!(
        (&old["status"], &old["id"], &old["from"]),
        (&json!("die"), &json!("1"), &json!("web"))
    );
    let mut new = message.clone();
    event(&mut new, NEWEST);
    assert_eq!(new, message);
    let mut network = json!({"Type": "network", "Action": "connect", "Actor": {"ID": "n"}});
    event(&mut network, OLD);
    assert!(network.get("status").is_none() && network.get("id").is_none());
}
