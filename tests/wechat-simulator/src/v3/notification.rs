//! APIv3's notifications: what they say, sealed under the APIv3 key, and what is
//! wrong with them when a test says so.

use serde_json::{Value, json};

use super::refunds::{payer_refund, status};
use super::stamp::{Headers, Key, Spoilt, sent};
use super::transactions::transaction;
use super::{Now, gcm};
use crate::beijing;
use crate::forge::Flaw;
use crate::pay::{Order, Refund, RefundStatus, WechatPay};

/// A notification as it is sent.
#[derive(Clone, Debug)]
pub struct Notice {
    /// `Wechatpay-Signature` and the others.
    pub headers: Headers,
    /// JSON, unless it is spoilt.
    pub body: String,
}

/// Whether an answer stops WeChat from repeating a notification: the status
/// decides, whatever the body says.
#[must_use]
pub fn accepts(status: u16) -> bool {
    matches!(status, 200 | 204)
}

struct Event {
    kind: &'static str,
    about: &'static str,
    summary: &'static str,
    plain: Value,
}

impl WechatPay {
    /// The notification of a payment; nothing when the order is not paid, or the
    /// merchant has set no APIv3 key: WeChat then sends none at all.
    #[must_use]
    pub fn v3_payment_notification(
        &self,
        order: &Order,
        flaw: Option<Flaw>,
        now: Now,
    ) -> Option<Notice> {
        order.payment.as_ref()?;
        let event = Event {
            kind: "TRANSACTION.SUCCESS",
            about: "transaction",
            summary: "支付成功",
            plain: transaction(order, crate::pay::TradeState::Success),
        };
        self.notice(&order.mch_id, event, flaw, now)
    }

    /// The notification of a refund that has ended or needs a person.
    #[must_use]
    pub fn v3_refund_notification(
        &self,
        order: &Order,
        refund: &Refund,
        flaw: Option<Flaw>,
        now: Now,
    ) -> Option<Notice> {
        let (kind, summary) = match refund.status {
            RefundStatus::Processing => return None,
            RefundStatus::Success => ("REFUND.SUCCESS", "退款成功"),
            RefundStatus::Change => ("REFUND.ABNORMAL", "退款异常"),
            RefundStatus::Closed => ("REFUND.CLOSED", "退款关闭"),
        };
        let payment = order.payment.as_ref()?;
        let mut plain = json!({
            "mchid": order.mch_id,
            "transaction_id": payment.transaction_id,
            "out_trade_no": order.out_trade_no,
            "refund_id": refund.refund_id,
            "out_refund_no": refund.out_refund_no,
            "refund_status": status(refund.status),
            "user_received_account": "支付用户零钱",
            "amount": {
                "total": order.total_fee,
                "refund": refund.refund_fee,
                "payer_total": order.total_fee - payment.coupons_fee(),
                "payer_refund": payer_refund(order, refund),
            },
        });
        if let (Some(at), Some(plain)) = (refund.success_ms, plain.as_object_mut()) {
            plain.insert("success_time".to_owned(), json!(beijing::rfc3339(at)));
        }
        let event = Event {
            kind,
            about: "refund",
            summary,
            plain,
        };
        self.notice(&order.mch_id, event, flaw, now)
    }

    fn notice(
        &self,
        mch_id: &str,
        mut event: Event,
        flaw: Option<Flaw>,
        now: Now,
    ) -> Option<Notice> {
        let merchant = self.directory.merchant(mch_id)?;
        let credentials = self.directory.credentials(mch_id)?;
        let spoilt = match flaw {
            None => None,
            Some(flaw) => change(&mut event, flaw)?,
        };
        let api_v3_key = match flaw {
            Some(Flaw::OtherKey) => "00000000000000000000000000000000",
            _ => merchant.api_v3_key.as_deref()?,
        };
        let unique = now.moment.nonce();
        let nonce = unique.get(20..).unwrap_or_default();
        let sealed = gcm::seal(api_v3_key, nonce, event.about, &event.plain.to_string())?;
        let (nonce, sealed) = match flaw {
            Some(Flaw::ShortNonce) => (nonce.get(..6).unwrap_or_default(), sealed),
            Some(Flaw::NoNonce) => ("", sealed),
            Some(Flaw::BadCiphertext) => (nonce, "!!!not-base64!!!".to_owned()),
            Some(Flaw::ShortCiphertext) => (nonce, "AAAA".to_owned()),
            _ => (nonce, sealed),
        };
        let body = match flaw {
            Some(Flaw::NotJson) => "<xml></xml>".to_owned(),
            _ => json!({
                "id": uuid(&unique),
                "create_time": beijing::rfc3339(now.clock.saturating_mul(1000)),
                "resource_type": "encrypt-resource",
                "event_type": event.kind,
                "summary": event.summary,
                "resource": {
                    "original_type": event.about,
                    "algorithm": "AEAD_AES_256_GCM",
                    "ciphertext": sealed,
                    "associated_data": event.about,
                    "nonce": nonce,
                },
            })
            .to_string(),
        };
        let key = Key::Wechat.choose(merchant, credentials, now.moment);
        Some(Notice {
            headers: key.stamp(&body, now, spoilt),
            body: sent(body, spoilt),
        })
    }
}

/// Makes an event untrue, or says how its stamp is spoilt; nothing for a flaw
/// that only v2 has.
fn change(event: &mut Event, flaw: Flaw) -> Option<Option<Spoilt>> {
    let plain = event.plain.as_object_mut()?;
    let mut say = |name: &str, value: Value| {
        plain.insert(name.to_owned(), value);
    };
    match flaw {
        Flaw::WrongAppid => say("appid", json!("wx0000000000000000")),
        Flaw::WrongMchId => say("mchid", json!("1900000000")),
        Flaw::UnknownOrder => say("out_trade_no", json!("0123456789abcdef0123456789abcdef")),
        Flaw::Oversized => say("attach", json!("x".repeat(70 * 1024))),
        Flaw::WrongAmount => {
            let total = event.plain.get_mut("amount")?.get_mut("total")?;
            *total = json!(total.as_i64()? + 1);
        }
        Flaw::OddReceipt => {
            say("bank_type", json!("银行".repeat(99)));
            say("success_time", json!("odd"));
            say("promotion_detail", json!([{"amount": "odd"}]));
            let payer_total = event.plain.get_mut("amount")?.get_mut("payer_total")?;
            *payer_total = json!("1.5");
        }
        Flaw::ResultFail => say("trade_state", json!("PAYERROR")),
        Flaw::OtherEvent => event.kind = "TRANSACTION.FAIL",
        Flaw::OtherKey
        | Flaw::ShortNonce
        | Flaw::NoNonce
        | Flaw::BadCiphertext
        | Flaw::ShortCiphertext
        | Flaw::NotJson => {}
        Flaw::ForgedSign => return Some(Some(Spoilt::ForgedSign)),
        Flaw::NoSign => return Some(Some(Spoilt::NoSign)),
        Flaw::TwoSigns => return Some(Some(Spoilt::TwoSigns)),
        Flaw::SignTest => return Some(Some(Spoilt::SignTest)),
        Flaw::BadBase64 => return Some(Some(Spoilt::BadBase64)),
        Flaw::WrongSerial => return Some(Some(Spoilt::WrongSerial)),
        Flaw::UnknownSerial => return Some(Some(Spoilt::UnknownSerial)),
        Flaw::Old => return Some(Some(Spoilt::Old)),
        Flaw::Ahead => return Some(Some(Spoilt::Ahead)),
        Flaw::ChangedBody => return Some(Some(Spoilt::ChangedBody)),
        Flaw::NoReturnCode | Flaw::Doctype | Flaw::DuplicateElement | Flaw::NotXml => return None,
    }
    Some(None)
}

/// 36 characters, as the ids of WeChat's events.
fn uuid(hexadecimal: &str) -> String {
    let part = |range: std::ops::Range<usize>| hexadecimal.get(range).unwrap_or_default();
    [
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32),
    ]
    .join("-")
}
