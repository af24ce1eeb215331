//! Refund rows: `refund#<refund_no>` beside their order. Those that change the
//! order's sums are written together with it.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;

use super::{Item, Ledger, has_token, marked, revision, row, row_key};
use crate::ambient::random_hex;
use crate::aws::{Failure, item};
use crate::domain::id::{OrderKey, OutRefundNo, RefundNo};
use crate::domain::refund::Refund;

pub(super) const PREFIX: &str = "refund#";

/// The refund that a doorbell names.
#[must_use]
pub fn of_row(pk: &str, sk: &str) -> Option<OutRefundNo> {
    Some(OutRefundNo {
        order: OrderKey::parse(pk).ok()?,
        refund_no: RefundNo::parse(sk.strip_prefix(PREFIX)?).ok()?,
    })
}

pub(super) fn write(refund: &Refund, token: &str) -> Result<Item, Failure> {
    let (pk, sk) = key(&refund.number());
    let item = row(&pk, &sk, refund)?;
    Ok(marked(item, token))
}

pub(super) fn read(item: Item) -> Result<Refund, Failure> {
    item::read(item, "understand a refund's row")
}

impl Ledger {
    /// The refund, read consistently.
    pub async fn refund(&self, number: &OutRefundNo) -> Result<Option<Refund>, Failure> {
        let (pk, sk) = key(number);
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(row_key(&pk, &sk)))
            .consistent_read(true)
            .send()
            .await
            .map_err(Failure::of("read a refund"))?;
        answer.item.map(read).transpose()
    }

    /// Writes a refund that was read at `refund.revision`, which is the new one
    /// afterwards. False when somebody else wrote first.
    pub async fn save_refund(&self, refund: &mut Refund) -> Result<bool, Failure> {
        let token = random_hex();
        let expected = revision(refund.revision);
        refund.revision += 1;
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(write(refund, &token)?))
            .condition_expression("revision = :expected")
            .expression_attribute_values(":expected", expected)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = result else { return Ok(true) };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                Ok(failed.item().is_some_and(|item| has_token(item, &token)))
            }
            // A transaction on the row is under way: decide again after it.
            Some(PutItemError::TransactionConflictException(_)) => Ok(false),
            _ => Err(Failure::of("write a refund")(error)),
        }
    }
}

/// The sort key of a refund's row.
pub(super) fn sort_key(refund: &Refund) -> String {
    key(&refund.number()).1
}

fn key(number: &OutRefundNo) -> (String, String) {
    let OutRefundNo { order, refund_no } = number;
    (order.to_string(), format!("{PREFIX}{refund_no}"))
}
