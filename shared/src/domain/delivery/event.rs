//! What an app is told: the events, and the callback's parameters for each.

use serde::{Deserialize, Serialize};

use super::{Delivery, Status};
use crate::domain::id::{RefundNo, Refused};
use crate::domain::money::Fen;
use crate::domain::order::{AnomalyKind, Order, Payment};
use crate::domain::refund::{self, Refund};
use crate::domain::signature::Params;
use crate::domain::time::Timestamp;

/// What happened. The name travels to the app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Event {
    /// An order was paid.
    #[serde(rename = "payment.succeeded")]
    PaymentSucceeded,
    /// A payment by code failed or was taken back.
    #[serde(rename = "payment.failed")]
    PaymentFailed,
    /// An order was closed without a payment.
    #[serde(rename = "order.closed")]
    OrderClosed,
    /// A payment came in that does not fit its order.
    #[serde(rename = "payment.anomaly")]
    PaymentAnomaly,
    /// A refund reached the payer.
    #[serde(rename = "refund.succeeded")]
    RefundSucceeded,
    /// A refund will not happen.
    #[serde(rename = "refund.failed")]
    RefundFailed,
    /// What only newer versions tell of: shown and delivered as they wrote it.
    #[serde(untagged)]
    Unknown(String),
}

impl Event {
    /// Reads the name of an event that this version tells of.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(name: &str) -> Result<Self, Refused> {
        [
            Self::PaymentSucceeded,
            Self::PaymentFailed,
            Self::OrderClosed,
            Self::PaymentAnomaly,
            Self::RefundSucceeded,
            Self::RefundFailed,
        ]
        .into_iter()
        .find(|event| event.as_str() == name)
        .ok_or(Refused("must be an event that apps are told of"))
    }

    /// The name that apps see.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::PaymentSucceeded => "payment.succeeded",
            Self::PaymentFailed => "payment.failed",
            Self::OrderClosed => "order.closed",
            Self::PaymentAnomaly => "payment.anomaly",
            Self::RefundSucceeded => "refund.succeeded",
            Self::RefundFailed => "refund.failed",
            Self::Unknown(name) => name,
        }
    }
}

/// When an app is told of something, and under which id.
#[derive(Debug, Clone)]
pub struct Occasion {
    /// Random; the same over every try at the write that tells it.
    pub event_id: String,
    /// WeChat's callback, from which the schedule counts.
    pub now: Timestamp,
    /// How long the sweeper leaves the fresh delivery to its doorbell.
    pub grace_seconds: i64,
}

impl Delivery {
    /// The order was paid.
    #[must_use]
    pub fn of_payment(order: &Order, payment: &Payment, occasion: Occasion) -> Self {
        let mut payload = about_payment(order, payment);
        if let Some(attach) = &order.request.attach {
            payload.insert("attach".to_owned(), attach.clone());
        }
        Self::new(order, Event::PaymentSucceeded, None, payload, occasion)
    }

    /// A payment by code failed.
    #[must_use]
    pub fn of_failure(order: &Order, attempt: u8, err_code: &str, occasion: Occasion) -> Self {
        let payload = Params::from([
            ("trade_no".into(), order.out_trade_no(attempt).to_string()),
            ("total_fee".into(), order.request.total_fee.to_string()),
            ("err_code".into(), err_code.into()),
        ]);
        let subject = Some(format!("{attempt:02}"));
        Self::new(order, Event::PaymentFailed, subject, payload, occasion)
    }

    /// The order has just been closed. It names no payment's number: an order
    /// is closed once, whichever attempt was its last.
    #[must_use]
    pub fn of_closing(order: &Order, occasion: Occasion) -> Self {
        let payload = Params::from([
            ("total_fee".into(), order.request.total_fee.to_string()),
            ("reason".into(), order.close_reason().as_str().into()),
            ("closed_at".into(), occasion.now.rfc3339()),
        ]);
        Self::new(order, Event::OrderClosed, None, payload, occasion)
    }

    /// A payment does not fit; it goes back by the refund, unless the app has
    /// it in its own hands, or it has gone back already.
    #[must_use]
    pub fn of_anomaly(
        order: &Order,
        kind: AnomalyKind,
        payment: &Payment,
        refund_no: Option<&RefundNo>,
        occasion: Occasion,
    ) -> Self {
        let mut payload = about_payment(order, payment);
        payload.insert("kind".to_owned(), kind.as_str().to_owned());
        if let Some(refund_no) = refund_no {
            payload.insert("refund_no".to_owned(), refund_no.to_string());
        }
        let subject = Some(payment.transaction_id.clone());
        Self::new(order, Event::PaymentAnomaly, subject, payload, occasion)
    }

    /// A refund has ended.
    #[must_use]
    pub fn of_refund(order: &Order, refund: &Refund, occasion: Occasion) -> Self {
        let mut payload = Params::from([
            ("refund_no".into(), refund.refund_no.to_string()),
            ("refund_fee".into(), refund.refund_fee.to_string()),
            ("source".into(), refund.refund_no.source().as_str().into()),
            ("transaction_id".into(), refund.transaction_id.clone()),
        ]);
        let mut put = |name: &str, value: Option<String>| {
            payload.extend(value.map(|value| (name.to_owned(), value)));
        };
        put("refund_id", refund.refund_id.clone());
        put("err_code", refund.err_code.clone());
        let event = match refund.status {
            refund::Status::Succeeded => {
                put("refunded_at", refund.ended_at.map(Timestamp::rfc3339));
                Event::RefundSucceeded
            }
            _ => Event::RefundFailed,
        };
        let subject = Some(refund.refund_no.to_string());
        Self::new(order, event, subject, payload, occasion)
    }

    fn new(
        order: &Order,
        event: Event,
        subject: Option<String>,
        mut payload: Params,
        occasion: Occasion,
    ) -> Self {
        let now = occasion.now;
        payload.insert("app_id".to_owned(), order.app_id.to_string());
        payload.insert("order_no".to_owned(), order.order_no.to_string());
        Self {
            app_id: order.app_id.clone(),
            order_no: order.order_no.clone(),
            event,
            subject,
            event_id: occasion.event_id,
            payload,
            notify_url: order.request.notify_url.clone(),
            return_url: order.request.return_url.clone(),
            status: Status::Pending,
            step: 0,
            origin: now,
            due: now,
            wake: Some(now.plus_seconds(occasion.grace_seconds)),
            claims: 0,
            attempts: Vec::new(),
            fed_at: None,
        }
    }
}

fn about_payment(order: &Order, payment: &Payment) -> Params {
    let mut params = Params::from([
        (
            "trade_no".into(),
            order.out_trade_no(payment.attempt).to_string(),
        ),
        ("transaction_id".into(), payment.transaction_id.clone()),
        ("total_fee".into(), payment.total_fee.to_string()),
        ("cash_fee".into(), payment.cash_fee.to_string()),
        ("trade_type".into(), payment.trade_type.clone()),
        ("paid_at".into(), payment.paid_at.rfc3339()),
    ]);
    if let Some(openid) = &payment.openid {
        params.insert("openid".to_owned(), openid.clone());
    }
    // What is booked; the rest of the receipt is shown with the order.
    let receipt = payment.receipt.as_deref();
    let fee = |fee: Option<Fen>| fee.map(|fee| fee.to_string());
    for (name, value) in [
        (
            "bank_type",
            receipt.and_then(|receipt| receipt.bank_type.clone()),
        ),
        (
            "settlement_total_fee",
            receipt.and_then(|receipt| fee(receipt.settlement_total_fee)),
        ),
        (
            "coupon_fee",
            receipt.and_then(|receipt| fee(receipt.coupon_fee)),
        ),
    ] {
        params.extend(value.map(|value| (name.to_owned(), value)));
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{self, NOW, order, params, payment, refund};
    use crate::domain::order::{Coupon, Receipt};

    fn occasion() -> Occasion {
        Occasion {
            event_id: "evt".into(),
            now: NOW,
            grace_seconds: 60,
        }
    }

    /// A payment with all that a payment can have.
    fn known_payer() -> Payment {
        Payment {
            attempt: 2,
            cash_fee: fixtures::fen(90),
            openid: Some("o1".into()),
            receipt: Some(Box::new(Receipt {
                bank_type: Some("CFT".into()),
                fee_type: Some("CNY".into()),
                settlement_total_fee: Some(fixtures::fen(95)),
                coupon_fee: Some(fixtures::fen(10)),
                coupon_count: Some(2),
                coupons: vec![Coupon::default()],
                is_subscribe: Some(true),
                ..Receipt::default()
            })),
            ..payment("tx1", 100)
        }
    }

    #[rustfmt::skip]
    const ORDER: [(&str, &str); 2] = [
        ("app_id", "demo000000000001"),
        ("order_no", "A000000001"),
    ];
    #[rustfmt::skip]
    const PAYMENT: [(&str, &str); 6] = [
        ("trade_no", "demo000000000001A00000000101"),
        ("transaction_id", "tx1"),
        ("total_fee", "100"),
        ("cash_fee", "100"),
        ("trade_type", "NATIVE"),
        ("paid_at", "2026-09-21T14:13:20.123Z"),
    ];

    fn payload(parts: &[&[(&str, &str)]]) -> Params {
        params(&parts.concat())
    }

    #[test]
    fn an_event_is_named_alike_in_the_row_and_in_the_callback() {
        for (event, name) in [
            (Event::PaymentSucceeded, "payment.succeeded"),
            (Event::PaymentFailed, "payment.failed"),
            (Event::OrderClosed, "order.closed"),
            (Event::PaymentAnomaly, "payment.anomaly"),
            (Event::RefundSucceeded, "refund.succeeded"),
            (Event::RefundFailed, "refund.failed"),
            (Event::Unknown("order.seen".into()), "order.seen"),
        ] {
            assert_eq!(event.as_str(), name);
            assert_eq!(serde_json::to_value(&event).unwrap(), name);
            let read: Event = serde_json::from_value(name.into()).unwrap();
            assert_eq!(read, event);
            let is_known = !matches!(event, Event::Unknown(_));
            assert_eq!(Event::parse(name).ok(), is_known.then_some(event));
        }
        for no_name in [serde_json::Value::Null, 1.into()] {
            assert!(serde_json::from_value::<Event>(no_name).is_err());
        }
    }

    #[test]
    fn a_fresh_delivery_is_due_at_once_and_left_to_its_doorbell_for_the_grace() {
        let told = Delivery::of_payment(&order(), &payment("tx1", 100), occasion());
        assert_eq!(
            (told.status, told.step, told.claims),
            (Status::Pending, 0, 0)
        );
        assert_eq!((told.origin, told.due), (NOW, NOW));
        assert_eq!(told.wake, Some(NOW.plus_seconds(60)));
        assert_eq!(told.event_id, "evt");
        assert_eq!(told.key(), order().key());
        assert_eq!(told.notify_url, "https://shop.example/notify");
        assert_eq!(told.return_url, "https://shop.example/return");
    }

    #[test]
    fn a_payment_is_told_with_the_payer_and_the_apps_own_note_where_there_are_any() {
        let mut order = order();
        let told = Delivery::of_payment(&order, &payment("tx1", 100), occasion());
        assert_eq!((told.event, told.subject), (Event::PaymentSucceeded, None));
        assert_eq!(told.payload, payload(&[&ORDER, &PAYMENT]));

        order.request.attach = Some("table 7".into());
        let told = Delivery::of_payment(&order, &known_payer(), occasion());
        let more = [
            ("trade_no", "demo000000000001A00000000102"),
            ("cash_fee", "90"),
            ("openid", "o1"),
            ("bank_type", "CFT"),
            ("settlement_total_fee", "95"),
            ("coupon_fee", "10"),
            ("attach", "table 7"),
        ];
        assert_eq!(told.payload, payload(&[&ORDER, &PAYMENT, &more]));
    }

    #[test]
    fn a_failed_code_is_told_once_for_each_attempt() {
        let told = Delivery::of_failure(&order(), 2, "NOTENOUGH", occasion());
        assert_eq!(told.event, Event::PaymentFailed);
        assert_eq!(told.subject.as_deref(), Some("02"));
        let expected = [
            ("trade_no", "demo000000000001A00000000102"),
            ("total_fee", "100"),
            ("err_code", "NOTENOUGH"),
        ];
        assert_eq!(told.payload, payload(&[&ORDER, &expected]));
    }

    #[test]
    fn a_closed_order_is_told_once_and_why() {
        let mut given_up = order();
        given_up.give_up(NOW).unwrap();
        for (order, reason) in [(order(), "expired"), (given_up, "closed_by_app")] {
            let told = Delivery::of_closing(&order, occasion());
            assert_eq!((told.event, told.subject), (Event::OrderClosed, None));
            let expected = [
                ("total_fee", "100"),
                ("reason", reason),
                ("closed_at", "2026-09-21T14:13:20.123Z"),
            ];
            assert_eq!(told.payload, payload(&[&ORDER, &expected]));
        }
    }

    #[test]
    fn an_anomaly_is_told_with_the_hubs_refund_unless_the_app_refunds() {
        let refund_no = RefundNo::automatic("tx1").unwrap();
        for (refund_no, more) in [
            (None, &[("kind", "paid_twice")][..]),
            (
                Some(&refund_no),
                &[("kind", "paid_twice"), ("refund_no", "auto-tx1")],
            ),
        ] {
            let payment = payment("tx1", 100);
            let kind = AnomalyKind::PaidTwice;
            let told = Delivery::of_anomaly(&order(), kind, &payment, refund_no, occasion());
            assert_eq!(told.event, Event::PaymentAnomaly);
            assert_eq!(told.subject.as_deref(), Some("tx1"));
            assert_eq!(told.payload, payload(&[&ORDER, &PAYMENT, more]));
        }
    }

    #[test]
    fn a_refund_is_told_as_it_ended() {
        let about = [
            ("refund_no", "R1"),
            ("refund_fee", "5"),
            ("source", "app"),
            ("transaction_id", "tx1"),
            ("refund_id", "5000"),
        ];
        let mut refund = refund();
        refund.refund_id = Some("5000".into());
        refund.ended_at = Some(NOW);

        refund.status = refund::Status::Succeeded;
        let told = Delivery::of_refund(&order(), &refund, occasion());
        assert_eq!(told.event, Event::RefundSucceeded);
        assert_eq!(told.subject.as_deref(), Some("R1"));
        let at = [("refunded_at", "2026-09-21T14:13:20.123Z")];
        assert_eq!(told.payload, payload(&[&ORDER, &about, &at]));

        refund.status = refund::Status::Failed;
        refund.err_code = Some("NOTENOUGH".into());
        let told = Delivery::of_refund(&order(), &refund, occasion());
        assert_eq!(told.event, Event::RefundFailed);
        let why = [("err_code", "NOTENOUGH")];
        assert_eq!(told.payload, payload(&[&ORDER, &about, &why]));
    }
}
