//! Order rows, each written as a whole under the revision that was read: an
//! optimistic lock. Whoever loses gets the row as it is now, and decides again.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;

use super::{Item, Ledger, ORDER, has_token, marked, revision, row, row_key};
use crate::ambient::random_hex;
use crate::aws::{Failure, item};
use crate::domain::id::OrderKey;
use crate::domain::order::Order;

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

/// The whole row: what the sweeper counted (`rings`) starts anew.
pub(super) fn write(order: &Order, token: &str) -> Result<Item, Failure> {
    let item = row(&order.key().to_string(), ORDER, order)?;
    Ok(marked(item, token))
}

pub(super) fn read(item: Item) -> Result<Order, Failure> {
    item::read(item, "understand an order's row")
}

impl Ledger {
    /// The order, read consistently.
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
        answer.item.map(read).transpose()
    }

    /// Stores a new order.
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
    pub async fn save(&self, order: &mut Order) -> Result<Saved, Failure> {
        let expected = revision(order.revision);
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
            .set_item(Some(write(order, &token)?))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = result else { return Ok(None) };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => match failed.item() {
                Some(item) if has_token(item, &token) => Ok(None),
                Some(item) => read(item.clone()).map(Some),
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
