//! An order that is not paid yet, or not known to be; one that is paid by code
//! is `micropay`'s.

use shared::aws::Failure;
use shared::aws::ledger::Saved;
use shared::domain::id::OrderKey;
use shared::domain::order::{Closure, Order};
use shared::domain::time::Timestamp;
use shared::flows::ask::Asked;

use crate::{Reconcile, micropay, ring_soon};

pub(crate) async fn ask(state: &Reconcile, key: &OrderKey, step: u8) -> Result<(), Failure> {
    let now = state.clock.now();
    let waiting = |order: &Order| order.is_watched() && order.step == step;
    let Some(mut order) = state.ledger.order(key).await? else {
        return Ok(());
    };
    if order.is_look_due(now) {
        return state.asking.look_at_taken_back(order, now).await;
    }
    if !waiting(&order) {
        return Ok(());
    }
    if order.payment_code().is_some() {
        return micropay::ask(state, order, now).await;
    }
    // Each payment that is found closes its attempt: there is an end.
    loop {
        match state.asking.ask(order, now).await? {
            Asked::NotPaid(order) => return move_on(state, order, now).await,
            // Others may have been paid as well, or can still be.
            Asked::Settled(settled) if waiting(&settled) => order = settled,
            // After a silence the sweeper rings again.
            Asked::Settled(_) | Asked::Silent(_) => return Ok(()),
        }
    }
}

/// Plans the next question, or closes the order after the last.
async fn move_on(state: &Reconcile, mut order: Order, now: Timestamp) -> Result<(), Failure> {
    let ends = order.status.is_open() && order.is_last_question(now);
    let saved = if ends && order.close() == Ok(Closure::Closed) {
        state.asking.settler.close(&mut order, now).await?
    } else {
        order.ask_later(now);
        state.ledger.save(&mut order).await?
    };
    match saved {
        Saved::Done => ring_soon(state, &order, now).await,
        Saved::Changed(row) => ring_soon(state, &row, now).await,
    }
    Ok(())
}
