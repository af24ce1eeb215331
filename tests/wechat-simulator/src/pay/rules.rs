//! WeChat's rules that tests turn, or of which its documents leave two
//! readings.

use serde::{Deserialize, Serialize};

use super::{Order, Refusal, TradeState};

/// Seconds are those of the [`Moment`](super::Moment)s.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rules {
    /// How old an order must be before `closeorder` takes it.
    pub close_guard_seconds: i64,
    /// How old a micropay order must be before `reverse` takes it.
    pub reverse_guard_seconds: i64,
    /// Between two partial refunds of one order.
    pub refund_gap_seconds: i64,
    /// What the merchant's account holds for refunds, in fen; enough when absent.
    /// What it lacks is refused with `NOTENOUGH`.
    pub balance_fen: Option<i64>,
    /// How many more `reverse` calls answer `recall=Y`.
    pub reverse_recalls: u32,
    /// `trade_state` of an unpaid order past its expiry: `NOTPAY` or `CLOSED`.
    pub expired_state: TradeState,
    /// `trade_state` of a wholly refunded order: `REFUND` or `CLOSED`.
    pub full_refund_state: TradeState,
    /// `trade_state` of a paid order that was reversed: `REVOKED` or `REFUND`.
    pub reversed_state: TradeState,
    /// Whether JSAPI orders must name an openid of the simulated users.
    pub strict_openid: bool,
    /// Whether an order's account must be of a kind that pays so.
    pub strict_kinds: bool,
    /// Whether `notify_url` must be https, as at WeChat. Local stacks are not.
    pub https_notify_url: bool,
    /// How old an order must be before APIv3 closes it; newer pages do not say.
    pub v3_close_guard_seconds: i64,
    /// Whether APIv3 refuses who sends no `User-Agent` or no `Accept`.
    pub v3_wants_user_agent: bool,
    /// Whether APIv3 refuses a `Wechatpay-Serial` that is not the merchant's.
    pub v3_strict_serial: bool,
    /// Whether APIv3's refusals are signed. Nobody relies on it.
    pub v3_signs_errors: bool,
    /// Whether APIv3's codes are spelt as on its older pages: `ORDERNOTEXIST`.
    pub v3_older_codes: bool,
}

impl Default for Rules {
    /// The figures and readings of WeChat's documents.
    fn default() -> Self {
        Self {
            close_guard_seconds: 300,
            reverse_guard_seconds: 15,
            refund_gap_seconds: 60,
            balance_fen: None,
            reverse_recalls: 0,
            expired_state: TradeState::NotPay,
            full_refund_state: TradeState::Refund,
            reversed_state: TradeState::Revoked,
            strict_openid: false,
            strict_kinds: true,
            https_notify_url: false,
            v3_close_guard_seconds: 0,
            v3_wants_user_agent: true,
            v3_strict_serial: true,
            v3_signs_errors: false,
            v3_older_codes: false,
        }
    }
}

impl Rules {
    /// What a query calls the state of an order.
    pub(crate) fn read(&self, order: &Order, now_ms: i64) -> TradeState {
        match order.state {
            TradeState::Refund if order.is_wholly_refunded() => {
                order.full_refund_state.unwrap_or(self.full_refund_state)
            }
            TradeState::Revoked if order.payment.is_some() => self.reversed_state,
            TradeState::NotPay if order.is_expired(now_ms) => self.expired_state,
            state => state,
        }
    }

    /// A refund takes its sum from the merchant's account.
    pub(super) fn draw(&mut self, fee: i64) -> Result<(), Refusal> {
        if let Some(balance) = &mut self.balance_fen {
            if *balance < fee {
                return Err(Refusal::business(
                    "NOTENOUGH",
                    "基本账户余额不足，请充值后重新发起",
                ));
            }
            *balance -= fee;
        }
        Ok(())
    }

    /// What no WeChat could keep.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        use TradeState::{Closed, NotPay, Refund, Revoked};
        let seconds = flaw_of_seconds(&[
            self.close_guard_seconds,
            self.reverse_guard_seconds,
            self.refund_gap_seconds,
            self.v3_close_guard_seconds,
        ]);
        let states = match self {
            Self {
                expired_state: NotPay | Closed,
                full_refund_state: Refund | Closed,
                reversed_state: Revoked | Refund,
                ..
            } => None,
            _ => Some(
                "expired_state is NOTPAY or CLOSED, full_refund_state REFUND or CLOSED, \
                 reversed_state REVOKED or REFUND",
            ),
        };
        seconds.or(states)
    }
}

/// Some three hundred years: far enough for every test, and no sum of times
/// overflows.
const FARTHEST_SECONDS: i64 = 10_000_000_000;

pub(crate) fn flaw_of_seconds(given: &[i64]) -> Option<&'static str> {
    let all = given
        .iter()
        .all(|seconds| (0..=FARTHEST_SECONDS).contains(seconds));
    (!all).then_some("seconds go from 0 to 10000000000")
}
