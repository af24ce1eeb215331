//! Refunds of version 3, asked for and asked about. No client certificate: the
//! merchant's signature is enough.
//! <https://pay.weixin.qq.com/doc/v3/merchant/4012525166>

use serde::{Deserialize, Serialize};

use super::Speaker;
use crate::domain::money::Fen;
use crate::domain::refund::{Answer, Refund};
use crate::domain::time::Timestamp;
use crate::wechat::Error;
use crate::wechat::asked::Subject;

const PATH: &str = "/v3/refund/domestic/refunds";
/// A longer reason is refused as a whole.
const REASON_MAX_BYTES: usize = 80;

#[derive(Serialize)]
struct NewRefund<'a> {
    transaction_id: &'a str,
    out_refund_no: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    notify_url: &'a str,
    amount: NewAmount,
}

#[derive(Serialize)]
struct NewAmount {
    refund: Fen,
    total: Fen,
    currency: &'static str,
}

/// A refund as WeChat knows it.
#[derive(Deserialize)]
struct Known {
    refund_id: String,
    out_refund_no: String,
    transaction_id: String,
    status: String,
    #[serde(default)]
    success_time: Option<String>,
    amount: Amount,
}

#[derive(Deserialize)]
struct Amount {
    refund: i64,
}

impl Speaker<'_> {
    /// Asks for a refund. The same refund always sends the same parameters, so
    /// repeating it is safe. A refusal counts only when a query does not know the
    /// refund either: an earlier call may have come through, and nobody signs
    /// refusals.
    pub(in crate::wechat) async fn refund(
        &self,
        refund: &Refund,
        notify_url: &str,
        now: Timestamp,
    ) -> Result<Answer, Error> {
        let number = refund.number();
        let (body, about) = (new_refund(refund, notify_url), Subject::Refund(&number));
        let refusal = match self.post(PATH, &body, about, now).await {
            Ok(known) => return answer(&known, refund),
            Err(refusal) => refusal,
        };
        let Some(err_code) = refusal.business_code().map(str::to_owned) else {
            return Err(refusal);
        };
        match self.refund_query(refund, now).await? {
            Answer::Unknown if err_code == "FREQUENCY_LIMITED" => Ok(Answer::Later(err_code)),
            Answer::Unknown => Ok(Answer::Refused {
                is_final: is_final(&err_code),
                err_code,
            }),
            known => Ok(known),
        }
    }

    /// Asks about a refund by the hub's number, the only one by which version 3
    /// tells of it. [`Answer::Unknown`]: WeChat has no such refund.
    pub(in crate::wechat) async fn refund_query(
        &self,
        refund: &Refund,
        now: Timestamp,
    ) -> Result<Answer, Error> {
        let number = refund.number();
        let path = format!("{PATH}/{number}");
        match self.get(&path, Subject::Refund(&number), now).await {
            Ok(known) => answer(&known, refund),
            Err(Error::Business { code, .. })
                if matches!(&*code, "RESOURCE_NOT_EXISTS" | "ORDERNOTEXIST") =>
            {
                Ok(Answer::Unknown)
            }
            Err(error) => Err(error),
        }
    }
}

fn new_refund<'a>(refund: &'a Refund, notify_url: &'a str) -> NewRefund<'a> {
    let reason = refund.reason.as_deref().unwrap_or_default();
    let reason = reason.get(..reason.floor_char_boundary(REASON_MAX_BYTES));
    NewRefund {
        transaction_id: &refund.transaction_id,
        out_refund_no: refund.number().to_string(),
        reason: reason.filter(|reason| !reason.is_empty()),
        notify_url,
        amount: NewAmount {
            refund: refund.refund_fee,
            total: refund.total_fee,
            currency: "CNY",
        },
    }
}

fn answer(known: &Known, refund: &Refund) -> Result<Answer, Error> {
    if known.out_refund_no != refund.number().to_string()
        || known.transaction_id != refund.transaction_id
    {
        return Err(Error::Forged("the refund is another's"));
    }
    if Fen::positive(known.amount.refund) != Ok(refund.refund_fee) {
        return Err(Error::Forged("the refund's amount is another"));
    }
    if known.refund_id.is_empty() {
        return Err(Error::Forged("refund_id is missing"));
    }
    match known.status.as_str() {
        "PROCESSING" => Ok(Answer::Accepted(known.refund_id.clone())),
        "SUCCESS" => {
            let at = known.success_time.as_deref();
            let at = at.and_then(|at| Timestamp::parse_rfc3339(at).ok());
            Ok(Answer::Succeeded(known.refund_id.clone(), at))
        }
        "ABNORMAL" => Ok(Answer::Change),
        // Apps know it by version 2's word.
        "CLOSED" => Ok(Answer::Failed("REFUNDCLOSE".to_owned())),
        _ => Err(Error::Forged("the refund's status is not WeChat's")),
    }
}

/// Whether the same number will never succeed: the payer's account is gone, or
/// there is no such payment. All other codes, the merchant's empty balance among
/// them, may pass.
fn is_final(code: &str) -> bool {
    matches!(
        code,
        "USER_ACCOUNT_ABNORMAL" | "RESOURCE_NOT_EXISTS" | "ORDERNOTEXIST"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::fixtures;

    #[test]
    fn wechat_is_told_what_must_be_and_nothing_else() {
        let mut refund = fixtures::refund();
        let mut least = json!({
            "transaction_id": "tx1", "out_refund_no": "demo000000000001A000000001R1",
            "notify_url": "https://hub.example/", "amount": {"refund": 5, "total": 100, "currency": "CNY"},
        });
        let told = |refund: &Refund| {
            serde_json::to_value(new_refund(refund, "https://hub.example/")).unwrap()
        };
        assert_eq!(told(&refund), least);
        refund.reason = Some("退".repeat(30));
        least["reason"] = json!("退".repeat(26));
        assert_eq!(told(&refund), least);
    }

    #[test]
    fn each_status_is_an_answer_and_anothers_refund_is_none() {
        let refund = fixtures::refund();
        let known = json!({
            "refund_id": "50", "out_refund_no": "demo000000000001A000000001R1",
            "transaction_id": "tx1", "out_trade_no": "demo000000000001A00000000101",
            "channel": "ORIGINAL", "status": "SUCCESS", "success_time": "2026-11-20T10:00:00+08:00",
            "amount": {"total": 100, "refund": 5, "payer_refund": 5, "currency": "CNY"},
        });
        let read = |name: &str, value: Value| {
            let mut other = known.clone();
            other[name] = value;
            answer(&serde_json::from_value(other).unwrap(), &refund)
        };
        let at = Timestamp::from_millis(1_795_140_000_000);
        for (status, said) in [
            ("SUCCESS", Answer::Succeeded("50".into(), Some(at))),
            ("PROCESSING", Answer::Accepted("50".into())),
            ("ABNORMAL", Answer::Change),
            ("CLOSED", Answer::Failed("REFUNDCLOSE".into())),
        ] {
            assert_eq!(read("status", json!(status)).unwrap(), said);
        }
        let untimed = Answer::Succeeded("50".into(), None);
        assert_eq!(read("success_time", json!(null)).unwrap(), untimed);
        for (name, value) in [
            ("status", json!("CHANGE")),
            ("refund_id", json!("")),
            ("out_refund_no", json!("demo000000000001A000000001R2")),
            ("transaction_id", json!("tx2")),
            ("amount", json!({"refund": 6})),
            ("amount", json!({"refund": -5})),
        ] {
            let refused = read(name, value.clone());
            assert!(matches!(refused, Err(Error::Forged(_))), "{name} {value}");
        }
    }

    #[test]
    fn few_codes_are_final() {
        for code in ["USER_ACCOUNT_ABNORMAL", "RESOURCE_NOT_EXISTS"] {
            assert!(is_final(code), "{code}");
        }
        for code in ["NOTENOUGH", "PARAM_ERROR", "INVALID_REQUEST", "NOAUTH"] {
            assert!(!is_final(code), "{code}");
        }
    }
}
