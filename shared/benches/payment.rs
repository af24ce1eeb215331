//! The computations of every payment, without the network and without budgets:
//! `make bench` prints its figures beside Node.js's.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use shared::domain::delivery::{Delivery, STANDARD_SCHEDULE, Schedule};
use shared::domain::merchant::{AccountId, MchId, Merchant, SignType};
use shared::domain::order::{ApiVersion, Attempt, Prepay};
use shared::domain::signature::Params;
use shared::domain::time::Timestamp;
use shared::wechat::notification::Received;
use shared::wechat::v2::sign::sign;
use shared::wechat::v2::xml;
use shared::wechat::v2::{Client, PaymentKeys};
use shared::wechat::v3::{self, Proof};
use shared::wechat::{Hosts, Http, Identity, Wechat};

const KEY: &str = "192006250b4c09247ec02edce69f6a2d";

/// The same as in tests/bench/node/micro.js.
const NOTICE: [(&str, &str); 16] = [
    ("appid", "wxd930ea5d5a258f4f"),
    ("bank_type", "CFT"),
    ("cash_fee", "1999"),
    ("fee_type", "CNY"),
    ("is_subscribe", "Y"),
    ("mch_id", "10000100"),
    ("nonce_str", "5d2b6c2a8db53831f7eda20af46e531c"),
    ("openid", "oUpF8uMEb4qRXf22hE3X68TekukE"),
    ("out_trade_no", "bench00000000001A00000000101"),
    ("result_code", "SUCCESS"),
    ("return_code", "SUCCESS"),
    ("sign_type", "HMAC-SHA256"),
    ("time_end", "20261121120000"),
    ("total_fee", "1999"),
    ("trade_type", "NATIVE"),
    ("transaction_id", "4200001234202611211234567890"),
];

const REQUEST: [(&str, &str); 13] = [
    ("appid", "wxd930ea5d5a258f4f"),
    ("body", "Tea, 100 g, in a tin"),
    ("mch_id", "10000100"),
    ("nonce_str", "5d2b6c2a8db53831f7eda20af46e531c"),
    ("notify_url", "https://hub.example/wechat/notify"),
    ("out_trade_no", "bench00000000001A00000000101"),
    ("product_id", "A000000001"),
    ("sign_type", "HMAC-SHA256"),
    ("spbill_create_ip", "203.0.113.7"),
    ("time_expire", "20261121140000"),
    ("time_start", "20261121120000"),
    ("total_fee", "1999"),
    ("trade_type", "NATIVE"),
];

fn params(pairs: &[(&str, &str)]) -> Params {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    pairs.iter().map(owned).collect()
}

fn signed(mut fields: Params) -> String {
    let signature = sign(&fields, KEY, SignType::HmacSha256);
    fields.insert("sign".to_owned(), signature);
    xml::write(&fields)
}

fn merchant() -> Option<Client> {
    let merchant = Merchant::new(MchId::parse("10000100").ok()?, ApiVersion::V2);
    let identity = Identity::new(&merchant, &Hosts::default());
    let secrets = format!(r#"{{"api_key": "{KEY}"}}"#);
    let keys = PaymentKeys::parse(&secrets).ok()?;
    Some(Client::new(identity, keys, Http::new().ok()?))
}

/// A payment's notification by version 3, sealed and signed elsewhere; when, and
/// with which keys.
const V3_NOTICE: &[u8] = include_bytes!("../src/wechat/v3/fixtures/notice.json");
const V3_NOTICE_AT: Timestamp = Timestamp::from_millis(1_795_140_000_000);
const V3_ACCOUNT: &str = "wxd678efh567hg6787";
const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0000000000000000000000000000000001";

fn v3_proof() -> Proof {
    Proof {
        timestamp: V3_NOTICE_AT.seconds().to_string(),
        nonce: "c5ac7061fccab6bf3e254dcf98995b8c".to_owned(),
        serial: PUBLIC_KEY_ID.to_owned(),
        signature: include_str!("../src/wechat/v3/fixtures/notice.txt").to_owned(),
    }
}

fn v3_merchant() -> Option<Wechat> {
    let merchant = Merchant::new(MchId::parse("1900007291").ok()?, ApiVersion::V3);
    let secret = serde_json::json!({
        "api_v3_key": "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb", "serial_no": "01",
        "private_key": include_str!("../src/wechat/v3/fixtures/merchant.key"),
        "public_key_id": PUBLIC_KEY_ID,
        "public_key": include_str!("../src/wechat/v3/fixtures/sample.pem"),
    });
    let keys = v3::Keys::parse(&secret.to_string()).ok()??;
    let identity = Identity::new(&merchant, &Hosts::default());
    let client = v3::Client::new(identity, keys, Http::new().ok()?);
    let account = AccountId::parse(V3_ACCOUNT).ok()?;
    Some(Wechat::new(merchant, Some(account), None, Some(client)))
}

fn v3_attempt() -> Option<Attempt> {
    let row = serde_json::json!({
        "number": 1, "trade_type": "JSAPI", "api_version": "v3", "client_ip": "203.0.113.7",
        "started_at": V3_NOTICE_AT,
    });
    serde_json::from_value(row).ok()
}

fn delivery() -> Option<Delivery> {
    let row = serde_json::json!({
        "app_id": "bench00000000001", "order_no": "A000000001", "event": "payment.succeeded",
        "event_id": "5d2b6c2a8db53831f7eda20af46e531c", "payload": params(&NOTICE),
        "notify_url": "https://shop.example/notify", "return_url": "https://shop.example/return",
        "status": "pending", "step": 4, "origin": 1_795_000_000_000_i64, "due": 1_795_000_240_000_i64,
    });
    serde_json::from_value(row).ok()
}

fn payment(criterion: &mut Criterion) {
    let wechat = merchant();
    let notice = signed(params(&NOTICE));
    let request = params(&REQUEST);
    let (delivery, schedule) = (delivery(), Schedule::parse(STANDARD_SCHEDULE).ok());
    let (Some(wechat), Some(delivery), Some(schedule)) = (wechat, delivery, schedule) else {
        unreachable!("the constants above are well-formed");
    };
    assert!(
        wechat
            .read_notification(notice.as_bytes(), Timestamp::default())
            .is_ok()
    );

    criterion.bench_function("verify and parse a notification", |bencher| {
        bencher
            .iter(|| wechat.read_notification(black_box(notice.as_bytes()), Timestamp::default()));
    });
    criterion.bench_function("sign and write a request", |bencher| {
        bencher.iter(|| signed(black_box(&request).clone()));
    });
    let now = Timestamp::from_millis(1_795_000_245_000);
    criterion.bench_function("decide a delivery", |bencher| {
        bencher.iter(|| black_box(&delivery).after_failure(&schedule, now, 60));
    });
}

fn version_3(criterion: &mut Criterion) {
    let (Some(wechat), Some(attempt)) = (v3_merchant(), v3_attempt()) else {
        unreachable!("the constants above are well-formed");
    };
    let received = Received::Json {
        proof: Ok(v3_proof()),
        body: V3_NOTICE,
    };
    let prepay = Prepay {
        prepay_id: "wx201410272009395522657a690389285100".to_owned(),
        ..Prepay::default()
    };
    let read = || wechat.read_notification(black_box(&received), V3_NOTICE_AT);
    let sign = || wechat.bridge_params(black_box(&attempt), &prepay, V3_NOTICE_AT);
    assert!(read().is_ok() && sign().is_ok());

    criterion.bench_function("verify and open a notification, v3", |bencher| {
        bencher.iter(read);
    });
    criterion.bench_function("sign what opens WeChat, v3", |bencher| {
        bencher.iter(sign);
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50);
    targets = payment, version_3
}
criterion_main!(benches);
