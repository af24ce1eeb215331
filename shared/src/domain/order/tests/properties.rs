//! What holds over random sequences of events.

use proptest::prelude::*;

use super::*;

/// WeChat, as far as money goes: one payment per attempt, and what went back.
#[derive(Default)]
struct Money {
    paid: Vec<(String, u8, u32)>,
    back: std::collections::BTreeMap<String, u32>,
}

proptest! {
    /// Whatever happens in whatever order, twice or late: money in is what the
    /// order took plus what is refunded or promised back as an anomaly, and no
    /// payment goes back more than once.
    #[test]
    fn money_in_is_the_paid_order_and_the_refunded_anomalies(
        picks in proptest::collection::vec((0..9_u8, 0..6_usize, 1..120_i64), 1..80),
    ) {
        let mut order = order(Status::Created);
        let mut wechat = Money::default();
        let mut refunds: Vec<Refund> = Vec::new();
        let mut now = NOW;
        for (action, index, amount) in picks {
            now = now.plus_seconds(amount);
            let attempts = order.attempts.len();
            match action {
                0 => drop(order.open_attempt(
                    TradeType::Native, payer(), channel(ApiVersion::V2), now)),
                // The payer pays an attempt, open or not, sometimes a wrong amount.
                1 if attempts > 0 => {
                    let attempt = order.attempts[index % attempts].number;
                    if wechat.paid.iter().all(|paid| paid.1 != attempt) {
                        let fee = if amount == 7 { 99 } else { 100 };
                        wechat.paid.push((format!("tx{attempt}"), attempt, fee));
                    }
                }
                // A notification, or a query: WeChat's own answer, any number of times.
                2 | 3 if !wechat.paid.is_empty() => {
                    let (id, attempt, fee) = wechat.paid[index % wechat.paid.len()].clone();
                    let found = Payment { attempt, ..payment(&id, i64::from(fee)) };
                    if let Settlement::Anomaly(_) = order.pay(&found.clone().into(), now) {
                        order.reserve_refund(&id, found.total_fee).unwrap();
                        let promise = Promise {
                            payment: &found,
                            refund_no: RefundNo::automatic(&id).unwrap(),
                            refund_fee: found.total_fee,
                            reason: None,
                            due: now,
                        };
                        refunds.push(Refund::new(&order, promise, now));
                    }
                }
                4 => drop(order.close()),
                5 => drop(order.give_up(now)),
                // The app asks for a refund of the payment.
                6 => {
                    let fee = fen(amount);
                    if let Some(paid) = order.payment.clone()
                        && order.reserve_refund(&paid.transaction_id, fee).is_ok()
                    {
                        let promise = Promise {
                            payment: &paid,
                            refund_no: RefundNo::parse(&format!("R{}", refunds.len())).unwrap(),
                            refund_fee: fee,
                            reason: None,
                            due: now,
                        };
                        refunds.push(Refund::new(&order, promise, now));
                    }
                }
                // WeChat says how a refund ended, perhaps once more.
                7 | 8 if !refunds.is_empty() => {
                    let count = refunds.len();
                    let refund = &mut refunds[index % count];
                    let (id, fee) = (refund.transaction_id.clone(), refund.refund_fee);
                    let answer = match action {
                        7 => Answer::Succeeded("5000".into(), None),
                        _ => Answer::Failed("NOTENOUGH".into()),
                    };
                    if refund.apply(answer, now) == Transition::Ended {
                        if refund.status == refund::Status::Succeeded {
                            *wechat.back.entry(id.clone()).or_default() += fee.get();
                        }
                        order.recount(&id, &refunds).unwrap();
                    }
                }
                _ => {}
            }
            // What WeChat has told is the order's payment or an anomaly, once.
            let known: Vec<&Payment> = order.payment.iter()
                .chain(order.anomalies.iter().map(|anomaly| &anomaly.payment)).collect();
            for payment in &known {
                let same = known.iter().filter(|other| other.transaction_id == payment.transaction_id);
                prop_assert_eq!(same.count(), 1);
                let back = wechat.back.get(&payment.transaction_id).copied().unwrap_or(0);
                prop_assert_eq!(back, payment.refunded.get());
                prop_assert!(payment.refunded <= payment.refund_reserved);
                prop_assert!(payment.refund_reserved <= payment.total_fee);
            }
            // An anomaly is promised back as a whole unless that failed for good.
            for anomaly in &order.anomalies {
                let id = &anomaly.payment.transaction_id;
                let failed = refunds.iter().any(|refund| {
                    refund.transaction_id == *id && refund.status == refund::Status::Failed
                });
                prop_assert!(failed || anomaly.payment.refund_reserved == anomaly.payment.total_fee);
            }
        }
    }

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
            for known in order.payment.iter().chain(order.anomalies.iter().map(|a| &a.payment)) {
                prop_assert!(known.refunded <= known.refund_reserved);
                prop_assert!(known.refund_reserved <= known.total_fee);
            }
            prop_assert_eq!(order.payment.is_some(), paid);
        }
    }
}
