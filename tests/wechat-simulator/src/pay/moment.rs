//! When a call is made, and the numbers that WeChat makes up for it.

use crate::beijing;

/// The time of a call, and a number that no other call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// What nonces, prepay ids and WeChat's numbers are made of: unique in its
    /// last ten decimal digits, which are all that a transaction id shows.
    pub unique: u128,
}

impl Moment {
    /// 32 characters, as WeChat's own nonces.
    pub(crate) fn nonce(self) -> String {
        format!("{:032x}", self.unique)
    }

    /// `wx`, the time and 20 more characters.
    pub(crate) fn prepay_id(self) -> String {
        let unique = self.unique & ((1 << 80) - 1);
        format!("wx{}{unique:020x}", beijing::compact(self.now_ms))
    }

    /// The part of a `code_url` after `pr=`.
    pub(super) fn code(self) -> String {
        format!("{:010x}", self.unique & ((1 << 40) - 1))
    }

    /// 28 digits, like `4200001234202411210000000001`.
    pub(crate) fn transaction_id(self) -> String {
        format!("4200{}{:010}", beijing::compact(self.now_ms), self.digits())
    }

    /// 29 digits, like `50000001232024112100000000001`.
    pub(super) fn refund_id(self) -> String {
        format!(
            "50000{}{:010}",
            beijing::compact(self.now_ms),
            self.digits()
        )
    }

    /// A refund's number of the merchant platform: the merchant's, the day, and
    /// digits.
    pub(super) fn platform_number(self, mch_id: &str) -> String {
        let day = beijing::compact(self.now_ms);
        format!("{mch_id}{day}{:010}", self.digits())
    }

    fn digits(self) -> u128 {
        self.unique % 10_000_000_000
    }
}
