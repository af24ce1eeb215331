//! What every table needs: transactions, items, the values in them, and refused writes.
//!
//! The store's own attributes are added on the way in and taken off on the way
//! out. All others belong to the row's type, also those that it does not know.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failure;
use crate::ambient::random_hex;
use crate::domain::time::Timestamp;

/// A transaction, and the token that makes a repeated one the same. The SDK would draw
/// it from the clock since boot, which functions that start on fresh machines may have
/// in common: then one's transaction is refused as a changed one of the other's.
pub(super) fn transaction(client: &Client) -> TransactWriteItemsFluentBuilder {
    let transaction = client.transact_write_items();
    transaction.client_request_token(random_hex())
}

pub(super) type Item = HashMap<String, AttributeValue>;

/// The keys, the indexes' partitions, the last writer's mark, and what the
/// sweeper counted, which every write of a whole row starts anew.
const STORES_OWN: [&str; 6] = ["pk", "sk", "shard", "token", "rings", "staff"];

/// Reads a row.
pub(super) fn read<T: DeserializeOwned>(
    mut item: Item,
    operation: &'static str,
) -> Result<T, Failure> {
    for name in STORES_OWN {
        item.remove(name);
    }
    serde_dynamo::from_item(item).map_err(Failure::of(operation))
}

/// Writes a row, without the store's own attributes.
pub(super) fn write<T: Serialize>(row: &T, operation: &'static str) -> Result<Item, Failure> {
    serde_dynamo::to_item(row).map_err(Failure::of(operation))
}

/// One value of a row.
pub(super) fn value<T: Serialize>(
    value: T,
    operation: &'static str,
) -> Result<AttributeValue, Failure> {
    serde_dynamo::to_attribute_value(value).map_err(Failure::of(operation))
}

pub(super) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(value: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

/// Milliseconds since 1970, as rows have them.
pub(super) fn millis(moment: Timestamp) -> AttributeValue {
    number(moment.millis())
}

pub(super) fn text<'row>(row: &'row Item, name: &str) -> Option<&'row str> {
    let value = row.get(name)?.as_s().ok()?;
    Some(value.as_str())
}

/// The row that an update's condition failed on, or the failure. The SDK
/// repeats a call whose answer was lost: the row may be our own first success.
pub(super) fn refused(
    error: SdkError<UpdateItemError>,
    operation: &'static str,
) -> Result<Option<Item>, Failure> {
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
            Ok(failed.item().cloned())
        }
        _ => Err(Failure::of(operation)(error)),
    }
}
