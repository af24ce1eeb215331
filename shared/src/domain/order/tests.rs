//! Every state x event, and the moves one by one.

mod properties;

use super::*;
use crate::domain::id::RefundNo;
use crate::domain::money::Fen;
use crate::domain::refund::{self, News, Refund, Turn};

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn order(status: Status) -> Order {
    let key = OrderKey::parse("demo000000000001#A000000001").unwrap();
    let request = Request {
        total_fee: Fen::positive(100).unwrap(),
        body: "test".into(),
        attach: None,
        notify_url: "https://shop.example/notify".into(),
        return_url: "https://shop.example/return".into(),
        trade_type: None,
        version: Version::Hub,
        openid: None,
        client_ip: None,
        expires_in: 7200,
    };
    let mut order = Order::new(key, request, "nonce".into(), NOW);
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
        let back = Fen::positive(back).unwrap();
        order.reserve_refund("tx1", back).unwrap();
        order.complete_refund("tx1", back).unwrap();
    }
    assert_eq!(order.status, status);
    order
}

const PATIENCE: Patience = Patience {
    query_seconds: 5,
    give_up_seconds: 30,
};

fn scan(order: &mut Order, code: &str, now: Timestamp) -> Result<Scanned, Refusal> {
    order.scanned(code, (PATIENCE, "127.0.0.1".parse().unwrap()), now)
}

/// An order whose payer's code was just scanned.
fn till() -> Order {
    let mut order = order(Status::Created);
    order.request.trade_type = Some(TradeType::Micropay);
    assert_eq!(scan(&mut order, "code1", NOW), Ok(Scanned::New(1)));
    order
}

fn open(order: &mut Order) -> Result<(), Refusal> {
    order.open_attempt(TradeType::Native, (None, "127.0.0.1".parse().unwrap()), NOW)
}

fn prepay() -> Prepay {
    Prepay {
        prepay_id: "wx1".into(),
        code_url: Some("weixin://x".into()),
        mweb_url: None,
    }
}

fn payment(transaction_id: &str, fee: i64) -> Payment {
    Payment {
        transaction_id: transaction_id.into(),
        attempt: 1,
        trade_type: "NATIVE".into(),
        total_fee: Fen::positive(fee).unwrap(),
        cash_fee: Fen::positive(fee).unwrap(),
        openid: None,
        paid_at: NOW,
        refund_reserved: Fen::ZERO,
        refunded: Fen::ZERO,
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
    let sixty = Fen::positive(60).unwrap();
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
        Event::ReserveRefund => done(order.reserve_refund("tx1", sixty)),
        Event::CompleteRefund => done(order.complete_refund("tx1", sixty)),
        Event::ReleaseRefund => done(order.release_refund("tx1", sixty)),
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
    let mut asked = Vec::new();
    while let Some(wake) = order.wake {
        asked.push((wake.millis() - NOW.millis()) / 1000);
        if order.is_last_question(wake) {
            break;
        }
        order.ask_later(wake);
    }
    assert_eq!(asked, [60, 300, 900, 1800, 7230]);
}

#[test]
fn questions_missed_during_an_outage_are_not_all_asked_at_once() {
    let mut order = order(Status::Paying);
    order.ask_later(NOW.plus_seconds(1000));
    assert_eq!(order.wake, Some(NOW.plus_seconds(1800)));
    assert!(order.is_last_question(NOW.plus_seconds(8000)));
    order.ask_later(NOW.plus_seconds(8000));
    assert_eq!(order.wake, Some(NOW.plus_seconds(8060)));
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
    assert_eq!(order.preparation(Native, None, at(7081)), P::Ask(1));
    assert_eq!(order.preparation(Jsapi, Some("o1"), at(309)), P::Ready);
    assert_eq!(order.preparation(Jsapi, Some("o1"), at(311)), P::Open);

    let payer = (Some("o1".to_owned()), "127.0.0.1".parse().unwrap());
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
    assert_eq!(scan(&mut order, "code1", at(1)), Ok(Scanned::Known));
    assert_eq!(scan(&mut order, "code2", at(1)), Err(Refusal::Paying));
    let mut asked = Vec::new();
    while let Some(wake) = order.wake {
        asked.push((wake.millis() - NOW.millis()) / 1000);
        if order.is_last_question(wake) {
            break;
        }
        order.ask_later(wake);
    }
    assert_eq!(asked, [5, 10, 15, 20, 25, 30]);
    order.ask_later(at(30));
    assert_eq!(order.wake, Some(at(35)));
    order.ask_later(at(100));
    assert_eq!(order.wake, Some(at(160)), "urgency ends");
}

#[test]
fn after_a_failed_code_another_one_may_be_shown_until_the_order_expires() {
    let mut order = till();
    assert_eq!(order.fail(2, "NOTENOUGH"), Err(Refusal::NotPaying));
    order.fail(1, "AUTHCODEEXPIRE").unwrap();
    assert_eq!((order.status, order.wake), (Status::Failed, None));
    assert_eq!(order.fail(1, "PAYERROR"), Err(Refusal::NotPaying));
    assert_eq!(scan(&mut order, "code1", NOW), Ok(Scanned::Known));
    let mut late = order.clone();
    let end = order.expires_at;
    assert_eq!(scan(&mut late, "code2", end), Err(Refusal::Closed));
    assert_eq!(scan(&mut order, "code2", NOW), Ok(Scanned::New(2)));
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
