//! Every state x event, and the moves one by one.

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
fn a_quiet_order_is_asked_about_at_1_5_15_30_minutes_and_after_its_expiry() {
    let mut order = order(Status::Paying);
    assert_eq!(questions(&mut order), [60, 300, 900, 1800, 7230]);
}

#[test]
fn an_order_whose_notification_goes_to_the_app_is_asked_about_early() {
    let mut order = order(Status::Created);
    order.request.version = Version::Direct;
    open(&mut order).unwrap();
    assert_eq!(questions(&mut order), [5, 15, 30, 60, 300, 900, 1800, 7230]);
    // One that an older version planned goes on from where it is.
    order.step = 1;
    order.ask_later(NOW.plus_seconds(300));
    assert_eq!(order.due, Some(NOW.plus_seconds(900)));
}

#[test]
fn what_may_have_gone_back_is_asked_for_of_each_payment_that_is_not_gone() {
    let mut order = order(Status::Paid);
    let id = order.payment.as_ref().unwrap().transaction_id.clone();
    assert_eq!(order.claim_look(NOW), std::slice::from_ref(&id));
    assert!(
        order.claim_look(NOW.plus_seconds(1)).is_empty(),
        "just asked"
    );
    assert_eq!(order.claim_look(NOW.plus_seconds(2)), [id]);
    let payment = order.payment.as_mut().unwrap();
    payment.refunded = payment.total_fee;
    assert!(order.claim_look(NOW.plus_seconds(9)).is_empty(), "all gone");
    assert_eq!(order.asked_at, Some(NOW.plus_seconds(2)));
}

#[test]
fn an_app_has_wechat_asked_once_in_two_seconds_and_only_while_somebody_could_pay() {
    let millis = |millis| Timestamp::from_millis(NOW.millis() + millis);
    let mut order = order(Status::Paying);
    let plan = (order.due, order.wake, order.step);
    for (now, asks) in [
        (0, true),
        (0, false),
        (1999, false),
        (2000, true),
        // Whose clock is a little behind does not ask before the others.
        (1500, false),
        (3999, false),
        (4000, true),
    ] {
        let asked = order.claim_question(Curious::App, millis(now));
        assert_eq!(asked, asks, "at {now} ms");
    }
    assert_eq!((order.due, order.wake, order.step), plan);
    order.attempt_closed(1);
    assert!(!order.claim_question(Curious::App, millis(10_000)));
    assert!(till().claim_question(Curious::App, NOW));
    for status in STATUSES.into_iter().filter(|&one| one != Status::Paying) {
        let mut order = self::order(status);
        assert!(!order.claim_question(Curious::App, NOW), "{status:?}");
        assert_eq!(order.asked_at, None);
    }
}

/// When a page that never stops has WeChat asked, in seconds.
fn page_questions(order: &mut Order, from: i64, until: i64) -> Vec<i64> {
    (from..until)
        .filter(|&second| order.claim_question(Curious::Page, NOW.plus_seconds(second)))
        .collect()
}

#[test]
fn a_page_asks_at_most_ten_times_in_its_first_minute_and_ever_more_rarely() {
    let mut order = order(Status::Paying);
    let minute = page_questions(&mut order, 0, 60);
    assert_eq!(minute, [0, 2, 4, 6, 9, 13, 19, 28, 42]);
    let hour = page_questions(&mut order, 60, 3660);
    assert!(hour.len() < 65, "{hour:?}");
    assert!(hour.windows(2).skip(2).all(|two| two[1] - two[0] == 60));
    // Somebody who comes later is served as the first one was.
    let later = page_questions(&mut order, 5000, 5007);
    assert_eq!(later, [5000, 5002, 5004, 5006]);
}

#[test]
fn what_an_app_had_asked_the_page_does_not_ask_again_at_once() {
    let mut order = order(Status::Paying);
    assert!(order.claim_question(Curious::App, NOW));
    assert_eq!(page_questions(&mut order, 0, 5), [2, 4]);
    assert!(!order.claim_question(Curious::App, NOW.plus_seconds(5)));
    assert!(order.claim_question(Curious::App, NOW.plus_seconds(6)));
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
    assert_eq!(
        order.wake,
        Some(NOW.plus_seconds(300)),
        "that was an extra one"
    );
    order.ask_later(NOW.plus_seconds(300));
    assert_eq!(order.wake, Some(NOW.plus_seconds(360)));
    assert!(order.is_last_question(NOW.plus_seconds(310)));
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

const HOME: &str = "192.0.2.1";
const TRAIN: &str = "2001:db8::1";

#[test]
fn an_attempt_suits_who_can_pay_it_in_that_way() {
    use TradeType::{App, Jsapi, Mweb, Native};
    let nobody = || somebody(None, HOME);
    for (opened, by, asked, payer, suits) in [
        (Native, nobody(), Native, nobody(), true),
        (
            Native,
            somebody(Some("o1"), HOME),
            Native,
            somebody(Some("o2"), TRAIN),
            true,
        ),
        (Native, nobody(), Jsapi, somebody(Some("o1"), HOME), false),
        (Native, nobody(), Mweb, nobody(), false),
        (App, nobody(), App, somebody(None, TRAIN), true),
        (
            Jsapi,
            somebody(Some("o1"), HOME),
            Jsapi,
            somebody(Some("o1"), TRAIN),
            true,
        ),
        (
            Jsapi,
            somebody(Some("o1"), HOME),
            Jsapi,
            somebody(Some("o2"), HOME),
            false,
        ),
        (
            Jsapi,
            somebody(Some("o1"), HOME),
            Native,
            somebody(Some("o1"), HOME),
            false,
        ),
        (Mweb, nobody(), Mweb, somebody(Some("o1"), HOME), true),
        (Mweb, nobody(), Mweb, somebody(None, TRAIN), false),
        (Mweb, nobody(), Mweb, somebody(None, "192.0.2.2"), false),
    ] {
        let mut order = order(Status::Created);
        order
            .open_attempt(opened, by.clone(), channel(ApiVersion::V2), NOW)
            .unwrap();
        order.prepaid(1, prepay(), NOW);
        let expected = match suits {
            true => Preparation::Ready(1),
            false => Preparation::Open,
        };
        let preparation = order.preparation(asked, &payer, at(200));
        assert_eq!(
            preparation, expected,
            "{opened:?} by {by:?}, {asked:?} by {payer:?}"
        );
    }
}

#[test]
fn whoever_cannot_pay_the_current_attempt_gets_another_at_once() {
    use Preparation as P;
    use TradeType::{Jsapi, Native};
    let payer = somebody(Some("o1"), HOME);
    let mut order = order(Status::Created);
    assert_eq!(order.preparation(Native, &payer, NOW), P::Open);
    open(&mut order).unwrap();
    assert_eq!(order.preparation(Native, &payer, NOW), P::Ask(1));
    order.prepaid(1, prepay(), NOW);
    assert_eq!(order.preparation(Native, &payer, NOW), P::Ready(1));
    assert_eq!(order.preparation(Native, &payer, at(7079)), P::Ready(1));
    assert_eq!(order.preparation(Native, &payer, at(7080)), P::Ask(1));
    assert_eq!(order.preparation(Jsapi, &payer, at(3)), P::Open);

    order
        .open_attempt(Jsapi, payer.clone(), channel(ApiVersion::V2), at(100))
        .unwrap();
    assert_eq!(order.preparation(Jsapi, &payer, at(100)), P::Close(1));
    let mut closed = order.clone();
    closed.attempt_closed(1);
    assert_eq!(closed.preparation(Jsapi, &payer, at(100)), P::Ask(2));
    // WeChat does not close one so young: the payer does not wait for that.
    order.close_later(1, at(100));
    assert_eq!(order.preparation(Jsapi, &payer, at(100)), P::Ask(2));
    order.prepaid(2, prepay(), at(100));
    assert_eq!(order.preparation(Jsapi, &payer, at(309)), P::Ready(2));
    // Nor for another try, which is planned.
    assert_eq!(order.preparation(Jsapi, &payer, at(310)), P::Ready(2));
    assert!(order.is_to_be_closed(1, at(310)));
    order.attempt_closed(1);
    assert_eq!(order.preparation(Jsapi, &payer, at(387)), P::Ready(2));
    order.attempt_closed(2);
    assert_eq!(order.preparation(Jsapi, &payer, at(387)), P::Open);
}

#[test]
fn payers_who_come_at_once_do_not_take_each_others_place() {
    use Preparation as P;
    use TradeType::{Mweb, Native};
    let (home, train) = (somebody(None, HOME), somebody(None, TRAIN));
    let mut order = order(Status::Created);
    order
        .open_attempt(Mweb, home.clone(), channel(ApiVersion::V2), NOW)
        .unwrap();
    order
        .open_attempt(Mweb, train.clone(), channel(ApiVersion::V2), NOW)
        .unwrap();
    order
        .open_attempt(Native, home.clone(), channel(ApiVersion::V2), NOW)
        .unwrap();
    assert_eq!(order.preparation(Mweb, &home, NOW), P::Ask(1));
    assert_eq!(order.preparation(Mweb, &train, NOW), P::Close(1));
    order.close_later(1, NOW);
    assert_eq!(order.preparation(Mweb, &train, at(59)), P::Ask(2));
    assert_eq!(order.preparation(Native, &home, NOW), P::Close(2));
    order.close_later(2, NOW);
    assert_eq!(order.preparation(Native, &home, NOW), P::Ask(3));
    // After a minute only the current one is left.
    assert_eq!(order.preparation(Mweb, &home, at(60)), P::Open);
    assert_eq!(order.preparation(Native, &home, at(60)), P::Ask(3));
}

#[test]
fn what_wechat_gave_for_a_phones_browser_is_asked_for_again_after_four_and_a_half_minutes() {
    use Preparation as P;
    let mut order = order(Status::Created);
    order
        .open_attempt(TradeType::Mweb, payer(), channel(ApiVersion::V2), NOW)
        .unwrap();
    order.prepaid(1, prepay(), NOW);
    for (seconds, expected) in [(269, P::Ready(1)), (270, P::Ask(1))] {
        let preparation = order.preparation(TradeType::Mweb, &payer(), at(seconds));
        assert_eq!(preparation, expected);
    }
}

#[test]
fn a_payer_waits_for_no_attempt_that_wechat_did_not_close_before() {
    use Preparation as P;
    let mut order = order(Status::Created);
    for number in 1..=9 {
        order
            .open_attempt(
                TradeType::Mweb,
                somebody(None, HOME),
                channel(ApiVersion::V2),
                NOW,
            )
            .unwrap();
        order.close_later(number, NOW);
    }
    let later = at(400);
    assert!((1..9).all(|number| order.is_to_be_closed(number, later)));
    assert_eq!(
        order.preparation(TradeType::Native, &payer(), later),
        P::Open
    );
    order
        .open_attempt(TradeType::Native, payer(), channel(ApiVersion::V2), later)
        .unwrap();
    assert_eq!(
        order.preparation(TradeType::Native, &payer(), later),
        P::Ask(10)
    );
}

#[test]
fn a_stranger_with_the_link_opens_ten_attempts_in_five_minutes_and_no_more() {
    let mut order = order(Status::Created);
    for second in 0..10 {
        order
            .open_attempt(
                TradeType::Native,
                payer(),
                channel(ApiVersion::V2),
                at(second),
            )
            .unwrap();
    }
    let next = |order: &mut Order, now| {
        order.open_attempt(TradeType::Native, payer(), channel(ApiVersion::V2), now)
    };
    assert_eq!(next(&mut order, at(10)), Err(Refusal::TooManyAttempts));
    assert_eq!(next(&mut order, at(299)), Err(Refusal::TooManyAttempts));
    assert_eq!(next(&mut order, at(300)), Ok(()));
    assert_eq!(next(&mut order, at(300)), Err(Refusal::TooManyAttempts));
    assert_eq!(order.attempts.len(), 11);
}

#[test]
fn an_attempt_that_lost_its_place_is_closed_as_soon_as_wechat_does_so() {
    let mut order = order(Status::Paying);
    order
        .open_attempt(TradeType::Mweb, payer(), channel(ApiVersion::V2), at(100))
        .unwrap();
    order.close_later(1, at(100));
    assert!(!order.is_to_be_closed(1, at(309)) && order.is_to_be_closed(1, at(310)));
    assert!(!order.is_to_be_closed(2, at(7000)), "it is the current one");
    fn asks(order: &mut Order, now: i64, wake: i64, step: u8) {
        order.ask_later(at(now));
        assert_eq!((order.wake, order.step), (Some(at(wake)), step), "{now}");
    }
    asks(&mut order, 160, 310, 1);
    order.close_later(1, at(310));
    asks(&mut order, 310, 387, 1);
    order.attempt_closed(1);
    // What was asked in between replaces none of the planned questions.
    asks(&mut order, 387, 447, 1);
    asks(&mut order, 447, 1000, 2);
}

#[test]
fn a_paid_order_is_watched_until_nobody_can_pay_it_again() {
    let mut order = order(Status::Paying);
    order
        .open_attempt(TradeType::Mweb, payer(), channel(ApiVersion::V2), at(100))
        .unwrap();
    order.close_later(1, at(100));
    let mut by_first = order.clone();
    assert_eq!(
        by_first.pay(&payment("tx1", 100).into(), at(120)),
        Settlement::Paid
    );
    assert!(by_first.is_to_be_closed(2, at(410)), "the current one, too");
    assert_eq!(
        (by_first.due, by_first.wake),
        (Some(at(410)), Some(at(410)))
    );

    let second = Payment {
        attempt: 2,
        ..payment("tx2", 100)
    };
    assert_eq!(order.pay(&second.into(), at(500)), Settlement::Paid);
    assert_eq!(order.wake, Some(at(500)), "WeChat closes it already");
    order.close_later(1, at(510));
    order.ask_later(at(510));
    assert_eq!(order.wake, Some(at(637)));
    let mut paid_twice = order.clone();
    let twice = paid_twice.pay(&payment("tx1", 100).into(), at(520));
    assert_eq!(twice, Settlement::Anomaly(AnomalyKind::PaidTwice));
    order.attempt_closed(1);
    order.ask_later(at(637));
    for order in [order, paid_twice] {
        assert_eq!((order.due, order.wake), (None, None));
        assert!(!order.is_watched());
    }
}

#[test]
fn a_payers_code_is_never_closed() {
    let mut order = till();
    order.status = Status::Paid;
    assert!(!order.is_to_be_closed(1, at(7000)));
}

#[test]
fn an_order_given_up_is_closed_when_wechat_allows_it() {
    let mut untouched = order(Status::Created);
    assert_eq!(untouched.give_up(NOW), Ok(Closure::Closed));
    assert_eq!(untouched.status, Status::Closed);

    let mut order = order(Status::Paying);
    let now = NOW.plus_seconds(20);
    assert_eq!(order.give_up(now), Ok(Closure::Pending));
    assert_eq!(order.check_open(now), Err(Refusal::Closed));
    // Whoever began before that, and reads the row after it.
    assert_eq!(order.check_open(NOW), Err(Refusal::Closed));
    assert_eq!(order.wake, Some(NOW.plus_seconds(310)));
    assert_eq!(order.give_up(now.plus_seconds(5)), Ok(Closure::Pending));
    assert_eq!(order.expires_at, now);
    assert_eq!(
        order.pay(&payment("tx1", 100).into(), now),
        Settlement::Paid
    );
    assert_eq!(order.give_up(now), Err(Refusal::Paid));
}

#[test]
fn giving_up_what_has_expired_leaves_its_next_question_where_it_is() {
    let mut order = order(Status::Paying);
    let end = order.expires_at;
    order.ask_later(end.plus_seconds(30));
    let next = order.wake;
    assert_eq!(next, Some(end.plus_seconds(90)));
    assert_eq!(order.give_up(end), Ok(Closure::Pending));
    assert_eq!((order.expires_at, order.wake), (end, next));
}

#[test]
fn giving_up_an_order_whose_attempts_are_all_closed_closes_it() {
    let mut order = order(Status::Paying);
    order.attempt_closed(1);
    assert_eq!(order.give_up(NOW), Ok(Closure::Closed));
    assert_eq!(order.status, Status::Closed);

    // Whatever is said of an attempt later, closed stays closed.
    let mut closed = self::order(Status::Closed);
    assert_eq!(closed.give_up(NOW), Ok(Closure::Repeated));
    assert_eq!((closed.status, closed.wake), (Status::Closed, None));
}

#[test]
fn an_order_is_closed_because_it_expired_or_because_its_app_gave_it_up_before() {
    // How it stands, when it is given up, if it is, and why it is closed then.
    for (status, given_up, reason) in [
        (Status::Created, None, CloseReason::Expired),
        (Status::Paying, None, CloseReason::Expired),
        (Status::Created, Some(0), CloseReason::ClosedByApp),
        (Status::Paying, Some(20), CloseReason::ClosedByApp),
        (Status::Failed, Some(20), CloseReason::ClosedByApp),
        (Status::Failed, Some(7200), CloseReason::Expired),
        (Status::Created, Some(7199), CloseReason::ClosedByApp),
        (Status::Created, Some(7200), CloseReason::Expired),
        (Status::Paying, Some(7201), CloseReason::Expired),
    ] {
        let mut order = order(status);
        let closed = given_up.map(|seconds| order.give_up(at(seconds)));
        let closed = match closed {
            None | Some(Ok(Closure::Pending)) => order.close(),
            Some(closed) => closed,
        };
        assert_eq!(closed, Ok(Closure::Closed), "{status:?} {given_up:?}");
        assert_eq!(order.close_reason(), reason, "{status:?} {given_up:?}");
        // Whoever comes second tells nobody, and changes nothing.
        let before = order.clone();
        assert_eq!(order.close(), Ok(Closure::Repeated));
        assert_eq!(order.give_up(at(1)), Ok(Closure::Repeated));
        assert_eq!(order, before);
    }
}

#[test]
fn attempt_numbers_end_at_99() {
    let mut order = order(Status::Created);
    order.expires_at = at(86_400);
    let mut open = |trade_type, payer, number: i64| {
        let opened =
            order.open_attempt(trade_type, payer, channel(ApiVersion::V2), at(number * 60));
        opened.map(|()| order.attempts.len())
    };
    let in_wechat = |name: &str| somebody(Some(name), HOME);
    // A stranger with changing addresses, and somebody in WeChat.
    open(TradeType::Jsapi, in_wechat("o1"), 1).unwrap();
    for number in 2..=89 {
        let stranger = Payer {
            openid: None,
            ip: [203, 0, 113, u8::try_from(number).unwrap()].into(),
        };
        let opened = open(TradeType::Mweb, stranger, number);
        assert_eq!(opened, Ok(usize::try_from(number).unwrap()));
    }
    let no_more = Err(Refusal::NoAttemptLeft);
    assert_eq!(open(TradeType::Mweb, somebody(None, TRAIN), 90), no_more);
    assert_eq!(open(TradeType::Jsapi, in_wechat("o1"), 90), no_more);
    assert_eq!(open(TradeType::Native, payer(), 90), Ok(90));
    assert_eq!(open(TradeType::Native, payer(), 91), no_more);
    for number in 91..=99_u8 {
        let opened = open(
            TradeType::Jsapi,
            in_wechat(&format!("o{number}")),
            number.into(),
        );
        assert_eq!(opened, Ok(number.into()));
    }
    assert_eq!(open(TradeType::Jsapi, in_wechat("o100"), 100), no_more);
}

#[test]
fn a_payers_code_is_charged_once_and_asked_about_every_five_seconds() {
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
    assert_eq!(order.pay(&paid.into(), NOW), Settlement::Paid);
    assert_eq!(scan(&mut order, "code3", NOW), Err(Refusal::Paid));
}

#[test]
fn a_payment_that_is_being_taken_back_is_never_taken_for_one() {
    let mut order = till();
    order.reverse();
    assert_eq!(
        order.pay(&payment("tx1", 100).into(), NOW),
        Settlement::TakenBack
    );
    assert_eq!(order.status, Status::Paying);
    order.fail(1, "REVERSED").unwrap();
    let in_part = Found {
        payment: payment("tx1", 100),
        returned: vec![
            returned("500", 99, Standing::Succeeded(NOW)),
            returned("501", 1, Standing::Closed),
        ],
    };
    assert_eq!(
        order.clone().pay(&in_part, NOW),
        Settlement::Anomaly(AnomalyKind::PaidAfterClose)
    );
    let gone_back = Found {
        payment: payment("tx1", 100),
        returned: vec![returned("500", 100, Standing::UnderWay)],
    };
    assert_eq!(order.pay(&gone_back, NOW), Settlement::TakenBack);
    assert_eq!((order.status, order.anomalies.len()), (Status::Failed, 0));
}

#[test]
fn a_charge_that_comes_after_there_was_nothing_to_take_back_goes_back_by_refund() {
    let mut order = till();
    assert!(order.is_code_alive(NOW.plus_seconds(119)));
    assert!(!order.is_code_alive(NOW.plus_seconds(120)));
    order.reverse();
    order.fail(1, "REVERSED").unwrap();
    let later = NOW.plus_seconds(600);
    assert_eq!((order.due, order.wake), (Some(later), Some(later)));
    assert!(!order.is_look_due(NOW.plus_seconds(599)) && order.is_look_due(later));
    // Another code does not make it fit, and the first one is still looked at.
    assert_eq!(scan(&mut order, "code2", NOW), Ok(CodeUse::New(2)));
    let late = order.pay(&payment("tx1", 100).into(), NOW);
    assert_eq!(late, Settlement::Anomaly(AnomalyKind::PaidAfterClose));
    let paid = Payment {
        attempt: 2,
        ..payment("tx2", 100)
    };
    assert_eq!(order.pay(&paid.into(), NOW), Settlement::Paid);
    assert_eq!(order.attempts_taken_back(), [1]);
    assert_eq!(order.wake, Some(later));
    // One that an outage made as late as the last is the last.
    let mut late = order.clone();
    let last = at(6 * 3600);
    order.looked_again(later);
    assert_eq!((order.due, order.wake), (Some(last), Some(last)));
    assert!(!order.is_look_due(at(6 * 3600 - 1)) && order.is_look_due(last));
    order.looked_again(last);
    late.looked_again(last);
    for order in [order, late] {
        assert_eq!((order.due, order.wake), (None, None));
        assert!(!order.is_look_due(at(86_400)));
        assert_eq!(order.attempts_taken_back(), [1], "the app may still ask");
    }
}

#[test]
fn each_attempt_that_was_taken_back_has_its_own_looks() {
    let mut order = till();
    order.reverse();
    order.fail(1, "REVERSED").unwrap();
    assert_eq!(scan(&mut order, "code2", at(300)), Ok(CodeUse::New(2)));
    order.reverse();
    order.fail(2, "REVERSED").unwrap();
    let mut looks = Vec::new();
    while let Some(due) = order.wake {
        assert_eq!(order.attempts_to_look_at(due).len(), 1);
        looks.push(due.seconds() - NOW.seconds());
        order.looked_again(due);
    }
    assert_eq!(looks, [600, 900, 21_600, 21_900]);
    // A row of the version that looked once is not looked at again.
    let mut row = serde_json::to_value(till()).unwrap();
    let code = &mut row["attempts"][0];
    code["closed"] = true.into();
    code["scan"]["reversing"] = true.into();
    code["scan"]["looked_again"] = true.into();
    row["status"] = "failed".into();
    let row: Order = serde_json::from_value(row).unwrap();
    assert!(!row.is_look_due(at(86_400)));
}

#[test]
fn an_app_has_what_was_taken_back_looked_at_once_in_two_seconds_and_nothing_else() {
    let mut order = till();
    order.reverse();
    assert!(!order.claim_look_at_taken_back(NOW), "it is under way");
    order.fail(1, "REVERSED").unwrap();
    let plan = (order.due, order.wake);
    for (second, asks) in [(40, true), (41, false), (42, true), (90_000, true)] {
        assert_eq!(order.claim_look_at_taken_back(at(second)), asks, "{second}");
    }
    assert_eq!((order.due, order.wake), plan);
    assert_eq!(order.asked_at, None);
    for status in STATUSES {
        let mut order = self::order(status);
        assert!(!order.claim_look_at_taken_back(NOW), "{status:?}");
        assert_eq!(order.looked_at, None);
    }
}

#[test]
fn the_payment_that_was_told_is_the_orders_whichever_is_found_first() {
    let second = Payment {
        attempt: 2,
        ..payment("tx2", 100)
    };
    let twice = Settlement::Anomaly(AnomalyKind::PaidTwice);
    let gone = Found {
        payment: payment("tx1", 100),
        returned: vec![returned("500", 100, Standing::Succeeded(NOW))],
    };
    let (first, second) = (Found::from(payment("tx1", 100)), Found::from(second));
    for status in [
        Status::Created,
        Status::Paying,
        Status::Closed,
        Status::Failed,
    ] {
        for other in [&first, &gone] {
            for (found, settlements) in [
                ([other, &second], [twice, Settlement::Paid]),
                ([&second, other], [Settlement::Paid, twice]),
            ] {
                let mut order = order(status);
                let settled = found.map(|found| order.pay_knowing(found, Some("tx2"), NOW));
                assert_eq!(settled, settlements, "{status:?}");
                assert_eq!(order.status, Status::Paid);
                assert_eq!(order.payment.unwrap().transaction_id, "tx2");
                assert_eq!(order.anomalies[0].payment.transaction_id, "tx1");
            }
        }
    }
    // What was told is of no account for an order that has its payment.
    let mut paid = order(Status::Paid);
    assert_eq!(paid.pay_knowing(&second, Some("tx2"), NOW), twice);
    // Another amount never fits.
    let other = payment("tx2", 1).into();
    let mismatch = Settlement::Anomaly(AnomalyKind::AmountMismatch);
    let mut open = order(Status::Paying);
    assert_eq!(open.pay_knowing(&other, Some("tx2"), NOW), mismatch);
}

#[test]
fn an_attempt_that_a_backup_lacks_is_asked_about_at_once_and_then_each_minute() {
    for status in [Status::Created, Status::Paying, Status::Failed] {
        let mut order = order(status);
        let end = order.expires_at.plus_seconds(1000);
        order.attempt_closed(1);
        assert!(order.adopt_attempt(3, NOW, end));
        assert_eq!(order.attempts.last().unwrap().number, 3);
        assert!(order.status.is_open() && !order.attempt(3).unwrap().closed);
        assert_eq!((order.due, order.wake), (Some(end), Some(end)));
        order.attempt_closed(3);
        assert!(!order.adopt_attempt(3, NOW, end), "it was asked about");
        assert!(!order.attempt(3).unwrap().closed);
        assert_eq!(order.due, Some(end.plus_seconds(60)));
        assert!(order.adopt_attempt(2, NOW, end));
        let numbers = order.attempts.iter().map(|attempt| attempt.number);
        assert!(numbers.is_sorted());
    }
    // Paid by another one, nobody has asked about this one.
    let mut paid = order(Status::Paid);
    paid.attempt_closed(1);
    assert!(!paid.adopt_attempt(1, NOW, at(9)));
    assert!(!paid.attempt(1).unwrap().closed);
    assert_eq!(paid.due, Some(at(9)));
    let mut code = till();
    code.fail(1, "NOTENOUGH").unwrap();
    assert!(!code.adopt_attempt(1, NOW, NOW));
    assert!(code.attempt(1).unwrap().closed, "it is not charged again");
}

#[test]
fn a_payment_of_an_attempt_that_a_backup_lacks_is_the_orders_as_any_other() {
    let mut order = order(Status::Paying);
    let mut paid = payment("tx1", 100);
    (paid.attempt, paid.trade_type) = (3, "JSAPI".into());
    assert_eq!(order.pay(&paid.into(), NOW), Settlement::Paid);
    assert_eq!(order.attempt(3).unwrap().trade_type, TradeType::Jsapi);
    let attempts = order.attempts.iter();
    let attempts: Vec<_> = attempts.map(|known| (known.number, known.closed)).collect();
    assert_eq!(attempts, [(1, false), (3, true)]);
    assert!(order.is_watched(), "the first can still be paid");
}

fn returned(refund_id: &str, fee: i64, standing: Standing) -> Returned {
    Returned {
        out_refund_no: "by hand".into(),
        refund_id: refund_id.into(),
        refund_fee: fen(fee),
        standing,
    }
}

#[test]
fn what_wechat_has_given_back_is_booked_whatever_was_promised_here() {
    use refund::Status as R;
    let mut order = order(Status::Paid);
    let twice = order.pay(&payment("tx2", 100).into(), NOW);
    assert_eq!(twice, Settlement::Anomaly(AnomalyKind::PaidTwice));
    let sums = |order: &Order, id: &str| {
        let paid = order.payment_of(id).unwrap();
        (paid.refund_reserved.get(), paid.refunded.get())
    };
    let of_the_other = refund("tx2", 7, R::Pending);
    let mut promised = refund("tx1", 50, R::Pending);
    let by_hand = refund("tx1", 30, R::Succeeded);
    // On its way: promised, not gone.
    let coming = refund("tx1", 40, R::Processing);
    order
        .recount("tx1", [&promised, &by_hand, &of_the_other])
        .unwrap();
    assert_eq!(sums(&order, "tx1"), (80, 30));
    assert_eq!(sums(&order, "tx2"), (0, 0), "it was not asked for");
    assert_eq!(order.status, Status::PartlyRefunded);
    // More than there is: WeChat, which knows, will refuse some of it.
    order
        .recount("tx1", [&promised, &by_hand, &coming])
        .unwrap();
    assert_eq!(sums(&order, "tx1"), (100, 30));
    promised.status = R::Failed;
    let all = [promised, by_hand, coming, of_the_other];
    order.recount_all(&all);
    assert_eq!(sums(&order, "tx1"), (70, 30));
    assert_eq!(sums(&order, "tx2"), (7, 0));
    assert_eq!(order.recount("tx9", &all), Err(Refusal::NotPaid));
    // A row that is there says less than WeChat did.
    for (status, standing) in [
        (R::Succeeded, Status::Refunded),
        (R::Processing, Status::Paid),
    ] {
        order.recount("tx1", [&refund("tx1", 100, status)]).unwrap();
        assert_eq!(order.status, standing);
    }
}

#[test]
fn giving_an_order_up_at_the_till_takes_the_payment_back_but_not_too_early() {
    let mut order = till();
    assert_eq!(order.give_up(NOW.plus_seconds(3)), Ok(Closure::Pending));
    assert_eq!(order.wake, Some(NOW.plus_seconds(30)));
    let patient = MicropayTiming {
        give_up_seconds: 300,
        ..TIMING
    };
    for (given_up, taken_back) in [(0, 30), (29, 30), (31, 31), (299, 299)] {
        let mut order = self::order(Status::Created);
        let scanned = scan_with(&mut order, "code1", patient, NOW);
        assert_eq!(scanned, Ok(CodeUse::New(1)));
        assert_eq!(order.give_up(at(given_up)), Ok(Closure::Pending));
        assert_eq!(order.wake, Some(at(taken_back)), "{given_up}");
        assert!(!order.is_last_question(at(taken_back - 1)), "{given_up}");
    }
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
