//! The one way a confirmed payment, the end of one by code, or the end of an
//! order gets into the ledger, whoever learned of it: decide, commit the order
//! and what is owed for it in one transaction, ring.

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::ledger::{Ledger, Partition, Saved};
use crate::aws::queue::Queue;
use crate::aws::registry::Registry;
use crate::domain::delivery::{Delivery, Occasion};
use crate::domain::id::{OrderKey, OutRefundNo, OutTradeNo, RefundNo};
use crate::domain::order::{
    AnomalyKind, Found, Order, Payment, Returned, Settlement, Standing, Version,
};
use crate::domain::refund::{Answer, Promise, Refund};
use crate::domain::time::Timestamp;
use crate::flows::race::Race;
use crate::wechat::{self, Trade, Wechat};

/// A transaction holds a hundred rows, and each refund has one for what is owed.
/// Those beyond are found with the next question about what has gone back.
pub(super) const REFUNDS_AT_ONCE: usize = 45;

/// Takes payments, failures of payments by code, and closed orders to the ledger.
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
        found: &Found,
        now: Timestamp,
    ) -> Result<(Order, Settlement), Failure> {
        let payment = &found.payment;
        let mut known = self.known(&order, found).await?;
        let was_taken_back = order.is_taken_back(payment.attempt);
        let mut race = Race::new("settle a payment");
        loop {
            let told = known.as_ref().and_then(Partition::told_payment);
            let told = told.and_then(|told| told.payload.get("transaction_id"));
            let settlement = order.pay_knowing(found, told.map(String::as_str), now);
            if matches!(settlement, Settlement::Repeated | Settlement::TakenBack) {
                return Ok((order, settlement));
            }
            // First what has gone back already: nobody is told of money that is
            // not there, and no more goes back than is left.
            let mut refunds = returned_refunds(&order, payment, &found.returned, now);
            let mut rows = Vec::new();
            if let Some(known) = known {
                known.adopt_told(&mut order, now);
                rows = known.refunds;
            }
            // What is there goes on by itself, and tells how it ends.
            refunds.retain(|refund| rows.iter().all(|row| row.refund_no != refund.refund_no));
            // It has just become one of the order's payments.
            let _recounted = order.recount(&payment.transaction_id, refunds.iter().chain(&rows));
            refunds.truncate(REFUNDS_AT_ONCE);
            let mut deliveries = self.ended(&order, &refunds, now);
            if let Settlement::Anomaly(kind) = settlement {
                let refund = self.give_back(&mut order, kind, payment, now).await?;
                let refund_no = refund.as_ref().map(|refund| &refund.refund_no);
                let occasion = self.occasion(now);
                let told = Delivery::of_anomaly(&order, kind, payment, refund_no, occasion);
                deliveries.push(told);
                refunds.extend(refund);
            } else if order
                .payment
                .as_ref()
                .is_some_and(|paid| !paid.rest().is_zero())
            {
                deliveries.push(Delivery::of_payment(&order, payment, self.occasion(now)));
            }
            match self
                .commit(&mut order, &deliveries, &mut refunds, now)
                .await?
            {
                Saved::Done => {
                    tracing::info!(order = %order.key(), status = order.status.as_str(), "settled");
                    return Ok((order, settlement));
                }
                Saved::Changed(row) => order = *row,
            }
            // What WeChat said is older than that, and it is asked again.
            if !was_taken_back && order.is_taken_back(payment.attempt) {
                return Ok((order, Settlement::TakenBack));
            }
            race.lost().await?;
            known = self.ledger.partition(&order.key()).await?;
        }
    }

    /// What belongs to an order that may have been restored from a backup. Normally
    /// what is owed for it stands in the way and shows that it was; but of money
    /// that is gone nobody is told, nor of any with version 1.0.
    async fn known(&self, order: &Order, found: &Found) -> Result<Option<Partition>, Failure> {
        let is_told = order.request.version == Version::Relayed;
        if is_told && found.returned.is_empty() && order.status.is_open() {
            return Ok(None);
        }
        self.ledger.partition(&order.key()).await
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
        let mut race = Race::new("record a failed payment");
        loop {
            if order.fail(attempt, err_code).is_err() {
                return Ok(order);
            }
            let told = Delivery::of_failure(&order, attempt, err_code, self.occasion(now));
            match self.commit(&mut order, &[told], &mut [], now).await? {
                Saved::Done => {
                    tracing::info!(order = %order.key(), attempt, err_code, "payment failed");
                    return Ok(order);
                }
                Saved::Changed(row) => order = *row,
            }
            race.lost().await?;
        }
    }

    /// Writes an order that has just been closed, and what its app is told of
    /// that. Whoever loses the race decides again: the order may be paid. One of
    /// whose payment its app was told is not closed: it was restored from a backup.
    pub async fn close(&self, order: &mut Order, now: Timestamp) -> Result<Saved, Failure> {
        let known = self.ledger.partition(&order.key()).await?;
        if let Some(known) = known.filter(|known| known.told_payment().is_some()) {
            return self
                .reopen(known, now)
                .await
                .map(Box::new)
                .map(Saved::Changed);
        }
        let told = Delivery::of_closing(order, self.occasion(now));
        let saved = self.commit(order, &[told], &mut [], now).await?;
        if let Saved::Done = saved {
            let reason = order.close_reason().as_str();
            tracing::info!(order = %order.key(), reason, "order closed");
        }
        Ok(saved)
    }

    /// The payment that was told is looked for at WeChat, under the attempt that was
    /// told.
    async fn reopen(&self, known: Partition, now: Timestamp) -> Result<Order, Failure> {
        let told = known.told_payment();
        let told = told.map(|told| (told.payload.get("trade_no").cloned(), told.origin));
        let mut order = known.order;
        let Some((Some(trade_no), told_at)) = told.filter(|_| order.payment.is_none()) else {
            return Ok(order);
        };
        let number = OutTradeNo::parse(&trade_no).ok();
        let number = number.filter(|number| number.order == order.key());
        let adopted = number.map(|number| order.adopt_attempt(number.attempt, told_at, now));
        match adopted {
            Some(true) => tracing::warn!(order = %order.key(), trade_no,
                "the app was told of a payment that the order does not know: WeChat is asked"),
            _ => tracing::error!(alarm = "payment_missing", order = %order.key(), trade_no,
                "the app was told of a payment that WeChat does not tell of: not closed"),
        }
        match self.ledger.save(&mut order).await? {
            Saved::Done => Ok(order),
            Saved::Changed(row) => Ok(*row),
        }
    }

    /// An event's id is random. A write that lost a race has told nothing: the next
    /// one is another event.
    pub(super) fn occasion(&self, now: Timestamp) -> Occasion {
        Occasion {
            event_id: random_hex(),
            now,
            grace_seconds: self.grace_seconds,
        }
    }

    /// What the app is told of refunds that have reached the payer.
    pub(super) fn ended(&self, order: &Order, refunds: &[Refund], now: Timestamp) -> Vec<Delivery> {
        let ended = refunds.iter().filter(|refund| refund.status.is_final());
        ended
            .map(|refund| Delivery::of_refund(order, refund, self.occasion(now)))
            .collect()
    }

    /// Writes an order, what its app must be told, and refunds, and rings. With
    /// version 1.0 the hub does not call the app.
    pub(super) async fn commit(
        &self,
        order: &mut Order,
        deliveries: &[Delivery],
        refunds: &mut [Refund],
        now: Timestamp,
    ) -> Result<Saved, Failure> {
        let deliveries = match order.request.version {
            Version::Relayed => deliveries,
            Version::Direct => &[],
        };
        let saved = self.ledger.commit(order, deliveries, refunds, now).await?;
        if let Saved::Done = saved {
            for delivery in deliveries {
                let doorbell = delivery.doorbell();
                self.deliver_first.ring_or_leave(&doorbell, 0).await;
            }
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
        let id = &payment.transaction_id;
        let rest = order.payment_of(id).map(Payment::rest).unwrap_or_default();
        if rest.is_zero() || order.reserve_refund(id, rest).is_err() {
            return Ok(None);
        }
        let promise = Promise {
            payment,
            refund_no,
            refund_fee: rest,
            reason: Some(kind.as_str().to_owned()),
            due: now,
        };
        Ok(Some(Refund::new(order, promise, now)))
    }
}

/// The rows of refunds that WeChat made and the ledger does not have. One that is
/// under way is asked about like any other.
pub(super) fn returned_refunds<'b>(
    order: &Order,
    payment: &Payment,
    returned: impl IntoIterator<Item = &'b Returned>,
    now: Timestamp,
) -> Vec<Refund> {
    let key = order.key();
    let mut refunds = Vec::new();
    for back in returned {
        // The app's own, if the row was lost.
        let own = OutRefundNo::parse(&back.out_refund_no).ok();
        let own = own.filter(|number| number.order == key);
        let refund_no = own.map(|number| number.refund_no);
        let Some(refund_no) = refund_no.or_else(|| RefundNo::outside(&back.refund_id).ok()) else {
            continue;
        };
        let refund_id = back.refund_id.clone();
        let answer = match back.standing {
            Standing::Succeeded(at) => Answer::Succeeded(refund_id, Some(at)),
            Standing::UnderWay => Answer::Accepted(refund_id),
            // It moved no money.
            Standing::Closed => continue,
        };
        let promise = Promise {
            payment,
            refund_no,
            refund_fee: back.refund_fee,
            reason: None,
            due: now,
        };
        let mut refund = Refund::new(order, promise, now);
        refund.apply(answer, now);
        tracing::info!(order = %key, refund_no = %refund.refund_no,
            status = refund.status.as_str(), "a refund that WeChat made was found");
        refunds.push(refund);
    }
    refunds
}

/// What a query found: for a payment of which some has gone back, also what.
///
/// # Errors
/// When WeChat does not tell.
pub async fn found(
    wechat: &Wechat,
    order: &OrderKey,
    trade: Trade,
    now: Timestamp,
) -> Result<Option<Found>, wechat::Error> {
    match trade {
        Trade::Paid(payment) => Ok(Some(payment.into())),
        Trade::Returned(payment) => {
            let returned = wechat.returned(order, (&payment).into(), now).await;
            if let Err(wechat::Error::Uncounted) = returned {
                // The order stays as it is: nobody is told of money that may not be
                // there.
                tracing::error!(
                    alarm = "refund_uncounted",
                    %order,
                    transaction_id = payment.transaction_id,
                    "some of a payment has gone back before the hub knew it; count it in WeChat's platform"
                );
            }
            // Something has gone back, and the question about it lags: nothing may
            // be concluded yet.
            let returned = returned?.ok_or(wechat::Error::Unknown(None))?;
            Ok(Some(Found { payment, returned }))
        }
        Trade::Open | Trade::Closed | Trade::Failed | Trade::Unknown => Ok(None),
    }
}
