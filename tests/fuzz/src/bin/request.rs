//! An app's signed request, as a query and as JSON. No panic, and no signature
//! is right that the app's secret did not make over these very parameters.
#![no_main]

use fuzz::Rejection;
use libfuzzer_sys::fuzz_target;
use shared::domain::app::AppSecret;
use shared::domain::signature::{canonical, sign, verify};
use shared::http::request::Fields;

fuzz_target!(|input: &[u8]| {
    let secret = AppSecret::parse("0123456789abcdef0123456789ABCDEF").expect("32 characters");
    let text = String::from_utf8_lossy(input);
    for fields in [Fields::from_query(&text), Fields::from_json(input)] {
        let Ok(fields) = fields else { continue };
        assert!(!verify(&fields.params(), &secret), "unsigned, and taken");
        let _ = (fields.only(&["order_no"]), fields.integer("total_fee"));
        let _ = (fields.ip("payer_ip"), fields.text("body", 127));
    }
    let Some(forgery) = Rejection::read(input) else {
        return;
    };
    let mut params = forgery.fields.clone();
    params.insert("sign".to_owned(), sign(&params, &secret));
    let pairs: Vec<String> = params
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    let mut query = pairs.join("&").into_bytes();
    let honest = Fields::from_query(&String::from_utf8_lossy(&query)).expect("no name twice");
    assert!(verify(&honest.params(), &secret), "signed, and refused");
    forgery.change(&mut query);
    if let Ok(fields) = Fields::from_query(&String::from_utf8_lossy(&query)) {
        let taken = fields.params();
        assert!(
            !verify(&taken, &secret) || canonical(&taken, "") == canonical(&params, ""),
            "changed, and taken"
        );
    }
});

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
