//! An order and what changes together with it, in one transaction: neither is
//! ever there without the other.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};

use super::{Item, Ledger, Saved, deliveries, has_token, orders, refunds, revision, text};
use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::audit::Audited;
use crate::aws::item;
use crate::domain::delivery::Delivery;
use crate::domain::order::Order;
use crate::domain::refund::Refund;
use crate::domain::time::Timestamp;

const OPERATION: &str = "commit an order";

/// A row, and the revision that it must be at; none when it must be new.
struct Part {
    item: Item,
    revision: Option<u64>,
}

impl Ledger {
    /// Writes an order that was read at `order.revision`, new deliveries, and
    /// refunds: a new row at revision 0, else the row read at its revision, which
    /// is the new one afterwards. [`Saved::Changed`] has the order as it is now,
    /// also when it was a refund that somebody else wrote first: read that again,
    /// too.
    ///
    /// A new row that is there already, about the same thing, is left as it is:
    /// an order that was restored from a backup meets what was owed for it. Its
    /// sums become those of the refunds that are there, and WeChat is asked next
    /// about the payments that were told and that it does not know.
    pub async fn commit(
        &self,
        order: &mut Order,
        deliveries: &[Delivery],
        refunds: &mut [Refund],
        now: Timestamp,
    ) -> Result<Saved, Failure> {
        self.commit_all(order, deliveries, refunds, now, None).await
    }

    /// The same for a refund that a person asked for, with the entry in the audit
    /// trail.
    pub async fn commit_audited(
        &self,
        order: &mut Order,
        refunds: &mut [Refund],
        now: Timestamp,
        audited: &Audited<'_>,
    ) -> Result<Saved, Failure> {
        self.commit_all(order, &[], refunds, now, Some(audited))
            .await
    }

    async fn commit_all(
        &self,
        order: &mut Order,
        deliveries: &[Delivery],
        refunds: &mut [Refund],
        now: Timestamp,
        audited: Option<&Audited<'_>>,
    ) -> Result<Saved, Failure> {
        let token = random_hex();
        let expected = order.revision;
        order.revision += 1;
        let mut parts = vec![Part {
            item: orders::write(order, &token)?,
            revision: Some(expected),
        }];
        for delivery in deliveries {
            parts.push(Part {
                item: deliveries::write(delivery)?,
                revision: None,
            });
        }
        for refund in refunds.iter_mut() {
            let revision = (refund.revision > 0).then_some(refund.revision);
            refund.revision += 1;
            let item = refunds::write(refund, &token)?;
            parts.push(Part { item, revision });
        }
        loop {
            let Err(error) = self.write_all(&parts, audited).await? else {
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
            let before = parts.len();
            let mut reasons = reasons.iter();
            parts.retain(|part| {
                let row = reasons.next().and_then(CancellationReason::item);
                !row.is_some_and(|row| part.is_there_as(row))
            });
            if parts.len() < before {
                tracing::warn!(order = %order.key(), "what is owed for it was there before");
                if let Some(known) = self.partition(&order.key()).await? {
                    known.adopt_told(order, now);
                    order.recount_all(&merged(&parts, refunds, known.refunds));
                }
                if let Some(part) = parts.first_mut() {
                    part.item = orders::write(order, &token)?;
                }
                continue;
            }
            // Another row was changed, or another transaction is under way on
            // these: read and decide again.
            return match self.order(&order.key()).await? {
                Some(now) => Ok(Saved::Changed(Box::new(now))),
                None => Err(Failure::of(OPERATION)(error)),
            };
        }
    }

    async fn write_all(
        &self,
        parts: &[Part],
        audited: Option<&Audited<'_>>,
    ) -> Result<Written, Failure> {
        let mut items = Vec::with_capacity(parts.len() + 1);
        for part in parts {
            let put = self.expecting(part)?;
            items.push(TransactWriteItem::builder().put(put).build());
        }
        // The last one: what became of the others is told by their places.
        if let Some(Audited { audit, entry }) = audited {
            items.push(audit.adding(entry)?);
        }
        let transaction = item::transaction(&self.client);
        let written = transaction.set_transact_items(Some(items)).send().await;
        Ok(written.map(drop))
    }

    fn expecting(&self, part: &Part) -> Result<Put, Failure> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(part.item.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match part.revision {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(expected) => put
                .condition_expression("revision = :expected")
                .expression_attribute_values(":expected", revision(expected)),
        };
        put.build().map_err(Failure::of(OPERATION))
    }
}

type Written = Result<(), aws_sdk_dynamodb::error::SdkError<TransactWriteItemsError>>;

impl Part {
    /// Whether this new row is the one that is there: the keys are the same.
    fn is_there_as(&self, row: &Item) -> bool {
        let ours = subject(&self.item);
        self.revision.is_none() && ours.is_some() && ours == subject(row)
    }
}

/// The refunds as they are after the write: those that are written, and what else
/// is there.
fn merged(parts: &[Part], ours: &[Refund], known: Vec<Refund>) -> Vec<Refund> {
    let is_written = |refund: &&Refund| {
        let sk = refunds::sort_key(refund);
        parts.iter().any(|part| text(&part.item, "sk") == Some(&sk))
    };
    let mut all: Vec<Refund> = ours.iter().filter(is_written).cloned().collect();
    all.extend(known.into_iter().filter(|refund| !is_written(&refund)));
    all
}

/// What a delivery or a refund is about: a payment, by WeChat's number or, if
/// there never was one, the hub's; else the order, which is closed once.
fn subject(item: &Item) -> Option<&AttributeValue> {
    let payload = item.get("payload").and_then(|payload| payload.as_m().ok());
    let about = payload.unwrap_or(item);
    about
        .get("transaction_id")
        .or_else(|| about.get("trade_no"))
        .or_else(|| about.get("order_no"))
}
