//! The `feed` table: the events of apps that read them. A partition for each app; in
//! it the events by position, and at position 0 the head, which says how far it is.
//!
//! An event is appended after its delivery was committed, by whoever tells the app, in
//! one transaction with the head and a mark on the delivery: once, and after all that
//! came before. Nobody waits for another app, and no order waits for a feed.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use serde::Deserialize;

use super::Failure;
use super::item::{self, Item, number, string};
use super::ledger::{Claim, Ledger};
use crate::domain::delivery::Delivery;
use crate::domain::feed::{FeedEvent, Page};
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// Where the head is. Events begin at 1.
const HEAD: u64 = 0;

/// The table.
#[derive(Debug, Clone)]
pub struct Feed {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

/// What became of appending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The event is in the feed, now or since before.
    Done,
    /// Another event took the place: try the next one.
    Lost,
}

#[derive(Deserialize)]
struct Head {
    last: u64,
}

impl Feed {
    /// The feeds in this table.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self {
            client: aws_sdk_dynamodb::Client::new(config),
            table,
        }
    }

    /// Appends what a claimed delivery tells, unless it is there.
    pub async fn append(
        &self,
        ledger: &Ledger,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Appended, Failure> {
        const OPERATION: &str = "append to a feed";
        let delivery = &claim.delivery;
        let last = self.last(&delivery.app_id).await?;
        let items = [
            // The first one: whether the event is there is told by its place.
            TransactWriteItem::builder().update(ledger.marking_fed(claim, now)?),
            TransactWriteItem::builder().update(self.moving_head(&delivery.app_id, last)?),
            TransactWriteItem::builder().put(self.adding(delivery, last + 1, now)?),
        ];
        let items = items.map(|item| item.build()).into();
        let transaction = item::transaction(&self.client);
        let done = transaction.set_transact_items(Some(items)).send().await;
        let Err(error) = done else {
            return Ok(Appended::Done);
        };
        let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            error.as_service_error()
        else {
            return Err(Failure::of(OPERATION)(error));
        };
        let codes: Vec<&str> = cancelled
            .cancellation_reasons()
            .iter()
            .filter_map(|reason| reason.code())
            .collect();
        match codes.first() {
            Some(&"ConditionalCheckFailed") => Ok(Appended::Done),
            _ if codes.iter().all(|code| {
                ["None", "ConditionalCheckFailed", "TransactionConflict"].contains(code)
            }) =>
            {
                Ok(Appended::Lost)
            }
            _ => Err(Failure::of(OPERATION)(error)),
        }
    }

    async fn last(&self, app_id: &AppId) -> Result<u64, Failure> {
        const OPERATION: &str = "read the head of a feed";
        let read = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(app_id, HEAD)))
            .consistent_read(true)
            .send()
            .await
            .map_err(Failure::of(OPERATION))?;
        let head: Option<Head> = read
            .item
            .map(|row| item::read(row, OPERATION))
            .transpose()?;
        Ok(head.map_or(0, |head| head.last))
    }

    fn moving_head(&self, app_id: &AppId, last: u64) -> Result<Update, Failure> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(app_id, HEAD)))
            .update_expression("SET #last = :next")
            .expression_attribute_names("#last", "last")
            .expression_attribute_values(":next", number(last + 1));
        let update = match last {
            0 => update.condition_expression("attribute_not_exists(#last)"),
            last => update
                .condition_expression("#last = :last")
                .expression_attribute_values(":last", number(last)),
        };
        update
            .build()
            .map_err(Failure::of("move the head of a feed"))
    }

    fn adding(&self, delivery: &Delivery, position: u64, now: Timestamp) -> Result<Put, Failure> {
        const OPERATION: &str = "write an event into a feed";
        let event = FeedEvent::of(delivery, position, now);
        let mut row = item::write(&event, OPERATION)?;
        row.extend(key(&delivery.app_id, position));
        let ends_at = number(event.ends_at().seconds());
        row.insert("expires_at".to_owned(), ends_at);
        Put::builder()
            .table_name(&self.table)
            .set_item(Some(row))
            .condition_expression("attribute_not_exists(app_id)")
            .build()
            .map_err(Failure::of(OPERATION))
    }

    /// The app's events after this position, as many as this at most.
    pub async fn read(
        &self,
        app_id: &AppId,
        after: u64,
        limit: i32,
        now: Timestamp,
    ) -> Result<Page, Failure> {
        const OPERATION: &str = "read a feed";
        let read = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("app_id = :app AND #position > :after")
            .expression_attribute_names("#position", "position")
            .expression_attribute_values(":app", string(app_id.to_string()))
            .expression_attribute_values(":after", number(after))
            .consistent_read(true)
            .limit(limit)
            .send()
            .await
            .map_err(Failure::of(OPERATION))?;
        let has_more = read.last_evaluated_key.is_some();
        let mut events = Vec::new();
        for mut row in read.items.unwrap_or_default() {
            // The table's own.
            row.remove("app_id");
            row.remove("expires_at");
            events.push(item::read(row, OPERATION)?);
        }
        Ok(Page::of(after, events, has_more, now))
    }
}

fn key(app_id: &AppId, position: u64) -> Item {
    Item::from([
        ("app_id".to_owned(), string(app_id.to_string())),
        ("position".to_owned(), number(position)),
    ])
}
