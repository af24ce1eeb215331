//! Version 3's notifications of payments and refunds: signed, then sealed.
//! <https://pay.weixin.qq.com/doc/v3/merchant/4012791861>

use serde::Deserialize;

use super::aead::{self, Sealed};
use super::transaction::Transaction;
use super::{Client, Proof};
use crate::domain::id::{OutRefundNo, OutTradeNo};
use crate::domain::time::Timestamp;
use crate::wechat::notification::{Notice, Notification, RefundNotice, Rejection};

/// WeChat's own has about a thousand.
const MAX_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
struct Event {
    event_type: String,
    resource: Resource,
}

#[derive(Deserialize)]
struct Resource {
    original_type: String,
    #[serde(flatten)]
    sealed: Sealed,
}

/// What is sealed when money has gone back, or will not.
#[derive(Deserialize)]
struct RefundEvent {
    mchid: String,
    out_trade_no: String,
    transaction_id: String,
    out_refund_no: String,
    refund_id: String,
}

impl Client {
    /// Verifies a notification, opens it, and says what it is about.
    pub(in crate::wechat) fn read_notification(
        &self,
        proof: &Proof,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notification, Rejection> {
        if body.len() > MAX_BYTES {
            return Err(Rejection::Malformed("it is too long"));
        }
        self.keys.wechat.verify(proof, body, now)?;
        let event: Event =
            serde_json::from_slice(body).map_err(|_| Rejection::Malformed("not WeChat's JSON"))?;
        let plain = aead::open(&event.resource.sealed, &self.keys.api_v3_key);
        let plain = plain.ok_or(Rejection::Invalid("the resource cannot be opened"))?;
        match (&*event.event_type, &*event.resource.original_type) {
            ("TRANSACTION.SUCCESS", "transaction") => {
                self.paid(&plain, now).map(Notification::Payment)
            }
            ("REFUND.SUCCESS" | "REFUND.ABNORMAL" | "REFUND.CLOSED", "refund") => {
                self.returned(&plain).map(Notification::Refund)
            }
            ("TRANSACTION.FAIL", _) => Err(Rejection::NoPayment),
            _ => Err(Rejection::Invalid("event_type is not known")),
        }
    }

    fn paid(&self, plain: &[u8], now: Timestamp) -> Result<Notice, Rejection> {
        let transaction: Transaction = read(plain)?;
        if !self.is_merchants(&transaction) || transaction.account().is_none() {
            return Err(Rejection::Stranger);
        }
        if transaction.trade_state != "SUCCESS" {
            return Err(Rejection::NoPayment);
        }
        let number = number(&transaction.out_trade_no)?;
        let payment = transaction.payment(number.attempt, now);
        Ok(Notice::new(number, payment.map_err(Rejection::Invalid)?))
    }

    fn returned(&self, plain: &[u8]) -> Result<RefundNotice, Rejection> {
        let refund: RefundEvent = read(plain)?;
        if refund.mchid != self.identity.mch_id.as_str() {
            return Err(Rejection::Stranger);
        }
        Ok(RefundNotice {
            // The merchant platform reports people's refunds of every payment.
            trade: OutTradeNo::parse(&refund.out_trade_no)
                .map_err(|_| Rejection::AnothersRefund(short(&refund.out_trade_no)))?,
            transaction_id: refund.transaction_id,
            refund: OutRefundNo::parse(&refund.out_refund_no).ok(),
            refund_id: refund.refund_id,
        })
    }
}

fn read<'p, T: Deserialize<'p>>(plain: &'p [u8]) -> Result<T, Rejection> {
    serde_json::from_slice(plain).map_err(|_| Rejection::Malformed("not WeChat's resource"))
}

fn number(text: &str) -> Result<OutTradeNo, Rejection> {
    OutTradeNo::parse(text).map_err(|_| Rejection::UnknownNumber(short(text)))
}

/// WeChat allows 32 plain characters.
fn short(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine};
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::wechat::v3::Unverified;
    use crate::wechat::v3::fixtures::{API_V3_KEY, NOTICE, NOTICE_AT, client, notice_proof};

    /// The whole vector: its order is not this hub's, and everything before that
    /// question holds.
    #[test]
    fn a_notification_that_was_made_elsewhere_is_verified_and_opened() {
        let read = client().read_notification(&notice_proof(), NOTICE, NOTICE_AT);
        assert!(matches!(read, Err(Rejection::Stranger)), "{read:?}");
        let event: Event = serde_json::from_slice(NOTICE).unwrap();
        let plain = aead::open(&event.resource.sealed, API_V3_KEY).unwrap();
        assert_eq!(plain.len(), 431);
        let transaction: Transaction = serde_json::from_slice(&plain).unwrap();
        assert_eq!(transaction.trade_state, "SUCCESS");
        assert_eq!(transaction.out_trade_no, "1217752501201407033233368018");
        let payment = transaction.payment(1, NOTICE_AT).unwrap();
        assert_eq!(payment.total_fee.to_string(), "100");
        assert_eq!(payment.cash_fee.to_string(), "90");
    }

    #[test]
    fn nothing_is_opened_that_is_not_verified() {
        let client = client();
        let mut other = NOTICE.to_vec();
        other[3] ^= 1;
        let read = client.read_notification(&notice_proof(), &other, NOTICE_AT);
        let wrong = Rejection::Unverified(Unverified::Signature);
        assert_eq!(read.unwrap_err().to_string(), wrong.to_string());
        let late = NOTICE_AT.plus_seconds(301);
        let read = client.read_notification(&notice_proof(), NOTICE, late);
        assert!(matches!(
            read,
            Err(Rejection::Unverified(Unverified::Clock))
        ));
        let long = vec![b' '; MAX_BYTES + 1];
        let read = client.read_notification(&notice_proof(), &long, NOTICE_AT);
        assert!(matches!(read, Err(Rejection::Malformed(_))));
    }

    fn paid() -> Value {
        json!({
            "appid": "wx", "mchid": "1900000109", "out_trade_no": "demo000000000001A00000000101",
            "transaction_id": "4200000001", "trade_type": "NATIVE", "trade_state": "SUCCESS",
            "success_time": "2026-11-20T10:00:00+08:00", "payer": {"openid": "o"},
            "amount": {"total": 100, "payer_total": 100, "currency": "CNY"},
        })
    }

    #[test]
    fn a_payment_is_of_this_merchant_and_of_this_hubs_number() {
        let read = |name: &str, value: Value| {
            let mut other = paid();
            other[name] = value;
            client().paid(other.to_string().as_bytes(), NOTICE_AT)
        };
        let notice = read("attach", json!("x")).unwrap();
        assert_eq!(notice.number().to_string(), "demo000000000001A00000000101");
        assert_eq!(notice.into_payment().transaction_id, "4200000001");
        for (name, foreign) in [("mchid", "1900000110"), ("mchid", ""), ("appid", "")] {
            assert!(matches!(
                read(name, json!(foreign)),
                Err(Rejection::Stranger)
            ));
        }
        // Whether it is the order's account, is for who has the order.
        let other = read("appid", json!("wx2")).unwrap().into_payment();
        assert_eq!(other.account.unwrap().as_str(), "wx2");
        let unpaid = read("trade_state", json!("NOTPAY"));
        assert!(matches!(unpaid, Err(Rejection::NoPayment)));
        let foreign = read("out_trade_no", json!("x".repeat(99)));
        assert!(matches!(foreign, Err(Rejection::UnknownNumber(text)) if text.len() == 32));
        let odd = read("amount", json!({"total": 0}));
        assert!(matches!(odd, Err(Rejection::Invalid(_))));
        let odd = read("amount", json!("100"));
        assert!(matches!(odd, Err(Rejection::Malformed(_))));
    }

    #[test]
    fn a_refund_names_its_payment_and_the_hubs_number_if_it_is_one() {
        let told = json!({
            "mchid": "1900000109", "out_trade_no": "demo000000000001A00000000101",
            "transaction_id": "4200000001", "out_refund_no": "demo000000000001A000000001R1",
            "refund_id": "50", "refund_status": "SUCCESS", "amount": {"refund": 1},
        });
        let read = |name: &str, value: &str| {
            let mut other = told.clone();
            other[name] = json!(value);
            client().returned(other.to_string().as_bytes())
        };
        let notice = read("user_received_account", "x").unwrap();
        assert_eq!(notice.trade.to_string(), "demo000000000001A00000000101");
        assert_eq!(notice.refund.unwrap().refund_no.as_str(), "R1");
        assert!(read("out_refund_no", "by hand").unwrap().refund.is_none());
        assert!(matches!(read("mchid", "1"), Err(Rejection::Stranger)));
        let foreign = read("out_trade_no", "1");
        assert!(matches!(foreign, Err(Rejection::AnothersRefund(_))));
    }

    #[test]
    fn the_seal_is_made_with_the_merchants_key() {
        let key = UnboundKey::new(&AES_256_GCM, API_V3_KEY.as_bytes()).unwrap();
        let mut text = paid().to_string().into_bytes();
        let nonce = Nonce::assume_unique_for_key(*b"fdasflkja484");
        LessSafeKey::new(key)
            .seal_in_place_append_tag(nonce, Aad::from("transaction"), &mut text)
            .unwrap();
        let sealed: Sealed = serde_json::from_value(json!({
            "algorithm": "AEAD_AES_256_GCM", "nonce": "fdasflkja484",
            "associated_data": "transaction", "ciphertext": BASE64_STANDARD.encode(text),
        }))
        .unwrap();
        let plain = aead::open(&sealed, API_V3_KEY).unwrap();
        assert!(client().paid(&plain, NOTICE_AT).is_ok());
    }
}
