//! Owns the moment a payer pays: who may pay which order, and what changes
//! then. Refuses to know pages, signatures and notifications.

use crate::ids;
use crate::orders::{Payment, TradeState};
use crate::state::World;
use crate::users;

/// Why the payer's telephone says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotPay {
    #[error("there is no such order")]
    Unknown,
    #[error("the order is already paid")]
    Paid,
    #[error("the order is closed")]
    Closed,
    #[error("the order has expired")]
    Expired,
    #[error("the coupon must be less than the total")]
    Coupon,
}

/// How the payer pays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) openid: Option<String>,
    /// The part of the total, in fen, that a coupon covers.
    pub(crate) coupon_fee: i64,
    /// Pay even when the order is closed or expired: the payer was already
    /// typing the password.
    pub(crate) force: bool,
    /// Another amount than was ordered.
    pub(crate) total_fee: Option<i64>,
}

/// What the payer has got.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub(crate) out_trade_no: String,
    pub(crate) transaction_id: String,
}

/// Pays the order that `handle` names (number, prepay id or code address).
pub(crate) fn pay(world: &mut World, handle: &str, wish: Wish) -> Result<Receipt, CannotPay> {
    let now = world.now_ms();
    let number = world.find(handle).map(|order| order.out_trade_no.clone());
    let order = number
        .and_then(|number| world.orders.get_mut(&number))
        .ok_or(CannotPay::Unknown)?;
    if order.is_paid() || order.payment.is_some() {
        return Err(CannotPay::Paid);
    }
    order.total_fee = wish.total_fee.unwrap_or(order.total_fee);
    if !(0..order.total_fee).contains(&wish.coupon_fee) {
        return Err(CannotPay::Coupon);
    }
    if !wish.force {
        if matches!(order.state, TradeState::Closed | TradeState::Revoked) {
            return Err(CannotPay::Closed);
        }
        let stale = order.prepay_id == handle && order.prepay_until_ms <= now;
        if order.is_expired(now) || stale {
            return Err(CannotPay::Expired);
        }
    }
    let ordered_for = order.given("openid").map(ToOwned::to_owned);
    let openid = wish
        .openid
        .or(ordered_for)
        .unwrap_or_else(|| users::ALICE.openid.to_owned());
    let transaction_id = ids::transaction_id(now);
    order.payment = Some(Payment {
        transaction_id: transaction_id.clone(),
        openid,
        coupon_fee: wish.coupon_fee,
        paid_ms: now,
    });
    order.state = TradeState::Success;
    Ok(Receipt {
        out_trade_no: order.out_trade_no.clone(),
        transaction_id,
    })
}
