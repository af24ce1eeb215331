//! What the ledger's rows say, read from DynamoDB's own JSON.

use serde_json::{Value, json};

use crate::engine::{number, string};

/// The sort key of an order's row.
pub(crate) const ORDER: &str = "order";
/// The beginning of the sort key of what an app must be told.
pub(crate) const DELIVERY: &str = "delivery#";
/// The sort key of what an app must be told of its order's payment.
pub(crate) const TELLING: &str = "delivery#payment.succeeded";
/// The beginning of a refund's sort key.
pub(crate) const REFUND: &str = "refund#";

/// A payment of an order: its own, or one that must go back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Payment {
    /// WeChat's `transaction_id`.
    pub(crate) id: String,
    /// In fen, as the amounts below.
    pub(crate) fee: i64,
    /// It is what the order was paid with; the others are anomalies.
    pub(crate) own: bool,
    /// Promised to refunds, whether done or not.
    pub(crate) reserved: i64,
    /// Gone back; a part of what is promised.
    pub(crate) refunded: i64,
}

/// All payments that an order's row knows.
pub(crate) fn payments(order: &Value) -> Vec<Payment> {
    let own = order.get("payment").and_then(|row| payment(row, true));
    let list = order.get("anomalies").and_then(|list| list.get("L"));
    let anomalies = list.and_then(Value::as_array).into_iter().flatten();
    let others = anomalies.filter_map(|row| payment(row.get("M")?.get("payment")?, false));
    own.into_iter().chain(others).collect()
}

fn payment(row: &Value, own: bool) -> Option<Payment> {
    let row = row.get("M")?;
    Some(Payment {
        id: string(row, "transaction_id")?.to_owned(),
        fee: number(row, "total_fee")?,
        own,
        reserved: number(row, "refund_reserved").unwrap_or_default(),
        refunded: number(row, "refunded").unwrap_or_default(),
    })
}

/// WeChat's number of the payment that an app must be told of in this row.
pub(crate) fn told_payment(delivery: &Value) -> Option<&str> {
    string(delivery.get("payload")?.get("M")?, "transaction_id")
}

/// The attempts by payment code that have failed: their numbers, and why.
pub(crate) fn failures(order: &Value) -> Vec<(i64, &str)> {
    let list = order.get("attempts").and_then(|list| list.get("L"));
    let attempts = list.and_then(Value::as_array).into_iter().flatten();
    attempts
        .filter_map(|attempt| {
            let attempt = attempt.get("M")?;
            let code = string(attempt.get("scan")?.get("M")?, "err_code")?;
            Some((number(attempt, "number")?, code))
        })
        .collect()
}

/// The numbers of the attempts that nobody can pay any more, or that somebody
/// still can. Those by payment code are not closed but taken back, and a charge
/// may come late.
pub(crate) fn attempts(order: &Value, closed: bool) -> Vec<i64> {
    let list = order.get("attempts").and_then(|list| list.get("L"));
    let attempts = list.and_then(Value::as_array).into_iter().flatten();
    attempts
        .filter_map(|attempt| {
            let attempt = attempt.get("M")?;
            if attempt.get("scan").is_some() {
                return None;
            }
            let is = attempt.get("closed").and_then(|flag| flag.get("BOOL"));
            let is = is.and_then(Value::as_bool).unwrap_or_default();
            (is == closed).then(|| number(attempt, "number"))?
        })
        .collect()
}

/// The attempts of an order, as they are written.
pub(crate) fn attempt_rows(order: &Value) -> impl Iterator<Item = &Value> {
    let list = order.get("attempts").and_then(|list| list.get("L"));
    let attempts = list.and_then(Value::as_array).into_iter().flatten();
    attempts.filter_map(|attempt| attempt.get("M"))
}

/// Whether a payment by code was taken back and not looked at once more.
pub(crate) fn is_look_owed(order: &Value) -> bool {
    let list = order.get("attempts").and_then(|list| list.get("L"));
    let mut attempts = list.and_then(Value::as_array).into_iter().flatten();
    let is_true = |row: &Value, name: &str| row.get(name) == Some(&json!({"BOOL": true}));
    attempts.any(|attempt| {
        let attempt = attempt.get("M").unwrap_or(&Value::Null);
        let code = attempt.get("scan").and_then(|code| code.get("M"));
        is_true(attempt, "closed")
            && code.is_some_and(|code| is_true(code, "reversing") && !is_true(code, "looked_again"))
    })
}

/// Whether the hub tells the app, and not WeChat itself.
pub(crate) fn is_told_by_hub(order: &Value) -> bool {
    let request = order.get("request").and_then(|request| request.get("M"));
    request.and_then(|request| string(request, "version")) == Some("2.0")
}

/// Whether a row of this status owes something.
pub(crate) fn is_owed(status: &str) -> bool {
    ["pending", "created", "paying", "processing", "change"].contains(&status)
}

/// Whether an order is paid and could be paid once more.
pub(crate) fn is_watched(row: &Value) -> bool {
    row.get("payment").is_some() && !attempts(row, false).is_empty()
}
