//! One of each for the tests, as simple as it can be. A test changes what it
//! is about and says so.

use serde_json::json;

use super::app::{App, AppSecret};
use super::id::{AppId, OrderKey, RefundNo};
use super::merchant::AccountId;
use super::money::Fen;
use super::order::{ApiVersion, Channel, Order, Payer, Payment, Request};
use super::refund::{Promise, Refund};
use super::signature::Params;
use super::time::Timestamp;

/// When everything here happens. Not a whole second, so that rounding shows.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_123);

/// An amount in fen.
pub(crate) fn fen(value: i64) -> Fen {
    Fen::positive(value).unwrap()
}

/// Parameters of these names and values.
pub(crate) fn params(pairs: &[(&str, &str)]) -> Params {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    pairs.iter().map(owned).collect()
}

/// An app without any privilege.
pub(crate) fn app() -> App {
    App::new(
        AppId::parse("demo000000000001").unwrap(),
        AppSecret::parse("0123456789abcdef0123456789abcdef").unwrap(),
    )
}

/// What is asked with nothing but what must be there: one yuan within two hours.
pub(crate) fn request() -> Request {
    serde_json::from_value(json!({
        "total_fee": 100, "body": "test", "notify_url": "https://shop.example/notify",
        "return_url": "https://shop.example/return", "version": "2.0", "expires_in": 7200,
    }))
    .unwrap()
}

/// An order that nobody has begun to pay.
pub(crate) fn order() -> Order {
    let key = OrderKey::parse("demo000000000001#A000000001").unwrap();
    Order::new(key, request(), "nonce".into(), NOW)
}

/// Somebody of whom only the address is known.
pub(crate) fn payer() -> Payer {
    Payer {
        openid: None,
        ip: "127.0.0.1".parse().unwrap(),
    }
}

/// Through the one account, by this version.
pub(crate) fn channel(api_version: ApiVersion) -> Channel {
    Channel {
        account: AccountId::parse("wx").unwrap(),
        api_version,
    }
}

/// A payment of the first attempt.
pub(crate) fn payment(transaction_id: &str, fee: i64) -> Payment {
    serde_json::from_value(json!({
        "transaction_id": transaction_id, "attempt": 1, "trade_type": "NATIVE",
        "total_fee": fee, "cash_fee": fee, "paid_at": NOW,
    }))
    .unwrap()
}

/// A refund of a part of that payment.
pub(crate) fn refund() -> Refund {
    let promise = Promise {
        payment: &payment("tx1", 100),
        refund_no: RefundNo::parse("R1").unwrap(),
        refund_fee: fen(5),
        reason: None,
        due: NOW,
    };
    Refund::new(&order(), promise, NOW)
}
