//! What APIv3 refuses with: a status, a code, and WeChat's internal number,
//! which ends the `Request-Id`.

use serde_json::{Value, json};

use crate::pay;

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) number: u32,
}

impl Refusal {
    /// A refusal of this code, with its status; 0 where the number is not known.
    pub(crate) fn new(code: &str, number: u32, message: &str) -> Self {
        Self {
            status: status_of(code),
            code: code.to_owned(),
            message: message.to_owned(),
            number,
        }
    }

    /// A parameter is missing, too long or not what it should be.
    pub(crate) fn parameter(name: &str, why: &str) -> Self {
        Self::new("PARAM_ERROR", 268_435_461, &format!("{name} {why}"))
    }

    /// There is no such payment, for this merchant.
    pub(crate) fn no_order() -> Self {
        Self::new("ORDER_NOT_EXIST", 268_512_771, "订单不存在")
    }

    /// There is no such refund, or no payment to be refunded.
    pub(crate) fn no_refund() -> Self {
        Self::new("RESOURCE_NOT_EXISTS", 0, "查询的资源不存在")
    }

    /// Nobody known has signed it.
    pub(crate) fn sign(message: &str) -> Self {
        Self::new("SIGN_ERROR", 268_443_699, message)
    }

    /// The body of the answer. The pages of another generation write codes
    /// without their first underscore.
    pub(crate) fn body(&self, older_words: bool) -> Value {
        let older = match self.code.as_str() {
            "ORDER_NOT_EXIST" => "ORDERNOTEXIST",
            "ORDER_PAID" => "ORDERPAID",
            "ORDER_CLOSED" => "ORDERCLOSED",
            "NOT_ENOUGH" => "NOTENOUGH",
            "RULE_LIMIT" => "RULELIMIT",
            "SYSTEM_ERROR" => "SYSTEMERROR",
            "USER_PAYING" => "USERPAYING",
            code => code,
        };
        let code = if older_words { older } else { &self.code };
        json!({"code": code, "message": self.message})
    }
}

/// The order book speaks v2.
impl From<pay::Refusal> for Refusal {
    fn from(refusal: pay::Refusal) -> Self {
        let (code, number) = match refusal.code.as_str() {
            "ORDERPAID" => ("ORDER_PAID", 268_498_689),
            "ORDERCLOSED" | "ORDERREVERSED" => ("ORDER_CLOSED", 268_447_914),
            "ORDERNOTEXIST" => ("ORDER_NOT_EXIST", 268_512_771),
            "PARAM_ERROR" | "LACK_PARAMS" => ("PARAM_ERROR", 268_435_461),
            "INVALID_REQUEST" if refusal.message.starts_with("201") => {
                ("INVALID_REQUEST", 268_498_688)
            }
            "TRADE_STATE_ERROR" | "TRADE_OVERDUE" => ("INVALID_REQUEST", 0),
            "NOTENOUGH" => ("NOT_ENOUGH", 0),
            "USERPAYING" => ("USER_PAYING", 0),
            "SYSTEMERROR" | "BIZERR_NEED_RETRY" => ("SYSTEM_ERROR", 0),
            "FREQUENCY_LIMITED" | "INVALID_REQ_TOO_MUCH" => ("FREQUENCY_LIMITED", 268_447_840),
            code => (code, 0),
        };
        Self::new(code, number, &refusal.message)
    }
}

/// The status that goes with a code, in either spelling.
pub(crate) fn status_of(code: &str) -> u16 {
    match code.replace('_', "").as_str() {
        "USERPAYING" => 202,
        "SIGNERROR" => 401,
        "NOAUTH"
        | "RULELIMIT"
        | "TRADEERROR"
        | "ACCOUNTERROR"
        | "NOTENOUGH"
        | "OUTTRADENOUSED"
        | "USERACCOUNTABNORMAL" => 403,
        "ORDERNOTEXIST" | "RESOURCENOTEXISTS" | "NOTFOUND" => 404,
        "METHODNOTALLOWED" => 405,
        "RATELIMITEXCEEDED" | "FREQUENCYLIMITED" => 429,
        "SYSTEMERROR" | "OPENIDMISMATCH" | "BANKERROR" => 500,
        "BADGATEWAY" => 502,
        "SERVICEUNAVAILABLE" => 503,
        _ => 400,
    }
}
