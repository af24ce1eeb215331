//! WeChat's notifications: of a payment, verified over the raw map and turned
//! into a type that only verification can make; of a refund, which is only a
//! reason to ask.
//! <https://pay.weixin.qq.com/wiki/doc/api/jsapi.php?chapter=9_7>
//! Whether the order exists and what it costs is for the caller to compare.

use url::form_urlencoded;

use crate::domain::id::{OutRefundNo, OutTradeNo};
use crate::domain::money::Fen;
use crate::domain::order::Payment;
use crate::domain::signature::{Params, field};
use crate::domain::time::Timestamp;

use super::pay::read_payment;
use super::{sign, xml};
use crate::wechat::Wechat;

/// The answer that stops WeChat from repeating a notification, to the byte.
pub const ACCEPTED: &str = "<xml><return_code><![CDATA[SUCCESS]]></return_code>\
                            <return_msg><![CDATA[OK]]></return_msg></xml>";

/// The answer that makes WeChat repeat it.
pub const REFUSED: &str = "<xml><return_code><![CDATA[FAIL]]></return_code>\
                           <return_msg><![CDATA[ERROR]]></return_msg></xml>";

/// A notification that WeChat signed for this merchant. There is no other way
/// to make one than to verify it.
#[derive(Debug)]
pub struct Notice {
    number: OutTradeNo,
    payment: Payment,
}

impl Notice {
    /// From fields whose signature has been verified.
    pub(super) fn read(fields: &Params, now: Timestamp) -> Result<Self, Rejection> {
        let number = field(fields, "out_trade_no");
        // WeChat allows 32 plain characters.
        let number = OutTradeNo::parse(number)
            .map_err(|_| Rejection::UnknownNumber(number.chars().take(32).collect()))?;
        let payment = read_payment(fields, number.attempt, now).map_err(Rejection::Invalid)?;
        Ok(Self { number, payment })
    }

    /// The hub's number that was paid.
    #[must_use]
    pub fn number(&self) -> &OutTradeNo {
        &self.number
    }

    /// What was paid, as the notification says it.
    #[must_use]
    pub fn into_payment(self) -> Payment {
        self.payment
    }
}

/// What a notification is about.
#[derive(Debug)]
pub enum Notification {
    /// A payment, on WeChat's signature.
    Payment(Notice),
    /// Perhaps a refund: nothing is proven.
    Refund(RefundNotice),
}

/// What a refund notification claims to be about.
#[derive(Debug)]
pub struct RefundNotice {
    /// The payment's number, the hub's.
    pub trade: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: String,
    /// The refund's number, if it is one of the hub's form.
    pub refund: Option<OutRefundNo>,
    /// WeChat's number of the refund.
    pub refund_id: String,
}

/// What a notification says it is about, for the log: nothing of it is proven.
/// Only what has the form of a number gets there.
#[derive(Debug, Default)]
pub struct Claimed {
    /// The payment's number, if it is one of the hub's form.
    pub number: Option<OutTradeNo>,
    /// The order's price.
    pub total_fee: Option<Fen>,
    /// What was paid after coupons.
    pub cash_fee: Option<Fen>,
}

impl Claimed {
    /// By a body, as WeChat posts it.
    #[must_use]
    pub fn in_body(body: &[u8]) -> Self {
        xml::parse(body).map_or_else(|_| Self::default(), |fields| Self::of(&fields))
    }

    /// By a query, as the flow of 2014 has it.
    #[must_use]
    pub fn in_query(query: &str) -> Self {
        let fields = form_urlencoded::parse(query.as_bytes());
        Self::of(&fields.into_owned().collect())
    }

    fn of(fields: &Params) -> Self {
        let fee = |name| Fen::parse(field(fields, name)).ok();
        Self {
            number: OutTradeNo::parse(field(fields, "out_trade_no")).ok(),
            total_fee: fee("total_fee"),
            cash_fee: fee("cash_fee"),
        }
    }
}

/// Why a notification was refused.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The body is not WeChat's XML.
    #[error("the notification is malformed: {0}")]
    Malformed(#[from] xml::Malformed),
    /// A mandatory field is missing or not WeChat's.
    #[error("the notification is invalid: {0}")]
    Invalid(&'static str),
    /// The signature is absent or wrong.
    #[error("the notification's signature is wrong")]
    Signature,
    /// It is somebody else's payment.
    #[error("the notification is for another appid or mch_id")]
    Stranger,
    /// The number was not made by this hub.
    #[error("the notification's out_trade_no is not this hub's: {0}")]
    UnknownNumber(String),
    /// Money of another system's payment went back. People's refunds are told to
    /// one address of the merchant's, whoever took the payment.
    #[error("the refund is of another system's payment: {0}")]
    AnothersRefund(String),
    /// It tells of a failed payment: there is nothing to settle.
    #[error("the notification tells of no payment")]
    NoPayment,
}

impl Wechat {
    /// Reads a notification and checks what can be checked of it.
    ///
    /// # Errors
    /// The first check it fails.
    pub fn read_notification(
        &self,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notification, Rejection> {
        let fields = xml::parse(body)?;
        if fields.contains_key("req_info") {
            return self.open_refund_notice(&fields).map(Notification::Refund);
        }
        let notice = self.verify_notice(&fields, now);
        notice.map(Notification::Payment)
    }

    /// Mandatory fields, signature, then whose it is, then what it says.
    fn verify_notice(&self, fields: &Params, now: Timestamp) -> Result<Notice, Rejection> {
        if field(fields, "return_code") != "SUCCESS" {
            return Err(Rejection::Invalid("return_code is not SUCCESS"));
        }
        if !sign::verify(fields, &self.keys.api_key, self.account.sign_type) {
            return Err(Rejection::Signature);
        }
        if !self.is_ours(fields) {
            return Err(Rejection::Stranger);
        }
        match field(fields, "result_code") {
            "SUCCESS" => {}
            "FAIL" => return Err(Rejection::NoPayment),
            _ => return Err(Rejection::Invalid("result_code is missing")),
        }
        Notice::read(fields, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_stranger_claims_only_numbers_get_into_the_log() {
        let number = "demo000000000001A00000000101";
        let body = |number: &str, fee: &str| {
            format!(
                "<xml><out_trade_no>{number}</out_trade_no><total_fee>{fee}</total_fee>\
                 <attach>x</attach></xml>"
            )
        };
        let query = format!("out_trade_no={number}&total_fee=1999&attach=x");
        for claimed in [
            Claimed::in_body(body(number, "1999").as_bytes()),
            Claimed::in_query(&query),
        ] {
            let named = claimed.number.map(|number| number.to_string());
            assert_eq!(named.as_deref(), Some(number));
            assert_eq!(claimed.total_fee, Fen::parse("1999").ok());
            assert_eq!(claimed.cash_fee, None);
        }
        for body in [body("a\nb", "1 alarm"), "<!DOCTYPE x>".to_owned()] {
            let claimed = Claimed::in_body(body.as_bytes());
            assert!(
                claimed.number.is_none() && claimed.total_fee.is_none(),
                "{body}"
            );
        }
    }
}
