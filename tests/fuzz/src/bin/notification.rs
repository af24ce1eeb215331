//! WeChat's notification. No panic, and nothing is taken that the merchant's
//! key did not sign: neither any bytes, nor a signed document with one byte
//! changed, unless it still says the same.
#![no_main]

use std::sync::LazyLock;

use fuzz::{KEY, Rejection};
use libfuzzer_sys::fuzz_target;
use shared::domain::merchant::SignType;
use shared::domain::signature::canonical;
use shared::domain::time::Timestamp;
use shared::wechat::v2::Client;
use shared::wechat::v2::sign::sign;
use shared::wechat::v2::xml;

const SIGN_TYPES: [SignType; 2] = [SignType::HmacSha256, SignType::Md5];

static WECHAT: LazyLock<[Client; 2]> = LazyLock::new(|| SIGN_TYPES.map(fuzz::wechat));

fuzz_target!(|input: &[u8]| {
    for wechat in WECHAT.iter() {
        assert!(
            wechat
                .read_notification(input, Timestamp::default())
                .is_err(),
            "unsigned, and taken"
        );
    }
    let Some(forgery) = Rejection::read(input) else {
        return;
    };
    for (wechat, sign_type) in WECHAT.iter().zip(SIGN_TYPES) {
        let mut fields = forgery.fields.clone();
        fields.insert("sign".to_owned(), sign(&fields, KEY, sign_type));
        let mut document = xml::write(&fields).into_bytes();
        forgery.change(&mut document);
        if wechat
            .read_notification(&document, Timestamp::default())
            .is_ok()
        {
            let taken = xml::parse(&document).expect("what is taken can be read");
            assert_eq!(
                canonical(&taken, ""),
                canonical(&fields, ""),
                "changed, and taken"
            );
        }
    }
});
