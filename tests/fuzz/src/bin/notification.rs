//! WeChat's notification. No panic, and nothing is taken that the merchant's
//! key did not sign: neither any bytes, nor a signed document with one byte
//! changed, unless it still says the same.
#![no_main]

use std::sync::LazyLock;

use fuzz::Forgery;
use libfuzzer_sys::fuzz_target;
use shared::domain::signature::canonical;
use shared::wechat::sign::{SignType, sign};
use shared::wechat::{Account, Secrets, Wechat, xml};

/// No input holds a signature with it, but by finding a collision.
const KEY: &str = "0123456789abcdef0123456789ABCDEF";

static WECHAT: LazyLock<[Wechat; 2]> = LazyLock::new(|| {
    [SignType::HmacSha256, SignType::Md5].map(|sign_type| {
        let base = || "https://wechat.invalid".to_owned();
        let account = Account {
            app_id: "wx0000000000000000".to_owned(),
            mch_id: "1900000109".to_owned(),
            sign_type,
            pay_base: base(),
            api_base: base(),
            open_base: base(),
        };
        let secrets = format!(r#"{{"api_key": "{KEY}", "app_secret": "unused"}}"#);
        Wechat::new(
            account,
            Secrets::parse(&secrets).expect("the secrets are complete"),
        )
        .expect("a client can be made")
    })
});

fuzz_target!(|input: &[u8]| {
    for wechat in WECHAT.iter() {
        assert!(wechat.verify_notice(input).is_err(), "unsigned, and taken");
    }
    let Some(forgery) = Forgery::read(input) else {
        return;
    };
    for (wechat, sign_type) in WECHAT.iter().zip([SignType::HmacSha256, SignType::Md5]) {
        let mut fields = forgery.fields.clone();
        fields.insert("sign".to_owned(), sign(&fields, KEY, sign_type));
        let mut document = xml::write(&fields).into_bytes();
        forgery.change(&mut document);
        if wechat.verify_notice(&document).is_ok() {
            let taken = xml::parse(&document).expect("what is taken can be read");
            assert_eq!(
                canonical(&taken, ""),
                canonical(&fields, ""),
                "changed, and taken"
            );
        }
    }
});
