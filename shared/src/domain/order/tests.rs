//! Every state x event, and properties over random sequences of events.

use proptest::prelude::*;

use super::*;

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
        Status::Failed => order.fail().unwrap(),
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
        order.reserve_refund(back).unwrap();
        order.complete_refund(back).unwrap();
    }
    assert_eq!(order.status, status);
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
        Event::Fail => done(order.fail()),
        Event::Expired => done(order.check_open(order.expires_at)),
        Event::ReserveRefund => done(order.reserve_refund(sixty)),
        Event::CompleteRefund => done(order.complete_refund(sixty)),
        Event::ReleaseRefund => done(order.release_refund(sixty)),
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
                (S::Created | S::Paying | S::Closed, E::Close) => ("ok", S::Closed),
                (S::Failed, E::Close) => ("Closed", status),
                (_, E::Close) => ("Paid", status),
                (S::Created, E::Fail) => ("NotPaying", status),
                (S::Paying | S::Failed, E::Fail) => ("ok", S::Failed),
                (S::Closed, E::Fail) => ("Closed", status),
                (_, E::Fail) => ("Paid", status),
                (S::Paid | S::PartlyRefunded, E::ReserveRefund) => ("ok", status),
                (_, E::ReserveRefund) => ("Exceeds", status),
                // Nothing is outstanding in any of these states.
                (_, E::CompleteRefund | E::ReleaseRefund) => ("Exceeds", status),
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
fn the_right_amount_takes_the_place_of_a_wrong_one_for_the_same_payment() {
    let mut order = order(Status::Paying);
    order.pay(payment("tx1", 1), NOW);
    order.pay(payment("tx2", 2), NOW);
    assert_eq!(order.pay(payment("tx1", 100), NOW), Settlement::Paid);
    let kept: Vec<&str> = order
        .anomalies
        .iter()
        .map(|anomaly| anomaly.payment.transaction_id.as_str())
        .collect();
    assert_eq!(kept, ["tx2"]);
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

proptest! {
    #[test]
    fn no_sequence_of_events_unpays_an_order_or_refunds_more_than_was_paid(
        picks in proptest::collection::vec(0..EVENTS.len(), 1..60),
    ) {
        let mut order = order(Status::Created);
        let mut was_paid = false;
        for pick in picks {
            apply(&mut order, EVENTS[pick]);
            let paid = matches!(
                order.status,
                Status::Paid | Status::PartlyRefunded | Status::Refunded
            );
            prop_assert!(!was_paid || paid, "paid became {:?}", order.status);
            was_paid |= paid;
            let payment = order.payment.as_ref().map_or(Fen::ZERO, |p| p.total_fee);
            prop_assert!(order.refunded <= order.refund_reserved);
            prop_assert!(order.refund_reserved <= payment);
            prop_assert_eq!(order.payment.is_some(), paid);
        }
    }
}
