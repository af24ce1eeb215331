//! The one way a confirmed payment, or the end of one by code, gets into the
//! ledger, whoever learned of it: decide, commit the order and what is owed for
//! it in one transaction, ring. It refuses to know how it was learned of.

use std::time::Duration;

use aws_config::SdkConfig;

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::ledger::{Along, Ledger, Saved};
use crate::aws::queue::Queue;
use crate::aws::registry::Registry;
use crate::config;
use crate::domain::delivery::Delivery;
use crate::domain::id::RefundNo;
use crate::domain::order::{AnomalyKind, Order, Payment, Settlement, Version};
use crate::domain::refund::Refund;
use crate::domain::time::Timestamp;

/// Twenty notifications at once settle within two or three rounds.
const ROUNDS: u32 = 12;

/// What settling needs.
#[derive(Debug, Clone)]
pub struct Settler {
    /// Where orders are.
    pub ledger: Ledger,
    /// The apps, and whether they refund anomalies themselves.
    pub registry: Registry,
    /// Where first deliveries are rung.
    pub first: Queue,
    /// How long the sweeper leaves a fresh delivery to its doorbell.
    pub grace_seconds: i64,
}

impl Settler {
    /// With the tables and the queue that the environment names.
    ///
    /// # Errors
    /// The variable that is missing or malformed.
    pub fn new(aws: &SdkConfig) -> Result<Self, config::Invalid> {
        Ok(Self {
            ledger: Ledger::new(aws, config::required("LEDGER_TABLE")?),
            registry: Registry::new(aws, config::required("REGISTRY_TABLE")?),
            first: Queue::new(aws, config::required("DELIVER_FIRST_QUEUE_URL")?),
            grace_seconds: config::grace_seconds()?,
        })
    }

    /// Brings a payment into the ledger. Whatever the answer, it is durable.
    ///
    /// # Errors
    /// When that is not known. WeChat must be asked to repeat.
    pub async fn settle(
        &self,
        mut order: Order,
        payment: &Payment,
        now: Timestamp,
    ) -> Result<(Order, Settlement), Failure> {
        let event_id = random_hex();
        for round in 0..ROUNDS {
            let occasion = (event_id.clone(), now, self.grace_seconds);
            let settlement = order.pay(payment.clone(), now);
            let (delivery, mut refund) = match settlement {
                Settlement::Repeated | Settlement::TakenBack => return Ok((order, settlement)),
                Settlement::Paid => (Delivery::of_payment(&order, payment, occasion), None),
                Settlement::Anomaly(kind) => {
                    let refund = self.give_back(&mut order, (kind, payment), now).await?;
                    let refund_no = refund.as_ref().map(|refund| &refund.refund_no);
                    let about = (kind, payment, refund_no);
                    (Delivery::of_anomaly(&order, about, occasion), refund)
                }
            };
            match self.commit(&mut order, &delivery, refund.as_mut()).await? {
                Saved::Done => {
                    tracing::info!(order = %order.key(), status = order.status.as_str(), "settled");
                    return Ok((order, settlement));
                }
                Saved::Changed(row) => order = *row,
            }
            pause(round).await;
        }
        Err(Failure::contended("settle a payment"))
    }

    /// A payment by code failed for good, or was taken back. The order as it
    /// is then: somebody else may have brought in a payment first.
    ///
    /// # Errors
    /// When it is not known to be written.
    pub async fn fail(
        &self,
        mut order: Order,
        (attempt, err_code): (u8, &str),
        now: Timestamp,
    ) -> Result<Order, Failure> {
        let event_id = random_hex();
        for round in 0..ROUNDS {
            if order.fail(attempt, err_code).is_err() {
                return Ok(order);
            }
            let occasion = (event_id.clone(), now, self.grace_seconds);
            let delivery = Delivery::of_failure(&order, (attempt, err_code), occasion);
            match self.commit(&mut order, &delivery, None).await? {
                Saved::Done => {
                    tracing::info!(order = %order.key(), attempt, err_code, "payment failed");
                    return Ok(order);
                }
                Saved::Changed(row) => order = *row,
            }
            pause(round).await;
        }
        Err(Failure::contended("record a failed payment"))
    }

    /// Writes an order, what its app must be told, and perhaps a refund, and
    /// rings. With version 1.0 the hub does not call the app.
    pub(crate) async fn commit(
        &self,
        order: &mut Order,
        delivery: &Delivery,
        refund: Option<&mut Refund>,
    ) -> Result<Saved, Failure> {
        let delivery = Some(delivery).filter(|_| order.request.version == Version::Hub);
        let along = Along { delivery, refund };
        let saved = self.ledger.commit(order, along).await?;
        if let (Saved::Done, Some(delivery)) = (&saved, delivery)
            && let Err(failure) = self.first.ring(&delivery.doorbell(), 0).await
        {
            // It is committed: a bell that does not ring delays it, no more.
            tracing::warn!(order = %order.key(), %failure, "the doorbell did not ring, the sweeper will");
        }
        Ok(saved)
    }

    /// The refund of a payment that does not fit; none when the app does it by
    /// hand. The next sweep has it sent to WeChat.
    async fn give_back(
        &self,
        order: &mut Order,
        (kind, payment): (AnomalyKind, &Payment),
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
        let fee = payment.total_fee;
        if order.reserve_refund(&payment.transaction_id, fee).is_err() {
            return Ok(None);
        }
        let mut refund = Refund::new(order, payment, (refund_no, fee), (now, now));
        refund.reason = Some(kind.as_str().to_owned());
        Ok(Some(refund))
    }
}

/// Others are writing the same order: lets them.
pub async fn pause(round: u32) {
    tokio::time::sleep(Duration::from_millis(u64::from(round.min(5)) * 20)).await;
}
