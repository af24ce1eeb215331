//! What WeChat remembers of an order: its parameters, its trade state, its
//! payment, its refunds and the notifications sent for it.

use serde::{Deserialize, Serialize};

use super::Moment;
use super::message::{Refusal, Request, put};
use crate::beijing;
use crate::forge::Flaw;
use crate::sign::{Fields, SignType};

const MINUTE_MS: i64 = 60_000;
/// A prepay id is good for two hours.
const PREPAY_MS: i64 = 120 * MINUTE_MS;
/// The page of a `mweb_url` opens for so long.
pub(super) const MWEB_MS: i64 = 5 * MINUTE_MS;

/// The `trade_state` of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TradeState {
    /// The payer may pay.
    NotPay,
    /// A code was charged, and its payer is asked for the password.
    UserPaying,
    /// Paid, and nothing of it was ever given back.
    Success,
    /// Paid, and a refund was accepted, whatever became of that.
    Refund,
    /// The merchant has closed it before it was paid.
    Closed,
    /// The merchant has reversed it, paid or not.
    Revoked,
    /// The payment by code has failed.
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
#[serde(rename_all = "UPPERCASE")]
pub enum TradeType {
    /// In WeChat's own browser.
    Jsapi,
    /// By a QR code that the payer scans.
    Native,
    /// In a merchant's app.
    App,
    /// In a phone's other browser.
    Mweb,
    /// By the payer's code, which the merchant scans.
    Micropay,
    /// An order of `genprepay`, 2014.
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

/// Which face an order was opened through, or a refund was asked for: its
/// notifications and its client's signature follow from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// XML, MD5 or HMAC-SHA256.
    V2,
    /// JSON, RSA.
    V3,
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
    pub(crate) fault: Option<Flaw>,
}

/// A payment that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Payment {
    /// WeChat's number of it, 28 digits.
    pub transaction_id: String,
    pub(crate) openid: String,
    /// What the merchant's coupons paid, which it is not paid out.
    pub(crate) coupon_fee: i64,
    /// What coupons paid that the merchant had charged up before.
    pub(crate) cash_coupon_fee: i64,
    pub(crate) paid_ms: i64,
}

impl Payment {
    /// What all coupons paid.
    pub(crate) fn coupons_fee(&self) -> i64 {
        self.coupon_fee + self.cash_coupon_fee
    }
}

/// The `refund_status` of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RefundStatus {
    /// Accepted, and on its way.
    Processing,
    /// The payer's account cannot be reached: a person must act.
    Change,
    /// The payer has the money.
    Success,
    /// Given up; the money stays with the merchant.
    #[serde(rename = "REFUNDCLOSE")]
    Closed,
}

impl RefundStatus {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Processing => "PROCESSING",
            Self::Change => "CHANGE",
            Self::Success => "SUCCESS",
            Self::Closed => "REFUNDCLOSE",
        }
    }
}

/// A refund as `refundquery` tells it.
#[derive(Clone, Debug, Serialize)]
pub struct Refund {
    /// WeChat's number of it, 29 digits.
    pub refund_id: String,
    /// The merchant's number for it.
    pub out_refund_no: String,
    /// What goes back, in fen.
    pub refund_fee: i64,
    /// Where it stands; only its driver moves it on.
    pub status: RefundStatus,
    /// When it was made.
    pub created_ms: i64,
    /// When the money arrived.
    pub success_ms: Option<i64>,
    /// A person made it in the merchant platform.
    pub by_hand: bool,
    /// The face that it was asked for through; a person's is told in v2's form.
    pub version: Version,
    pub(crate) notify_url: Option<String>,
    pub(crate) notifications: Vec<Attempt>,
}

impl Refund {
    pub(super) fn new(out_refund_no: String, refund_fee: i64, moment: Moment) -> Self {
        Self {
            refund_id: moment.refund_id(),
            out_refund_no,
            refund_fee,
            status: RefundStatus::Processing,
            created_ms: moment.now_ms,
            success_ms: None,
            by_hand: false,
            version: Version::V2,
            notify_url: None,
            notifications: Vec::new(),
        }
    }

    /// Where the merchant wants to be told of it.
    #[must_use]
    pub fn notify_url(&self) -> Option<&str> {
        self.notify_url.as_deref()
    }
}

/// The answer to `refund` calls for one order, whatever is right.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Obstacle {
    /// WeChat's name of it, `NOTENOUGH` for example.
    pub err_code: String,
    /// How many more calls it meets; all until it is taken away when absent.
    pub times: Option<u32>,
    /// The refund is made all the same: only its answer is lost.
    #[serde(default)]
    pub although_done: bool,
}

/// An order, whatever endpoint made it.
#[derive(Clone, Debug, Serialize)]
pub struct Order {
    /// Whose order it is.
    pub mch_id: String,
    /// The account that it names.
    pub app_id: String,
    /// The merchant's number for it.
    pub out_trade_no: String,
    /// How it is to be paid.
    pub trade_type: TradeType,
    /// Where it stands, before the readings of `Rules`.
    pub state: TradeState,
    /// What was paid, or is to be paid, in fen.
    pub total_fee: i64,
    /// How it was paid. Its fields stand among the order's own in JSON.
    #[serde(flatten)]
    pub payment: Option<Payment>,
    /// What went back, or is on its way, the oldest first.
    pub refunds: Vec<Refund>,
    /// The face that it was opened through.
    pub version: Version,
    pub(crate) prepay_id: String,
    /// What APIv3 has given before; they go on working as long as the last one.
    pub(crate) earlier_prepay_ids: Vec<String>,
    pub(crate) prepay_until_ms: i64,
    pub(crate) code_url: Option<String>,
    pub(crate) mweb_url: Option<String>,
    /// The page of `mweb_url` opens until then.
    pub(crate) mweb_until_ms: i64,
    /// When WeChat was asked for it.
    pub created_ms: i64,
    pub(crate) expires_ms: Option<i64>,
    /// All parameters as given, except `nonce_str` and `sign`.
    pub(crate) parameters: Fields,
    pub(crate) notifications: Vec<Attempt>,
    /// How often orderquery found it.
    pub(crate) queries: u64,
    /// What stands in the way of its refunds, the first one first.
    pub(crate) obstacles: Vec<Obstacle>,
    /// `refundquery` knows a refund of it only so long after it was made.
    pub(crate) refund_lag_ms: i64,
    /// What orderquery says once all of it has gone back, and then, as WeChat
    /// promises, without the payment's fields; else what `Rules` read into it.
    pub(crate) full_refund_state: Option<TradeState>,
    /// How its notifications are signed.
    #[serde(skip)]
    pub sign_type: SignType,
}

impl Order {
    /// An order that nobody has paid and that does not expire.
    pub(crate) fn new(
        out_trade_no: String,
        trade_type: TradeType,
        total_fee: i64,
        parameters: Fields,
        sign_type: SignType,
        moment: Moment,
    ) -> Self {
        let named = |name: &str| parameters.get(name).cloned().unwrap_or_default();
        Self {
            mch_id: named("mch_id"),
            app_id: named("appid"),
            out_trade_no,
            trade_type,
            state: TradeState::NotPay,
            total_fee,
            payment: None,
            refunds: Vec::new(),
            version: Version::V2,
            prepay_id: moment.prepay_id(),
            earlier_prepay_ids: Vec::new(),
            prepay_until_ms: moment.now_ms.saturating_add(PREPAY_MS),
            code_url: None,
            mweb_url: None,
            mweb_until_ms: moment.now_ms,
            created_ms: moment.now_ms,
            expires_ms: None,
            parameters,
            notifications: Vec::new(),
            queries: 0,
            obstacles: Vec::new(),
            refund_lag_ms: 0,
            full_refund_state: None,
            sign_type,
        }
    }

    /// Asked for once more by APIv3: everything is fresh, and the old code and page
    /// are over.
    pub(crate) fn renew(&mut self, draft: Self) {
        let old = std::mem::replace(&mut self.prepay_id, draft.prepay_id);
        self.earlier_prepay_ids.push(old);
        self.prepay_until_ms = draft.prepay_until_ms;
        self.code_url = draft.code_url;
        self.mweb_url = draft.mweb_url;
        self.mweb_until_ms = draft.mweb_until_ms;
    }

    /// Whether this prepay id was given for it.
    pub(crate) fn is_prepaid(&self, prepay_id: &str) -> bool {
        let mut earlier = self.earlier_prepay_ids.iter();
        self.prepay_id == prepay_id || earlier.any(|id| id == prepay_id)
    }

    pub(super) fn age(&mut self, seconds: i64) {
        let times = [
            &mut self.created_ms,
            &mut self.prepay_until_ms,
            &mut self.mweb_until_ms,
        ];
        for time in times.into_iter().chain(&mut self.expires_ms) {
            *time = time.saturating_sub(seconds.saturating_mul(1000));
        }
    }

    /// A parameter that was given and is not empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Where the merchant wants to be told of its payment.
    #[must_use]
    pub fn notify_url(&self) -> Option<&str> {
        self.given("notify_url")
    }

    /// Whether the payer's money is here, less what refunds give back. A
    /// reversed order's is not.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        matches!(self.state, TradeState::Success | TradeState::Refund)
    }

    /// Whether the payer may still pay.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, TradeState::NotPay | TradeState::UserPaying)
    }

    /// Whether this is WeChat's number of its payment.
    pub(super) fn is_payment(&self, transaction_id: &str) -> bool {
        let payment = self.payment.as_ref();
        payment.is_some_and(|paid| paid.transaction_id == transaction_id)
    }

    pub(crate) fn is_expired(&self, now_ms: i64) -> bool {
        self.expires_ms.is_some_and(|until| until <= now_ms)
    }

    /// Whether this is the request that made it, or the same once more.
    #[must_use]
    pub fn is_asked_by(&self, request: &Request) -> bool {
        self.parameters == request.parameters()
    }

    /// The same number must be asked for with the same parameters.
    pub(super) fn check_same(&self, request: &Request) -> Result<(), Refusal> {
        if self.is_asked_by(request) {
            return Ok(());
        }
        Err(Refusal::business("INVALID_REQUEST", "201 商户订单号重复"))
    }

    /// What has been given back or is on its way. A refund that was closed has
    /// left the money with the merchant, so it may be refunded again.
    pub(super) fn refunded(&self) -> i64 {
        let live = self
            .refunds
            .iter()
            .filter(|refund| refund.status != RefundStatus::Closed);
        live.map(|refund| refund.refund_fee).sum()
    }

    /// Whether nothing is left.
    pub(crate) fn is_wholly_refunded(&self) -> bool {
        self.state == TradeState::Refund && self.refunded() >= self.total_fee
    }

    /// Whether a query says no more of it than where it stands.
    pub(crate) fn is_told_alone(&self) -> bool {
        self.full_refund_state.is_some() && self.is_wholly_refunded()
    }

    /// What nobody has given back.
    #[must_use]
    pub fn rest(&self) -> i64 {
        self.total_fee - self.refunded()
    }

    /// The fields of a payment, the same in queries, notifications and micropay.
    pub(super) fn paid_fields(&self) -> Fields {
        let mut fields = Fields::new();
        let Some(payment) = &self.payment else {
            return fields;
        };
        let cash_fee = self.total_fee - payment.coupons_fee();
        put(&mut fields, "openid", &payment.openid);
        put(&mut fields, "is_subscribe", "Y");
        put(&mut fields, "trade_type", self.trade_type.name());
        put(&mut fields, "bank_type", "OTHERS");
        put(&mut fields, "total_fee", self.total_fee);
        put(&mut fields, "fee_type", "CNY");
        put(&mut fields, "cash_fee", cash_fee);
        put(&mut fields, "cash_fee_type", "CNY");
        put(&mut fields, "transaction_id", &payment.transaction_id);
        put(&mut fields, "out_trade_no", &self.out_trade_no);
        put(&mut fields, "time_end", beijing::compact(payment.paid_ms));
        if payment.coupon_fee > 0 {
            let settled = self.total_fee - payment.coupon_fee;
            put(&mut fields, "settlement_total_fee", settled);
        }
        let coupons = [
            ("NO_CASH", "10000", payment.coupon_fee),
            ("CASH", "10001", payment.cash_coupon_fee),
        ];
        let coupons = coupons.into_iter().filter(|(_, _, fee)| *fee > 0);
        for (number, (kind, id, fee)) in coupons.enumerate() {
            put(&mut fields, "coupon_fee", payment.coupons_fee());
            put(&mut fields, "coupon_count", number + 1);
            put(&mut fields, &format!("coupon_type_{number}"), kind);
            put(&mut fields, &format!("coupon_id_{number}"), id);
            put(&mut fields, &format!("coupon_fee_{number}"), fee);
        }
        for name in ["attach", "device_info"] {
            if let Some(value) = self.given(name) {
                put(&mut fields, name, value);
            }
        }
        fields
    }
}
