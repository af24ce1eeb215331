//! refund, refundquery, and the refund notification, which is encrypted and not
//! signed. <https://pay.weixin.qq.com/wiki/doc/api/jsapi.php?chapter=9_4>

use aes::Aes256;
use base64::prelude::{BASE64_STANDARD, Engine};
use ecb::cipher::block_padding::Pkcs7;
use ecb::cipher::{BlockModeDecrypt, KeyInit};
use md5::{Digest, Md5};

use crate::domain::id::OutRefundNo;
use crate::domain::refund::{Answer, Refund};
use crate::domain::signature::{Params, field};
use crate::domain::time::Timestamp;

use super::notify::Rejection;
use super::pay::cut;
use super::xml;
use crate::wechat::{Error, Wechat};

/// A longer reason is refused as a whole.
const REASON_MAX_BYTES: usize = 80;

impl Wechat {
    /// refund, under the merchant's certificate. The same refund always sends
    /// the same parameters, so repeating it is safe. A refusal is believed only
    /// when a query does not know the refund either: an earlier call may have
    /// come through.
    ///
    /// # Errors
    /// When WeChat's answer is unusable, unknown, or asks to come again.
    pub async fn refund(&self, refund: &Refund, notify_url: &str) -> Result<Answer, Error> {
        let number = refund.number();
        let reason = refund.reason.as_deref().unwrap_or_default();
        let fields = Params::from([
            ("transaction_id".into(), refund.transaction_id.clone()),
            ("out_refund_no".into(), number.to_string()),
            ("total_fee".into(), refund.total_fee.to_string()),
            ("refund_fee".into(), refund.refund_fee.to_string()),
            ("refund_desc".into(), cut(reason, REASON_MAX_BYTES).into()),
            ("notify_url".into(), notify_url.into()),
        ]);
        let code = match self
            .post_with_certificate("/secapi/pay/refund", fields)
            .await
        {
            Ok(answer) => return accepted(&answer, &number),
            Err(Error::Business { code, .. }) if is_too_soon(&code) => return Ok(Answer::Later),
            Err(Error::Business { code, .. }) if is_final(&code) => code,
            Err(error) => return Err(error),
        };
        match self.refund_query(refund).await? {
            Answer::Unknown => Ok(Answer::Failed(code)),
            known => Ok(known),
        }
    }

    /// refundquery by the hub's number. [`Answer::Unknown`]: WeChat has no such
    /// refund.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown; nothing may be concluded.
    pub async fn refund_query(&self, refund: &Refund) -> Result<Answer, Error> {
        let number = refund.number();
        let fields = Params::from([("out_refund_no".to_owned(), number.to_string())]);
        let answer = match self.post("/pay/refundquery", fields).await {
            Err(Error::Business { code, .. }) if code == "REFUNDNOTEXIST" => {
                return Ok(Answer::Unknown);
            }
            other => other?,
        };
        let field = |name: &str| field(&answer, name);
        if field("out_refund_no_0") != number.to_string() {
            return Err(Error::Forged("out_refund_no is another's"));
        }
        if field("refund_fee_0") != refund.refund_fee.to_string() {
            return Err(Error::Forged("refund_fee is another's"));
        }
        match field("refund_status_0") {
            "PROCESSING" => Ok(Answer::Accepted(field("refund_id_0").to_owned())),
            "SUCCESS" => {
                let at = Timestamp::parse_beijing_spaced(field("refund_success_time_0"));
                Ok(Answer::Succeeded(field("refund_id_0").to_owned(), at.ok()))
            }
            "CHANGE" => Ok(Answer::Change),
            "REFUNDCLOSE" => Ok(Answer::Failed("REFUNDCLOSE".to_owned())),
            _ => Err(Error::Forged("refund_status is not WeChat's")),
        }
    }

    /// Opens a refund notification and says which refund it is about. The
    /// encryption does not prove who wrote it: only a query's answer counts.
    ///
    /// # Errors
    /// The first check it fails.
    pub(super) fn open_refund_notice(&self, fields: &Params) -> Result<OutRefundNo, Rejection> {
        if field(fields, "return_code") != "SUCCESS" {
            return Err(Rejection::Invalid("return_code is not SUCCESS"));
        }
        if !self.is_ours(fields) {
            return Err(Rejection::Stranger);
        }
        let plain = open(field(fields, "req_info"), &self.secrets.api_key)?;
        let inner = xml::parse(&plain)?;
        OutRefundNo::parse(field(&inner, "out_refund_no")).map_err(|_| Rejection::UnknownRefund)
    }
}

fn accepted(answer: &Params, number: &OutRefundNo) -> Result<Answer, Error> {
    if field(answer, "out_refund_no") != number.to_string() {
        return Err(Error::Forged("out_refund_no is another's"));
    }
    match field(answer, "refund_id") {
        "" => Err(Error::Forged("refund_id is missing")),
        refund_id => Ok(Answer::Accepted(refund_id.to_owned())),
    }
}

/// Whether WeChat only wants to be asked again a little later.
fn is_too_soon(code: &str) -> bool {
    matches!(
        code,
        "BIZERR_NEED_RETRY" | "FREQUENCY_LIMITED" | "INVALID_REQ_TOO_MUCH" | "ORDER_NOT_READY"
    )
}

/// Whether asking again would not help. Codes of a wrong configuration, which an
/// operator can mend, are not among them.
fn is_final(code: &str) -> bool {
    !matches!(
        code,
        "NOAUTH"
            | "APPID_NOT_EXIST"
            | "MCHID_NOT_EXIST"
            | "APPID_MCHID_NOT_MATCH"
            | "LACK_PARAMS"
            | "SIGNERROR"
            | "XML_FORMAT_ERROR"
            | "REQUIRE_POST_METHOD"
            | "POST_DATA_EMPTY"
            | "NOT_UTF8"
            | "CERT_ERROR"
    )
}

/// Decrypts `req_info`: base64, AES-256-ECB with PKCS#7 padding, under the
/// lower-case hex MD5 of the API key.
fn open(sealed: &str, api_key: &str) -> Result<Vec<u8>, Rejection> {
    const BROKEN: Rejection = Rejection::Invalid("req_info cannot be decrypted");
    let key = hex::encode(Md5::digest(api_key));
    decrypt(sealed, &key).ok_or(BROKEN)
}

fn decrypt(sealed: &str, key: &str) -> Option<Vec<u8>> {
    let sealed = BASE64_STANDARD.decode(sealed).ok()?;
    let cipher = ecb::Decryptor::<Aes256>::new_from_slice(key.as_bytes()).ok()?;
    cipher.decrypt_padded_vec::<Pkcs7>(&sealed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_vectors_are_reproduced() {
        let key = "0123456789abcdef0123456789abcdef";
        let plain = decrypt("pZwJZBLuy3mDACEQT4YTBw==", key).unwrap();
        assert_eq!(plain, b"hello");
        let leading_zeros = hex::encode(Md5::digest("leadingzero000000000000000000099"));
        assert_eq!(leading_zeros, "00cbda1f5715594724003388fff191cd");
    }

    #[test]
    fn what_was_not_sealed_with_the_key_is_refused_without_a_panic() {
        let key = "0123456789abcdef0123456789abcdef";
        for sealed in [
            "",
            "no base64!",
            "aGVsbG8=",
            "pZwJZBLuy3mDACEQT4YTBw",
            "pZwJZBLuy3mDACEQT4YTBA==",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(decrypt(sealed, key).is_none(), "{sealed}");
        }
        assert!(open("pZwJZBLuy3mDACEQT4YTBw==", key).is_err());
    }
}
