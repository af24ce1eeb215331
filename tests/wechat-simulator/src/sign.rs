//! Every signature of WeChat's side: v2 (MD5 and HMAC-SHA256), the SHA-1 of 2014
//! and of the JS-SDK, and the encryption of refund notifications. Written
//! without a look at the code that it is there to check.

use std::collections::BTreeMap;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeEncrypt, KeyInit as BlockKeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

/// A flat message: names to raw values.
pub type Fields = BTreeMap<String, String>;

/// How a v2 message is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignType {
    /// What an absent `sign_type` means.
    Md5,
    /// `sign_type=HMAC-SHA256`.
    HmacSha256,
}

impl SignType {
    /// Reads `sign_type`; `None` for anything WeChat would refuse.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("" | "MD5") => Some(Self::Md5),
            Some("HMAC-SHA256") => Some(Self::HmacSha256),
            Some(_) => None,
        }
    }

    /// As `sign_type` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::HmacSha256 => "HMAC-SHA256",
        }
    }
}

/// The v2 signature: non-empty fields except `sign`, sorted by ASCII, joined
/// raw, followed by the key; upper-case hexadecimal.
#[must_use]
pub fn v2(fields: &Fields, sign_type: SignType, key: &str) -> String {
    let mut text = joined(fields);
    text.push_str("&key=");
    text.push_str(key);
    match sign_type {
        SignType::Md5 => md5_hex(text.as_bytes()).to_ascii_uppercase(),
        SignType::HmacSha256 => hmac_hex(key, &text).to_ascii_uppercase(),
    }
}

/// True when `fields` carry the signature that their content and the key give.
#[must_use]
pub fn v2_holds(fields: &Fields, sign_type: SignType, key: &str) -> bool {
    fields
        .get("sign")
        .is_some_and(|given| *given == v2(fields, sign_type, key))
}

/// Lower-case SHA-1 of the sorted raw `k=v`: the JS-SDK's signature, and the
/// `app_signature` of 2014 (with `appkey` among the fields). Empty values stay.
#[must_use]
pub fn sha1_sorted(fields: &[(&str, &str)]) -> String {
    let mut pairs = fields.to_vec();
    pairs.sort_unstable();
    let text: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    hex::encode(Sha1::digest(text.join("&").as_bytes()))
}

/// MD5 in lower-case hexadecimal.
#[must_use]
pub fn md5_hex(data: &[u8]) -> String {
    hex::encode(Md5::digest(data))
}

/// `req_info` of a refund notification: AES-256-ECB with PKCS7 under the
/// lower-case MD5 of the API key (32 ASCII bytes), in base64.
#[must_use]
pub fn seal(plain: &str, api_key: &str) -> String {
    encrypt(plain.as_bytes(), &md5_hex(api_key.as_bytes()))
}

fn encrypt(plain: &[u8], key: &str) -> String {
    // MD5 in hexadecimal always has the 32 bytes that AES-256 asks for.
    ecb::Encryptor::<Aes256>::new_from_slice(key.as_bytes())
        .map(|cipher| STANDARD.encode(cipher.encrypt_padded_vec::<Pkcs7>(plain)))
        .unwrap_or_default()
}

fn joined(fields: &Fields) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .filter(|(name, value)| name.as_str() != "sign" && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn hmac_hex(key: &str, text: &str) -> String {
    // HMAC takes keys of every length, so the error arm is never taken.
    Hmac::<Sha256>::new_from_slice(key.as_bytes())
        .map(|mut mac| {
            mac.update(text.as_bytes());
            hex::encode(mac.finalize().into_bytes())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn v2_signatures_match_the_published_example() {
        let message = fields(&[
            ("appid", "wxd930ea5d5a258f4f"),
            ("mch_id", "10000100"),
            ("device_info", "1000"),
            ("body", "test"),
            ("nonce_str", "ibuaiVcKdpRxkhJA"),
            ("empty", ""),
            ("sign", "takes no part"),
        ]);
        let key = "192006250b4c09247ec02edce69f6a2d";
        assert_eq!(
            v2(&message, SignType::Md5, key),
            "9A0A8659F005D6984697E2CA0A9CF3B7"
        );
        assert_eq!(
            v2(&message, SignType::HmacSha256, key),
            "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"
        );
    }

    #[test]
    fn pay_sign_matches_its_vector() {
        let message = fields(&[
            ("appId", "mock-appid"),
            ("nonceStr", "mock-nonce"),
            ("package", "prepay_id=mock-prepay-id"),
            ("signType", "MD5"),
            ("timeStamp", "1601234567"),
        ]);
        let sign = v2(&message, SignType::Md5, "mock-v2-secret-key");
        assert_eq!(sign, "C52D6B09E8A039D6E8696A014BB37160");
    }

    #[test]
    fn a_signature_is_checked_whole() {
        let mut message = fields(&[("a", "1")]);
        assert!(!v2_holds(&message, SignType::Md5, "k"));
        let sign = v2(&message, SignType::Md5, "k");
        message.insert("sign".to_owned(), sign);
        assert!(v2_holds(&message, SignType::Md5, "k"));
        assert!(!v2_holds(&message, SignType::HmacSha256, "k"));
        message.insert("b".to_owned(), "2".to_owned());
        assert!(!v2_holds(&message, SignType::Md5, "k"));
    }

    #[test]
    fn encryption_and_its_key_match_their_vectors() {
        assert_eq!(
            encrypt(b"hello", "0123456789abcdef0123456789abcdef"),
            "pZwJZBLuy3mDACEQT4YTBw=="
        );
        assert_eq!(
            md5_hex(b"leadingzero000000000000000000099"),
            "00cbda1f5715594724003388fff191cd"
        );
    }

    #[test]
    fn js_sdk_signature_matches_the_published_example() {
        let ticket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg";
        let sign = sha1_sorted(&[
            ("url", "http://mp.weixin.qq.com?params=value"),
            ("timestamp", "1414587457"),
            ("noncestr", "Wm3WZYTPz0wzccnW"),
            ("jsapi_ticket", ticket),
        ]);
        assert_eq!(sign, "0f9de62fce790f9a083d5c99e95740ceb90c27ed");
    }

    #[test]
    fn the_package_of_2014_matches_its_vector() {
        let package = fields(&[
            ("bank_type", "WX"),
            ("body", "支付测试"),
            ("fee_type", "1"),
            ("input_charset", "UTF-8"),
            ("notify_url", "http://weixin.qq.com"),
            ("out_trade_no", "7240b65810859cbf2a8d9f76a638c0a3"),
            ("partner", "1900000109"),
            ("spbill_create_ip", "196.168.1.1"),
            ("total_fee", "1"),
        ]);
        let sign = v2(&package, SignType::Md5, "8934e7d15453e97507ef794cf7b0519d");
        assert_eq!(sign, "7F77B507B755B3262884291517E380F8");
    }
}
