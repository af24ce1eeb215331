//! refund, refundquery, and the refund notification, which is encrypted and not
//! signed. <https://pay.weixin.qq.com/wiki/doc/api/jsapi.php?chapter=9_4>

use aes::Aes256;
use base64::prelude::{BASE64_STANDARD, Engine};
use ecb::cipher::block_padding::Pkcs7;
use ecb::cipher::{BlockModeDecrypt, KeyInit};
use md5::{Digest, Md5};

use crate::domain::id::{OrderKey, OutRefundNo, OutTradeNo, RefundSource};
use crate::domain::money::Fen;
use crate::domain::order::{Order, Payment, Returned, Standing};
use crate::domain::refund::{Answer, Refund};
use crate::domain::signature::{Params, field};
use crate::domain::time::Timestamp;

use super::pay::{cut, read_payment};
use super::xml;
use super::{Client, Speaker};
use crate::wechat::Error;
use crate::wechat::asked::Subject;
use crate::wechat::notification::{RefundNotice, Rejection};

const REFUNDS_MAX: usize = 50;
const REFUNDS_A_PAGE: usize = 10;
/// A longer reason is refused as a whole.
const REASON_MAX_BYTES: usize = 80;

impl Speaker<'_> {
    /// refund, under the merchant's certificate. The same refund always sends
    /// the same parameters, so repeating it is safe. A refusal counts only when
    /// a query does not know the refund either: an earlier call may have come
    /// through.
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
        let err_code = match self
            .post_with_certificate("/secapi/pay/refund", fields, Subject::Refund(&number))
            .await
        {
            Ok(answer) => return accepted(&answer, &number),
            Err(Error::Business { code, .. }) if is_too_soon(&code) => {
                return Ok(Answer::Later(code));
            }
            Err(Error::Business { code, .. }) => code,
            Err(error) => return Err(error),
        };
        let is_final = is_final(&err_code);
        match self.refund_query(refund).await? {
            Answer::Unknown => Ok(Answer::Refused { err_code, is_final }),
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
        let own = number.to_string();
        // One that a person made is known by WeChat's number only.
        let by = match (refund.refund_no.source(), &refund.refund_id) {
            (RefundSource::Wechat, Some(refund_id)) => ("refund_id", refund_id.as_str()),
            _ => ("out_refund_no", own.as_str()),
        };
        let fields = Params::from([(by.0.to_owned(), by.1.to_owned())]);
        let about = Subject::Refund(&number);
        let answer = match self.post("/pay/refundquery", fields, about).await {
            Err(Error::Business { code, .. }) if code == "REFUNDNOTEXIST" => {
                return Ok(Answer::Unknown);
            }
            other => other?,
        };
        let field = |name: &str| field(&answer, name);
        if field(&format!("{}_0", by.0)) != by.1 {
            return Err(Error::Forged("the refund's number is another's"));
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

    /// refundquery by WeChat's number of the payment: every refund of it, whoever
    /// asked for it. None when WeChat knows of none at all.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown; nothing may be concluded.
    pub async fn returned(
        &self,
        order: &OrderKey,
        transaction_id: &str,
        now: Timestamp,
    ) -> Result<Option<Vec<Returned>>, Error> {
        let mut found = None;
        // WeChat allows fifty refunds of a payment and tells ten at a time.
        for offset in (0..REFUNDS_MAX).step_by(REFUNDS_A_PAGE) {
            let fields = Params::from([
                ("transaction_id".to_owned(), transaction_id.to_owned()),
                ("offset".to_owned(), offset.to_string()),
            ]);
            let about = Subject::Payment {
                order,
                transaction_id,
            };
            let answer = match self.post("/pay/refundquery", fields, about).await {
                Err(Error::Business { code, .. }) if code == "REFUNDNOTEXIST" => break,
                other => other?,
            };
            if field(&answer, "transaction_id") != transaction_id {
                return Err(Error::Forged("transaction_id is another's"));
            }
            if read_page(&answer, found.get_or_insert_default(), now)? < REFUNDS_A_PAGE {
                break;
            }
        }
        Ok(found)
    }

    /// The payment of an attempt of which WeChat says no more than that it is
    /// closed, or that something has gone back, as far as refundquery by the hub's
    /// number tells of it. None when nothing has gone back.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown; nothing may be concluded.
    pub(in crate::wechat) async fn payment_given_back(
        &self,
        order: &Order,
        attempt: u8,
    ) -> Result<Option<Payment>, Error> {
        let number = order.out_trade_no(attempt);
        let fields = Params::from([("out_trade_no".to_owned(), number.to_string())]);
        let about = Subject::Trade(&number);
        let mut answer = match self.post("/pay/refundquery", fields, about).await {
            Err(Error::Business { code, .. }) if is_nothing(&code) => return Ok(None),
            other => other?,
        };
        if field(&answer, "out_trade_no") != number.to_string() {
            return Err(Error::Forged("out_trade_no is another's"));
        }
        let Some(known) = order.attempt(attempt) else {
            return Ok(None);
        };
        // It does not say how and when it was paid: at the earliest when WeChat
        // was asked for it.
        let trade_type = known.trade_type.as_str().to_owned();
        answer.insert("trade_type".to_owned(), trade_type);
        read_payment(&answer, attempt, known.started_at)
            .map(Some)
            .map_err(Error::Forged)
    }
}

impl Client {
    /// Opens a refund notification and says what it is about. The encryption does
    /// not prove who wrote it: only a query's answer counts.
    ///
    /// # Errors
    /// The first check it fails.
    pub(super) fn open_refund_notice(&self, fields: &Params) -> Result<RefundNotice, Rejection> {
        if field(fields, "return_code") != "SUCCESS" {
            return Err(Rejection::Invalid("return_code is not SUCCESS"));
        }
        if !self.is_merchants(fields) {
            return Err(Rejection::Stranger);
        }
        let plain = open(field(fields, "req_info"), &self.keys.api_key)?;
        let inner = xml::parse(&plain)?;
        let number = field(&inner, "out_trade_no");
        let trade = OutTradeNo::parse(number)
            .map_err(|_| Rejection::AnothersRefund(number.chars().take(32).collect()))?;
        Ok(RefundNotice {
            trade,
            transaction_id: field(&inner, "transaction_id").to_owned(),
            refund: OutRefundNo::parse(field(&inner, "out_refund_no")).ok(),
            refund_id: field(&inner, "refund_id").to_owned(),
        })
    }
}

/// Adds what one answer tells to what those before told, and says how many that
/// is. A refund that is made between two questions moves the others on, so that
/// one is told twice.
fn read_page(answer: &Params, found: &mut Vec<Returned>, now: Timestamp) -> Result<usize, Error> {
    let count: usize = field(answer, "refund_count")
        .parse()
        .map_err(|_| Error::Forged("refund_count is no number"))?;
    for index in 0..count.min(REFUNDS_A_PAGE) {
        let back = read_returned(answer, index, now)?;
        if !found.iter().any(|known| known.refund_id == back.refund_id) {
            found.push(back);
        }
    }
    Ok(count)
}

fn read_returned(answer: &Params, index: usize, now: Timestamp) -> Result<Returned, Error> {
    let field = |name: &str| field(answer, &format!("{name}_{index}"));
    let standing = match field("refund_status") {
        "SUCCESS" => {
            let at = Timestamp::parse_beijing_spaced(field("refund_success_time"));
            Standing::Succeeded(at.unwrap_or(now))
        }
        "PROCESSING" | "CHANGE" => Standing::UnderWay,
        "REFUNDCLOSE" => Standing::Closed,
        _ => return Err(Error::Forged("refund_status is not one of WeChat's")),
    };
    Ok(Returned {
        out_refund_no: field("out_refund_no").to_owned(),
        refund_id: field("refund_id").to_owned(),
        refund_fee: Fen::parse(field("refund_fee"))
            .map_err(|_| Error::Forged("refund_fee is no amount"))?,
        standing,
    })
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

/// Whether WeChat says that nothing has gone back. Any other refusal (its own
/// failure, a limit, a wrong signature) says nothing about the money.
fn is_nothing(code: &str) -> bool {
    matches!(code, "REFUNDNOTEXIST" | "ORDERNOTEXIST")
}

/// Whether WeChat defines that the same number will never succeed: the payment is
/// too old, the payer's account is gone, or there is no such payment or sum. All
/// other codes, the merchant's empty balance among them, may pass.
/// <https://pay.weixin.qq.com/wiki/doc/api/jsapi.php?chapter=9_4>
fn is_final(code: &str) -> bool {
    matches!(
        code,
        "TRADE_OVERDUE"
            | "USER_ACCOUNT_ABNORMAL"
            | "REFUND_FEE_MISMATCH"
            | "INVALID_TRANSACTIONID"
            | "ORDERNOTEXIST"
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
    use crate::domain::fixtures::NOW;
    use crate::wechat::fixtures::{API_KEY, wechat};
    use ecb::cipher::BlockModeEncrypt;

    #[test]
    fn the_documented_vectors_are_reproduced() {
        let key = "0123456789abcdef0123456789abcdef";
        let plain = decrypt("pZwJZBLuy3mDACEQT4YTBw==", key).unwrap();
        assert_eq!(plain, b"hello");
        let leading_zeros = hex::encode(Md5::digest("leadingzero000000000000000000099"));
        assert_eq!(leading_zeros, "00cbda1f5715594724003388fff191cd");
    }

    #[test]
    fn a_refund_is_told_apart_from_one_of_another_systems_payment() {
        let wechat = wechat("");
        let opened = |out_trade_no: &str| {
            let inner = format!("<root><out_trade_no>{out_trade_no}</out_trade_no></root>");
            let key = hex::encode(Md5::digest(API_KEY));
            let cipher = ecb::Encryptor::<Aes256>::new_from_slice(key.as_bytes()).unwrap();
            let sealed = cipher.encrypt_padded_vec::<Pkcs7>(inner.as_bytes());
            let fields = [
                ("return_code", "SUCCESS".to_owned()),
                ("appid", "wx-any".to_owned()),
                ("mch_id", wechat.identity.mch_id.to_string()),
                ("req_info", BASE64_STANDARD.encode(sealed)),
            ];
            let fields = fields.map(|(name, value)| (name.to_owned(), value));
            wechat.open_refund_notice(&Params::from(fields))
        };
        let ours = opened("demo000000000001A00000000101").unwrap();
        assert_eq!(ours.trade.attempt, 1);
        let theirs = opened("somebody-elses-number").unwrap_err();
        assert!(
            matches!(theirs, Rejection::AnothersRefund(number) if number == "somebody-elses-number")
        );
    }

    #[test]
    fn only_that_there_is_no_refund_means_that_nothing_has_gone_back() {
        for code in ["REFUNDNOTEXIST", "ORDERNOTEXIST"] {
            assert!(is_nothing(code), "{code}");
        }
        for code in [
            "SYSTEMERROR",
            "FREQUENCY_LIMITED",
            "BIZERR_NEED_RETRY",
            "SIGNERROR",
            "PARAM_ERROR",
            "",
        ] {
            assert!(!is_nothing(code), "{code}");
        }
    }

    fn page(refund_ids: &[&str]) -> Params {
        let mut page = Params::from([("refund_count".into(), refund_ids.len().to_string())]);
        for (index, refund_id) in refund_ids.iter().enumerate() {
            for (name, value) in [
                ("refund_id", *refund_id),
                ("refund_fee", "5"),
                ("refund_status", "PROCESSING"),
            ] {
                page.insert(format!("{name}_{index}"), value.into());
            }
        }
        page
    }

    #[test]
    fn a_refund_that_moves_on_between_two_questions_is_one() {
        let mut found = Vec::new();
        for (told, count, known) in [
            (&["a", "b"][..], 2, &["a", "b"][..]),
            (&["b", "c"], 2, &["a", "b", "c"]),
            (&["c"], 1, &["a", "b", "c"]),
        ] {
            let read = read_page(&page(told), &mut found, NOW).unwrap();
            let ids: Vec<&str> = found.iter().map(|back| &*back.refund_id).collect();
            assert_eq!((read, &*ids), (count, known));
        }
        let uncounted = Params::from([("refund_count".into(), "many".into())]);
        assert!(read_page(&uncounted, &mut found, NOW).is_err());
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
