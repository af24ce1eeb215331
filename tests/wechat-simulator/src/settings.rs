//! Owns the switches that a test may turn while the simulator runs, and their
//! honest defaults. Refuses to know what obeys them.

use serde::{Deserialize, Serialize};

use crate::users;

/// How a settled refund ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RefundResult {
    /// The money arrived.
    #[serde(rename = "SUCCESS")]
    Success,
    /// The payer's card is dead: a person must act.
    #[serde(rename = "CHANGE")]
    Change,
    /// Given up; the money stays with the merchant.
    #[serde(rename = "REFUNDCLOSE")]
    Closed,
}

/// What the payer does when the browser invokes `getBrandWCPayRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bridge {
    /// Pays.
    Ok,
    /// Closes the password box.
    Cancel,
    /// Sees an error of WeChat's.
    Fail,
}

/// All switches. Times are in the unit their name ends in; seconds are the
/// simulated clock's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Whether a payment sends its notification by itself.
    pub(crate) auto_notify: bool,
    /// Whether a settled refund sends its notification by itself.
    pub(crate) auto_notify_refunds: bool,
    /// Between a payment (or a settled refund) and its notification.
    pub(crate) notify_delay_ms: u64,
    /// Milliseconds per second of the notification's retry schedule.
    pub(crate) notify_time_scale: u64,
    /// How old an order must be before `closeorder` takes it.
    pub(crate) close_guard_seconds: i64,
    /// How old a micropay order must be before `reverse` takes it.
    pub(crate) reverse_guard_seconds: i64,
    /// Between two partial refunds of one order.
    pub(crate) refund_gap_seconds: i64,
    /// Between the acceptance of a refund and its result.
    pub(crate) refund_delay_ms: u64,
    /// The result of refunds that settle from now on.
    pub(crate) refund_result: RefundResult,
    /// `trade_state` of a wholly refunded order: `REFUND` or `CLOSED`.
    pub(crate) full_refund_state: String,
    /// `trade_state` of an unpaid order past its expiry: `NOTPAY` or `CLOSED`.
    pub(crate) expired_state: String,
    /// Life of access tokens and tickets.
    pub(crate) token_ttl_seconds: i64,
    /// Life of an OAuth code.
    pub(crate) code_ttl_seconds: i64,
    /// How many more `reverse` calls answer `recall=Y`.
    pub(crate) reverse_recalls: u32,
    /// Chosen without a page: `alice`, `bob`, `snapshot` or `refuse`.
    pub(crate) oauth_user: Option<String>,
    /// The only `host[:port]` that OAuth redirects to; any when absent.
    pub(crate) oauth_domain: Option<String>,
    /// Whether JSAPI orders must name an openid of the simulated users.
    pub(crate) strict_openid: bool,
    /// How long a payer of the `USERPAYING` case types the password.
    pub(crate) userpaying_ms: u64,
    /// How long an answer that "times out" is held back.
    pub(crate) hang_ms: u64,
    /// What `/phone/jsapi` and `/phone/app` do with a valid request.
    pub(crate) jsapi_result: Bridge,
    /// Seconds the simulated clock is ahead of the machine's.
    pub(crate) clock_ahead_seconds: i64,
}

/// Some three hundred years: far enough for every test, and no sum of times
/// overflows.
const FARTHEST_SECONDS: i64 = 10_000_000_000;

impl Settings {
    /// What no simulator could obey.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        let seconds = [
            self.close_guard_seconds,
            self.reverse_guard_seconds,
            self.refund_gap_seconds,
            self.token_ttl_seconds,
            self.code_ttl_seconds,
            self.clock_ahead_seconds,
        ];
        if seconds
            .iter()
            .any(|given| !(0..=FARTHEST_SECONDS).contains(given))
        {
            return Some("seconds go from 0 to 10000000000");
        }
        if !matches!(self.full_refund_state.as_str(), "REFUND" | "CLOSED") {
            return Some("full_refund_state is REFUND or CLOSED");
        }
        if !matches!(self.expired_state.as_str(), "NOTPAY" | "CLOSED") {
            return Some("expired_state is NOTPAY or CLOSED");
        }
        let user = self.oauth_user.as_deref();
        if user.is_some_and(|user| user != "refuse" && users::by_key(user).is_none()) {
            return Some("oauth_user is alice, bob, snapshot or refuse");
        }
        None
    }

    pub(crate) fn honest(notify_time_scale: u64) -> Self {
        Self {
            auto_notify: true,
            auto_notify_refunds: true,
            notify_delay_ms: 0,
            notify_time_scale,
            close_guard_seconds: 300,
            reverse_guard_seconds: 0,
            refund_gap_seconds: 0,
            refund_delay_ms: 500,
            refund_result: RefundResult::Success,
            full_refund_state: "REFUND".to_owned(),
            expired_state: "NOTPAY".to_owned(),
            token_ttl_seconds: 7200,
            code_ttl_seconds: 300,
            reverse_recalls: 0,
            oauth_user: None,
            oauth_domain: None,
            strict_openid: false,
            userpaying_ms: 3000,
            hang_ms: 60_000,
            jsapi_result: Bridge::Ok,
            clock_ahead_seconds: 0,
        }
    }
}
