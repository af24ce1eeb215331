//! Asks WeChat about an order or a refund whose time has come: no notification
//! came, a payer types the password, an order has expired, money is on its way
//! back. What it finds takes exactly the path that a notification takes.
//! It refuses to know why the row woke.

mod order;
mod scan;

use std::sync::Arc;

use shared::ambient::Clock;
use shared::aws::Failure;
use shared::aws::ledger::{ORDER, refund_of_row};
use shared::aws::queue::{Doorbell, Queue};
use shared::domain::id::{OrderKey, OutRefundNo};
use shared::refunds::Refunds;

/// What the function works with.
#[derive(Debug)]
pub struct Hub {
    /// The time.
    pub clock: Clock,
    /// Whose orders these are, and where payments and refunds go.
    pub refunds: Refunds,
    /// Where WeChat reports refunds.
    pub notify_url: String,
    /// Where the next question about a payer's code is rung.
    pub again: Queue,
}

/// Handles one doorbell.
///
/// # Errors
/// When AWS does not answer; SQS and the sweeper both repeat.
pub async fn reconcile(hub: Arc<Hub>, doorbell: Doorbell) -> Result<(), Failure> {
    let key = OrderKey::parse(&doorbell.pk).ok();
    match (key, refund_of_row(&doorbell.pk, &doorbell.sk)) {
        (_, Some(number)) => refund(&hub, &number, doorbell.step).await,
        (Some(key), None) if doorbell.sk == ORDER => order::ask(&hub, &key, doorbell.step).await,
        _ => {
            tracing::error!(pk = doorbell.pk, "a doorbell names no order and no refund");
            Ok(())
        }
    }
}

async fn refund(hub: &Hub, number: &OutRefundNo, step: u8) -> Result<(), Failure> {
    let (ledger, now) = (&hub.refunds.settler.ledger, hub.clock.now());
    let refund = ledger.refund(number).await?;
    let Some(mut refund) = refund.filter(|refund| refund.step == step) else {
        return Ok(());
    };
    // Doorbells come twice. Of two runs at once, one could be refused for good
    // and the other accepted.
    if !refund.claim(now) || !ledger.save_refund(&mut refund).await? {
        return Ok(());
    }
    let told = hub.refunds.go_on(refund, &hub.notify_url, now).await;
    told.map(drop)
}
