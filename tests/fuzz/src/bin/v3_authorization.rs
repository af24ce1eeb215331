//! What gets into the header `Authorization` of version 3 and into what is signed:
//! a byte chooses the question, the lines are the merchant's number, the serials, the
//! numbers of order and refund, and texts of an app. Whatever the hub takes, it can
//! send; the header has its five fields, and the signature is over the very request
//! that WeChat receives.
#![no_main]

use fuzz::host::{Answer, Received};
use fuzz::{MCH_ID, Names, PUBLIC_KEY_ID, V3, ask};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use shared::domain::id::{OrderKey, RefundNo};
use shared::domain::merchant::MchId;
use shared::domain::money::Fen;
use shared::domain::order::{Order, Payment};
use shared::domain::refund::{Promise, Refund};
use shared::domain::time::Timestamp;
use shared::wechat::v3::Proof;

const NOW: Timestamp = Timestamp::from_millis(1_795_140_000_000);
const HUB: &str = "https://hub.example";
const TYPES: [&str; 4] = ["NATIVE", "JSAPI", "APP", "MWEB"];

fuzz_target!(|input: &[u8]| {
    let Some((&[question], rest)) = input.split_first_chunk() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    let mut lines = text.splitn(6, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (mch_id, serial_no, public_key_id) = (line(), line(), line());
    let (key, refund_no, text) = (line(), line(), line());
    let is_number = MchId::parse(mch_id).is_ok();
    let names = Names {
        mch_id: if is_number { mch_id } else { MCH_ID },
        serial_no,
        public_key_id,
    };
    let known = Names {
        mch_id: names.mch_id,
        serial_no: "01",
        public_key_id: PUBLIC_KEY_ID,
    };
    let (names, v3) = match V3::of(names) {
        Some(v3) => (names, v3),
        None => (known, V3::of(known).expect("these are taken")),
    };
    let key = OrderKey::parse(key).or_else(|_| OrderKey::parse("demo000000000001#A000000001"));
    let order = order(&key.expect("one of them is a key"), question, text);
    let refund_no = RefundNo::parse(refund_no).or_else(|_| RefundNo::parse("R1"));
    let refund = refund(&order, refund_no.expect("one of them is a number"), text);
    let wechat = &v3.wechat;
    // Whose outcome nobody knows: each question is one call.
    let nothing = Answer {
        status: 500,
        proof: Proof {
            timestamp: String::new(),
            nonce: String::new(),
            serial: String::new(),
            signature: String::new(),
        },
        body: Vec::new(),
    };
    let received = ask(nothing, async {
        match question % 4 {
            0 => drop(
                wechat
                    .unified_order(&order, &order.attempts[0], HUB, NOW)
                    .await,
            ),
            1 => drop(wechat.query(&order, 1, NOW).await),
            2 => drop(wechat.close(&order, 1, NOW).await),
            // Those that people made are asked about by version 2 only.
            _ if refund.refund_no.as_str().starts_with("ext-") => {
                drop(wechat.refund(&refund, HUB, NOW).await);
            }
            _ => drop(wechat.refund_query(&refund, NOW).await),
        }
    });
    match received.1.as_slice() {
        [received] => is_what_was_signed(&v3, names, received),
        other => panic!("taken, and sent {} times", other.len()),
    }
});

fn is_what_was_signed(v3: &V3, names: Names<'_>, received: &Received) {
    assert_eq!(received.header("wechatpay-serial"), [names.public_key_id]);
    let [header] = received.header("authorization")[..] else {
        panic!("it comes once");
    };
    let fields = header.strip_prefix("WECHATPAY2-SHA256-RSA2048 ");
    let fields: Vec<(&str, &str)> = fields
        .expect("it says its scheme")
        .split(',')
        .map(|field| {
            let (name, value) = field.split_once("=\"").expect("it is quoted");
            (name, value.strip_suffix('"').expect("it is quoted"))
        })
        .collect();
    let [
        ("mchid", mch_id),
        ("nonce_str", nonce),
        ("signature", signature),
        ("timestamp", timestamp),
        ("serial_no", serial_no),
    ] = fields[..]
    else {
        panic!("it has five fields: {header}");
    };
    assert_eq!((mch_id, serial_no), (names.mch_id, names.serial_no));
    assert_eq!(timestamp, NOW.seconds().to_string());
    assert!(nonce.len() == 32 && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let (method, path) = (&received.method, &received.path);
    let mut message = format!("{method}\n{path}\n{timestamp}\n{nonce}\n").into_bytes();
    message.extend_from_slice(&received.body);
    message.push(b'\n');
    assert!(v3.has_signed(&message, signature), "another was signed");
}

fn order(key: &OrderKey, question: u8, text: &str) -> Order {
    let trade_type = TYPES[usize::from(question / 4) % TYPES.len()];
    let order = json!({
        "app_id": key.app_id, "order_no": key.order_no, "status": "paying",
        "created_at": NOW, "expires_at": NOW.plus_seconds(7200), "nonce": text,
        "attempts": [{
            "number": 1, "trade_type": trade_type, "api_version": "v3", "openid": text,
            "client_ip": "203.0.113.7", "started_at": NOW,
        }],
        "request": {
            "total_fee": 1999, "body": text, "attach": text, "device_info": text, "detail": text,
            "goods_tag": text, "store_id": text, "store_name": text, "notify_url": text,
            "return_url": text, "version": "2.0", "expires_in": 7200,
        },
    });
    serde_json::from_value(order).expect("it is an order")
}

fn refund(order: &Order, refund_no: RefundNo, text: &str) -> Refund {
    let payment = json!({
        "transaction_id": "4200001", "attempt": 1, "trade_type": "NATIVE", "api_version": "v3",
        "total_fee": 1999, "cash_fee": 1999, "paid_at": NOW,
    });
    let payment: Payment = serde_json::from_value(payment).expect("it is a payment");
    let promise = Promise {
        payment: &payment,
        refund_no,
        refund_fee: Fen::positive(5).expect("it is an amount"),
        reason: Some(text.to_owned()),
        due: NOW,
    };
    Refund::new(order, promise, NOW)
}
