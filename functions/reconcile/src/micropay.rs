//! A payer's code that WeChat has not decided about: asked every few seconds,
//! and taken back when it lasts too long. Before the first call that takes it
//! back the row says so, because from then on a payment seen at WeChat may be
//! on its way back to the payer, and must not be taken for one.

use shared::aws::Failure;
use shared::aws::ledger::Saved;
use shared::domain::order::Order;
use shared::domain::time::Timestamp;
use shared::error::causes;
use shared::flows::ask::{CodePayment, look};
use shared::wechat::{self, Reversal, Wechat};

use crate::{Reconcile, ring_soon};

/// So long after it was given up, a payment by code is stuck.
const STUCK_SECONDS: i64 = 600;
/// WeChat's `recall=Y`, answered at once.
const RECALLS: u32 = 3;

pub(crate) async fn ask(
    state: &Reconcile,
    mut order: Order,
    now: Timestamp,
) -> Result<(), Failure> {
    let Some(attempt) = order.attempts.last().map(|attempt| attempt.number) else {
        return Ok(());
    };
    let is_reversing = |order: &Order| order.payment_code().is_some_and(|code| code.reversing);
    let wechat = state.asking.merchants.of(&order).await?;
    let mut found = look(&wechat, &order, attempt, now).await;
    // No answer is a reason to take it back, too: a till cannot wait for one.
    let undecided = matches!(
        found,
        Ok(CodePayment::Waiting) | Err(wechat::Error::Unknown(_) | wechat::Error::Unreachable(_))
    );
    if undecided && order.is_last_question(now) {
        if !is_reversing(&order) {
            order.reverse();
            if let Saved::Changed(row) = state.ledger.save(&mut order).await? {
                ring_soon(state, &row, now).await;
                return Ok(());
            }
        }
        found = take_back(&wechat, &order, attempt, now).await;
    }
    match found {
        Ok(CodePayment::Paid(found)) => {
            let settled = state.asking.settler.settle(order, &found, now);
            settled.await.map(drop)
        }
        Ok(CodePayment::Over(code)) => {
            let failed = state.asking.settler.fail(order, attempt, code, now);
            failed.await.map(drop)
        }
        Ok(CodePayment::Waiting) => {
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

async fn take_back(
    wechat: &Wechat,
    order: &Order,
    attempt: u8,
    now: Timestamp,
) -> Result<CodePayment, wechat::Error> {
    for _ in 0..RECALLS {
        match wechat.reverse(order, attempt, now).await? {
            Reversal::Done => return Ok(CodePayment::Over("REVERSED")),
            Reversal::Again => {}
            // It proves nothing while the charge can still arrive.
            Reversal::Unknown if order.is_code_alive(now) => return Ok(CodePayment::Waiting),
            Reversal::Unknown => return Ok(CodePayment::Over("REVERSED")),
        }
    }
    Ok(CodePayment::Waiting)
}

/// The sweeper looks every minute; a till does not wait that long.
async fn ask_later(state: &Reconcile, mut order: Order, now: Timestamp) -> Result<(), Failure> {
    order.ask_later(now);
    match state.ledger.save(&mut order).await? {
        Saved::Done => state.reconcile.ring_for_order(&order, now).await,
        Saved::Changed(row) => ring_soon(state, &row, now).await,
    }
    Ok(())
}
