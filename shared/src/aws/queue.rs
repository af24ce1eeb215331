//! The doorbells. A message names a row and its step and nothing else: lost,
//! late, doubled or reordered, it is harmless, because the row is the truth.

use aws_config::SdkConfig;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::ledger::ORDER;
use crate::domain::delivery::delay_seconds;
use crate::domain::id::OrderKey;
use crate::domain::order::Order;
use crate::domain::time::Timestamp;

/// Which row to look at, and at which step it was expected to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doorbell {
    /// The row's partition, `app_id#order_no` or `hub`.
    pub pk: String,
    /// The row's sort key.
    pub sk: String,
    /// The step that is due.
    pub step: u8,
}

impl Doorbell {
    /// A doorbell for a row of an order.
    #[must_use]
    pub fn new(key: &OrderKey, sk: &str, step: u8) -> Self {
        Self {
            pk: key.to_string(),
            sk: sk.to_owned(),
            step,
        }
    }
}

/// A queue of doorbells.
#[derive(Debug, Clone)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    /// The queue at this address.
    #[must_use]
    pub fn new(config: &SdkConfig, url: String) -> Self {
        Self {
            client: aws_sdk_sqs::Client::new(config),
            url,
        }
    }

    /// Rings after so many seconds. Messages of one app form a group, so that
    /// SQS's fair queues keep one slow app from delaying the others.
    pub async fn ring(&self, doorbell: &Doorbell, delay_seconds: i32) -> Result<(), Failure> {
        let body = serde_json::to_string(doorbell).map_err(Failure::of("write a doorbell"))?;
        let app_id = doorbell.pk.split('#').next().unwrap_or_default();
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .message_group_id(app_id)
            .delay_seconds(delay_seconds)
            .send()
            .await
            .map_err(Failure::of("ring a doorbell"))?;
        Ok(())
    }

    /// Rings, or leaves it to the sweeper. For a row that is committed and awake:
    /// a bell that does not ring delays it, no more.
    pub async fn ring_or_leave(&self, doorbell: &Doorbell, delay_seconds: i32) {
        if let Err(failure) = self.ring(doorbell, delay_seconds).await {
            tracing::warn!(order = doorbell.pk, row = doorbell.sk, %failure,
                "the doorbell did not ring, the sweeper will");
        }
    }

    /// Rings for an order when its question is due, if SQS can wait that long.
    pub async fn ring_for_order(&self, order: &Order, now: Timestamp) {
        if let Some(delay) = order.due.and_then(|due| delay_seconds(due, now)) {
            let doorbell = Doorbell::new(&order.key(), ORDER, order.step);
            self.ring_or_leave(&doorbell, delay).await;
        }
    }
}
