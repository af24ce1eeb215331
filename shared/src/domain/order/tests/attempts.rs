//! Attempts: whom they suit, how many there may be, how they are closed.

use super::*;

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
