//! Every state x event, and the moves one by one.

mod properties;

use super::*;
use crate::domain::fixtures::{self, NOW, fen, payer, payment};
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
        Status::Closed => order.close().unwrap(),
        Status::Failed => {
            order = till();
            order.fail(1, "NOTENOUGH").unwrap();
        }
        Status::Paid | Status::PartlyRefunded | Status::Refunded => {
            assert_eq!(order.pay(payment("tx1", 100), NOW), Settlement::Paid);
        }
    }
    let back = match status {
        Status::PartlyRefunded => 40,
        Status::Refunded => 100,
        _ => 0,
    };
    if back > 0 {
        order.reserve_refund("tx1", fen(back)).unwrap();
        order.complete_refund("tx1", fen(back)).unwrap();
    }
    assert_eq!(order.status, status);
    order
}

const TIMING: MicropayTiming = MicropayTiming {
    query_seconds: 5,
    give_up_seconds: 30,
};

fn scan(order: &mut Order, code: &str, now: Timestamp) -> Result<CodeUse, Refusal> {
    order.use_payment_code(code, TIMING, payer().ip, now)
}

/// An order whose payer's code was just scanned.
fn till() -> Order {
    let mut order = order(Status::Created);
    order.request.trade_type = Some(TradeType::Micropay);
    assert_eq!(scan(&mut order, "code1", NOW), Ok(CodeUse::New(1)));
    order
}

fn open(order: &mut Order) -> Result<(), Refusal> {
    order.open_attempt(TradeType::Native, payer(), NOW)
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
    CompleteRefund,
    ReleaseRefund,
}

const EVENTS: [Event; 12] = [
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
    Event::CompleteRefund,
    Event::ReleaseRefund,
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
        Event::Pay | Event::PayAgain => format!("{:?}", order.pay(payment("tx1", 100), NOW)),
        Event::PayOther => format!("{:?}", order.pay(payment("tx2", 100), NOW)),
        Event::PayWrongAmount => format!("{:?}", order.pay(payment("tx3", 1), NOW)),
        Event::Close => done(order.close()),
        Event::Fail => done(order.fail(1, "NOTENOUGH")),
        Event::Expired => done(order.check_open(order.expires_at)),
        Event::ReserveRefund => done(order.reserve_refund("tx1", fen(60))),
        Event::CompleteRefund => done(order.complete_refund("tx1", fen(60))),
        Event::ReleaseRefund => done(order.release_refund("tx1", fen(60))),
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
                (
                    S::Created | S::Paying | S::Closed | S::Failed,
                    E::ReserveRefund | E::CompleteRefund | E::ReleaseRefund,
                ) => ("NotPaid", status),
                (S::Paid | S::PartlyRefunded, E::ReserveRefund) => ("ok", status),
                // Nothing is outstanding in any of these states.
                (_, E::ReserveRefund | E::CompleteRefund | E::ReleaseRefund) => ("Exceeds", status),
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
    for absent in ["closed", "openid", "prepay", "prepaid_at"] {
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
    order.pay(payment("tx1", 100), NOW);
    assert_eq!(order.trade_no().to_string(), "demo000000000001A00000000101");
}

#[test]
fn an_anomalys_refund_leaves_the_order_paid() {
    let mut order = order(Status::Paid);
    let twice = order.pay(payment("tx2", 100), NOW);
    assert_eq!(twice, Settlement::Anomaly(AnomalyKind::PaidTwice));
    order.reserve_refund("tx2", fen(100)).unwrap();
    order.complete_refund("tx2", fen(100)).unwrap();
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
    order.complete_refund("tx1", fen(99)).unwrap();
    assert_eq!(order.status, Status::PartlyRefunded);
    assert_eq!(order.complete_refund("tx1", fen(2)), Err(Refusal::Exceeds));
    // What has gone back is not free again; what has not is.
    assert_eq!(order.release_refund("tx1", fen(2)), Err(Refusal::Exceeds));
    order.release_refund("tx1", fen(1)).unwrap();
    order.reserve_refund("tx1", fen(1)).unwrap();
    order.complete_refund("tx1", fen(1)).unwrap();
    assert_eq!(order.status, Status::Refunded);
}

#[test]
fn a_repeated_anomaly_is_kept_once() {
    let mut order = order(Status::Paying);
    let first = order.pay(payment("tx3", 1), NOW);
    assert_eq!(first, Settlement::Anomaly(AnomalyKind::AmountMismatch));
    assert_eq!(order.pay(payment("tx3", 1), NOW), Settlement::Repeated);
    assert_eq!(order.anomalies.len(), 1);
    assert_eq!(order.status, Status::Paying);
}

#[test]
fn a_quiet_order_is_asked_about_at_1_5_15_30_minutes_and_after_its_expiry() {
    let mut order = order(Status::Paying);
    assert_eq!(questions(&mut order), [60, 300, 900, 1800, 7230]);
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

#[test]
fn questions_missed_during_an_outage_are_not_all_asked_at_once() {
    let mut order = order(Status::Paying);
    order.ask_later(NOW.plus_seconds(300));
    assert_eq!(order.wake, Some(NOW.plus_seconds(900)), "300 is now");
    order.ask_later(NOW.plus_seconds(1000));
    assert_eq!(order.wake, Some(NOW.plus_seconds(1800)));
    assert!(order.is_last_question(NOW.plus_seconds(8000)));
    order.ask_later(NOW.plus_seconds(8000));
    assert_eq!(order.wake, Some(NOW.plus_seconds(8060)));
}

#[test]
fn when_wechat_knows_more_than_the_row_the_next_sweep_asks() {
    let mut order = order(Status::Paying);
    let now = NOW.plus_seconds(20);
    order.ask_now(now);
    assert_eq!((order.due, order.wake), (Some(now), Some(now)));
}

#[test]
fn a_short_order_is_not_closed_before_wechat_allows_it() {
    let mut order = order(Status::Created);
    order.request.expires_in = 60;
    order.expires_at = NOW.plus_seconds(60);
    open(&mut order).unwrap();
    order.ask_later(NOW.plus_seconds(90));
    assert_eq!(order.wake, Some(NOW.plus_seconds(300)));
    assert!(!order.is_last_question(NOW.plus_seconds(300)));
    order.ask_later(NOW.plus_seconds(240));
    assert_eq!(order.wake, Some(NOW.plus_seconds(310)));
    assert!(order.is_last_question(NOW.plus_seconds(310)));
}

#[test]
fn an_attempt_is_replaced_only_when_wechat_would_close_it_and_closed_before_the_next_is_asked_for()
{
    use Preparation as P;
    use TradeType::{Jsapi, Native};
    let at = |seconds| NOW.plus_seconds(seconds);
    let mut order = order(Status::Created);
    assert_eq!(order.preparation(Native, None, NOW), P::Open);
    open(&mut order).unwrap();
    assert_eq!(order.preparation(Native, None, NOW), P::Ask(1));
    order.prepaid(1, prepay(), NOW);
    assert_eq!(order.preparation(Native, None, NOW), P::Ready);
    assert_eq!(order.preparation(Native, None, at(7079)), P::Ready);
    assert_eq!(order.preparation(Native, None, at(7080)), P::Ask(1));
    assert_eq!(order.preparation(Jsapi, Some("o1"), at(309)), P::Ready);
    assert_eq!(order.preparation(Jsapi, Some("o1"), at(310)), P::Open);

    let payer = Payer {
        openid: Some("o1".to_owned()),
        ..payer()
    };
    order.open_attempt(Jsapi, payer, at(311)).unwrap();
    assert_eq!(order.preparation(Jsapi, Some("o1"), at(311)), P::Close(1));
    order.attempt_closed(1);
    assert_eq!(order.preparation(Jsapi, Some("o1"), at(311)), P::Ask(2));
    order.prepaid(2, prepay(), at(312));
    assert_eq!(order.preparation(Jsapi, Some("o1"), at(312)), P::Ready);
    assert_eq!(order.preparation(Jsapi, Some("o2"), at(700)), P::Open);
    order.attempt_closed(2);
    assert_eq!(order.preparation(Jsapi, Some("o1"), at(312)), P::Open);
}

#[test]
fn what_wechat_gave_for_a_phones_browser_is_asked_for_again_after_four_and_a_half_minutes() {
    use Preparation as P;
    let mut order = order(Status::Created);
    order.open_attempt(TradeType::Mweb, payer(), NOW).unwrap();
    order.prepaid(1, prepay(), NOW);
    for (seconds, expected) in [(269, P::Ready), (270, P::Ask(1))] {
        let now = NOW.plus_seconds(seconds);
        assert_eq!(order.preparation(TradeType::Mweb, None, now), expected);
    }
}

#[test]
fn only_inside_wechat_is_an_attempt_one_payers() {
    use Preparation as P;
    use TradeType::{Jsapi, Native};
    let now = NOW.plus_seconds(400);
    for (opened, asked, expected) in [
        ((Native, None), (Native, Some("o1")), P::Ready),
        ((Native, Some("o1")), (Native, Some("o2")), P::Ready),
        ((Native, None), (Jsapi, Some("o1")), P::Open),
        ((Jsapi, Some("o1")), (Jsapi, Some("o1")), P::Ready),
        ((Jsapi, Some("o1")), (Jsapi, Some("o2")), P::Open),
        ((Jsapi, Some("o1")), (Native, Some("o1")), P::Open),
    ] {
        let mut order = order(Status::Created);
        let payer = Payer {
            openid: opened.1.map(str::to_owned),
            ..payer()
        };
        order.open_attempt(opened.0, payer, NOW).unwrap();
        order.prepaid(1, prepay(), NOW);
        let preparation = order.preparation(asked.0, asked.1, now);
        assert_eq!(preparation, expected, "{opened:?}, then {asked:?}");
    }
}

#[test]
fn an_order_given_up_is_closed_when_wechat_allows_it() {
    let mut untouched = order(Status::Created);
    assert_eq!(untouched.give_up(NOW), Ok(true));
    assert_eq!(untouched.status, Status::Closed);

    let mut order = order(Status::Paying);
    let now = NOW.plus_seconds(20);
    assert_eq!(order.give_up(now), Ok(false));
    assert_eq!(order.check_open(now), Err(Refusal::Closed));
    assert_eq!(order.wake, Some(NOW.plus_seconds(310)));
    assert_eq!(order.give_up(now.plus_seconds(5)), Ok(false));
    assert_eq!(order.expires_at, now);
    assert_eq!(order.pay(payment("tx1", 100), now), Settlement::Paid);
    assert_eq!(order.give_up(now), Err(Refusal::Paid));
}

#[test]
fn giving_up_what_has_expired_leaves_its_next_question_where_it_is() {
    let mut order = order(Status::Paying);
    let end = order.expires_at;
    order.ask_later(end.plus_seconds(30));
    let next = order.wake;
    assert_eq!(next, Some(end.plus_seconds(90)));
    assert_eq!(order.give_up(end), Ok(false));
    assert_eq!((order.expires_at, order.wake), (end, next));
}

#[test]
fn giving_up_an_order_whose_attempts_are_all_closed_closes_it() {
    let mut order = order(Status::Paying);
    order.attempt_closed(1);
    assert_eq!(order.give_up(NOW), Ok(true));
    assert_eq!(order.status, Status::Closed);

    // Whatever is said of an attempt later, closed stays closed.
    let mut closed = self::order(Status::Closed);
    assert_eq!(closed.give_up(NOW), Ok(true));
    assert_eq!((closed.status, closed.wake), (Status::Closed, None));
}

#[test]
fn attempt_numbers_end_at_99() {
    let mut order = order(Status::Created);
    for _ in 0..99 {
        open(&mut order).unwrap();
    }
    assert_eq!(open(&mut order), Err(Refusal::NoAttemptLeft));
}

#[test]
fn a_payers_code_is_charged_once_and_asked_about_every_five_seconds() {
    let at = |seconds| NOW.plus_seconds(seconds);
    let mut order = till();
    assert_eq!(order.status, Status::Paying);
    assert_eq!(scan(&mut order, "code1", at(1)), Ok(CodeUse::Known));
    assert_eq!(scan(&mut order, "code2", at(1)), Err(Refusal::Paying));
    assert_eq!(questions(&mut order), [5, 10, 15, 20, 25, 30]);
    order.ask_later(at(30));
    assert_eq!(order.wake, Some(at(35)));
    order.ask_later(at(89));
    assert_eq!(order.wake, Some(at(94)));
    order.ask_later(at(90));
    assert_eq!(order.wake, Some(at(150)), "urgency ends");
}

#[test]
fn after_a_failed_code_another_one_may_be_shown_until_the_order_expires() {
    let mut order = till();
    assert_eq!(order.fail(2, "NOTENOUGH"), Err(Refusal::NotPaying));
    order.fail(1, "AUTHCODEEXPIRE").unwrap();
    assert_eq!((order.status, order.wake), (Status::Failed, None));
    assert_eq!(order.fail(1, "PAYERROR"), Err(Refusal::NotPaying));
    assert_eq!(scan(&mut order, "code1", NOW), Ok(CodeUse::Known));
    let mut late = order.clone();
    let end = order.expires_at;
    assert_eq!(scan(&mut late, "code2", end), Err(Refusal::Closed));
    assert_eq!(scan(&mut order, "code2", NOW), Ok(CodeUse::New(2)));
    assert_eq!(order.status, Status::Paying);
    let paid = Payment {
        attempt: 2,
        ..payment("tx1", 100)
    };
    assert_eq!(order.pay(paid, NOW), Settlement::Paid);
    assert_eq!(scan(&mut order, "code3", NOW), Err(Refusal::Paid));
}

#[test]
fn a_payment_that_is_being_taken_back_is_never_taken_for_one() {
    let mut order = till();
    order.reverse();
    assert_eq!(order.pay(payment("tx1", 100), NOW), Settlement::TakenBack);
    assert_eq!(order.status, Status::Paying);
    order.fail(1, "REVERSED").unwrap();
    assert_eq!(order.pay(payment("tx1", 100), NOW), Settlement::TakenBack);
    assert_eq!((order.status, order.anomalies.len()), (Status::Failed, 0));
}

#[test]
fn giving_an_order_up_at_the_till_takes_the_payment_back_but_not_too_early() {
    let mut order = till();
    assert_eq!(order.give_up(NOW.plus_seconds(3)), Ok(false));
    assert_eq!(order.wake, Some(NOW.plus_seconds(15)));
    let mut later = till();
    assert_eq!(later.give_up(NOW.plus_seconds(20)), Ok(false));
    assert_eq!(later.wake, Some(NOW.plus_seconds(20)));
}
