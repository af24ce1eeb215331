//! Asking WeChat about an order now, because somebody wants to know: whether it is
//! paid; of one that is, whether people have given it back, or whether what was
//! taken back was charged after all. When WeChat says nothing, or was asked a
//! moment ago, the ledger stays as it is.

use crate::aws::Failure;
use crate::domain::order::{Curious, Order};
use crate::domain::time::Timestamp;
use crate::flows::ask::Asking;
use crate::flows::refunds::Refunds;

/// Asks, and puts the answer into the ledger.
pub async fn query_now(
    asking: &Asking,
    refunds: &Refunds,
    order: Order,
    now: Timestamp,
) -> Result<(), Failure> {
    if order.status.is_open() {
        asking.ask_out_of_turn(order, Curious::App, now).await?;
        return Ok(());
    }
    let order = asking.look_out_of_turn(order, now).await?;
    refunds.look(order, now).await
}
