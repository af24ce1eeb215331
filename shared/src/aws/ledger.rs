//! The `ledger` table: orders and what is owed for them, and the ends of the hub's
//! own credentials. Every write names the
//! state it expects; every conditional write carries a random token, because
//! the SDK repeats a call whose answer was lost and then fails on its own
//! first success. Which moves are allowed is the domain's.

mod commit;
mod credentials;
mod deliveries;
mod orders;
mod owed;
mod refunds;

pub use credentials::of_row as credential_of_row;
pub use deliveries::{Claim, Exhausted, Lease, Listed, Parked, sort_key};
pub use orders::{Created, Saved};
pub use owed::Owed;
pub use refunds::of_row as refund_of_row;

use std::hash::{DefaultHasher, Hash, Hasher};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;

use super::Failure;
use super::item::{self, Item, string, text};
use crate::domain::delivery::{Delivery, Event};
use crate::domain::id::{OrderKey, OutTradeNo};
use crate::domain::order::Order;
use crate::domain::refund::Refund;
use crate::domain::time::Timestamp;

/// The sort key of an order's own row.
pub const ORDER: &str = "order";
/// The partitions of the `wake` index.
pub const SHARDS: u8 = 16;

/// The table, by every move that rows make.
#[derive(Debug, Clone)]
pub struct Ledger {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

/// An order and all that belongs to it.
#[derive(Debug)]
pub struct Partition {
    /// Its own row.
    pub order: Order,
    /// What its app was or must be told.
    pub deliveries: Vec<Delivery>,
    /// What went or must go back.
    pub refunds: Vec<Refund>,
}

impl Partition {
    /// What its app was or must be told of its payment.
    #[must_use]
    pub fn told_payment(&self) -> Option<&Delivery> {
        let mut told = self.deliveries.iter();
        told.find(|told| told.event == Event::PaymentSucceeded)
    }

    /// WeChat is asked next about the payments that its app was or must be told of
    /// and that this order, which was restored from a backup, does not know.
    pub fn adopt_told(&self, order: &mut Order, now: Timestamp) {
        let of_payments = [Event::PaymentSucceeded, Event::PaymentAnomaly];
        let told = self.deliveries.iter();
        for told in told.filter(|told| of_payments.contains(&told.event)) {
            let transaction_id = told.payload.get("transaction_id");
            let is_known = transaction_id.is_some_and(|id| order.payment_of(id).is_some());
            let number = told.payload.get("trade_no");
            let number = number.and_then(|number| OutTradeNo::parse(number).ok());
            if let Some(number) = number.filter(|_| !is_known) {
                order.adopt_attempt(number.attempt, told.origin, now);
            }
        }
    }
}

impl Ledger {
    /// The ledger in this table.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self {
            client: aws_sdk_dynamodb::Client::new(config),
            table,
        }
    }

    /// The order and all that belongs to it, in one read of its partition.
    pub async fn partition(&self, key: &OrderKey) -> Result<Option<Partition>, Failure> {
        const OPERATION: &str = "read an order and what belongs to it";
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", string(key.to_string()))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut order = None;
        let (mut told, mut returned) = (Vec::new(), Vec::new());
        while let Some(item) = pages.next().await {
            let row = item.map_err(Failure::of(OPERATION))?;
            match text(&row, "sk") {
                Some(ORDER) => order = Some(item::read(row, OPERATION)?),
                Some(sk) if sk.starts_with(deliveries::PREFIX) => {
                    told.push(item::read(row, OPERATION)?);
                }
                Some(sk) if sk.starts_with(refunds::PREFIX) => {
                    returned.push(item::read(row, OPERATION)?);
                }
                _ => {}
            }
        }
        Ok(order.map(|order| Partition {
            order,
            deliveries: told,
            refunds: returned,
        }))
    }
}

fn row_key(pk: &str, sk: &str) -> Item {
    Item::from([("pk".to_owned(), string(pk)), ("sk".to_owned(), string(sk))])
}

/// A row of an order's partition, present in the sparse index while it wakes.
fn row<T: Serialize>(pk: &str, sk: &str, row: &T) -> Result<Item, Failure> {
    let mut item = item::write(row, "write a row")?;
    item.extend(row_key(pk, sk));
    if item.contains_key("wake") {
        item.insert("shard".to_owned(), string(shard(pk)));
    }
    Ok(item)
}

/// The row with its writer's mark.
fn marked(mut item: Item, token: &str) -> Item {
    item.insert("token".to_owned(), string(token));
    item
}

/// Whether the row is as the writer with this mark left it.
fn has_token(item: &Item, token: &str) -> bool {
    text(item, "token") == Some(token)
}

/// The index partition of an order's rows. It only has to spread: a row
/// carries its shard with it.
fn shard(pk: &str) -> String {
    let mut hasher = DefaultHasher::new();
    pk.hash(&mut hasher);
    (hasher.finish() % u64::from(SHARDS)).to_string()
}

/// What a write under the optimistic lock expects, `:expected` in its condition.
fn revision(expected: u64) -> AttributeValue {
    item::number(expected)
}

#[cfg(test)]
mod tests;
