//! Payment by the payer's code: charged once, and taken back in time.

use super::*;

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
