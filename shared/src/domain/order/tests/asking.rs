//! When WeChat is asked: by plan, for the app, for the page.

use super::*;

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
