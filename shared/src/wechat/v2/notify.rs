//! WeChat's notifications: of a payment, verified over the raw map and turned
//! into a type that only verification can make; of a refund, which is only a
//! reason to ask.
//! <https://pay.weixin.qq.com/wiki/doc/api/jsapi.php?chapter=9_7>
//! Whether the order exists and what it costs is for the caller to compare.

use crate::domain::id::OutTradeNo;
use crate::domain::merchant::AccountId;
use crate::domain::signature::{Params, field};
use crate::domain::time::Timestamp;

use super::pay::read_payment;
use super::{Client, sign, xml};
use crate::wechat::notification::{Notice, Notification, Rejection};

/// The answers to a notification, to the byte: the one that stops WeChat from
/// repeating it, and the one that makes WeChat repeat it.
pub(in crate::wechat) const ANSWERS: [&str; 2] = [
    "<xml><return_code><![CDATA[SUCCESS]]></return_code>\
     <return_msg><![CDATA[OK]]></return_msg></xml>",
    "<xml><return_code><![CDATA[FAIL]]></return_code>\
     <return_msg><![CDATA[ERROR]]></return_msg></xml>",
];

impl From<xml::Malformed> for Rejection {
    fn from(malformed: xml::Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

/// From fields whose signature has been verified.
pub(super) fn read_notice(fields: &Params, now: Timestamp) -> Result<Notice, Rejection> {
    let number = field(fields, "out_trade_no");
    // WeChat allows 32 plain characters.
    let number = OutTradeNo::parse(number)
        .map_err(|_| Rejection::UnknownNumber(number.chars().take(32).collect()))?;
    let payment = read_payment(fields, number.attempt, now).map_err(Rejection::Invalid)?;
    Ok(Notice::new(number, payment))
}

impl Client {
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
        if !sign::verify(fields, &self.keys.api_key, self.identity.sign_type) {
            return Err(Rejection::Signature);
        }
        let names_account = AccountId::parse(field(fields, "appid")).is_ok();
        if !self.is_merchants(fields) || !names_account {
            return Err(Rejection::Stranger);
        }
        match field(fields, "result_code") {
            "SUCCESS" => {}
            "FAIL" => return Err(Rejection::NoPayment),
            _ => return Err(Rejection::Invalid("result_code is missing")),
        }
        read_notice(fields, now)
    }
}
