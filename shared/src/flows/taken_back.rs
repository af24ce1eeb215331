//! Looking once more at payments by code that were taken back: a charge may have
//! reached WeChat when there was nothing to take back yet. It goes back by
//! refund, and the app is told. By plan (`reconcile`), and when an app asks.

use std::time::Duration;

use crate::aws::Failure;
use crate::aws::ledger::Saved;
use crate::domain::order::{Found, Order};
use crate::domain::time::Timestamp;
use crate::error::causes;
use crate::flows::ask::Asking;
use crate::flows::settle::found;
use crate::wechat::{self, Trade, Wechat};

/// The look at refunds may follow, in a function that ends after 15 s.
const DEADLINE: Duration = Duration::from_secs(5);

impl Asking {
    /// The planned look. WeChat's silence leaves it due.
    pub async fn look_at_taken_back(&self, order: Order, now: Timestamp) -> Result<(), Failure> {
        let due = order.attempts_to_look_at(now);
        let (mut order, answered) = self.look_at_each(order, due, now).await?;
        if answered {
            order.looked_again(now);
            self.settler.ledger.save(&mut order).await?;
        }
        Ok(())
    }

    /// An app wants to know now. The plan stays; what WeChat does not tell changes
    /// nothing. The order as it is then.
    pub async fn look_out_of_turn(
        &self,
        mut order: Order,
        now: Timestamp,
    ) -> Result<Order, Failure> {
        if !order.claim_look_at_taken_back(now) {
            return Ok(order);
        }
        match self.settler.ledger.save(&mut order).await? {
            Saved::Done => {}
            // Whoever was faster has just asked, or has moved the order on.
            Saved::Changed(row) => return Ok(*row),
        }
        let as_it_was = order.clone();
        let mut attempts = order.attempts_taken_back();
        // The last first, should there be more than there is time for.
        attempts.reverse();
        // Giving up is safe at every point: what is committed is owed.
        match tokio::time::timeout(DEADLINE, self.look_at_each(order, attempts, now)).await {
            Ok(looked) => Ok(looked?.0),
            Err(_) => Ok(as_it_was),
        }
    }

    /// The order, and whether WeChat said something about each.
    async fn look_at_each(
        &self,
        mut order: Order,
        attempts: Vec<u8>,
        now: Timestamp,
    ) -> Result<(Order, bool), Failure> {
        let wechat = self.merchants.of(&order).await?;
        for attempt in attempts {
            match charged(&wechat, &order, attempt, now).await {
                Ok(Some(found)) => order = self.settler.settle(order, &found, now).await?.0,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(order = %order.key(), error = causes(&error),
                        "WeChat gave no answer about a payment that was taken back");
                    return Ok((order, false));
                }
            }
        }
        Ok((order, true))
    }
}

/// The charge that came, if one did.
async fn charged(
    wechat: &Wechat,
    order: &Order,
    attempt: u8,
    now: Timestamp,
) -> Result<Option<Found>, wechat::Error> {
    match wechat.query(order, attempt, now).await? {
        Trade::Returned(payment) => {
            let key = order.key();
            let returned = wechat.returned(&key, (&payment).into(), now).await?;
            // Without a refund, it was taken back as it should be.
            Ok(returned.map(|returned| Found { payment, returned }))
        }
        trade => found(wechat, &order.key(), trade, now).await,
    }
}
