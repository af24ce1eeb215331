//! What apps are answered: each type is a schema of `docs/openapi.yaml` under
//! the same name, and its fields are the schema's.

use serde::Serialize;
use serde_json::Value;

use crate::aws::ledger::Partition;
use crate::domain::delivery::{self, Address, Event};
use crate::domain::feed;
use crate::domain::id::{AppId, OrderNo, RefundNo, RefundSource};
use crate::domain::merchant::AccountId;
use crate::domain::money::Fen;
use crate::domain::order::{self, AnomalyKind, LimitPay, Version};
use crate::domain::refund;
use crate::domain::signature::Params;
use crate::domain::time::Timestamp;
use crate::wechat::official_account::mini_program::Session;

/// An order that was just placed: what does not apply is left out.
#[derive(Debug, Serialize)]
pub struct PlacedOrder<'a> {
    app_id: &'a AppId,
    order_no: &'a OrderNo,
    trade_no: String,
    status: order::Status,
    total_fee: Fen,
    expires_at: String,
    /// Where the payer pays; not for MICROPAY.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pay_url: Option<String>,
    /// NATIVE: the content of the QR code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_url: Option<&'a str>,
    /// MWEB: where the phone's browser goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mweb_url: Option<String>,
    /// APP: what opens WeChat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_params: Option<Params>,
    /// JSAPI: what a mini program opens the payment with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge_params: Option<Params>,
    /// MICROPAY, paid at once.
    #[serde(flatten)]
    pub paid: Option<Paid<'a>>,
}

/// The payment that made an order paid.
#[derive(Debug, Serialize)]
pub struct Paid<'a> {
    transaction_id: &'a str,
    cash_fee: Fen,
    #[serde(skip_serializing_if = "Option::is_none")]
    openid: Option<&'a str>,
    paid_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt<'a>>,
}

impl<'a> PlacedOrder<'a> {
    /// The order, without a way to pay it.
    #[must_use]
    pub fn of(order: &'a order::Order) -> Self {
        Self {
            app_id: &order.app_id,
            order_no: &order.order_no,
            trade_no: order.trade_no().to_string(),
            status: order.status,
            total_fee: order.request.total_fee,
            expires_at: order.expires_at.rfc3339(),
            pay_url: None,
            code_url: None,
            mweb_url: None,
            app_params: None,
            bridge_params: None,
            paid: None,
        }
    }
}

impl<'a> Paid<'a> {
    /// The payment, for the app.
    #[must_use]
    pub fn of(payment: &'a order::Payment) -> Self {
        Self {
            transaction_id: &payment.transaction_id,
            cash_fee: payment.cash_fee,
            openid: payment.openid.as_deref(),
            paid_at: payment.paid_at.rfc3339(),
            receipt: payment.receipt.as_deref().map(Receipt::of),
        }
    }
}

/// What else WeChat said of a payment.
#[derive(Debug, Serialize)]
pub struct Receipt<'a> {
    bank_type: Option<&'a str>,
    fee_type: Option<&'a str>,
    settlement_total_fee: Option<Fen>,
    coupon_fee: Option<Fen>,
    coupon_count: Option<u16>,
    coupons: Vec<Coupon<'a>>,
    is_subscribe: Option<bool>,
}

/// A coupon that paid a part.
#[derive(Debug, Serialize)]
pub struct Coupon<'a> {
    id: Option<&'a str>,
    r#type: Option<&'a str>,
    fee: Option<Fen>,
}

impl<'a> Receipt<'a> {
    fn of(receipt: &'a order::Receipt) -> Self {
        Self {
            bank_type: receipt.bank_type.as_deref(),
            fee_type: receipt.fee_type.as_deref(),
            settlement_total_fee: receipt.settlement_total_fee,
            coupon_fee: receipt.coupon_fee,
            coupon_count: receipt.coupon_count,
            coupons: receipt.coupons.iter().map(Coupon::of).collect(),
            is_subscribe: receipt.is_subscribe,
        }
    }
}

impl<'a> Coupon<'a> {
    fn of(coupon: &'a order::Coupon) -> Self {
        Self {
            id: coupon.id.as_deref(),
            r#type: coupon.kind.as_deref(),
            fee: coupon.fee,
        }
    }
}

/// An order that its app has given up.
#[derive(Debug, Serialize)]
pub struct ClosedOrder<'a> {
    app_id: &'a AppId,
    order_no: &'a OrderNo,
    status: order::Status,
    closes_at: Option<String>,
}

impl<'a> ClosedOrder<'a> {
    /// Closed, or when it will be.
    #[must_use]
    pub fn of(order: &'a order::Order) -> Self {
        Self {
            app_id: &order.app_id,
            order_no: &order.order_no,
            status: order.status,
            closes_at: order.due.map(Timestamp::rfc3339),
        }
    }
}

/// Where a payment stands, for the page that waits for it.
#[derive(Debug, Serialize)]
pub struct PayStatus {
    /// The order's.
    pub status: order::Status,
    /// Where the payer goes when there is nothing left to wait for.
    pub return_url: Option<String>,
}

/// Who uses a mini program.
#[derive(Debug, Serialize)]
pub struct MiniProgramSession<'a> {
    account: &'a AccountId,
    openid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unionid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_key: Option<&'a str>,
}

impl<'a> MiniProgramSession<'a> {
    /// The session of this account; its key only for an app that may have it.
    #[must_use]
    pub fn of(session: &'a Session, account: &'a AccountId, has_session_keys: bool) -> Self {
        Self {
            account,
            openid: &session.openid,
            unionid: session.unionid.as_deref(),
            session_key: has_session_keys.then_some(session.session_key.as_str()),
        }
    }
}

/// An order and all that belongs to it.
#[derive(Debug, Serialize)]
pub struct Order<'a> {
    app_id: &'a AppId,
    order_no: &'a OrderNo,
    trade_no: String,
    status: order::Status,
    version: Version,
    trade_type: Option<&'static str>,
    account: Option<&'a AccountId>,
    total_fee: Fen,
    refunded_fee: Fen,
    body: &'a str,
    attach: Option<&'a str>,
    device_info: Option<&'a str>,
    detail: Option<&'a str>,
    goods_tag: Option<&'a str>,
    limit_pay: Option<LimitPay>,
    store_id: Option<&'a str>,
    store_name: Option<&'a str>,
    store_area_code: Option<&'a str>,
    store_address: Option<&'a str>,
    created_at: String,
    expires_at: String,
    pay_url: Option<String>,
    code_url: Option<&'a str>,
    err_code: Option<&'a str>,
    transaction_id: Option<&'a str>,
    cash_fee: Option<Fen>,
    openid: Option<&'a str>,
    paid_at: Option<String>,
    receipt: Option<Receipt<'a>>,
    anomalies: Vec<Anomaly<'a>>,
    refunds: Vec<Refund<'a>>,
    deliveries: Vec<Delivery<'a>>,
}

impl<'a> Order<'a> {
    /// The partition, with the address at which its order is paid.
    #[must_use]
    pub fn of(partition: &'a Partition, pay_url: String) -> Self {
        let order = &partition.order;
        let request = &order.request;
        // In the order in which they came about.
        let mut deliveries: Vec<&delivery::Delivery> = partition.deliveries.iter().collect();
        deliveries.sort_by_key(|delivery| delivery.origin);
        let mut refunds: Vec<&refund::Refund> = partition.refunds.iter().collect();
        refunds.sort_by_key(|refund| refund.created_at);
        let is_open = order.status.is_open();
        let payment = order.payment.as_ref();
        let attempt = order.attempts.last();
        let prepay = attempt.and_then(|attempt| attempt.prepay.as_ref());
        let payment_code = attempt.and_then(|attempt| attempt.payment_code.as_ref());
        Self {
            app_id: &order.app_id,
            order_no: &order.order_no,
            trade_no: order.trade_no().to_string(),
            status: order.status,
            version: request.version,
            trade_type: attempt.map(|attempt| attempt.trade_type.as_str()),
            account: attempt.and_then(|attempt| attempt.account.as_ref()),
            total_fee: request.total_fee,
            refunded_fee: payment.map(|paid| paid.refunded).unwrap_or_default(),
            body: &request.body,
            attach: request.attach.as_deref(),
            device_info: request.device_info.as_deref(),
            detail: request.detail.as_deref(),
            goods_tag: request.goods_tag.as_deref(),
            limit_pay: request.limit_pay,
            store_id: request.store_id.as_deref(),
            store_name: request.store_name.as_deref(),
            store_area_code: request.store_area_code.as_deref(),
            store_address: request.store_address.as_deref(),
            created_at: order.created_at.rfc3339(),
            expires_at: order.expires_at.rfc3339(),
            pay_url: (is_open && payment_code.is_none()).then_some(pay_url),
            code_url: prepay
                .filter(|_| is_open)
                .and_then(|prepay| prepay.code_url.as_deref()),
            err_code: payment_code.and_then(|code| code.err_code.as_deref()),
            transaction_id: payment.map(|paid| paid.transaction_id.as_str()),
            cash_fee: payment.map(|paid| paid.cash_fee),
            openid: payment.and_then(|paid| paid.openid.as_deref()),
            paid_at: payment.map(|paid| paid.paid_at.rfc3339()),
            receipt: payment
                .and_then(|paid| paid.receipt.as_deref())
                .map(Receipt::of),
            anomalies: order.anomalies.iter().map(Anomaly::of).collect(),
            refunds: refunds.into_iter().map(Refund::of).collect(),
            deliveries: deliveries.into_iter().map(Delivery::of).collect(),
        }
    }
}

/// A payment that does not fit its order.
#[derive(Debug, Serialize)]
pub struct Anomaly<'a> {
    kind: AnomalyKind,
    transaction_id: &'a str,
    total_fee: Fen,
    refunded_fee: Fen,
    seen_at: String,
}

impl<'a> Anomaly<'a> {
    fn of(anomaly: &'a order::Anomaly) -> Self {
        Self {
            kind: anomaly.kind,
            transaction_id: &anomaly.payment.transaction_id,
            total_fee: anomaly.payment.total_fee,
            refunded_fee: anomaly.payment.refunded,
            seen_at: anomaly.seen_at.rfc3339(),
        }
    }
}

/// Money on its way back to the payer.
#[derive(Debug, Serialize)]
pub struct Refund<'a> {
    app_id: &'a AppId,
    order_no: &'a OrderNo,
    refund_no: &'a RefundNo,
    source: RefundSource,
    transaction_id: &'a str,
    refund_fee: Fen,
    reason: Option<&'a str>,
    status: refund::Status,
    refund_id: Option<&'a str>,
    err_code: Option<&'a str>,
    created_at: String,
    ended_at: Option<String>,
}

impl<'a> Refund<'a> {
    /// The row, for the app.
    #[must_use]
    pub fn of(refund: &'a refund::Refund) -> Self {
        Self {
            app_id: &refund.app_id,
            order_no: &refund.order_no,
            refund_no: &refund.refund_no,
            source: refund.refund_no.source(),
            transaction_id: &refund.transaction_id,
            refund_fee: refund.refund_fee,
            reason: refund.reason.as_deref(),
            status: refund.status,
            refund_id: refund.refund_id.as_deref(),
            err_code: refund.err_code.as_deref(),
            created_at: refund.created_at.rfc3339(),
            ended_at: refund.ended_at.map(Timestamp::rfc3339),
        }
    }
}

/// What the app was or must be told.
#[derive(Debug, Serialize)]
pub struct Delivery<'a> {
    event: &'a Event,
    subject: Option<&'a str>,
    event_id: &'a str,
    status: delivery::Status,
    step: u8,
    next_due: Option<String>,
    attempts: Vec<Attempt<'a>>,
}

impl<'a> Delivery<'a> {
    fn of(row: &'a delivery::Delivery) -> Self {
        let is_pending = row.status == delivery::Status::Pending;
        Self {
            event: &row.event,
            subject: row.subject.as_deref(),
            event_id: &row.event_id,
            status: row.status,
            step: row.step,
            next_due: is_pending.then(|| row.due.rfc3339()),
            attempts: row.attempts.iter().map(Attempt::of).collect(),
        }
    }
}

/// One call of the app.
#[derive(Debug, Serialize)]
pub struct Attempt<'a> {
    step: u8,
    address: Address,
    at: String,
    latency_ms: u32,
    http_status: Option<u16>,
    answer: &'a str,
}

impl<'a> Attempt<'a> {
    fn of(attempt: &'a delivery::Attempt) -> Self {
        Self {
            step: attempt.step,
            address: attempt.address,
            at: attempt.at.rfc3339(),
            latency_ms: attempt.latency_ms,
            http_status: attempt.http_status,
            answer: &attempt.answer,
        }
    }
}

/// A page of an app's feed.
#[derive(Debug, Serialize)]
pub struct Events {
    events: Vec<FedEvent>,
    next: String,
    has_more: bool,
}

/// An event as its webhook has it, with its id.
#[derive(Debug, Serialize)]
struct FedEvent {
    id: String,
    #[serde(flatten)]
    body: Value,
}

impl Events {
    /// What this page shows its app.
    #[must_use]
    pub fn of(app_id: &AppId, page: &feed::Page) -> Self {
        let shown = |event: &feed::FeedEvent| FedEvent {
            id: event.event_id.clone(),
            body: event.news().json(),
        };
        Self {
            events: page.events.iter().map(shown).collect(),
            next: feed::cursor(app_id, page.next),
            has_more: page.has_more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Occasion;
    use crate::domain::fixtures::{NOW, order};

    #[test]
    fn an_event_that_only_a_newer_version_knows_is_shown_as_it_is() {
        let occasion = Occasion {
            event_id: "evt".into(),
            now: NOW,
            grace_seconds: 60,
        };
        let mut told = delivery::Delivery::of_closing(&order(), occasion);
        told.event = Event::Unknown("order.seen".into());
        let shown = serde_json::to_value(Delivery::of(&told)).unwrap();
        assert_eq!(shown["event"], "order.seen");
    }
}
