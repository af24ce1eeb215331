//! An order that is not paid yet, or not known to be; one that is paid by code
//! is `micropay`'s.

use shared::aws::Failure;
use shared::domain::id::OrderKey;
use shared::domain::order::{Order, Payment};
use shared::domain::time::Timestamp;
use shared::error::causes;
use shared::wechat::v2::pay::{Closing, Trade};
use shared::wechat::{self, Wechat};

use crate::{Reconcile, micropay};

pub(crate) async fn ask(state: &Reconcile, key: &OrderKey, step: u8) -> Result<(), Failure> {
    let now = state.clock.now();
    let waiting = |order: &Order| order.status.is_open() && order.step == step;
    let Some(mut order) = state.ledger.order(key).await?.filter(waiting) else {
        return Ok(());
    };
    if order.payment_code().is_some() {
        return micropay::ask(state, order, now).await;
    }
    let wechat = state.merchant.wechat().await?;
    match ask_all(&wechat, &mut order, now).await {
        Ok(None) => move_on(state, order, now).await,
        Ok(Some(payment)) => {
            let (order, _) = state.settler.settle(order, &payment, now).await?;
            // Kept as an anomaly, it leaves the order waiting.
            match waiting(&order) {
                true => move_on(state, order, now).await,
                false => Ok(()),
            }
        }
        // Unknown is not failed: the sweeper asks again, and its alarm tells
        // how late the question is.
        Err(error) => {
            tracing::warn!(order = %key, error = causes(&error), "WeChat gave no answer about an order");
            Ok(())
        }
    }
}

/// Asks about every attempt that may still be paid. When the order has expired
/// they are closed. Finds the payment, if there is one.
async fn ask_all(
    wechat: &Wechat,
    order: &mut Order,
    now: Timestamp,
) -> Result<Option<Payment>, wechat::Error> {
    let last = order.is_last_question(now);
    let live = order.attempts.iter().filter(|attempt| !attempt.closed);
    for attempt in live.map(|attempt| attempt.number).collect::<Vec<u8>>() {
        let number = order.out_trade_no(attempt);
        match wechat.query(&number).await? {
            Trade::Paid(payment) | Trade::Returned(payment) => return Ok(Some(payment)),
            Trade::Closed => order.attempt_closed(attempt),
            // The payer may try again, or WeChat may still be creating it.
            Trade::Open | Trade::Failed | Trade::Unknown if last => {
                match wechat.close(&number).await? {
                    Closing::Closed => order.attempt_closed(attempt),
                    Closing::Paid => match wechat.query(&number).await? {
                        Trade::Paid(payment) | Trade::Returned(payment) => {
                            return Ok(Some(payment));
                        }
                        _ => return Err(wechat::Error::Unknown(None)),
                    },
                }
            }
            Trade::Open | Trade::Failed | Trade::Unknown => {}
        }
    }
    Ok(None)
}

/// Plans the next question, or closes the order after the last. A lost race
/// means that somebody else moved it on.
async fn move_on(state: &Reconcile, mut order: Order, now: Timestamp) -> Result<(), Failure> {
    if order.is_last_question(now) && order.close().is_ok() {
        tracing::info!(order = %order.key(), "order closed");
    } else {
        order.ask_later(now);
    }
    state.ledger.save(&mut order).await.map(drop)
}
