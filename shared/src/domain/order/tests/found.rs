//! What WeChat knows and the row does not: after a restore, or because people gave
//! money back.

use super::*;

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
