//! The sealed part of WeChat's refund notification. No panic, nothing is taken
//! that was not sealed with the merchant's key, and what was says which refund
//! it is about.
#![no_main]

use std::sync::LazyLock;

use aes::Aes256;
use aes::cipher::{BlockModeEncrypt as _, KeyInit as _, block_padding::Pkcs7};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use fuzz::{APP_ID, KEY, MCH_ID};
use libfuzzer_sys::fuzz_target;
use md5::{Digest as _, Md5};
use shared::domain::time::Timestamp;
use shared::wechat::notification::Notification;
use shared::wechat::v2::Client;
use shared::domain::merchant::SignType;
use shared::wechat::v2::xml;

static WECHAT: LazyLock<Client> = LazyLock::new(|| fuzz::wechat(SignType::HmacSha256));
static SEAL: LazyLock<ecb::Encryptor<Aes256>> = LazyLock::new(|| {
    let key = hex::encode(Md5::digest(KEY));
    ecb::Encryptor::new_from_slice(key.as_bytes()).expect("32 bytes")
});

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    for stranger in [text.into_owned(), BASE64_STANDARD.encode(input)] {
        let read =
            WECHAT.read_notification(notification(stranger).as_bytes(), Timestamp::default());
        assert!(read.is_err(), "sealed by nobody, and taken");
    }
    let sealed = SEAL.clone().encrypt_padded_vec::<Pkcs7>(input);
    let sealed = notification(BASE64_STANDARD.encode(sealed));
    if let Ok(read) = WECHAT.read_notification(sealed.as_bytes(), Timestamp::default()) {
        let fields = xml::parse(input).expect("what is taken can be read");
        match read {
            Notification::Refund(notice) => {
                let of = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
                assert_eq!(of("out_trade_no"), notice.trade.to_string());
                assert_eq!(of("transaction_id"), notice.transaction_id);
                assert_eq!(of("refund_id"), notice.refund_id);
                if let Some(number) = notice.refund {
                    assert_eq!(of("out_refund_no"), number.to_string());
                }
            }
            Notification::Payment(_) => panic!("a refund is no payment"),
        }
    }
});

fn notification(req_info: String) -> String {
    let fields = [
        ("return_code", "SUCCESS".to_owned()),
        ("appid", APP_ID.to_owned()),
        ("mch_id", MCH_ID.to_owned()),
        ("req_info", req_info),
    ];
    xml::write(&fields.map(|(name, value)| (name.to_owned(), value)).into())
}
