//! micropay, the payment by the code on the payer's phone, and reverse, which
//! takes it back. <https://pay.weixin.qq.com/wiki/doc/api/micropay.php?chapter=9_10>

use std::net::IpAddr;

use crate::domain::id::OutTradeNo;
use crate::domain::order::{Order, Payment, TradeType};
use crate::domain::signature::{Params, field};
use crate::domain::time::Timestamp;

use super::Speaker;
use super::pay::{order_fields, read_payment};
use crate::wechat::Error;
use crate::wechat::asked::Subject;

/// WeChat's answer to a payer's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charge {
    /// Paid at once.
    Paid(Payment),
    /// Nobody knows yet: the payer types the password, or WeChat is not sure.
    Paying,
    /// Refused for good, with WeChat's code; the payer must show another code.
    Refused(String),
}

/// How taking a payment back went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reversal {
    /// It is closed, or on its way back to the payer.
    Done,
    /// WeChat wants to be called again.
    Again,
    /// WeChat does not know the payment: the charge may still be on its way.
    Unknown,
}

/// WeChat wants the expiry at least a minute after the start.
const EXPIRES_SECONDS: i64 = 61;

impl Speaker<'_> {
    /// micropay. The money may move although the answer is lost, so it is
    /// called once for an attempt and never repeated: a query tells.
    ///
    /// # Errors
    /// When WeChat refused the request as such. Whether it was paid is unknown.
    pub async fn micropay(
        &self,
        order: &Order,
        number: &OutTradeNo,
        auth_code: &str,
        client_ip: IpAddr,
        now: Timestamp,
    ) -> Result<Charge, Error> {
        let mut fields = order_fields(&order.request, TradeType::Micropay);
        fields.extend([
            ("out_trade_no".into(), number.to_string()),
            ("spbill_create_ip".into(), client_ip.to_string()),
            ("time_start".into(), now.beijing()),
            (
                "time_expire".into(),
                now.plus_seconds(EXPIRES_SECONDS).beijing(),
            ),
            ("auth_code".into(), auth_code.to_owned()),
        ]);
        let about = Subject::Trade(number);
        match self.post_once("/pay/micropay", fields, about).await {
            Ok(answer) if field(&answer, "out_trade_no") != number.to_string() => {
                Err(Error::Forged("out_trade_no is another's"))
            }
            Ok(answer) => read_payment(&answer, number.attempt, now)
                .map(Charge::Paid)
                .map_err(Error::Forged),
            Err(Error::Business { code, .. }) if is_final(&code) => Ok(Charge::Refused(code)),
            Err(Error::Business { code, .. }) if is_ours(&code) => {
                // Every till fails like this, and no payer can help it.
                tracing::error!(
                    alarm = "configuration",
                    code,
                    "WeChat refuses payments by code"
                );
                Ok(Charge::Refused(code))
            }
            Err(Error::Business { .. } | Error::Unknown(_) | Error::Unreachable(_)) => {
                Ok(Charge::Paying)
            }
            Err(error) => Err(error),
        }
    }

    /// reverse, under the merchant's certificate: closes what was not paid and
    /// gives back what was. Repeating it is safe. Not within 15 seconds of the
    /// payment.
    ///
    /// # Errors
    /// When WeChat's answer is unusable, unknown or a refusal.
    pub async fn reverse(&self, number: &OutTradeNo) -> Result<Reversal, Error> {
        let fields = Params::from([("out_trade_no".to_owned(), number.to_string())]);
        match self
            .post_with_certificate("/secapi/pay/reverse", fields, Subject::Trade(number))
            .await
        {
            Ok(answer) if field(&answer, "recall") == "Y" => Ok(Reversal::Again),
            Ok(_) => Ok(Reversal::Done),
            Err(Error::Business { code, .. }) if code == "ORDERREVERSED" => Ok(Reversal::Done),
            Err(Error::Business { code, .. }) if code == "ORDERNOTEXIST" => Ok(Reversal::Unknown),
            Err(error) => Err(error),
        }
    }
}

/// The codes after which this payment can no longer come about. Any other,
/// USERPAYING first of all, leaves that to a query.
fn is_final(code: &str) -> bool {
    matches!(
        code,
        "AUTHCODEEXPIRE"
            | "AUTH_CODE_ERROR"
            | "AUTH_CODE_INVALID"
            | "NOTSUPORTCARD"
            | "NOTENOUGH"
            | "BUYER_MISMATCH"
    )
}

/// The codes that name a mistake of ours or of the account's: as final.
fn is_ours(code: &str) -> bool {
    matches!(
        code,
        "PARAM_ERROR"
            | "LACK_PARAMS"
            | "NOAUTH"
            | "APPID_NOT_EXIST"
            | "MCHID_NOT_EXIST"
            | "APPID_MCHID_NOT_MATCH"
            | "SIGNERROR"
            | "XML_FORMAT_ERROR"
            | "REQUIRE_POST_METHOD"
            | "POST_DATA_EMPTY"
            | "NOT_UTF8"
    )
}
