//! What the tests of version 3 begin with: a sample key that WeChat has published
//! stands for WeChat's, and one made for these tests is the merchant's.

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::Client;
use super::keys::{Keys, rsa_of_pem};
use super::sign::Signer;
use super::verify::{Proof, PublicKeys};
use crate::domain::time::Timestamp;
use crate::wechat::Http;
use crate::wechat::fixtures::identity;

pub(crate) const PRIVATE_KEY: &str = include_str!("fixtures/merchant.key");
pub(crate) const MERCHANT_SERIAL: &str = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1";
pub(crate) const CERTIFICATE: &str = include_str!("fixtures/platform.pem");
pub(crate) const SAMPLE_KEY: &str = include_str!("fixtures/sample.pem");
pub(crate) const SAMPLE_SERIAL: &str = "PUB_KEY_ID_0000000000000000000000000000000001";
pub(crate) const API_V3_KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";

/// A payment's notification, sealed and signed elsewhere.
pub(crate) const NOTICE: &[u8] = include_bytes!("fixtures/notice.json");
pub(crate) const NOTICE_SIGNATURE: &str = include_str!("fixtures/notice.txt");
/// 2026-11-20T10:00:00+08:00.
pub(crate) const NOTICE_AT: Timestamp = Timestamp::from_millis(1_795_140_000_000);

pub(crate) fn notice_proof() -> Proof {
    Proof {
        timestamp: NOTICE_AT.seconds().to_string(),
        nonce: "c5ac7061fccab6bf3e254dcf98995b8c".into(),
        serial: SAMPLE_SERIAL.into(),
        signature: NOTICE_SIGNATURE.into(),
    }
}

pub(in crate::wechat::v3) fn signer() -> Signer {
    let key = PrivatePkcs8KeyDer::from_pem_slice(PRIVATE_KEY.as_bytes()).unwrap();
    Signer::new(key.secret_pkcs8_der(), MERCHANT_SERIAL.into()).unwrap()
}

/// The sample key, and the one behind an answer that WeChat itself has signed.
pub(in crate::wechat::v3) fn sample_keys() -> PublicKeys {
    let mut keys = PublicKeys::default();
    keys.insert(SAMPLE_SERIAL.into(), rsa_of_pem(SAMPLE_KEY).unwrap());
    let wechat = include_str!("fixtures/wechat.pem");
    keys.insert("wechat".into(), rsa_of_pem(wechat).unwrap());
    keys
}

/// A client for a merchant whose hosts nobody listens at.
pub(crate) fn client() -> Client {
    let secret = json!({
        "api_v3_key": API_V3_KEY, "serial_no": MERCHANT_SERIAL, "private_key": PRIVATE_KEY,
        "public_key_id": SAMPLE_SERIAL, "public_key": SAMPLE_KEY,
    });
    let keys = Keys::parse(&secret.to_string()).unwrap().unwrap();
    Client::new(identity(), keys, Http::new().unwrap())
}
