//! WeChat's notification by version 3. No panic, and nothing is taken that WeChat's
//! key did not sign: neither any bytes under any headers, nor a signed document with
//! one byte changed, nor what is signed but not sealed with the merchant's key.
#![no_main]

use std::sync::LazyLock;

use fuzz::{Rejection, V3};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use shared::domain::time::Timestamp;
use shared::wechat::notification::{Notification, Received};
use shared::wechat::v3::Proof;

static V3: LazyLock<V3> = LazyLock::new(V3::new);
const NOW: Timestamp = Timestamp::from_millis(1_795_140_000_000);

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n').map(str::to_owned);
    let stranger = Proof {
        timestamp: NOW.seconds().to_string(),
        nonce: lines.next().unwrap_or_default(),
        serial: fuzz::PUBLIC_KEY_ID.to_owned(),
        signature: lines.next().unwrap_or_default(),
    };
    assert!(read(stranger, input).is_err(), "unsigned, and taken");
    assert!(
        read(V3.sign(NOW, input), input).is_err(),
        "sealed by nobody, and taken"
    );
    // Signed and sealed, whatever it says.
    let sealed = V3.seal(input);
    let taken = read(V3.sign(NOW, &sealed), &sealed);
    if let Ok(Notification::Payment(notice)) = taken {
        let said: Value = serde_json::from_slice(input).expect("what is taken can be read");
        assert_eq!(said["out_trade_no"], notice.number().to_string());
        let payment = notice.into_payment();
        assert_eq!(said["transaction_id"], payment.transaction_id);
        assert_eq!(said["amount"]["total"], payment.total_fee.get());
    }
    let Some(forgery) = Rejection::read(input) else {
        return;
    };
    let fields = forgery.fields.iter();
    let fields: Map<String, Value> = fields
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    let document = V3.seal(Value::from(fields).to_string().as_bytes());
    let proof = V3.sign(NOW, &document);
    let mut changed = document.clone();
    forgery.change(&mut changed);
    if changed != document {
        assert!(read(proof, &changed).is_err(), "changed, and taken");
    }
});

fn read(proof: Proof, body: &[u8]) -> Result<Notification, impl std::fmt::Debug> {
    let received = Received::Json {
        proof: Ok(proof),
        body,
    };
    V3.wechat.read_notification(&received, NOW)
}
