//! One of each for the tests, as simple as it can be. A test changes what it
//! is about and says so.

use super::app::{App, AppSecret};
use super::id::{AppId, OrderKey, RefundNo};
use super::money::Fen;
use super::order::{Order, Payment, Request, Version};
use super::refund::Refund;
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
    App {
        app_id: AppId::parse("demo000000000001").unwrap(),
        app_secret: AppSecret::parse("0123456789abcdef0123456789abcdef").unwrap(),
        name: "Demo".into(),
        disabled: false,
        allow_http: false,
        allow_direct: false,
        skip_return_call: false,
        refund_by_hand: false,
        genprepay: false,
        sites: Vec::new(),
        signed_profile: false,
    }
}

/// What is asked with nothing but what must be there: one yuan within two hours.
pub(crate) fn request() -> Request {
    Request {
        total_fee: fen(100),
        body: "test".into(),
        attach: None,
        notify_url: "https://shop.example/notify".into(),
        return_url: "https://shop.example/return".into(),
        trade_type: None,
        version: Version::Hub,
        openid: None,
        client_ip: None,
        expires_in: 7200,
    }
}

/// An order that nobody has begun to pay.
pub(crate) fn order() -> Order {
    let key = OrderKey::parse("demo000000000001#A000000001").unwrap();
    Order::new(key, request(), "nonce".into(), NOW)
}

/// A payment of the first attempt.
pub(crate) fn payment(transaction_id: &str, fee: i64) -> Payment {
    Payment {
        transaction_id: transaction_id.into(),
        attempt: 1,
        trade_type: "NATIVE".into(),
        total_fee: fen(fee),
        cash_fee: fen(fee),
        openid: None,
        paid_at: NOW,
        refund_reserved: Fen::ZERO,
        refunded: Fen::ZERO,
    }
}

/// A refund of a part of that payment.
pub(crate) fn refund() -> Refund {
    let refund_no = RefundNo::parse("R1").unwrap();
    let part = (refund_no, fen(5));
    Refund::new(&order(), &payment("tx1", 100), part, (NOW, NOW))
}
