//! Owns what WeChat remembers of an order: its parameters, its trade state,
//! its refunds and the notifications sent for it. Refuses to know wire
//! messages and HTTP.

use serde::Serialize;

use crate::sign::{Fields, SignType};

/// `trade_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum TradeState {
    #[serde(rename = "NOTPAY")]
    NotPay,
    #[serde(rename = "USERPAYING")]
    UserPaying,
    #[serde(rename = "SUCCESS")]
    Success,
    #[serde(rename = "REFUND")]
    Refund,
    #[serde(rename = "CLOSED")]
    Closed,
    #[serde(rename = "REVOKED")]
    Revoked,
    #[serde(rename = "PAYERROR")]
    PayError,
}

impl TradeState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotPay => "NOTPAY",
            Self::UserPaying => "USERPAYING",
            Self::Success => "SUCCESS",
            Self::Refund => "REFUND",
            Self::Closed => "CLOSED",
            Self::Revoked => "REVOKED",
            Self::PayError => "PAYERROR",
        }
    }

    pub(crate) fn described(self) -> &'static str {
        match self {
            Self::NotPay => "订单未支付",
            Self::UserPaying => "需要用户输入支付密码",
            Self::Success => "支付成功",
            Self::Refund => "订单发生过退款，退款详情请查询退款单",
            Self::Closed => "订单已关闭",
            Self::Revoked => "订单已撤销",
            Self::PayError => "支付失败，请重新下单支付",
        }
    }
}

/// `trade_type`, and the two ways to pay that have none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum TradeType {
    #[serde(rename = "JSAPI")]
    Jsapi,
    #[serde(rename = "NATIVE")]
    Native,
    #[serde(rename = "APP")]
    App,
    #[serde(rename = "MWEB")]
    Mweb,
    #[serde(rename = "MICROPAY")]
    Micropay,
    /// An order of `genprepay`, 2014.
    #[serde(rename = "APP2014")]
    App2014,
}

impl TradeType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jsapi => "JSAPI",
            Self::Native => "NATIVE",
            Self::App | Self::App2014 => "APP",
            Self::Mweb => "MWEB",
            Self::Micropay => "MICROPAY",
        }
    }
}

/// One notification as it was sent and answered.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attempt {
    /// When it was sent, by the simulated clock.
    pub(crate) at_ms: i64,
    /// The HTTP status; absent when no answer came in time.
    pub(crate) status: Option<u16>,
    /// The first bytes of the answer, or why there was none.
    pub(crate) body: String,
    pub(crate) latency_ms: u64,
    /// Whether WeChat would take this answer for success.
    pub(crate) accepted: bool,
    /// What was wrong with it on purpose.
    pub(crate) fault: Option<String>,
}

/// A payment that happened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Payment {
    pub(crate) transaction_id: String,
    pub(crate) openid: String,
    pub(crate) coupon_fee: i64,
    pub(crate) paid_ms: i64,
}

/// A refund as `refundquery` tells it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Refund {
    pub(crate) refund_id: String,
    pub(crate) out_refund_no: String,
    pub(crate) refund_fee: i64,
    /// `PROCESSING`, `SUCCESS`, `CHANGE` or `REFUNDCLOSE`.
    pub(crate) status: &'static str,
    pub(crate) created_ms: i64,
    pub(crate) success_ms: Option<i64>,
    pub(crate) notify_url: Option<String>,
    pub(crate) notifications: Vec<Attempt>,
}

/// An order, whatever endpoint made it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Order {
    pub(crate) out_trade_no: String,
    pub(crate) trade_type: TradeType,
    pub(crate) state: TradeState,
    pub(crate) total_fee: i64,
    /// Its fields stand among the order's own in JSON.
    #[serde(flatten)]
    pub(crate) payment: Option<Payment>,
    pub(crate) refunds: Vec<Refund>,
    pub(crate) prepay_id: String,
    pub(crate) prepay_until_ms: i64,
    pub(crate) code_url: Option<String>,
    pub(crate) mweb_url: Option<String>,
    /// The page of `mweb_url` opens for five minutes.
    pub(crate) mweb_until_ms: i64,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: Option<i64>,
    /// All parameters as given, except `nonce_str` and `sign`.
    pub(crate) parameters: Fields,
    pub(crate) notifications: Vec<Attempt>,
    #[serde(skip)]
    pub(crate) sign_type: SignType,
}

impl Order {
    /// A parameter that was given and is not empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn is_paid(&self) -> bool {
        matches!(self.state, TradeState::Success | TradeState::Refund)
    }

    pub(crate) fn is_expired(&self, now_ms: i64) -> bool {
        self.expires_ms.is_some_and(|until| until <= now_ms)
    }

    /// What has been given back or is on its way. A refund that was closed has
    /// left the money with the merchant, so it may be refunded again.
    pub(crate) fn refunded(&self) -> i64 {
        let live = self
            .refunds
            .iter()
            .filter(|refund| refund.status != "REFUNDCLOSE");
        live.map(|refund| refund.refund_fee).sum()
    }
}
