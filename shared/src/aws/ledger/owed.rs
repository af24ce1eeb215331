//! The sparse `wake` index: every row for which something is owed, by the time
//! at which the sweeper must look at it.

use serde::Deserialize;

use super::{Item, Ledger, deliveries, row_key};
use crate::aws::Failure;
use crate::aws::item::{millis, number, refused, string};
use crate::aws::queue::Doorbell;
use crate::domain::time::Timestamp;

/// A row whose time has come, as the index shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Owed {
    /// `app_id#order_no`, or `hub`.
    pub pk: String,
    /// `order`, `delivery#...` or `refund#...`; of the hub `credential#...`.
    pub sk: String,
    /// The step that is owed.
    pub step: u8,
    /// When the sweeper was to look.
    pub wake: Timestamp,
    /// When the step is due, if that is not `wake`.
    #[serde(default)]
    pub due: Option<Timestamp>,
    /// How often the sweeper has rung for this step.
    #[serde(default)]
    pub rings: u8,
}

impl Owed {
    /// Whether an app must be told; otherwise WeChat must be asked, or a person
    /// warned.
    #[must_use]
    pub fn is_delivery(&self) -> bool {
        self.sk.starts_with(deliveries::PREFIX)
    }

    /// The doorbell for it.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        Doorbell {
            pk: self.pk.clone(),
            sk: self.sk.clone(),
            step: self.step,
        }
    }
}

impl Ledger {
    /// The rows of one shard whose time has come, oldest first, at most `limit`.
    pub async fn owed(&self, shard: u8, now: Timestamp, limit: i32) -> Result<Vec<Owed>, Failure> {
        const OPERATION: &str = "read what is owed";
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("wake")
            .key_condition_expression("#shard = :shard AND wake <= :now")
            .expression_attribute_names("#shard", "shard")
            .expression_attribute_values(":shard", string(shard.to_string()))
            .expression_attribute_values(":now", millis(now))
            .limit(limit)
            .send()
            .await
            .map_err(Failure::of(OPERATION))?;
        let items: Vec<Item> = answer.items.unwrap_or_default();
        serde_dynamo::from_items(items).map_err(Failure::of(OPERATION))
    }

    /// Leaves a row alone until `wake`, because it is about to be rung. False
    /// when it has moved on meanwhile.
    pub async fn put_off(&self, owed: &Owed, wake: Timestamp) -> Result<bool, Failure> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(row_key(&owed.pk, &owed.sk)))
            .update_expression("SET wake = :wake, rings = :rings")
            .condition_expression("wake = :seen")
            .expression_attribute_values(":wake", millis(wake))
            .expression_attribute_values(":seen", millis(owed.wake))
            .expression_attribute_values(":rings", number(owed.rings.saturating_add(1)))
            .send()
            .await;
        match result {
            Ok(_) => Ok(true),
            Err(error) => refused(error, "put a row off").map(|_| false),
        }
    }
}
