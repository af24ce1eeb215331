//! Owns the numbers the simulator hands out: nonces, prepay ids, transaction
//! ids, tokens. Refuses to know what they stand for.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Random lower-case hexadecimal digits, `2 * N` of them.
fn random_hex<const N: usize>() -> String {
    let mut bytes = [0_u8; N];
    // Without a random source the ids would only be guessable, which a
    // simulator survives; the counter below still keeps them apart.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = [0; N];
    }
    hex::encode(bytes)
}

fn next() -> u64 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// 32 characters, as WeChat's own nonces.
pub(crate) fn nonce() -> String {
    random_hex::<16>()
}

/// `wx`, the time and 20 more characters.
pub(crate) fn prepay_id(now_ms: i64) -> String {
    format!(
        "wx{}{}{:04}",
        clock::compact(now_ms),
        random_hex::<8>(),
        next() % 10_000
    )
}

/// The part of a `code_url` after `pr=`.
pub(crate) fn code() -> String {
    format!("{}{:02}", random_hex::<4>(), next() % 100)
}

/// 28 digits, like `4200001234202411210000000001`.
pub(crate) fn transaction_id(now_ms: i64) -> String {
    format!("4200{}{:010}", clock::compact(now_ms), next_digits())
}

/// 29 digits, like `50000001232024112100000000001`.
pub(crate) fn refund_id(now_ms: i64) -> String {
    format!("50000{}{:010}", clock::compact(now_ms), next_digits())
}

/// A long token (access token, ticket, OAuth code) with a readable prefix.
pub(crate) fn token(prefix: &str) -> String {
    format!("{prefix}_{}{}", random_hex::<24>(), next())
}

fn next_digits() -> u64 {
    let random = u64::from_str_radix(&random_hex::<4>(), 16).unwrap_or_default();
    (random % 1_000_000) * 10_000 + next() % 10_000
}
