//! The promises about what an app must be told.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Judge;
use crate::engine::{Key, number, string};

impl Judge {
    pub(super) fn delivery_written(&mut self, key: &Key, before: Option<&Value>, after: &Value) {
        let pk = format!("{} {}", key.0, key.1);
        let is = string(after, "status").unwrap_or_default();
        if let Some(before) = before {
            for name in ["event_id", "payload", "origin", "app_id", "order_no"] {
                self.hold(before.get(name) == after.get(name), || {
                    format!("{name} of {pk}'s delivery changed")
                });
            }
            let was = string(before, "status").unwrap_or_default();
            let allowed = was == "pending" || was == is || (was, is) == ("exhausted", "delivered");
            self.hold(allowed, || {
                format!("{pk}'s delivery went from {was} to {is}")
            });
            self.hold(number(before, "step") <= number(after, "step"), || {
                format!("{pk}'s delivery went back a step")
            });
        }
        if is == "exhausted" {
            let tried: BTreeSet<i64> = after
                .get("attempts")
                .and_then(|list| list.get("L")?.as_array())
                .into_iter()
                .flatten()
                .filter_map(|attempt| number(attempt.get("M")?, "step"))
                .collect();
            self.hold(tried == (0..=13).collect(), || {
                format!("{pk}'s delivery was given up after the steps {tried:?}")
            });
        }
    }
}
