//! The computations of every payment: criterion's figures beside those of Node.js
//! with tenpay, and for version 3 with wechatpay-axios-plugin.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::Failed;
use crate::cold::Places;
use crate::report::table;

/// Criterion's name, and that of the script's figure if it has one.
const OPERATIONS: [(&str, Option<&str>); 5] = [
    ("verify and parse a notification", Some("verify")),
    ("sign and write a request", Some("sign")),
    ("verify and open a notification, v3", Some("v3_verify")),
    ("sign what opens WeChat, v3", Some("v3_sign")),
    ("decide a delivery", None),
];

/// Prints what criterion measured, and the same in Node.js.
pub(crate) async fn show(criterion: &Path, places: &Places<'_>) -> Result<(), Failed> {
    let node = match &places.node {
        Some((node, script)) => {
            let script = Path::new(script).with_file_name("micro.js");
            let output = Command::new(node).arg(script).output().await?;
            serde_json::from_slice(&output.stdout)?
        }
        None => Value::Null,
    };
    let mut rows = Vec::new();
    for (name, in_node) in OPERATIONS {
        let path = criterion.join(name).join("new/estimates.json");
        let estimates: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let micros = estimates["median"]["point_estimate"]
            .as_f64()
            .unwrap_or_default()
            / 1000.0;
        let theirs = in_node.and_then(|figure| node[figure].as_f64());
        rows.push(vec![
            name.to_owned(),
            format!("{micros:.2}"),
            theirs.map_or_else(|| "-".to_owned(), |theirs| format!("{theirs:.2}")),
            theirs.map_or_else(
                || "-".to_owned(),
                |theirs| format!("{:.1}", theirs / micros),
            ),
        ]);
    }
    println!("\nComputations in microseconds (release settings, medians)\n");
    table(&["", "Rust", "Node.js", "ratio"], &rows);
    Ok(())
}
