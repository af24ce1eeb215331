//! Where the HTTP server gets its numbers from: the order book asks for them,
//! and the official account hands them out as tokens.

use std::sync::atomic::{AtomicU64, Ordering};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Random bytes. Without a random source they would only be guessable, which a
/// simulator survives; the counter still keeps what is made of them apart.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = [0; N];
    }
    bytes
}

fn next() -> u64 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// A number for a `Moment`: ten thousand in a row differ in the digits that a
/// transaction id shows.
pub(crate) fn unique() -> u128 {
    u128::from_be_bytes(random()) / 10_000 * 10_000 + u128::from(next() % 10_000)
}

/// 32 random characters.
pub(crate) fn nonce() -> String {
    hex::encode(random::<16>())
}

/// A long token (access token, ticket, OAuth code) with a readable prefix.
pub(crate) fn token(prefix: &str) -> String {
    format!("{prefix}_{}{}", hex::encode(random::<24>()), next())
}
