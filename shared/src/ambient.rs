//! What cannot be computed: the time and random tokens. Handlers ask for both
//! once and pass them on; the rules take them as arguments.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::time::Timestamp;

/// Where a handler gets the time from.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock moved by hand, in milliseconds: the simulation's day takes no
    /// time.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Milliseconds since 1970, now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => system_time(),
            Self::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
fn system_time() -> Timestamp {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// 128 random bits in 32 lower-case hex digits: nonces, tokens, event ids.
#[must_use]
pub fn random_hex() -> String {
    hex::encode(random_bytes::<16>())
}

/// Random bytes, for a salt or a secret.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "without randomness nothing may be signed"
)]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
