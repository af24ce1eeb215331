//! Asks WeChat about an order or a refund whose time has come: no notification
//! came, a payer types the password, an order has expired, money is on its way
//! back. What it finds takes exactly the path that a notification takes. It also
//! warns of a credential of the hub's that ends.

mod micropay;
mod order;

use std::sync::Arc;

use shared::ambient::Clock;
use shared::aws::Failure;
use shared::aws::ledger::{Ledger, ORDER, credential_of_row, refund_of_row};
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
    if let Some(name) = credential_of_row(&doorbell.pk, &doorbell.sk) {
        return warn(&state, name).await;
    }
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

/// Alarms first: if we die before the write, a second alarm is better than none.
async fn warn(state: &Reconcile, name: &str) -> Result<(), Failure> {
    let now = state.clock.now();
    let Some(mut credential) = state.ledger.credential(name).await? else {
        return Ok(());
    };
    let seen = credential.due;
    let Some(days_left) = credential.warn(now) else {
        return Ok(());
    };
    let ends_at = credential.ends_at.rfc3339();
    tracing::error!(
        alarm = "credential_ends",
        credential = name,
        days_left,
        ends_at,
        "a credential ends: renew it"
    );
    state.ledger.plan_warning(&credential, seen).await
}

/// Rings for a question that the sweeper's minute would be too late for. Also
/// after a lost race: whoever won may only have asked, and moved nothing on.
async fn ring_soon(state: &Reconcile, order: &Order, now: Timestamp) {
    if order.status.is_open() && order.is_due_soon(now) {
        state.reconcile.ring_for_order(order, now).await;
    }
}
