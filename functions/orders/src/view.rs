//! What an app sees of its order and its refunds. It refuses to know who asks.

use serde_json::{Value, json};
use shared::aws::ledger::Partition;
use shared::domain::delivery::{self, Delivery};
use shared::domain::order::{Anomaly, Attempt};
use shared::domain::refund::Refund;
use shared::domain::time::Timestamp;

/// An order and all that belongs to it.
pub(crate) fn order(partition: &Partition, pay_url: String) -> Value {
    let Partition {
        order,
        deliveries,
        refunds,
    } = partition;
    // In the order in which they came about.
    let mut deliveries: Vec<&Delivery> = deliveries.iter().collect();
    deliveries.sort_by_key(|delivery| delivery.origin);
    let mut refunds: Vec<&Refund> = refunds.iter().collect();
    refunds.sort_by_key(|refund| refund.created_at);
    let payment = order.payment.as_ref();
    let attempt = order.attempts.last();
    let prepay = attempt.and_then(|attempt| attempt.prepay.as_ref());
    let scan = attempt.and_then(|attempt: &Attempt| attempt.scan.as_ref());
    let payable = order.status.is_open() && scan.is_none();
    json!({
        "app_id": order.app_id,
        "order_no": order.order_no,
        "trade_no": order.trade_no().to_string(),
        "status": order.status,
        "version": order.request.version,
        "trade_type": attempt.map(|attempt| attempt.trade_type.as_str()),
        "total_fee": order.request.total_fee,
        "refunded_fee": payment.map(|paid| paid.refunded).unwrap_or_default(),
        "body": order.request.body,
        "attach": order.request.attach,
        "created_at": order.created_at.rfc3339(),
        "expires_at": order.expires_at.rfc3339(),
        "pay_url": payable.then_some(pay_url),
        "code_url": prepay.filter(|_| order.status.is_open()).and_then(|p| p.code_url.as_ref()),
        "err_code": scan.and_then(|scan| scan.err_code.as_ref()),
        "transaction_id": payment.map(|paid| &paid.transaction_id),
        "cash_fee": payment.map(|paid| paid.cash_fee),
        "openid": payment.and_then(|paid| paid.openid.as_ref()),
        "paid_at": payment.map(|paid| paid.paid_at.rfc3339()),
        "anomalies": order.anomalies.iter().map(anomaly).collect::<Vec<_>>(),
        "refunds": refunds.into_iter().map(refund).collect::<Vec<_>>(),
        "deliveries": deliveries.into_iter().map(delivery).collect::<Vec<_>>(),
    })
}

/// A refund.
pub(crate) fn refund(refund: &Refund) -> Value {
    json!({
        "app_id": refund.app_id,
        "order_no": refund.order_no,
        "refund_no": refund.refund_no,
        "transaction_id": refund.transaction_id,
        "refund_fee": refund.refund_fee,
        "reason": refund.reason,
        "status": refund.status,
        "refund_id": refund.refund_id,
        "err_code": refund.err_code,
        "created_at": refund.created_at.rfc3339(),
        "ended_at": refund.ended_at.map(Timestamp::rfc3339),
    })
}

fn anomaly(anomaly: &Anomaly) -> Value {
    json!({
        "kind": anomaly.kind,
        "transaction_id": anomaly.payment.transaction_id,
        "total_fee": anomaly.payment.total_fee,
        "refunded_fee": anomaly.payment.refunded,
        "seen_at": anomaly.seen_at.rfc3339(),
    })
}

fn delivery(row: &Delivery) -> Value {
    let pending = row.status == delivery::Status::Pending;
    json!({
        "event": row.event,
        "subject": row.subject,
        "event_id": row.event_id,
        "status": row.status,
        "step": row.step,
        "next_due": pending.then(|| row.due.rfc3339()),
        "attempts": row.attempts.iter().map(call).collect::<Vec<_>>(),
    })
}

fn call(attempt: &delivery::Attempt) -> Value {
    json!({
        "step": attempt.step,
        "address": attempt.address,
        "at": attempt.at.rfc3339(),
        "latency_ms": attempt.latency_ms,
        "http_status": attempt.http_status,
        "answer": attempt.answer,
    })
}
