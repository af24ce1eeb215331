//! Asking WeChat about an order, and taking what it says to the ledger: when
//! the plan says so (`reconcile`), when an app wants to know, and when a payer
//! comes back from WeChat. A notification's way ends where this one does.

use std::time::Duration;

use crate::aws::Failure;
use crate::aws::ledger::Saved;
use crate::aws::merchants::Merchants;
use crate::domain::order::{Closure, Curious, Found, Order};
use crate::domain::time::Timestamp;
use crate::error::causes;
use crate::flows::race::Race;
use crate::flows::settle::{Settler, found};
use crate::wechat::{self, Closing, Trade, Wechat};

/// Whoever asks out of turn waits for the answer, in a function that ends after
/// 15 s.
pub(super) const DEADLINE: Duration = Duration::from_secs(9);

/// Asks WeChat and settles what it says.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Where payments go.
    pub settler: Settler,
    /// Whose orders these are.
    pub merchants: Merchants,
}

/// What asking came to, and the order.
#[derive(Debug)]
pub enum Asked {
    /// A payment, or the end of a code, is in the ledger. The order may wait all
    /// the same, when the payment was kept as an anomaly.
    Settled(Order),
    /// Nobody has paid. The attempts that WeChat has closed are marked, and not
    /// written yet.
    NotPaid(Order),
    /// WeChat gave no usable answer: nothing may be concluded.
    Silent(Order),
}

/// How the payment with a payer's code stands.
#[derive(Debug)]
pub enum CodePayment {
    /// Paid, and perhaps gone back.
    Paid(Found),
    /// It can no longer be paid, for this reason.
    Over(&'static str),
    /// Not decided.
    Waiting,
}

impl Asking {
    /// Asks about every attempt that may still be paid. Those of an order that
    /// has expired are closed; a payment by code is never taken back here.
    pub async fn ask(&self, mut order: Order, now: Timestamp) -> Result<Asked, Failure> {
        let wechat = self.merchants.of(&order).await?;
        let coded = order.payment_code().and(order.attempts.last());
        if let Some(attempt) = coded.map(|attempt| attempt.number) {
            return self.ask_about_code(&wechat, order, attempt, now).await;
        }
        match ask_all(&wechat, &mut order, now).await {
            Ok(None) => Ok(Asked::NotPaid(order)),
            Ok(Some(found)) => {
                let (mut order, _) = self.settler.settle(order, &found, now).await?;
                order.attempt_closed(found.payment.attempt);
                Ok(Asked::Settled(order))
            }
            Err(error) => Ok(silent(order, &error)),
        }
    }

    async fn ask_about_code(
        &self,
        wechat: &Wechat,
        order: Order,
        attempt: u8,
        now: Timestamp,
    ) -> Result<Asked, Failure> {
        match look(wechat, &order, attempt, now).await {
            Ok(CodePayment::Paid(found)) => {
                let settled = self.settler.settle(order, &found, now);
                settled.await.map(|(order, _)| Asked::Settled(order))
            }
            Ok(CodePayment::Over(code)) => {
                let failed = self.settler.fail(order, attempt, code, now);
                failed.await.map(Asked::Settled)
            }
            Ok(CodePayment::Waiting) => Ok(Asked::NotPaid(order)),
            Err(error) => Ok(silent(order, &error)),
        }
    }

    /// The order as it is after WeChat was asked, or as it was when somebody has
    /// just asked or WeChat says nothing. The plan for later stays: this is
    /// beside it, and whoever dies here has changed nothing of it.
    pub async fn ask_out_of_turn(
        &self,
        mut order: Order,
        curious: Curious,
        now: Timestamp,
    ) -> Result<Order, Failure> {
        let mut race = Race::new("ask out of turn");
        loop {
            if !order.claim_question(curious, now) {
                return Ok(order);
            }
            match self.settler.ledger.save(&mut order).await? {
                Saved::Done => break,
                Saved::Changed(row) => order = *row,
            }
            race.lost().await?;
        }
        let as_it_was = order.clone();
        // Giving up is safe at every point: what is committed is owed.
        let Ok(asked) = tokio::time::timeout(DEADLINE, self.ask(order, now)).await else {
            tracing::warn!(order = %as_it_was.key(), "WeChat took too long about an order");
            return Ok(as_it_was);
        };
        match asked? {
            Asked::Settled(order) | Asked::Silent(order) => Ok(order),
            Asked::NotPaid(order) => self.keep(order, &as_it_was, now).await,
        }
    }

    /// Writes what was learned of an order that nobody has paid: which attempts
    /// are closed, and the end of an expired one. Whoever was faster moved it on.
    async fn keep(
        &self,
        mut order: Order,
        as_it_was: &Order,
        now: Timestamp,
    ) -> Result<Order, Failure> {
        // A payment by code does not end before it is taken back.
        let is_over = order.payment_code().is_none() && order.is_last_question(now);
        let saved = if is_over && order.close() == Ok(Closure::Closed) {
            self.settler.close(&mut order, now).await?
        } else if order == *as_it_was {
            return Ok(order);
        } else {
            self.settler.ledger.save(&mut order).await?
        };
        match saved {
            Saved::Done => Ok(order),
            Saved::Changed(row) => Ok(*row),
        }
    }
}

/// Unknown is not failed. Whoever asked by plan asks again, and the overdue
/// alarm tells how late the question is.
fn silent(order: Order, error: &wechat::Error) -> Asked {
    let cause = causes(error);
    tracing::warn!(order = %order.key(), error = cause, "WeChat gave no answer about an order");
    Asked::Silent(order)
}

/// Asks about every attempt that may still be paid, and closes those that should
/// not be: all of them when the order has expired. Finds the payment, if there is
/// one. Of several, one that has gone back comes last: it was the one too many.
async fn ask_all(
    wechat: &Wechat,
    order: &mut Order,
    now: Timestamp,
) -> Result<Option<Found>, wechat::Error> {
    let last = order.status.is_open() && order.is_last_question(now);
    let live = order.attempts.iter().filter(|attempt| !attempt.closed);
    let mut gone = None;
    for attempt in live.map(|attempt| attempt.number).collect::<Vec<u8>>() {
        let close = last || order.is_to_be_closed(attempt, now);
        let paid = match wechat.query(order, attempt, now).await? {
            trade @ (Trade::Paid(_) | Trade::Returned(_)) => {
                found(wechat, &order.key(), trade, now).await?
            }
            Trade::Closed => {
                order.attempt_closed(attempt);
                None
            }
            // The payer may try again, or WeChat may still be creating it.
            Trade::Open | Trade::Failed | Trade::Unknown if close => {
                match wechat.close(order, attempt, now).await {
                    Ok(Closing::Closed | Closing::Unknown) => {
                        order.attempt_closed(attempt);
                        None
                    }
                    Ok(Closing::Paid) => {
                        let trade = wechat.query(order, attempt, now).await?;
                        let found = found(wechat, &order.key(), trade, now).await?;
                        Some(found.ok_or(wechat::Error::Unknown(None))?)
                    }
                    Err(error) if last => return Err(error),
                    // The questions about the others go on.
                    Err(error) => {
                        tracing::warn!(order = %order.key(), attempt, error = causes(&error),
                            "WeChat did not close an attempt");
                        order.close_later(attempt, now);
                        None
                    }
                }
            }
            Trade::Open | Trade::Failed | Trade::Unknown => None,
        };
        match paid {
            Some(paid) if !paid.is_gone() => return Ok(Some(paid)),
            Some(paid) => gone = gone.or(Some(paid)),
            None => {}
        }
    }
    Ok(gone)
}

/// How the payment with the code of this attempt stands.
///
/// # Errors
/// When WeChat's answer is unusable or unknown; nothing may be concluded.
pub async fn look(
    wechat: &Wechat,
    order: &Order,
    attempt: u8,
    now: Timestamp,
) -> Result<CodePayment, wechat::Error> {
    let reversing = order.payment_code().is_some_and(|code| code.reversing);
    Ok(match wechat.query(order, attempt, now).await? {
        // Paid, but it is being taken back: go on with that.
        Trade::Paid(_) if reversing => CodePayment::Waiting,
        Trade::Returned(_) | Trade::Closed if reversing => CodePayment::Over("REVERSED"),
        trade @ (Trade::Paid(_) | Trade::Returned(_)) => found(wechat, &order.key(), trade, now)
            .await?
            .map_or(CodePayment::Waiting, CodePayment::Paid),
        Trade::Closed => CodePayment::Over("REVOKED"),
        Trade::Failed => CodePayment::Over("PAYERROR"),
        Trade::Open | Trade::Unknown => CodePayment::Waiting,
    })
}
