//! The codes of an operator's telephone, RFC 6238: six digits that change every
//! 30 s, by HMAC-SHA-1, because that is what every authenticator knows.

use std::fmt;

use serde::{Deserialize, Serialize};
use totp_rs::{Builder, Secret, Totp};

use super::OperatorName;
use crate::domain::time::Timestamp;

/// What codes are made from: 20 bytes, in base32. It cannot be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TotpSecret(String);

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

impl TotpSecret {
    /// A new one from random bytes.
    #[must_use]
    pub fn of(random: [u8; 20]) -> Self {
        Self(Secret::from(random).to_base32())
    }

    /// The text that a person may type into an authenticator, shown once.
    #[must_use]
    pub fn base32(&self) -> &str {
        &self.0
    }

    /// The address that an authenticator reads from a QR code. `hub` is the hub's
    /// host, by which people tell several hubs apart.
    #[must_use]
    pub fn address(&self, hub: &str, name: &OperatorName) -> String {
        // Neither has a character that would have to be escaped but a port's colon.
        let hub = hub.replace(':', "%3A");
        let secret = &self.0;
        format!("otpauth://totp/{hub}:{name}?secret={secret}&issuer={hub}")
    }

    /// The step that this code belongs to, if it is one of this secret's, of now,
    /// of the step before or of the one after, and later than the last one taken.
    #[must_use]
    pub fn step_of(&self, code: &str, last_step: u64, now: Timestamp) -> Option<u64> {
        let is_code = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = u64::try_from(now.seconds()).ok().filter(|_| is_code)?;
        let step = self.totp()?.check(code, seconds)?;
        (step > last_step).then_some(step)
    }

    fn totp(&self) -> Option<Totp> {
        let secret = Secret::try_from_base32(&self.0).ok()?;
        Builder::new().with_secret(secret).build().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1; of its eight digits the last six.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = TotpSecret::of(*b"12345678901234567890");
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            let now = Timestamp::from_millis(seconds * 1000);
            let step = u64::try_from(seconds / 30).unwrap();
            assert_eq!(secret.step_of(code, 0, now), Some(step), "{seconds}");
        }
    }

    #[test]
    fn a_code_is_good_once_and_a_step_around_its_time() {
        let secret = TotpSecret::of(*b"12345678901234567890");
        let of_step_1 = |seconds: i64, last| {
            secret.step_of("287082", last, Timestamp::from_millis(seconds * 1000))
        };
        for (seconds, expected) in [(0, Some(1)), (89, Some(1)), (90, None)] {
            assert_eq!(of_step_1(seconds, 0), expected, "{seconds}");
        }
        assert_eq!(of_step_1(59, 1), None, "taken before");
        for bad in ["", "28708", "2870820", "28708a", " 287082", "２８７０８２"] {
            assert_eq!(secret.step_of(bad, 0, Timestamp::from_millis(59_000)), None);
        }
    }

    #[test]
    fn an_authenticator_reads_whose_it_is() {
        let secret = TotpSecret::of(*b"12345678901234567890");
        let name = OperatorName::parse("ann").unwrap();
        assert_eq!(secret.base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            secret.address("pay.example:8443", &name),
            "otpauth://totp/pay.example%3A8443:ann?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=pay.example%3A8443"
        );
        let damaged = TotpSecret("!".into());
        assert_eq!(
            damaged.step_of("287082", 0, Timestamp::from_millis(59_000)),
            None
        );
    }
}
