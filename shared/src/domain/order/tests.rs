//! Every state x event, and the moves one by one.

mod asking;
mod attempts;
mod codes;
mod found;
mod properties;

use super::*;
use crate::domain::fixtures::{self, NOW, channel, fen, payer, payment};
use crate::domain::id::RefundNo;
use crate::domain::refund::{self, Answer, Promise, Refund, Transition};

fn order(status: Status) -> Order {
    let mut order = fixtures::order();
    if status == Status::Created {
        return order;
    }
    open(&mut order).unwrap();
    order.prepaid(1, prepay(), NOW);
    match status {
        Status::Created | Status::Paying => {}
        Status::Closed => assert_eq!(order.close(), Ok(Closure::Closed)),
        Status::Failed => {
            order = till();
            order.fail(1, "NOTENOUGH").unwrap();
        }
        Status::Paid | Status::PartlyRefunded | Status::Refunded => {
            assert_eq!(
                order.pay(&payment("tx1", 100).into(), NOW),
                Settlement::Paid
            );
        }
    }
    let back = match status {
        Status::PartlyRefunded => 40,
        Status::Refunded => 100,
        _ => 0,
    };
    if back > 0 {
        let refund = refund("tx1", back, refund::Status::Succeeded);
        order.recount("tx1", [&refund]).unwrap();
    }
    assert_eq!(order.status, status);
    order
}

fn refund(transaction_id: &str, fee: i64, status: refund::Status) -> Refund {
    Refund {
        transaction_id: transaction_id.to_owned(),
        refund_fee: fen(fee),
        status,
        ..fixtures::refund()
    }
}

const TIMING: MicropayTiming = MicropayTiming {
    query_seconds: 5,
    give_up_seconds: 30,
};

fn scan(order: &mut Order, code: &str, now: Timestamp) -> Result<CodeUse, Refusal> {
    scan_with(order, code, TIMING, now)
}

fn scan_with(
    order: &mut Order,
    code: &str,
    timing: MicropayTiming,
    now: Timestamp,
) -> Result<CodeUse, Refusal> {
    let shown = ShownCode {
        digest: code,
        timing,
        client_ip: payer().ip,
        channel: &channel(ApiVersion::V2),
    };
    order.use_payment_code(&shown, now)
}

/// An order whose payer's code was just scanned.
fn till() -> Order {
    let mut order = order(Status::Created);
    order.request.trade_type = Some(TradeType::Micropay);
    assert_eq!(scan(&mut order, "code1", NOW), Ok(CodeUse::New(1)));
    order
}

fn open(order: &mut Order) -> Result<(), Refusal> {
    order.open_attempt(TradeType::Native, payer(), channel(ApiVersion::V2), NOW)
}

/// When WeChat is asked, up to the last question, in seconds from the start.
fn questions(order: &mut Order) -> Vec<i64> {
    let mut asked = Vec::new();
    while let Some(wake) = order.wake {
        asked.push((wake.millis() - NOW.millis()) / 1000);
        if order.is_last_question(wake) {
            break;
        }
        order.ask_later(wake);
        assert!(order.wake > Some(wake), "asked at {asked:?} and no later");
        assert!(asked.len() < 100, "asked without end: {asked:?}");
    }
    asked
}

fn at(seconds: i64) -> Timestamp {
    NOW.plus_seconds(seconds)
}

/// Somebody with this openid, or without one, at this address.
fn somebody(openid: Option<&str>, ip: &str) -> Payer {
    Payer {
        openid: openid.map(str::to_owned),
        ip: ip.parse().unwrap(),
    }
}

fn returned(refund_id: &str, fee: i64, standing: Standing) -> Returned {
    Returned {
        out_refund_no: "by hand".into(),
        refund_id: refund_id.into(),
        refund_fee: fen(fee),
        standing,
    }
}

fn prepay() -> Prepay {
    Prepay {
        prepay_id: "wx1".into(),
        code_url: Some("weixin://x".into()),
        mweb_url: None,
        ..Prepay::default()
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Open,
    Prepaid,
    Pay,
    PayAgain,
    PayOther,
    PayWrongAmount,
    Close,
    Fail,
    Expired,
    ReserveRefund,
    Recount,
}

const EVENTS: [Event; 11] = [
    Event::Open,
    Event::Prepaid,
    Event::Pay,
    Event::PayAgain,
    Event::PayOther,
    Event::PayWrongAmount,
    Event::Close,
    Event::Fail,
    Event::Expired,
    Event::ReserveRefund,
    Event::Recount,
];

const STATUSES: [Status; 7] = [
    Status::Created,
    Status::Paying,
    Status::Paid,
    Status::PartlyRefunded,
    Status::Refunded,
    Status::Closed,
    Status::Failed,
];

/// Applies an event and says in one word what it did.
fn apply(order: &mut Order, event: Event) -> String {
    let done = |result: Result<(), Refusal>| match result {
        Ok(()) => "ok".to_owned(),
        Err(refusal) => format!("{refusal:?}"),
    };
    match event {
        Event::Open => done(open(order)),
        Event::Prepaid => {
            order.prepaid(1, prepay(), NOW);
            "ok".into()
        }
        Event::Pay | Event::PayAgain => {
            format!("{:?}", order.pay(&payment("tx1", 100).into(), NOW))
        }
        Event::PayOther => format!("{:?}", order.pay(&payment("tx2", 100).into(), NOW)),
        Event::PayWrongAmount => format!("{:?}", order.pay(&payment("tx3", 1).into(), NOW)),
        Event::Close => done(order.close().map(drop)),
        Event::Fail => done(order.fail(1, "NOTENOUGH")),
        Event::Expired => done(order.check_open(order.expires_at)),
        Event::ReserveRefund => done(order.reserve_refund("tx1", fen(60))),
        Event::Recount => {
            let refund = refund("tx1", 60, refund::Status::Succeeded);
            done(order.recount("tx1", [&refund]))
        }
    }
}

#[test]
fn every_state_answers_every_event_as_the_table_says() {
    use Event as E;
    use Status as S;
    let anomaly = |kind: AnomalyKind| format!("Anomaly({kind:?})");
    let twice = anomaly(AnomalyKind::PaidTwice);
    let late = anomaly(AnomalyKind::PaidAfterClose);
    let mismatch = anomaly(AnomalyKind::AmountMismatch);
    for status in STATUSES {
        for event in EVENTS {
            let mut order = order(status);
            let did = apply(&mut order, event);
            let (expected, then) = match (status, event) {
                (S::Created | S::Paying, E::Open) => ("ok", status),
                (S::Closed | S::Failed, E::Open | E::Expired) => ("Closed", status),
                (S::Paid | S::PartlyRefunded | S::Refunded, E::Open | E::Expired) => {
                    ("Paid", status)
                }
                (S::Created | S::Paying, E::Expired) => ("Closed", status),
                (S::Created, E::Prepaid) => ("ok", S::Paying),
                (_, E::Prepaid) => ("ok", status),
                (S::Created | S::Paying, E::Pay | E::PayAgain | E::PayOther) => ("Paid", S::Paid),
                (S::Closed | S::Failed, E::Pay | E::PayAgain | E::PayOther) => {
                    (late.as_str(), status)
                }
                (_, E::Pay | E::PayAgain) => ("Repeated", status),
                (_, E::PayOther) => (twice.as_str(), status),
                (_, E::PayWrongAmount) => (mismatch.as_str(), status),
                (S::Created | S::Paying | S::Closed | S::Failed, E::Close) => ("ok", S::Closed),
                (_, E::Close) => ("Paid", status),
                // Only a payment by code fails.
                (S::Created | S::Paying | S::Failed, E::Fail) => ("NotPaying", status),
                (S::Closed, E::Fail) => ("Closed", status),
                (_, E::Fail) => ("Paid", status),
                (S::Created | S::Paying | S::Closed | S::Failed, E::ReserveRefund | E::Recount) => {
                    ("NotPaid", status)
                }
                (S::Paid | S::PartlyRefunded, E::ReserveRefund) => ("ok", status),
                (_, E::ReserveRefund) => ("Exceeds", status),
                (_, E::Recount) => ("ok", S::PartlyRefunded),
            };
            assert_eq!(did, expected, "{status:?} x {event:?}");
            assert_eq!(order.status, then, "{status:?} x {event:?}");
        }
    }
}

#[test]
fn a_name_is_the_same_in_the_row_and_in_the_api() {
    fn check(value: impl Serialize, name: &str, in_api: &str) {
        assert_eq!(in_api, name);
        assert_eq!(serde_json::to_value(value).unwrap(), name);
    }
    for (status, name) in [
        (Status::Created, "created"),
        (Status::Paying, "paying"),
        (Status::Paid, "paid"),
        (Status::PartlyRefunded, "partly_refunded"),
        (Status::Refunded, "refunded"),
        (Status::Closed, "closed"),
        (Status::Failed, "failed"),
    ] {
        check(status, name, status.as_str());
    }
    for (kind, name) in [
        (AnomalyKind::AmountMismatch, "amount_mismatch"),
        (AnomalyKind::PaidTwice, "paid_twice"),
        (AnomalyKind::PaidAfterClose, "paid_after_close"),
    ] {
        check(kind, name, kind.as_str());
    }
    for (version, name) in [(Version::Direct, "1.0"), (Version::Relayed, "2.0")] {
        check(version, name, version.as_str());
    }
    for (trade_type, name) in [
        (TradeType::Native, "NATIVE"),
        (TradeType::Jsapi, "JSAPI"),
        (TradeType::App, "APP"),
        (TradeType::Mweb, "MWEB"),
        (TradeType::Micropay, "MICROPAY"),
    ] {
        check(trade_type, name, trade_type.as_str());
        assert_eq!(TradeType::parse(name), Some(trade_type));
    }
    // The flow of 2014 is a way to open an APP payment; apps see no difference.
    assert_eq!(TradeType::Genprepay.as_str(), "APP");
    for text in ["", "native", "GENPREPAY", "NATIVE "] {
        assert_eq!(TradeType::parse(text), None, "{text}");
    }
}

#[test]
fn the_same_request_is_everything_that_this_version_knows_of_it() {
    let first = fixtures::request();
    assert!(first.is_same(&fixtures::request()));
    let other = |change: fn(&mut Request)| {
        let mut other = fixtures::request();
        change(&mut other);
        other
    };
    for (what, other) in [
        ("price", other(|request| request.total_fee = fen(101))),
        ("note", other(|request| request.attach = Some("x".into()))),
        (
            "trade type",
            other(|request| request.trade_type = Some(TradeType::App)),
        ),
        ("payer", other(|request| request.openid = Some("o1".into()))),
        ("end", other(|request| request.expires_in = 7201)),
    ] {
        assert!(!first.is_same(&other), "another {what}");
    }
    // Written by a newer version, and asked for again of this one.
    let mut row = serde_json::to_value(&first).unwrap();
    row["of_tomorrow"] = "x".into();
    let newer: Request = serde_json::from_value(row).unwrap();
    assert!(first.is_same(&newer) && newer.is_same(&first));
}

#[test]
fn an_order_reads_back_from_its_row_whatever_happened_to_it() {
    let mut taken_back = till();
    taken_back.reverse();
    for order in STATUSES.map(order).into_iter().chain([taken_back]) {
        let row = serde_json::to_value(&order).unwrap();
        assert_eq!(serde_json::from_value::<Order>(row).unwrap(), order);
    }
}

#[test]
fn a_row_says_of_an_attempt_only_what_has_happened_to_it() {
    let row = serde_json::to_value(till()).unwrap();
    let attempt = row["attempts"][0].as_object().unwrap();
    for absent in ["closed", "close_at", "openid", "prepay", "prepaid_at"] {
        assert!(!attempt.contains_key(absent), "{absent}");
    }
    assert_eq!(attempt["scan"].get("reversing"), None);
}

#[test]
fn the_payers_number_is_the_paid_attempts_or_the_current_ones() {
    let mut order = order(Status::Created);
    assert_eq!(order.trade_no().to_string(), "demo000000000001A00000000101");
    open(&mut order).unwrap();
    open(&mut order).unwrap();
    assert_eq!(order.trade_no().to_string(), "demo000000000001A00000000102");
    order.pay(&payment("tx1", 100).into(), NOW);
    assert_eq!(order.trade_no().to_string(), "demo000000000001A00000000101");
}

#[test]
fn an_anomalys_refund_leaves_the_order_paid() {
    let mut order = order(Status::Paid);
    let twice = order.pay(&payment("tx2", 100).into(), NOW);
    assert_eq!(twice, Settlement::Anomaly(AnomalyKind::PaidTwice));
    let refund = refund("tx2", 100, refund::Status::Succeeded);
    order.recount("tx2", [&refund]).unwrap();
    assert_eq!(order.status, Status::Paid);
    assert_eq!(order.payment_of("tx1").unwrap().refunded.get(), 0);
    assert_eq!(order.payment_of("tx2").unwrap().refunded.get(), 100);
    assert_eq!(order.payment_of("tx3"), None);
}

#[test]
fn refunds_are_promised_and_made_to_the_last_fen_and_not_further() {
    let mut order = order(Status::Paid);
    order.reserve_refund("tx1", fen(99)).unwrap();
    assert_eq!(order.reserve_refund("tx1", fen(2)), Err(Refusal::Exceeds));
    order.reserve_refund("tx1", fen(1)).unwrap();
    let whole = |order: &Order| order.payment_of("tx1").unwrap().rest().is_zero();
    assert!(whole(&order));
    // What has gone back is not free again; what has failed is.
    let mut last = refund("tx1", 1, refund::Status::Pending);
    let first = refund("tx1", 99, refund::Status::Succeeded);
    order.recount("tx1", [&first, &last]).unwrap();
    assert_eq!(order.status, Status::PartlyRefunded);
    assert!(whole(&order));
    last.status = refund::Status::Failed;
    order.recount("tx1", [&first, &last]).unwrap();
    assert_eq!(order.reserve_refund("tx1", fen(2)), Err(Refusal::Exceeds));
    order.reserve_refund("tx1", fen(1)).unwrap();
    last.status = refund::Status::Succeeded;
    order.recount("tx1", [&first, &last]).unwrap();
    assert_eq!(order.status, Status::Refunded);
}

#[test]
fn a_repeated_anomaly_is_kept_once() {
    let mut order = order(Status::Paying);
    let first = order.pay(&payment("tx3", 1).into(), NOW);
    assert_eq!(first, Settlement::Anomaly(AnomalyKind::AmountMismatch));
    assert_eq!(
        order.pay(&payment("tx3", 1).into(), NOW),
        Settlement::Repeated
    );
    assert_eq!(order.anomalies.len(), 1);
    assert_eq!(order.status, Status::Paying);
}

#[test]
fn an_attempt_keeps_its_version() {
    let code = |version| {
        let mut order = order(Status::Created);
        let shown = ShownCode {
            digest: "code1",
            timing: MicropayTiming {
                query_seconds: 5,
                give_up_seconds: 30,
            },
            client_ip: payer().ip,
            channel: &channel(version),
        };
        order.use_payment_code(&shown, NOW).unwrap();
        order
    };
    let open = |version| {
        let mut order = order(Status::Created);
        let opened = order.open_attempt(TradeType::Native, payer(), channel(version), NOW);
        assert_eq!(opened, Ok(()));
        order
    };
    for (order, version) in [
        (open(ApiVersion::V2), ApiVersion::V2),
        (open(ApiVersion::V3), ApiVersion::V3),
        (code(ApiVersion::V2), ApiVersion::V2),
        (code(ApiVersion::V3), ApiVersion::V3),
    ] {
        let attempt = order.attempts.last().unwrap();
        let trade_type = attempt.trade_type;
        assert_eq!(attempt.api_version, version, "{trade_type:?}");
        let row = serde_json::to_value(attempt).unwrap();
        // Rows of version 2 are what they were before there was another.
        let written = row.get("api_version").map(|name| name.as_str().unwrap());
        let expected = (version == ApiVersion::V3).then_some("v3");
        assert_eq!(written, expected, "{trade_type:?}");
        let read: Attempt = serde_json::from_value(row).unwrap();
        assert_eq!(read.api_version, version);
    }
}

#[test]
fn a_qr_code_that_another_question_may_have_ended_is_asked_for_again() {
    for (trade_type, version, again) in [
        (TradeType::Native, ApiVersion::V3, true),
        (TradeType::Native, ApiVersion::V2, false),
        (TradeType::App, ApiVersion::V3, false),
    ] {
        let mut order = order(Status::Created);
        order
            .open_attempt(trade_type, payer(), channel(version), NOW)
            .unwrap();
        order.prepaid(1, prepay(), NOW);
        order.doubt_session(1);
        let expected = match again {
            true => Preparation::Ask(1),
            false => Preparation::Ready(1),
        };
        assert_eq!(order.preparation(trade_type, &payer(), NOW), expected);
    }
}

#[test]
fn a_refund_is_asked_for_by_the_version_of_its_payment() {
    let mut paid = payment("tx1", 100);
    assert_eq!(paid.api_version, ApiVersion::V2, "a row of yesterday");
    paid.api_version = ApiVersion::V3;
    let promise = Promise {
        payment: &paid,
        refund_no: RefundNo::parse("R1").unwrap(),
        refund_fee: fen(5),
        reason: None,
        due: NOW,
    };
    let refund = Refund::new(&fixtures::order(), promise, NOW);
    let row = serde_json::to_value(refund).unwrap();
    assert_eq!(row["api_version"], "v3");
    let old = serde_json::to_value(fixtures::refund()).unwrap();
    assert_eq!(old.get("api_version"), None);
}
