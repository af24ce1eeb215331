//! The shop's clock and its dice, the two things a test cannot repeat. Whoever
//! judges a timestamp takes `now` as an argument.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that a test may set forward or back, because a test of the 24-hour
/// schedule moves the hub's clock and the shop must move with it.
#[derive(Default)]
pub(crate) struct Clock {
    offset_seconds: AtomicI64,
}

impl Clock {
    /// Unix seconds, moved by the offset.
    pub(crate) fn now(&self) -> i64 {
        let seconds = i64::try_from(real_ms() / 1000).unwrap_or(i64::MAX);
        seconds.saturating_add(self.offset_seconds.load(Ordering::Relaxed))
    }

    /// Sets how far this clock is ahead of the machine's.
    pub(crate) fn set_offset(&self, seconds: i64) {
        self.offset_seconds.store(seconds, Ordering::Relaxed);
    }
}

/// Unix milliseconds of the machine, never moved: arrivals are measured with it.
#[expect(
    clippy::disallowed_methods,
    reason = "the shop must not use the hub's clock, and this is its only reading"
)]
pub(crate) fn real_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// A random `order_no`: 10 characters of `[0-9A-Za-z]`, as the hub asks for.
///
/// 62^10 fits 22 times into 64 bits, so the modulo favours nobody noticeably.
pub(crate) fn order_no() -> Result<String, getrandom::Error> {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = getrandom::u64()?;
    let mut order_no = String::with_capacity(10);
    for _ in 0..10 {
        let letter = usize::try_from(rest % 62)
            .ok()
            .and_then(|at| ALPHABET.get(at));
        order_no.extend(letter.map(|&byte| char::from(byte)));
        rest /= 62;
    }
    Ok(order_no)
}

/// A random `nonce`: 32 hexadecimal digits.
pub(crate) fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::{nonce, order_no};

    #[test]
    fn random_numbers_have_the_shape_the_hub_asks_for() {
        for _ in 0..100 {
            let order_no = order_no().unwrap();
            assert_eq!(order_no.len(), 10);
            assert!(order_no.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert_eq!(nonce().unwrap().len(), 32);
        }
    }
}
