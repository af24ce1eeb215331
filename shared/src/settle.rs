//! The one way a confirmed payment gets into the ledger, whoever confirmed it:
//! decide, commit the order and what is owed for it in one transaction, ring.
//! It refuses to know how the payment was learned of.

use std::time::Duration;

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::ledger::{Ledger, Saved};
use crate::aws::queue::Queue;
use crate::domain::delivery::Delivery;
use crate::domain::order::{Order, Payment, Settlement, Version};
use crate::domain::time::Timestamp;

/// Twenty notifications at once settle within two or three rounds.
const ROUNDS: u32 = 12;

/// What settling needs.
#[derive(Debug, Clone)]
pub struct Settler {
    /// Where orders are.
    pub ledger: Ledger,
    /// Where first deliveries are rung.
    pub first: Queue,
    /// How long the sweeper leaves a fresh delivery to its doorbell.
    pub grace_seconds: i64,
}

impl Settler {
    /// Brings a payment into the ledger. Whatever the answer, it is durable.
    ///
    /// # Errors
    /// When that is not known. WeChat must be asked to repeat.
    pub async fn settle(
        &self,
        mut order: Order,
        payment: &Payment,
        now: Timestamp,
    ) -> Result<Settlement, Failure> {
        let event_id = random_hex();
        for round in 0..ROUNDS {
            let settlement = order.pay(payment.clone(), now);
            if let Settlement::Anomaly(kind) = settlement {
                // Before the write: a second alarm is better than none.
                tracing::error!(
                    alarm = "payment_anomaly",
                    order = %order.key(),
                    transaction_id = payment.transaction_id,
                    "a payment must go back: {}",
                    kind.as_str()
                );
            }
            let saved = match settlement {
                Settlement::Repeated => return Ok(settlement),
                Settlement::Paid if order.request.version == Version::Hub => {
                    let timing = (now, self.grace_seconds);
                    let owed = Delivery::of_payment(&order, payment, event_id.clone(), timing);
                    let saved = self.ledger.commit(&mut order, &owed).await?;
                    if matches!(saved, Saved::Done) {
                        self.ring(&owed).await;
                    }
                    saved
                }
                // Version 1.0: WeChat tells the app itself.
                Settlement::Paid | Settlement::Anomaly(_) => self.ledger.save(&mut order).await?,
            };
            match saved {
                Saved::Done => {
                    tracing::info!(order = %order.key(), status = order.status.as_str(), "settled");
                    return Ok(settlement);
                }
                Saved::Changed(row) => order = *row,
            }
            tokio::time::sleep(Duration::from_millis(u64::from(round) * 20)).await;
        }
        Err(Failure::contended("settle a payment"))
    }

    /// The delivery is committed: a bell that does not ring delays it, no more.
    async fn ring(&self, owed: &Delivery) {
        if let Err(failure) = self.first.ring(&owed.doorbell(), 0).await {
            tracing::warn!(order = %owed.key(), %failure, "the doorbell did not ring, the sweeper will");
        }
    }
}
