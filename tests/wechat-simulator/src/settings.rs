//! The switches that a test may turn while the simulator runs, beside the
//! order book's own `pay::Rules`, and their honest defaults.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::pay::{OLDER_SCHEDULE, RefundStatus, SCHEDULE, flaw_of_seconds};
use crate::users;

/// What the payer does when the browser invokes `getBrandWCPayRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bridge {
    /// Pays the order.
    Ok,
    /// Closes the password box.
    Cancel,
    /// Sees an error of WeChat's.
    Fail,
}

/// Times are in the unit their name ends in; seconds are the simulated clock's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Whether a payment sends its notification by itself.
    pub(crate) auto_notify: bool,
    /// Whether a settled refund sends its notification by itself.
    pub(crate) auto_notify_refunds: bool,
    /// Between a payment (or a settled refund) and its notification.
    pub(crate) notify_delay_ms: u64,
    /// Milliseconds per second of the notification's retry schedule.
    pub(crate) notify_time_scale: u64,
    /// Between the acceptance of a refund and its result.
    pub(crate) refund_delay_ms: u64,
    /// The result of refunds that settle from now on.
    pub(crate) refund_result: RefundStatus,
    /// Life of access tokens and tickets.
    pub(crate) token_ttl_seconds: i64,
    /// Life of an OAuth code.
    pub(crate) code_ttl_seconds: i64,
    /// Chosen without a page: `alice`, `bob`, `snapshot` or `refuse`.
    pub(crate) oauth_user: Option<String>,
    /// The only `host[:port]` that OAuth redirects to; any when absent.
    pub(crate) oauth_domain: Option<String>,
    /// The merchant's H5 payment domains: the `host[:port]` of the pages from
    /// which a phone's browser may come, and to which it is sent back.
    pub(crate) h5_domains: Vec<String>,
    /// How long a payer of the `USERPAYING` case types the password.
    pub(crate) userpaying_ms: u64,
    /// How long a charge of the late case is on its way.
    pub(crate) late_charge_ms: u64,
    /// How long an answer that "times out" is held back.
    pub(crate) hang_ms: u64,
    /// What `/phone/jsapi` and `/phone/app` do with a valid request.
    pub(crate) jsapi_result: Bridge,
    /// Seconds the simulated clock is ahead of the machine's.
    pub(crate) clock_ahead_seconds: i64,
    /// Seconds the clock of APIv3's signatures is ahead of the machine's, or
    /// behind.
    pub(crate) signing_clock_ahead_seconds: i64,
    /// Whether notifications are repeated by `/_control/repeat` alone.
    pub(crate) notify_stepped: bool,
    /// Whether they are repeated as the older documents say.
    pub(crate) notify_older_schedule: bool,
}

impl Settings {
    /// What no simulator could obey.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        let user = self.oauth_user.as_deref();
        flaw_of_seconds(&[
            self.token_ttl_seconds,
            self.code_ttl_seconds,
            self.clock_ahead_seconds,
            self.signing_clock_ahead_seconds.saturating_abs(),
        ])
        .or_else(|| {
            user.is_some_and(|user| user != "refuse" && users::by_key(user).is_none())
                .then_some("oauth_user is alice, bob, snapshot or refuse")
        })
    }

    /// The seconds between one attempt to notify and the next.
    pub(crate) fn schedule(&self) -> &'static [u32] {
        match self.notify_older_schedule {
            true => &OLDER_SCHEDULE,
            false => &SCHEDULE,
        }
    }

    pub(crate) fn honest(config: &Config) -> Self {
        Self {
            auto_notify: true,
            auto_notify_refunds: true,
            notify_delay_ms: 0,
            notify_time_scale: config.notify_time_scale,
            refund_delay_ms: 500,
            refund_result: RefundStatus::Success,
            token_ttl_seconds: 7200,
            code_ttl_seconds: 300,
            oauth_user: None,
            oauth_domain: None,
            h5_domains: config.h5_domains.clone(),
            userpaying_ms: 3000,
            late_charge_ms: 40_000,
            hang_ms: 60_000,
            jsapi_result: Bridge::Ok,
            clock_ahead_seconds: 0,
            signing_clock_ahead_seconds: 0,
            notify_stepped: false,
            notify_older_schedule: false,
        }
    }
}
