//! The `ledger` table: orders and what is owed for them. Every write names the
//! state it expects; every conditional write carries a random token, because
//! the SDK repeats a call whose answer was lost and then fails on its own
//! first success. It refuses to know which moves are allowed.

mod deliveries;
mod owed;

pub use deliveries::{Claim, Lease};
pub use owed::Owed;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use serde::Serialize;

use super::Failure;
use crate::ambient::random_hex;
use crate::domain::delivery::Delivery;
use crate::domain::id::OrderKey;
use crate::domain::order::Order;

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

    /// The order and its deliveries, in one read of its partition.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn order_with_deliveries(
        &self,
        key: &OrderKey,
    ) -> Result<Option<(Order, Vec<Delivery>)>, Failure> {
        const OPERATION: &str = "read an order and its deliveries";
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
        let mut deliveries = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(Failure::of(OPERATION))?;
            let sk = item.get("sk").and_then(|sk| sk.as_s().ok());
            match sk.map(String::as_str) {
                Some(ORDER) => order = Some(read_order(item)?),
                Some(sk) if sk.starts_with(deliveries::PREFIX) => {
                    let row = serde_dynamo::from_item(item).map_err(Failure::of(OPERATION))?;
                    deliveries.push(row);
                }
                _ => {}
            }
        }
        Ok(order.map(|order| (order, deliveries)))
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
                None => Err(vanished()),
            },
            _ => Err(Failure::of("write an order")(error)),
        }
    }

    /// Writes an order and what is owed for it in one transaction: neither is
    /// ever there without the other.
    ///
    /// # Errors
    /// When DynamoDB does not answer; both or neither are written.
    pub async fn commit(&self, order: &mut Order, owed: &Delivery) -> Result<Saved, Failure> {
        const OPERATION: &str = "commit an order and its delivery";
        let expected = order.revision;
        order.revision += 1;
        let token = random_hex();
        let order_put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(order_item(order, &token)?))
            .condition_expression("revision = :expected")
            .expression_attribute_values(":expected", AttributeValue::N(expected.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(Failure::of(OPERATION))?;
        let delivery_put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(deliveries::item(owed)?))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(Failure::of(OPERATION))?;
        let result = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(order_put).build())
            .transact_items(TransactWriteItem::builder().put(delivery_put).build())
            .send()
            .await;
        let Err(error) = result else {
            return Ok(Saved::Done);
        };
        let reasons = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                cancelled.cancellation_reasons()
            }
            _ => return Err(Failure::of(OPERATION)(error)),
        };
        match reasons.first().and_then(CancellationReason::item) {
            Some(item) if has_token(item, &token) => return Ok(Saved::Done),
            Some(item) => return Ok(Saved::Changed(Box::new(read_order(item.clone())?))),
            None => {}
        }
        // Another transaction was under way on the same rows: read and decide
        // again.
        match self.order(&order.key()).await? {
            Some(now) => Ok(Saved::Changed(Box::new(now))),
            None => Err(Failure::of(OPERATION)(error)),
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

fn vanished() -> Failure {
    Failure {
        operation: "write an order",
        cause: "its row has vanished".into(),
    }
}

/// The index partition of an order's rows. It only has to spread: a row
/// carries its shard with it.
fn shard(pk: &str) -> String {
    let mut hasher = DefaultHasher::new();
    pk.hash(&mut hasher);
    (hasher.finish() % u64::from(SHARDS)).to_string()
}
