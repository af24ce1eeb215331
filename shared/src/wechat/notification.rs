//! WeChat's notifications, whatever their form: how one came, what it tells, why
//! it is refused, and what WeChat is answered. Each version reads its own; which
//! one that is, the form says.

use reqwest::header::HeaderMap;
use url::form_urlencoded;

use super::v2;
use super::v3::{Proof, Unverified};
use crate::domain::id::{OutRefundNo, OutTradeNo};
use crate::domain::money::Fen;
use crate::domain::order::Payment;
use crate::domain::signature::{Params, field};

/// What version 3's headers begin with.
const PROOF_HEADERS: &str = "wechatpay-";
/// What version 3 is answered instead of success; it goes by the status.
const REFUSED: &str = r#"{"code":"FAIL","message":"refused"}"#;

/// A notification as it came. Nothing of it has been looked at.
#[derive(Debug, Clone)]
pub enum Received<'a> {
    /// Version 2.
    Xml(&'a [u8]),
    /// The APP flow of 2014, which says everything in the query.
    Query(&'a str),
    /// Version 3.
    Json {
        /// What it is signed with, if that is there.
        proof: Result<Proof, Unverified>,
        /// What is signed.
        body: &'a [u8],
    },
}

/// What is to become of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is durable, or there is nothing to do: it need not come again.
    Accepted,
    /// It is not believed. WeChat comes again, if it was WeChat.
    Refused,
    /// It could not be handled now.
    Later,
}

/// What WeChat is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// None for an empty body.
    pub content_type: Option<&'static str>,
    /// To the byte.
    pub body: &'static str,
}

impl<'a> Received<'a> {
    /// Tells the form of a call to the hub's address for notifications.
    #[must_use]
    pub fn of(query: Option<&'a str>, headers: &HeaderMap, body: &'a [u8]) -> Self {
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            return Self::Query(query);
        }
        let mut names = headers.keys();
        let is_signed = names.any(|name| name.as_str().starts_with(PROOF_HEADERS));
        match is_signed {
            true => Self::Json {
                proof: Proof::of(headers),
                body,
            },
            false => Self::Xml(body),
        }
    }

    /// Which of WeChat's keys it says it is signed with.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        match self {
            Self::Json { proof, .. } => Some(proof.as_ref().ok()?.serial.as_str()),
            Self::Xml(_) | Self::Query(_) => None,
        }
    }

    /// What it says before anything is verified. Version 3's is sealed.
    #[must_use]
    pub fn claimed(&self) -> Claimed {
        match self {
            Self::Xml(body) => {
                let fields = v2::xml::parse(body);
                fields.map_or_else(|_| Claimed::default(), |fields| Claimed::of(&fields))
            }
            Self::Query(query) => {
                let fields = form_urlencoded::parse(query.as_bytes());
                Claimed::of(&fields.into_owned().collect())
            }
            Self::Json { .. } => Claimed::default(),
        }
    }

    /// The answer in this form's words.
    #[must_use]
    pub fn reply(&self, verdict: Verdict) -> Reply {
        let (content_type, [accepted, refused]) = match self {
            Self::Query(_) => ("text/plain", v2::genprepay::ANSWERS),
            Self::Xml(_) => ("text/xml; charset=utf-8", v2::notify::ANSWERS),
            Self::Json { .. } => ("application/json", ["", REFUSED]),
        };
        let status = match (verdict, self) {
            (Verdict::Later, _) => 503,
            // Any 2xx would be success.
            (Verdict::Refused, Self::Json { .. }) => 400,
            (Verdict::Accepted, Self::Json { .. }) => 204,
            (Verdict::Accepted | Verdict::Refused, Self::Xml(_) | Self::Query(_)) => 200,
        };
        let body = match verdict {
            Verdict::Accepted => accepted,
            Verdict::Refused | Verdict::Later => refused,
        };
        Reply {
            status,
            content_type: (!body.is_empty()).then_some(content_type),
            body,
        }
    }
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
    fn of(fields: &Params) -> Self {
        let fee = |name| Fen::parse(field(fields, name)).ok();
        Self {
            number: OutTradeNo::parse(field(fields, "out_trade_no")).ok(),
            total_fee: fee("total_fee"),
            cash_fee: fee("cash_fee"),
        }
    }
}

/// A payment that WeChat tells of, on its signature. There is no other way to make
/// one than to verify it.
#[derive(Debug)]
pub struct Notice {
    number: OutTradeNo,
    payment: Payment,
}

impl Notice {
    /// From what has been verified.
    pub(super) const fn new(number: OutTradeNo, payment: Payment) -> Self {
        Self { number, payment }
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
    /// Perhaps a refund: version 2's proves nothing, and neither is taken for more
    /// than a reason to ask.
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

/// Why a notification was refused.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The body is not of its form.
    #[error("the notification is malformed: {0}")]
    Malformed(&'static str),
    /// A mandatory field is missing or not WeChat's.
    #[error("the notification is invalid: {0}")]
    Invalid(&'static str),
    /// Version 2's signature is absent or wrong.
    #[error("the notification's signature is wrong")]
    Signature,
    /// Version 3's does not hold.
    #[error("the notification is not believed: {0}")]
    Unverified(#[from] Unverified),
    /// It is for another merchant, for another account, or in a form of which this
    /// merchant has no keys.
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

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn the_form_tells_itself_and_is_answered_in_its_own_words() {
        let plain = HeaderMap::new();
        let mut signed = HeaderMap::new();
        signed.insert("wechatpay-nonce", HeaderValue::from_static("n"));
        let of = |query, headers: &HeaderMap, body: &'static [u8]| {
            let received = Received::of(query, headers, body);
            let verdicts = [Verdict::Accepted, Verdict::Refused, Verdict::Later];
            verdicts.map(|verdict| received.reply(verdict))
        };
        let xml = of(None, &plain, b"<xml></xml>");
        assert_eq!(xml.map(|reply| reply.status), [200, 200, 503]);
        assert!(xml[0].body.contains("SUCCESS") && xml[1].body.contains("FAIL"));
        assert_eq!(xml[1].body, xml[2].body);
        assert_eq!(of(Some(""), &plain, b""), xml, "nothing at all");
        let query = of(Some("a=b"), &signed, b"{}");
        assert_eq!(query.map(|reply| reply.body), ["success", "fail", "fail"]);
        assert_eq!(query.map(|reply| reply.status), [200, 200, 503]);
        assert_eq!(of(None, &plain, b"{}"), xml, "not signed by version 3");
        let json = of(None, &signed, b"{}");
        assert_eq!(json.map(|reply| reply.status), [204, 400, 503]);
        assert_eq!(json[0].content_type, None);
        assert_eq!(json[1].body, r#"{"code":"FAIL","message":"refused"}"#);
        assert_eq!(of(None, &signed, b"<xml></xml>"), json, "signed, and odd");
    }

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
        let good = body(number, "1999");
        for received in [Received::Xml(good.as_bytes()), Received::Query(&query)] {
            let claimed = received.claimed();
            let named = claimed.number.map(|number| number.to_string());
            assert_eq!(named.as_deref(), Some(number));
            assert_eq!(claimed.total_fee, Fen::parse("1999").ok());
            assert_eq!(claimed.cash_fee, None);
        }
        for body in [body("a\nb", "1 alarm"), "<!DOCTYPE x>".to_owned()] {
            let claimed = Received::Xml(body.as_bytes()).claimed();
            assert!(
                claimed.number.is_none() && claimed.total_fee.is_none(),
                "{body}"
            );
        }
    }
}
