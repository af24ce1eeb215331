//! micropay, the payment by the code on the payer's phone, and reverse, which
//! takes it back. <https://pay.weixin.qq.com/wiki/doc/api/micropay.php?chapter=9_10>

use std::net::IpAddr;

use crate::domain::id::OutTradeNo;
use crate::domain::order::{Order, TradeType};
use crate::domain::signature::{Params, field};
use crate::domain::time::Timestamp;

use super::Speaker;
use super::pay::{order_fields, read_payment};
use crate::wechat::Error;
use crate::wechat::asked::Subject;
use crate::wechat::payment_code::{Charge, Reversal, ends_it};

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
            Err(Error::Business { code, .. }) if ends_it(&code) => Ok(Charge::Refused(code)),
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
