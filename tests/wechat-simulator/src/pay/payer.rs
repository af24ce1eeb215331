//! The moment a payer pays: who may pay which order, and what changes then.

use super::{Moment, Payment, TradeState, WechatPay};
use crate::users;

/// Why the payer's telephone says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotPay {
    /// No number, prepay id or code address is this one.
    #[error("there is no such order")]
    Unknown,
    /// Somebody has paid, even if it was given back since.
    #[error("the order is already paid")]
    Paid,
    /// The merchant has closed or reversed it.
    #[error("the order is closed")]
    Closed,
    /// The order or its prepay id is too old.
    #[error("the order has expired")]
    Expired,
    /// A coupon never covers everything.
    #[error("the coupon must be less than the total")]
    Coupon,
}

/// How the payer pays.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Who pays; by default whom the order names, or Alice.
    pub openid: Option<String>,
    /// The part of the total, in fen, that a coupon of the merchant's covers.
    pub coupon_fee: i64,
    /// The same for a coupon that the merchant had charged up before: it is paid
    /// out all the same.
    pub cash_coupon_fee: i64,
    /// Pay even when the order is closed or expired: the payer was already
    /// typing the password.
    pub force: bool,
    /// Another amount than was ordered.
    pub total_fee: Option<i64>,
}

/// What the payer has got.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Whose order it was.
    pub mch_id: String,
    /// The merchant's number.
    pub out_trade_no: String,
    /// WeChat's number of the payment.
    pub transaction_id: String,
}

/// What a payer types who was asked for the password after a code was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// Then it is paid.
    Right,
    /// Then the payment has failed.
    Wrong,
}

impl WechatPay {
    /// Pays the order that `handle` names (number, prepay id or code address).
    ///
    /// # Errors
    /// When nothing was paid.
    pub fn pay(&mut self, handle: &str, wish: Wish, moment: Moment) -> Result<Receipt, CannotPay> {
        let order = self.find(handle).ok_or(CannotPay::Unknown)?;
        let (mch_id, number) = (order.mch_id.clone(), order.out_trade_no.clone());
        let stale = order.is_prepaid(handle) && order.prepay_until_ms <= moment.now_ms;
        if stale && !wish.force && order.payment.is_none() {
            return Err(CannotPay::Expired);
        }
        self.pay_own(&mch_id, &number, wish, moment)
    }

    /// Pays the order of this merchant's number.
    pub(super) fn pay_own(
        &mut self,
        mch_id: &str,
        out_trade_no: &str,
        wish: Wish,
        moment: Moment,
    ) -> Result<Receipt, CannotPay> {
        let key = (out_trade_no.to_owned(), mch_id.to_owned());
        let order = self.orders.get_mut(&key).ok_or(CannotPay::Unknown)?;
        if order.payment.is_some() {
            return Err(CannotPay::Paid);
        }
        let total_fee = wish.total_fee.unwrap_or(order.total_fee);
        let coupons = [wish.coupon_fee, wish.cash_coupon_fee];
        let sum = coupons.into_iter().try_fold(0, i64::checked_add);
        if coupons.iter().any(|fee| *fee < 0) || sum.is_none_or(|sum| sum >= total_fee) {
            return Err(CannotPay::Coupon);
        }
        if !wish.force {
            if matches!(order.state, TradeState::Closed | TradeState::Revoked) {
                return Err(CannotPay::Closed);
            }
            if order.is_expired(moment.now_ms) {
                return Err(CannotPay::Expired);
            }
        }
        let ordered_for = order.given("openid").map(ToOwned::to_owned);
        let openid = wish.openid.or(ordered_for).unwrap_or_else(|| {
            match self.directory.account(&order.app_id) {
                Some(account) => users::ALICE.openid_at(account),
                None => users::ALICE.openid.to_owned(),
            }
        });
        let transaction_id = moment.transaction_id();
        order.payment = Some(Payment {
            transaction_id: transaction_id.clone(),
            openid,
            coupon_fee: wish.coupon_fee,
            cash_coupon_fee: wish.cash_coupon_fee,
            paid_ms: moment.now_ms,
        });
        order.total_fee = total_fee;
        order.state = TradeState::Success;
        Ok(Receipt {
            mch_id: order.mch_id.clone(),
            out_trade_no: order.out_trade_no.clone(),
            transaction_id,
        })
    }

    /// The payer of a charged code types the password; nothing when it is no
    /// longer asked for. Past the order's expiry it still counts.
    pub fn type_password(&mut self, out_trade_no: &str, password: Password, moment: Moment) {
        let order = self.order_mut(out_trade_no);
        let Some(order) = order.filter(|order| order.state == TradeState::UserPaying) else {
            return;
        };
        match password {
            Password::Wrong => order.state = TradeState::PayError,
            Password::Right => {
                let wish = Wish {
                    force: true,
                    ..Wish::default()
                };
                // What is asked for the password exists and is not paid.
                let _receipt = self.pay(out_trade_no, wish, moment);
            }
        }
    }
}
