//! A payer's code that WeChat has not decided about: asked every few seconds,
//! and taken back when it lasts too long. Before the first call that takes it
//! back the row says so, because from then on a payment seen at WeChat may be
//! on its way back to the payer, and must not be taken for one.

use shared::aws::Failure;
use shared::aws::ledger::Saved;
use shared::domain::order::{Order, Payment};
use shared::domain::time::Timestamp;
use shared::error::causes;
use shared::wechat::v2::micropay::Reversal;
use shared::wechat::v2::pay::Trade;
use shared::wechat::{self, Wechat};

use crate::Reconcile;

/// So long after it was given up, a payment by code is stuck.
const STUCK_SECONDS: i64 = 600;
/// WeChat's `recall=Y`, answered at once.
const RECALLS: u32 = 3;

/// What was found out.
enum Found {
    Paid(Payment),
    /// It can no longer be paid, for this reason.
    Over(&'static str),
    /// Not decided.
    Waiting,
}

pub(crate) async fn ask(
    state: &Reconcile,
    mut order: Order,
    now: Timestamp,
) -> Result<(), Failure> {
    let Some(attempt) = order.attempts.last().map(|attempt| attempt.number) else {
        return Ok(());
    };
    let is_reversing = |order: &Order| order.payment_code().is_some_and(|code| code.reversing);
    let wechat = state.merchant.wechat().await?;
    let mut found = look(&wechat, &order, attempt).await;
    // No answer is a reason to take it back, too: a till cannot wait for one.
    let undecided = matches!(
        found,
        Ok(Found::Waiting) | Err(wechat::Error::Unknown(_) | wechat::Error::Unreachable(_))
    );
    if undecided && order.is_last_question(now) {
        if !is_reversing(&order) {
            order.reverse();
            if let Saved::Changed(_) = state.ledger.save(&mut order).await? {
                return Ok(());
            }
        }
        found = take_back(&wechat, &order, attempt).await;
    }
    match found {
        Ok(Found::Paid(payment)) => {
            let settled = state.settler.settle(order, &payment, now);
            settled.await.map(drop)
        }
        Ok(Found::Over(code)) => {
            let failed = state.settler.fail(order, attempt, code, now);
            failed.await.map(drop)
        }
        Ok(Found::Waiting) => {
            log(&order, None, now);
            ask_later(state, order, now).await
        }
        Err(error) => {
            log(&order, Some(&error), now);
            ask_later(state, order, now).await
        }
    }
}

/// A payer may have been charged, and nobody is told before this ends: what
/// repeating does not mend, or lasts, is for a person.
fn log(order: &Order, error: Option<&wechat::Error>, now: Timestamp) {
    let order_key = order.key();
    let cause = error.map_or("WeChat does not decide".to_owned(), |error| causes(error));
    let lasts = order
        .payment_code()
        .is_some_and(|code| now > code.give_up_at.plus_seconds(STUCK_SECONDS));
    let passing = matches!(
        error,
        None | Some(wechat::Error::Unknown(_) | wechat::Error::Unreachable(_))
    );
    if lasts || !passing {
        tracing::error!(alarm = "payment_stuck", order = %order_key, cause,
            "a payment code is not decided; look it up in WeChat's platform");
    } else if error.is_some() {
        tracing::warn!(order = %order_key, cause, "WeChat gave no answer about a payment code");
    }
}

async fn look(wechat: &Wechat, order: &Order, attempt: u8) -> Result<Found, wechat::Error> {
    let reversing = order.payment_code().is_some_and(|code| code.reversing);
    Ok(match wechat.query(&order.out_trade_no(attempt)).await? {
        Trade::Paid(payment) if !reversing => Found::Paid(payment),
        // Paid, but it is being taken back: go on with that.
        Trade::Paid(_) => Found::Waiting,
        Trade::Returned(payment) if !reversing => Found::Paid(payment),
        Trade::Returned(_) | Trade::Closed if reversing => Found::Over("REVERSED"),
        Trade::Returned(_) | Trade::Closed => Found::Over("REVOKED"),
        Trade::Failed => Found::Over("PAYERROR"),
        Trade::Open | Trade::Unknown => Found::Waiting,
    })
}

async fn take_back(wechat: &Wechat, order: &Order, attempt: u8) -> Result<Found, wechat::Error> {
    for _ in 0..RECALLS {
        match wechat.reverse(&order.out_trade_no(attempt)).await? {
            Reversal::Done => return Ok(Found::Over("REVERSED")),
            Reversal::Again => {}
        }
    }
    Ok(Found::Waiting)
}

/// The sweeper looks every minute; a till does not wait that long.
async fn ask_later(state: &Reconcile, mut order: Order, now: Timestamp) -> Result<(), Failure> {
    order.ask_later(now);
    if let Saved::Changed(_) = state.ledger.save(&mut order).await? {
        return Ok(());
    }
    state.reconcile.ring_for_order(&order, now).await;
    Ok(())
}
