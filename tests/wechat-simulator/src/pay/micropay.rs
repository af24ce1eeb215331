//! Payment codes: `micropay`, which charges one, and `reverse`, which takes the
//! payment back. What comes of a code is the driver's word, not decided here.

use super::message::{Refusal, Request, put};
use super::unified::{ORDER_FIELDS, draft, used_up};
use super::{Moment, Order, TradeState, TradeType, WechatPay, Wish};
use crate::sign::Fields;

const WEEK_MS: i64 = 7 * 24 * 3_600_000;

/// What comes of charging a payer's code. The names are WeChat's `err_code`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Paid at once.
    Paid,
    /// Paid at once, and answered with this code all the same.
    PaidUnsaid(&'static str),
    /// Neither paid nor failed, answered with this code: the payer is asked for
    /// the password.
    Open(&'static str),
    /// Refused for good. The query says `PAYERROR`, or nothing at all when the
    /// code itself was bad: then there never was an order.
    Refused(&'static str),
}

impl WechatPay {
    pub(super) fn micropay(
        &mut self,
        request: &Request,
        moment: Moment,
        charge: impl FnOnce(&str) -> Charge,
    ) -> Result<Fields, Refusal> {
        request.check(ORDER_FIELDS)?;
        request.check(&[("auth_code", true, 128)])?;
        let code = request.required("auth_code")?;
        self.check_account(request, TradeType::Micropay)?;
        let order = draft(request, TradeType::Micropay, moment)?;
        self.charge_code(request, order, code, moment, charge)
            .map(|order| order.paid_fields())
    }

    /// Charges a code for an order; the order, if it was paid at once.
    pub(crate) fn charge_code(
        &mut self,
        request: &Request,
        mut order: Order,
        code: &str,
        moment: Moment,
        charge: impl FnOnce(&str) -> Charge,
    ) -> Result<&Order, Refusal> {
        check_code(code)?;
        let number = order.out_trade_no.clone();
        if self
            .auth_codes
            .get(code)
            .is_some_and(|used| *used != number)
        {
            return Err(refused("AUTH_CODE_ERROR"));
        }
        if let Some(known) = self.own(request.mch_id(), &number) {
            used_up(known)?;
            known.check_same(request)?;
            let state = known.state;
            self.auth_codes.insert(code.to_owned(), number);
            return Err(refused(match state {
                TradeState::UserPaying => "USERPAYING",
                _ => "TRADE_ERROR",
            }));
        }
        let charge = charge(code);
        if let Charge::Refused(
            code @ ("AUTHCODEEXPIRE" | "AUTH_CODE_ERROR" | "AUTH_CODE_INVALID"),
        ) = charge
        {
            return Err(refused(code));
        }
        self.auth_codes.insert(code.to_owned(), number.clone());
        order.state = match charge {
            Charge::Paid | Charge::PaidUnsaid(_) => TradeState::NotPay,
            Charge::Open(_) => TradeState::UserPaying,
            Charge::Refused(_) => TradeState::PayError,
        };
        self.insert(order);
        if let Charge::Open(code) | Charge::Refused(code) = charge {
            return Err(refused(code));
        }
        self.pay_own(request.mch_id(), &number, Wish::default(), moment)
            .map_err(|error| Refusal::business("TRADE_ERROR", &error.to_string()))?;
        match charge {
            Charge::PaidUnsaid(code) => Err(refused(code)),
            _ => self.own(request.mch_id(), &number).ok_or_else(unknown),
        }
    }

    /// Closes what is not paid, gives back what is. A retry of either is the
    /// same.
    pub(super) fn reverse(&mut self, request: &Request, moment: Moment) -> Result<Fields, Refusal> {
        let number = self.numbered(request)?.out_trade_no.clone();
        let again = self.take_back(request.mch_id(), &number, moment)?;
        let mut answer = Fields::new();
        put(&mut answer, "recall", if again { "Y" } else { "N" });
        Ok(answer)
    }

    /// Takes a payment by code back; whether the merchant must ask again.
    pub(crate) fn take_back(
        &mut self,
        mch_id: &str,
        number: &str,
        moment: Moment,
    ) -> Result<bool, Refusal> {
        let guard_ms = self.rules.reverse_guard_seconds.saturating_mul(1000);
        let order = self
            .orders
            .get_mut(&(number.to_owned(), mch_id.to_owned()))
            .filter(|order| order.trade_type == TradeType::Micropay)
            .ok_or_else(|| Refusal::business("INVALID_REQUEST", "仅支持付款码支付的订单"))?;
        if order.state != TradeState::Revoked {
            if order.created_ms.saturating_add(WEEK_MS) < moment.now_ms {
                return Err(Refusal::business("REVERSE_EXPIRE", "订单无法撤销，超过7天"));
            }
            if moment.now_ms < order.created_ms.saturating_add(guard_ms) {
                return Err(Refusal::business("SYSTEMERROR", "支付后15秒内不能撤销"));
            }
            if self.rules.reverse_recalls > 0 {
                self.rules.reverse_recalls -= 1;
                return Ok(true);
            }
            order.refund_rest(moment);
            order.state = TradeState::Revoked;
        }
        Ok(false)
    }
}

/// 18 digits, of which the first two are 10 to 15.
fn check_code(code: &str) -> Result<(), Refusal> {
    let digits = code.len() == 18 && code.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = code.get(..2).and_then(|prefix| prefix.parse::<u8>().ok());
    if digits && prefix.is_some_and(|prefix| (10..=15).contains(&prefix)) {
        return Ok(());
    }
    Err(refused("AUTH_CODE_INVALID"))
}

fn unknown() -> Refusal {
    Refusal::business("ORDERNOTEXIST", "订单不存在")
}

fn refused(code: &str) -> Refusal {
    let message = match code {
        "USERPAYING" => "需要用户输入支付密码",
        "AUTH_CODE_INVALID" => "请扫描微信支付被扫条码/二维码",
        "AUTH_CODE_ERROR" => "每个二维码仅限使用一次，请刷新再试",
        "AUTHCODEEXPIRE" => "二维码已过期，请用户在微信上刷新后再试",
        "NOTENOUGH" => "余额不足",
        "TRADE_ERROR" => "交易错误，请确认后再试",
        "BANKERROR" => "银行系统异常",
        _ => "系统超时",
    };
    Refusal::business(code, message)
}
