//! What cannot be computed: the time and random tokens. Handlers read both
//! here, once, and pass them on; the rules take them as arguments.

use std::time::UNIX_EPOCH;

use crate::domain::time::Timestamp;

/// The time. Call it in handlers only.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn now() -> Timestamp {
    let since_1970 = std::time::SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// 128 random bits in 32 lower-case hex digits: nonces, tokens, event ids.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "without randomness nothing may be signed"
)]
pub fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    hex::encode(bytes)
}
