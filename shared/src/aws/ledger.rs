//! The `ledger` table: orders and what is owed for them. Every write names the
//! state it expects; every conditional write carries a random token, because
//! the SDK repeats a call whose answer was lost and then fails on its own
//! first success. It refuses to know which moves are allowed.

mod commit;
mod deliveries;
mod owed;
mod refunds;

pub use commit::Along;
pub use deliveries::{Claim, Lease};
pub use owed::Owed;
pub use refunds::of_row as refund_of_row;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use serde::Serialize;

use super::Failure;
use crate::ambient::random_hex;
use crate::domain::delivery::Delivery;
use crate::domain::id::OrderKey;
use crate::domain::order::Order;
use crate::domain::refund::Refund;

/// The sort key of an order's own row.
pub const ORDER: &str = "order";
/// The partitions of the `wake` index.
pub const SHARDS: u8 = 16;

pub(super) type Item = HashMap<String, AttributeValue>;

/// The ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

/// An order and all that belongs to it.
#[derive(Debug)]
pub struct Partition {
    /// The order.
    pub order: Order,
    /// What its app was or must be told.
    pub deliveries: Vec<Delivery>,
    /// What went or must go back.
    pub refunds: Vec<Refund>,
}

/// How a write of an order went.
#[derive(Debug)]
pub enum Saved {
    /// It is written.
    Done,
    /// Somebody else wrote first; this is the row now. Decide again.
    Changed(Box<Order>),
}

/// How creating an order went.
#[derive(Debug)]
pub enum Created {
    /// It is new.
    New,
    /// There is one with this number.
    Exists(Box<Order>),
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

    /// The order, read consistently.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn order(&self, key: &OrderKey) -> Result<Option<Order>, Failure> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(row_key(&key.to_string(), ORDER)))
            .consistent_read(true)
            .send()
            .await
            .map_err(Failure::of("read an order"))?;
        answer.item.map(read_order).transpose()
    }

    /// The order and all that belongs to it, in one read of its partition.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn partition(&self, key: &OrderKey) -> Result<Option<Partition>, Failure> {
        const OPERATION: &str = "read an order and what belongs to it";
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(key.to_string()))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut order = None;
        let (mut told, mut returned) = (Vec::new(), Vec::new());
        while let Some(item) = pages.next().await {
            let item = item.map_err(Failure::of(OPERATION))?;
            let sk = item.get("sk").and_then(|sk| sk.as_s().ok());
            match sk.map(String::as_str) {
                Some(ORDER) => order = Some(read_order(item)?),
                Some(sk) if sk.starts_with(deliveries::PREFIX) => {
                    let row = serde_dynamo::from_item(item).map_err(Failure::of(OPERATION))?;
                    told.push(row);
                }
                Some(sk) if sk.starts_with(refunds::PREFIX) => returned.push(refunds::read(item)?),
                _ => {}
            }
        }
        Ok(order.map(|order| Partition {
            order,
            deliveries: told,
            refunds: returned,
        }))
    }

    /// Stores a new order.
    ///
    /// # Errors
    /// When DynamoDB does not answer; the order may or may not be stored.
    pub async fn create(&self, order: &Order) -> Result<Created, Failure> {
        let put = self
            .client
            .put_item()
            .condition_expression("attribute_not_exists(pk)");
        Ok(match self.put_order(put, order).await? {
            None => Created::New,
            Some(other) => Created::Exists(Box::new(other)),
        })
    }

    /// Writes an order that was read at `order.revision`. On success the
    /// revision in `order` is the new one.
    ///
    /// # Errors
    /// When DynamoDB does not answer; the order may or may not be written.
    pub async fn save(&self, order: &mut Order) -> Result<Saved, Failure> {
        let expected = AttributeValue::N(order.revision.to_string());
        order.revision += 1;
        let put = self
            .client
            .put_item()
            .condition_expression("revision = :expected")
            .expression_attribute_values(":expected", expected);
        Ok(match self.put_order(put, order).await? {
            None => Saved::Done,
            Some(other) => Saved::Changed(Box::new(other)),
        })
    }

    /// A conditional put. Who won: nobody else (None), or the row's writer.
    async fn put_order(
        &self,
        put: PutItemFluentBuilder,
        order: &Order,
    ) -> Result<Option<Order>, Failure> {
        let token = random_hex();
        let result = put
            .table_name(&self.table)
            .set_item(Some(order_item(order, &token)?))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = result else { return Ok(None) };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => match failed.item() {
                Some(item) if has_token(item, &token) => Ok(None),
                Some(item) => read_order(item.clone()).map(Some),
                None => Err(Failure::vanished("order")),
            },
            // A transaction on the row is under way: decide again after it.
            Some(PutItemError::TransactionConflictException(_)) => {
                let now = self.order(&order.key()).await?;
                now.map(Some).ok_or_else(|| Failure::vanished("order"))
            }
            _ => Err(Failure::of("write an order")(error)),
        }
    }
}

fn row_key(pk: &str, sk: &str) -> Item {
    Item::from([
        ("pk".to_owned(), AttributeValue::S(pk.to_owned())),
        ("sk".to_owned(), AttributeValue::S(sk.to_owned())),
    ])
}

/// A row of an order's partition, present in the sparse index while it wakes.
fn row<T: Serialize>((pk, sk): (&str, &str), value: &T) -> Result<Item, Failure> {
    let mut item: Item = serde_dynamo::to_item(value).map_err(Failure::of("write a row"))?;
    item.extend(row_key(pk, sk));
    if item.contains_key("wake") {
        item.insert("shard".to_owned(), AttributeValue::S(shard(pk)));
    }
    Ok(item)
}

/// The whole row: what the sweeper counted (`rings`) starts anew.
fn order_item(order: &Order, token: &str) -> Result<Item, Failure> {
    let mut item = row((&order.key().to_string(), ORDER), order)?;
    item.insert("token".to_owned(), AttributeValue::S(token.to_owned()));
    Ok(item)
}

fn read_order(item: Item) -> Result<Order, Failure> {
    serde_dynamo::from_item(item).map_err(Failure::of("understand an order's row"))
}

fn has_token(item: &Item, token: &str) -> bool {
    item.get("token")
        .and_then(|value| value.as_s().ok())
        .map(String::as_str)
        == Some(token)
}

/// The index partition of an order's rows. It only has to spread: a row
/// carries its shard with it.
fn shard(pk: &str) -> String {
    let mut hasher = DefaultHasher::new();
    pk.hash(&mut hasher);
    (hasher.finish() % u64::from(SHARDS)).to_string()
}
