//! Asks WeChat about an order whose time has come: no notification came, or it
//! has expired. What it finds takes exactly the path that a notification takes.
//! It refuses to know why the row woke.

use std::sync::Arc;

use shared::ambient::Clock;
use shared::aws::Failure;
use shared::aws::ledger::Saved;
use shared::aws::queue::Doorbell;
use shared::aws::secrets::Merchant;
use shared::domain::id::{OrderKey, OutTradeNo};
use shared::domain::order::Order;
use shared::domain::time::Timestamp;
use shared::settle::Settler;
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

/// What WeChat's answers come to.
enum Finding {
    Paid(Box<shared::domain::order::Payment>),
    Open,
    Gone,
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
    let order = hub.settler.ledger.order(&key).await?;
    let Some(order) = order.filter(|order| order.status.is_open() && order.step == doorbell.step)
    else {
        return Ok(());
    };
    let last = order.is_last_question(now);
    match ask(hub.merchant.wechat().await?, &order, last).await {
        Ok(Finding::Paid(payment)) => {
            hub.settler.settle(order, &payment, now).await?;
        }
        Ok(Finding::Open) => later(&hub, order, now).await?,
        Ok(Finding::Gone) => close(&hub, order).await?,
        // Unknown is not failed: the sweeper asks again.
        Err(error) => tracing::warn!(order = %key, %error, "WeChat gave no answer about an order"),
    }
    Ok(())
}

async fn ask(wechat: &Wechat, order: &Order, last: bool) -> Result<Finding, wechat::Error> {
    let Some(attempt) = order.attempts.last() else {
        return Ok(if last { Finding::Gone } else { Finding::Open });
    };
    let number = order.out_trade_no(attempt.number);
    match find(wechat, &number).await? {
        Finding::Open if last => match wechat.close(&number).await? {
            Closing::Closed => Ok(Finding::Gone),
            Closing::Paid => find(wechat, &number).await,
        },
        found => Ok(found),
    }
}

async fn find(wechat: &Wechat, number: &OutTradeNo) -> Result<Finding, wechat::Error> {
    Ok(match wechat.query(number).await? {
        Trade::Paid(payment) => Finding::Paid(Box::new(payment)),
        // WeChat may still be creating it, or the payer may try again.
        Trade::Open | Trade::Failed | Trade::Unknown => Finding::Open,
        Trade::Closed => Finding::Gone,
    })
}

/// Plans the next question; a lost race means that somebody else moved it on.
async fn later(hub: &Hub, mut order: Order, now: Timestamp) -> Result<(), Failure> {
    order.ask_later(now);
    hub.settler.ledger.save(&mut order).await.map(drop)
}

async fn close(hub: &Hub, mut order: Order) -> Result<(), Failure> {
    if order.close().is_ok() {
        match hub.settler.ledger.save(&mut order).await? {
            Saved::Done => tracing::info!(order = %order.key(), "order closed"),
            // Paid meanwhile, or moved on: the row's own wake decides.
            Saved::Changed(_) => {}
        }
    }
    Ok(())
}
