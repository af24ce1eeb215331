//! An order and what changes together with it, in one transaction: neither is
//! ever there without the other.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};

use super::{Item, Ledger, Saved, deliveries, has_token, orders, refunds, revision};
use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::domain::delivery::Delivery;
use crate::domain::order::Order;
use crate::domain::refund::Refund;

const OPERATION: &str = "commit an order";

impl Ledger {
    /// Writes an order that was read at `order.revision`, a new delivery, and a
    /// refund: a new row at revision 0, else the row read at its revision, which
    /// is the new one afterwards. [`Saved::Changed`] has the order as it is now, also when it was the
    /// refund that somebody else wrote first: read that again, too.
    pub async fn commit(
        &self,
        order: &mut Order,
        delivery: Option<&Delivery>,
        refund: Option<&mut Refund>,
    ) -> Result<Saved, Failure> {
        let expected = order.revision;
        order.revision += 1;
        let token = random_hex();
        let mut puts = vec![self.expecting(orders::write(order, &token)?, Some(expected))?];
        if let Some(delivery) = delivery {
            puts.push(self.expecting(deliveries::write(delivery)?, None)?);
        }
        if let Some(refund) = refund {
            let expected = (refund.revision > 0).then_some(refund.revision);
            refund.revision += 1;
            puts.push(self.expecting(refunds::write(refund, &token)?, expected)?);
        }
        let items = puts
            .into_iter()
            .map(|put| TransactWriteItem::builder().put(put).build());
        let result = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items.collect()))
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
            Some(item) => return Ok(Saved::Changed(Box::new(orders::read(item.clone())?))),
            None => {}
        }
        // Another row was changed, or another transaction is under way on
        // these: read and decide again.
        match self.order(&order.key()).await? {
            Some(now) => Ok(Saved::Changed(Box::new(now))),
            None => Err(Failure::of(OPERATION)(error)),
        }
    }

    /// A put of a row that must be at this revision, or not be there.
    fn expecting(&self, item: Item, at_revision: Option<u64>) -> Result<Put, Failure> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match at_revision {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(expected) => put
                .condition_expression("revision = :expected")
                .expression_attribute_values(":expected", revision(expected)),
        };
        put.build().map_err(Failure::of(OPERATION))
    }
}
