//! Rows survive mixed versions: what a newer version wrote is still there when
//! this one has written the row back.

use serde_json::{Value, json};

use super::{Item, credentials, orders, refunds};
use crate::aws::item;
use crate::domain::delivery::{Address, Delivery};
use crate::domain::fixtures::{NOW, app};

/// An order by a version that knows one attribute more at every level.
fn newer_order() -> Value {
    let payment = |transaction_id| {
        json!({
            "transaction_id": transaction_id, "attempt": 1, "trade_type": "NATIVE",
            "total_fee": 100, "cash_fee": 90, "paid_at": 1_790_000_000_000_i64,
            "receipt": {
                "bank_type": "CFT", "settlement_total_fee": 90, "coupon_fee": 10,
                "coupons": [{"id": "1", "type": "CASH", "fee": 10, "newer": 0}],
                "is_subscribe": false, "newer": {"promotion": "x"},
            },
            "newer": ["coupon", {"fee": 10}],
        })
    };
    json!({
        "app_id": "demo000000000001", "order_no": "A000000001", "status": "paying",
        "created_at": 1_790_000_000_000_i64, "expires_at": 1_790_007_200_000_i64,
        "nonce": "nonce", "step": 2, "revision": 7, "wake": 1_790_000_060_000_i64,
        "due": 1_790_000_060_000_i64,
        "newer": {"text": "x", "number": 5, "flag": true, "nothing": null},
        "request": {
            "total_fee": 100, "body": "test", "notify_url": "https://shop.example/notify",
            "return_url": "https://shop.example/return", "version": "2.0",
            "expires_in": 7200, "newer": "account",
        },
        "attempts": [{
            "number": 1, "trade_type": "MICROPAY", "client_ip": "127.0.0.1",
            "started_at": 1_790_000_000_000_i64, "newer": -1,
            "prepay": {"prepay_id": "wx1", "newer": "x"},
            "scan": {
                "code_digest": "d", "query_seconds": 5, "give_up_at": 1_790_000_030_000_i64,
                "newer": [],
            },
        }],
        "payment": payment("4200001"),
        "anomalies": [{
            "kind": "paid_twice", "payment": payment("4200002"),
            "seen_at": 1_790_000_000_000_i64, "newer": "x",
        }],
    })
}

fn newer_refund() -> Value {
    json!({
        "app_id": "demo000000000001", "order_no": "A000000001", "refund_no": "R1",
        "transaction_id": "4200001", "total_fee": 100, "refund_fee": 40,
        "status": "processing", "created_at": 1_790_000_000_000_i64, "refund_id": "500",
        "step": 1, "revision": 3, "newer": {"by": "finance"},
    })
}

/// As it lies in the table, written by somebody else.
fn stored(row: &Value, sk: &str) -> Item {
    let mut item: Item = serde_dynamo::to_item(row).unwrap();
    for (name, text) in [
        ("pk", "demo000000000001#A000000001"),
        ("sk", sk),
        ("shard", "3"),
        ("token", "another's"),
    ] {
        item.insert(name.to_owned(), item::string(text));
    }
    item.insert("rings".to_owned(), item::number(4));
    item
}

/// What is in it besides the store's own attributes.
fn content(mut item: Item) -> Value {
    for name in ["pk", "sk", "shard", "token"] {
        item.remove(name);
    }
    assert!(!item.contains_key("rings"), "counting starts anew");
    serde_dynamo::from_item(item).unwrap()
}

#[test]
fn an_order_keeps_what_a_newer_version_wrote_into_it() {
    let order = orders::read(stored(&newer_order(), "order")).unwrap();
    let written = orders::write(&order, "ours").unwrap();
    assert_eq!(item::text(&written, "token"), Some("ours"));
    assert!(written.contains_key("shard"), "it is awake");
    assert_eq!(content(written), newer_order());
}

#[test]
fn a_refund_keeps_what_a_newer_version_wrote_into_it() {
    let refund = refunds::read(stored(&newer_refund(), "refund#R1")).unwrap();
    let written = refunds::write(&refund, "ours").unwrap();
    assert!(!written.contains_key("shard"), "it sleeps");
    assert_eq!(content(written), newer_refund());
}

#[test]
fn a_credential_keeps_what_a_newer_version_wrote_into_its_row() {
    let newer = json!({
        "name": "client certificate", "ends_at": 1_790_000_000_000_i64, "step": 1,
        "due": 1_789_000_000_000_i64, "wake": 1_789_000_000_000_i64,
        "newer": {"serial": "5759E988"},
    });
    let credential = credentials::read(stored(&newer, "credential#x")).unwrap();
    let written = credentials::write(&credential).unwrap();
    assert!(written.contains_key("shard"), "it is awake");
    assert_eq!(content(written), newer);
}

/// The only part of a delivery that is ever written back.
#[test]
fn a_deliverys_attempts_keep_what_a_newer_version_wrote_into_them() {
    let attempts = json!([{
        "step": 0, "address": "notify", "at": 1_790_000_000_000_i64, "latency_ms": 9,
        "answer": "busy", "newer": {"trace": "1-5759e988"},
    }]);
    let read: Vec<crate::domain::delivery::Attempt> =
        serde_json::from_value(attempts.clone()).unwrap();
    let written = item::value(&read, "test").unwrap();
    let back: Value = serde_dynamo::from_attribute_value(written).unwrap();
    assert_eq!(back, attempts);
}

/// After a roll-back: nobody is kept from an order, and its app is told.
#[test]
fn a_delivery_of_an_event_that_only_a_newer_version_knows_is_told_as_it_is() {
    let newer = json!({
        "app_id": "demo000000000001", "order_no": "A000000001", "event": "order.seen",
        "subject": "2", "event_id": "evt", "payload": {"seen_by": "o1"},
        "notify_url": "https://shop.example/notify", "return_url": "https://shop.example/return",
        "status": "pending", "step": 0, "origin": 1_790_000_000_000_i64,
        "due": 1_790_000_000_000_i64, "wake": 1_790_000_060_000_i64,
    });
    let sk = "delivery#order.seen#2";
    let delivery: Delivery = item::read(stored(&newer, sk), "test").unwrap();
    assert_eq!(delivery.doorbell().sk, sk);
    let app = app();
    let called = delivery.addresses(&app);
    assert_eq!(called, [(Address::Notify, "https://shop.example/notify")]);
    let params = delivery.params(NOW, "n".into());
    let told = ["event", "event_id", "seen_by", "attempt"].map(|name| params[name].as_str());
    assert_eq!(told, ["order.seen", "evt", "o1", "1"]);
}

#[test]
fn an_app_keeps_what_a_newer_version_wrote_into_it() {
    let newer = json!({
        "app_id": "demo000000000001", "app_secret": "0123456789abcdef0123456789abcdef",
        "name": "Demo", "disabled": false, "paused": true, "allow_http": true, "allow_direct": false,
        "skip_return_call": false, "refund_by_hand": false, "genprepay": false,
        "feed": true, "skip_callbacks": true, "form": "standard_webhooks", "muted": ["order.closed", "order.seen"],
        "notify_urls": {"order.seen": "https://shop.example/seen"},
        "sites": ["https://shop.example/"], "signed_profile": false, "session_keys": false,
        "merchant": "1900000110", "accounts": ["wx1"],
        "revision": 7, "note": "old",
        "newer": {"merchant": "1900000109"},
    });
    let app: crate::domain::app::App = item::read(stored(&newer, "app"), "test").unwrap();
    assert_eq!(content(item::write(&app, "test").unwrap()), newer);
}

#[test]
fn yesterdays_rows_are_read() {
    let mut order = newer_order();
    for name in [
        "newer",
        "wake",
        "due",
        "step",
        "attempts",
        "payment",
        "anomalies",
    ] {
        order.as_object_mut().unwrap().remove(name);
    }
    let order = orders::read(stored(&order, "order")).unwrap();
    assert!(order.unknown.is_empty() && order.attempts.is_empty());
    assert_eq!((order.step, order.wake, order.revision), (0, None, 7));
}
