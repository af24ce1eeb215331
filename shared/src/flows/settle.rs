//! The one way a confirmed payment, or the end of one by code, gets into the
//! ledger, whoever learned of it: decide, commit the order and what is owed for
//! it in one transaction, ring.

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::ledger::{Ledger, Saved};
use crate::aws::queue::Queue;
use crate::aws::registry::Registry;
use crate::domain::delivery::{Delivery, Occasion};
use crate::domain::id::RefundNo;
use crate::domain::order::{AnomalyKind, Order, Payment, Settlement, Version};
use crate::domain::refund::{Promise, Refund};
use crate::domain::time::Timestamp;
use crate::flows::race::Race;

/// Takes payments, and failures of payments by code, to the ledger.
#[derive(Debug, Clone)]
pub struct Settler {
    /// Where orders are.
    pub ledger: Ledger,
    /// The apps, and whether they refund anomalies themselves.
    pub registry: Registry,
    /// Where first deliveries are rung.
    pub deliver_first: Queue,
    /// How long the sweeper leaves a fresh delivery to its doorbell.
    pub grace_seconds: i64,
}

impl Settler {
    /// Brings a payment into the ledger. Whatever the answer, it is durable;
    /// without one, WeChat must be asked to repeat.
    pub async fn settle(
        &self,
        mut order: Order,
        payment: &Payment,
        now: Timestamp,
    ) -> Result<(Order, Settlement), Failure> {
        let occasion = self.occasion(now);
        let mut race = Race::new("settle a payment");
        loop {
            let settlement = order.pay(payment.clone(), now);
            let occasion = occasion.clone();
            let (delivery, mut refund) = match settlement {
                Settlement::Repeated | Settlement::TakenBack => return Ok((order, settlement)),
                Settlement::Paid => (Delivery::of_payment(&order, payment, occasion), None),
                Settlement::Anomaly(kind) => {
                    let refund = self.give_back(&mut order, kind, payment, now).await?;
                    let refund_no = refund.as_ref().map(|refund| &refund.refund_no);
                    let delivery = Delivery::of_anomaly(&order, kind, payment, refund_no, occasion);
                    (delivery, refund)
                }
            };
            match self.commit(&mut order, &delivery, refund.as_mut()).await? {
                Saved::Done => {
                    tracing::info!(order = %order.key(), status = order.status.as_str(), "settled");
                    return Ok((order, settlement));
                }
                Saved::Changed(row) => order = *row,
            }
            race.lost().await?;
        }
    }

    /// A payment by code failed for good, or was taken back. The order as it
    /// is then: somebody else may have brought in a payment first.
    pub async fn fail(
        &self,
        mut order: Order,
        attempt: u8,
        err_code: &str,
        now: Timestamp,
    ) -> Result<Order, Failure> {
        let occasion = self.occasion(now);
        let mut race = Race::new("record a failed payment");
        loop {
            if order.fail(attempt, err_code).is_err() {
                return Ok(order);
            }
            let delivery = Delivery::of_failure(&order, attempt, err_code, occasion.clone());
            match self.commit(&mut order, &delivery, None).await? {
                Saved::Done => {
                    tracing::info!(order = %order.key(), attempt, err_code, "payment failed");
                    return Ok(order);
                }
                Saved::Changed(row) => order = *row,
            }
            race.lost().await?;
        }
    }

    /// Under one id, however often the write that tells it must be tried.
    pub(super) fn occasion(&self, now: Timestamp) -> Occasion {
        Occasion {
            event_id: random_hex(),
            now,
            grace_seconds: self.grace_seconds,
        }
    }

    /// Writes an order, what its app must be told, and perhaps a refund, and
    /// rings. With version 1.0 the hub does not call the app.
    pub(super) async fn commit(
        &self,
        order: &mut Order,
        delivery: &Delivery,
        refund: Option<&mut Refund>,
    ) -> Result<Saved, Failure> {
        let delivery = Some(delivery).filter(|_| order.request.version == Version::Relayed);
        let saved = self.ledger.commit(order, delivery, refund).await?;
        if let (Saved::Done, Some(delivery)) = (&saved, delivery) {
            self.deliver_first
                .ring_or_leave(&delivery.doorbell(), 0)
                .await;
        }
        Ok(saved)
    }

    /// The refund of a payment that does not fit; none when the app does it by
    /// hand. The next sweep has it sent to WeChat.
    async fn give_back(
        &self,
        order: &mut Order,
        kind: AnomalyKind,
        payment: &Payment,
        now: Timestamp,
    ) -> Result<Option<Refund>, Failure> {
        // Before the write: a second alarm is better than none.
        tracing::error!(
            alarm = "payment_anomaly",
            order = %order.key(),
            transaction_id = payment.transaction_id,
            "a payment must go back: {}",
            kind.as_str()
        );
        let app = self.registry.app(&order.app_id).await?;
        if app.is_some_and(|app| app.refund_by_hand) {
            return Ok(None);
        }
        let Ok(refund_no) = RefundNo::automatic(&payment.transaction_id) else {
            return Ok(None);
        };
        let refund_fee = payment.total_fee;
        if order
            .reserve_refund(&payment.transaction_id, refund_fee)
            .is_err()
        {
            return Ok(None);
        }
        let promise = Promise {
            payment,
            refund_no,
            refund_fee,
            reason: Some(kind.as_str().to_owned()),
            due: now,
        };
        Ok(Some(Refund::new(order.key(), promise, now)))
    }
}
