//! Asks WeChat about an order whose time has come: no notification came, or it
//! has expired. What it finds takes exactly the path that a notification takes.
//! It refuses to know why the row woke.

use std::sync::Arc;

use shared::ambient::Clock;
use shared::aws::Failure;
use shared::aws::queue::Doorbell;
use shared::aws::secrets::Merchant;
use shared::domain::id::OrderKey;
use shared::domain::order::{Order, Payment};
use shared::domain::time::Timestamp;
use shared::settle::Settler;
use shared::telemetry::causes;
use shared::wechat::pay::{Closing, Trade};
use shared::wechat::{self, Wechat};

/// What the function works with.
#[derive(Debug)]
pub struct Hub {
    /// The time.
    pub clock: Clock,
    /// Whose orders these are.
    pub merchant: Merchant,
    /// Where payments go.
    pub settler: Settler,
}

/// Handles one doorbell.
///
/// # Errors
/// When AWS does not answer; SQS and the sweeper both repeat.
pub async fn reconcile(hub: Arc<Hub>, doorbell: Doorbell) -> Result<(), Failure> {
    let now = hub.clock.now();
    let Ok(key) = OrderKey::parse(&doorbell.pk) else {
        tracing::error!(pk = doorbell.pk, "a doorbell names no order");
        return Ok(());
    };
    let waiting = |order: &Order| order.status.is_open() && order.step == doorbell.step;
    let Some(mut order) = hub.settler.ledger.order(&key).await?.filter(waiting) else {
        return Ok(());
    };
    match ask(&*hub.merchant.wechat().await?, &mut order, now).await {
        Ok(None) => move_on(&hub, order, now).await,
        Ok(Some(payment)) => {
            hub.settler.settle(order, &payment, now).await?;
            // Kept as an anomaly, it leaves the order waiting.
            match hub.settler.ledger.order(&key).await?.filter(waiting) {
                Some(order) => move_on(&hub, order, now).await,
                None => Ok(()),
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
async fn ask(
    wechat: &Wechat,
    order: &mut Order,
    now: Timestamp,
) -> Result<Option<Payment>, wechat::Error> {
    let last = order.is_last_question(now);
    let live = order.attempts.iter().filter(|attempt| !attempt.closed);
    for attempt in live.map(|attempt| attempt.number).collect::<Vec<u8>>() {
        let number = order.out_trade_no(attempt);
        match wechat.query(&number).await? {
            Trade::Paid(payment) => return Ok(Some(payment)),
            Trade::Closed => order.attempt_closed(attempt),
            // The payer may try again, or WeChat may still be creating it.
            Trade::Open | Trade::Failed | Trade::Unknown if last => {
                match wechat.close(&number).await? {
                    Closing::Closed => order.attempt_closed(attempt),
                    Closing::Paid => match wechat.query(&number).await? {
                        Trade::Paid(payment) => return Ok(Some(payment)),
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
async fn move_on(hub: &Hub, mut order: Order, now: Timestamp) -> Result<(), Failure> {
    if order.is_last_question(now) && order.close().is_ok() {
        tracing::info!(order = %order.key(), "order closed");
    } else {
        order.ask_later(now);
    }
    hub.settler.ledger.save(&mut order).await.map(drop)
}
