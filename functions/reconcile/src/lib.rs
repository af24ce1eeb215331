//! Asks WeChat about an order or a refund whose time has come: no notification
//! came, a payer types the password, an order has expired, money is on its way
//! back. What it finds takes exactly the path that a notification takes.

mod micropay;
mod order;

use std::sync::Arc;

use shared::ambient::Clock;
use shared::aws::Failure;
use shared::aws::ledger::{Ledger, ORDER, refund_of_row};
use shared::aws::queue::{Doorbell, Queue};
use shared::domain::id::{OrderKey, OutRefundNo};
use shared::domain::order::Order;
use shared::domain::time::Timestamp;
use shared::flows::ask::Asking;
use shared::flows::refunds::Refunds;

/// What the function works with.
#[derive(Debug)]
pub struct Reconcile {
    /// Where the time comes from; tests move it by hand.
    pub clock: Clock,
    /// The orders and their refunds.
    pub ledger: Ledger,
    /// How WeChat is asked about an order.
    pub asking: Asking,
    /// How a refund goes on.
    pub refunds: Refunds,
    /// Where WeChat reports refunds.
    pub notify_url: String,
    /// Where the next question is rung when it must not wait for the sweeper.
    pub reconcile: Queue,
}

/// Handles one doorbell. SQS and the sweeper both repeat one that fails.
pub async fn reconcile(state: Arc<Reconcile>, doorbell: Doorbell) -> Result<(), Failure> {
    let key = OrderKey::parse(&doorbell.pk).ok();
    match (key, refund_of_row(&doorbell.pk, &doorbell.sk)) {
        (_, Some(number)) => refund(&state, &number, doorbell.step).await,
        (Some(key), None) if doorbell.sk == ORDER => order::ask(&state, &key, doorbell.step).await,
        _ => {
            tracing::error!(pk = doorbell.pk, "a doorbell names no order and no refund");
            Ok(())
        }
    }
}

async fn refund(state: &Reconcile, number: &OutRefundNo, step: u8) -> Result<(), Failure> {
    let now = state.clock.now();
    let refund = state.ledger.refund(number).await?;
    let Some(mut refund) = refund.filter(|refund| refund.step == step) else {
        return Ok(());
    };
    // Doorbells come twice. Of two runs at once, one could be refused for good
    // and the other accepted.
    if !refund.claim(now) || !state.ledger.save_refund(&mut refund).await? {
        return Ok(());
    }
    let advanced = state.refunds.advance(refund, &state.notify_url, now);
    advanced.await.map(drop)
}

/// Rings for a question that the sweeper's minute would be too late for. Also
/// after a lost race: whoever won may only have asked, and moved nothing on.
async fn ring_soon(state: &Reconcile, order: &Order, now: Timestamp) {
    if order.status.is_open() && order.is_due_soon(now) {
        state.reconcile.ring_for_order(order, now).await;
    }
}
