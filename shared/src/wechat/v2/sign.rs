//! WeChat's v2 signature over a flat map, and the signature of the parameters
//! handed to the JSAPI bridge.
//! <https://pay.weixin.qq.com/wiki/doc/api/jsapi.php?chapter=4_3>

use md5::{Digest, Md5};

use crate::domain::merchant::SignType;
use crate::domain::signature::{Params, canonical, field, hmac_sha256, same};

/// Signs a flat map with the merchant's API key.
#[must_use]
pub fn sign(fields: &Params, api_key: &str, sign_type: SignType) -> String {
    match sign_type {
        SignType::Md5 => hex::encode_upper(Md5::digest(canonical(fields, api_key))),
        SignType::HmacSha256 => hmac_sha256(fields, api_key),
    }
}

/// Verifies over the raw map, unknown fields included. A missing or empty
/// `sign`, or a `sign_type` other than the pinned one, is a failure.
#[must_use]
pub fn verify(fields: &Params, api_key: &str, pinned: SignType) -> bool {
    let named = field(fields, "sign_type");
    if !named.is_empty() && named != pinned.as_str() {
        return false;
    }
    same(&sign(fields, api_key, pinned), field(fields, "sign"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::params as fields;

    #[test]
    fn the_documented_vectors_are_reproduced() {
        let request = fields(&[
            ("appid", "wxd930ea5d5a258f4f"),
            ("body", "test"),
            ("device_info", "1000"),
            ("mch_id", "10000100"),
            ("nonce_str", "ibuaiVcKdpRxkhJA"),
        ]);
        let key = "192006250b4c09247ec02edce69f6a2d";
        assert_eq!(
            sign(&request, key, SignType::Md5),
            "9A0A8659F005D6984697E2CA0A9CF3B7"
        );
        assert_eq!(
            sign(&request, key, SignType::HmacSha256),
            "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"
        );
        let bridge = fields(&[
            ("appId", "mock-appid"),
            ("nonceStr", "mock-nonce"),
            ("package", "prepay_id=mock-prepay-id"),
            ("signType", "MD5"),
            ("timeStamp", "1601234567"),
        ]);
        assert_eq!(
            sign(&bridge, "mock-v2-secret-key", SignType::Md5),
            "C52D6B09E8A039D6E8696A014BB37160"
        );
    }

    #[test]
    fn an_absent_empty_or_downgraded_signature_is_refused() {
        let key = "192006250b4c09247ec02edce69f6a2d";
        let mut notice = fields(&[("appid", "wx1"), ("total_fee", "1")]);
        assert!(!verify(&notice, key, SignType::Md5));
        notice.insert("sign".into(), String::new());
        assert!(!verify(&notice, key, SignType::Md5));
        let md5 = sign(&notice, key, SignType::Md5);
        notice.insert("sign".into(), md5.clone());
        assert!(verify(&notice, key, SignType::Md5));
        assert!(!verify(&notice, key, SignType::HmacSha256));
        notice.insert("sign".into(), md5.to_lowercase());
        assert!(!verify(&notice, key, SignType::Md5));
        notice.insert("sign".into(), md5);
        for (named, valid) in [("HMAC-SHA256", false), ("", true)] {
            notice.insert("sign_type".into(), named.into());
            assert_eq!(verify(&notice, key, SignType::Md5), valid, "{named}");
        }
    }

    #[test]
    fn a_notice_that_names_the_pinned_algorithm_is_valid() {
        let key = "192006250b4c09247ec02edce69f6a2d";
        for pinned in [SignType::Md5, SignType::HmacSha256] {
            let mut notice = fields(&[("appid", "wx1"), ("sign_type", pinned.as_str())]);
            let signature = sign(&notice, key, pinned);
            notice.insert("sign".into(), signature);
            assert!(verify(&notice, key, pinned), "{pinned:?}");
        }
    }
}
