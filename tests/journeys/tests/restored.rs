//! Orders whose rows were put back from a backup while payments went on: they find
//! their payments and refunds again, and nothing is told twice.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use journeys::{DESKTOP, Row, Stack, WECHAT, eventually, random_order_no};
use serde_json::{Value, json};

use crate::attempts::attempt;

/// Four notifications of the payment, all accepted.
async fn notified_again(stack: &Stack, order: &Value) {
    for _ in 0..4 {
        let answers = stack.notify(&order["trade_no"], json!({})).await;
        assert_eq!(answers[0]["accepted"], true, "{answers:?}");
    }
}

#[tokio::test]
async fn an_order_that_is_restored_from_before_its_payment_is_paid_and_told_once() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let order_no = &order["order_no"];
    let backup = stack.row(order_no, "order").await;
    stack.pay(&order["trade_no"], json!({})).await;
    let before = stack.told(order_no, "payment.succeeded").await;
    stack.put_row(backup).await;
    assert_eq!(stack.show(order_no).await.body["status"], "paying");
    notified_again(&stack, &order).await;
    let after = stack.show(order_no).await.body;
    assert_eq!(after, before);
    assert_eq!(stack.callbacks(order_no).await.len(), 1);
}

#[tokio::test]
async fn an_order_that_is_restored_beside_its_refunds_has_their_sums() {
    let stack = Stack::new().await;
    for (obstacles, status) in [
        (json!([]), "succeeded"),
        (json!([{"err_code": "NOTENOUGH"}]), "pending"),
    ] {
        let order = stack.native(json!({})).await;
        let order_no = &order["order_no"];
        let backup = stack.row(order_no, "order").await;
        stack.pay(&order["trade_no"], json!({})).await;
        stack.told(order_no, "payment.succeeded").await;
        stack.refuse_refunds(&order["trade_no"], obstacles).await;
        let asked = stack.refund(order_no, "R1", json!({"refund_fee": 1500}));
        assert!(asked.await.status < 300, "{status}");
        let before = stack
            .order_when(order_no, |order| {
                order["refunds"][0]["status"] == status
                    && (status == "pending" || order["deliveries"][1]["status"] == "delivered")
            })
            .await;
        stack.put_row(backup).await;
        notified_again(&stack, &order).await;
        assert_eq!(stack.show(order_no).await.body, before, "{status}");
        let more = stack.refund(order_no, "R2", json!({"refund_fee": 500}));
        assert_eq!(more.await.body["code"], "refund_exceeds", "{status}");
        let told = stack.callbacks(order_no).await.len();
        assert_eq!(told, before["deliveries"].as_array().unwrap().len());
    }
}

#[tokio::test]
async fn an_order_that_is_restored_from_before_its_refund_has_the_right_rest() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let order_no = &order["order_no"];
    stack.pay(&order["trade_no"], json!({})).await;
    stack.told(order_no, "payment.succeeded").await;
    let backup = stack.row(order_no, "order").await;
    let first = stack.refund(order_no, "R1", json!({"refund_fee": 1500}));
    assert_eq!(first.await.status, 201);
    stack.told(order_no, "refund.succeeded").await;
    stack.put_row(backup).await;
    let more = stack.refund(order_no, "R2", json!({"refund_fee": 500}));
    assert_eq!(more.await.body["code"], "refund_exceeds");
    let rest = stack.refund(order_no, "R2", json!({"refund_fee": 499}));
    assert_eq!(rest.await.status, 201);
    let shown = stack
        .order_when(order_no, |order| order["status"] == "refunded")
        .await;
    assert_eq!(shown["refunded_fee"], 1999);
}

#[tokio::test]
async fn an_order_that_is_restored_from_before_it_failed_fails_once() {
    let stack = Stack::new().await;
    let order_no = json!(random_order_no());
    let code = json!({
        "order_no": order_no, "trade_type": "MICROPAY", "auth_code": journeys::auth_code("04"),
    });
    assert_eq!(stack.create(&stack.order(code)).await.status, 202);
    let backup = stack.row(&order_no, "order").await;
    stack.told(&order_no, "payment.failed").await;
    stack.put_row(backup).await;
    stack.sweep().await;
    let shown = stack
        .order_when(&order_no, |order| order["status"] == "failed")
        .await;
    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(stack.told_of(&order_no, "payment.failed").await.len(), 1);
}

#[tokio::test]
async fn an_order_that_is_restored_from_before_it_was_closed_is_closed_and_told_once() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    let order_no = &order["order_no"];
    let backup = stack.row(order_no, "order").await;
    stack.act(order_no, "close", json!({})).await;
    stack.told_closed(order_no, "closed_by_app").await;
    stack.put_row(backup).await;
    assert_eq!(stack.show(order_no).await.body["status"], "created");
    let closed = stack.act(order_no, "close", json!({})).await;
    assert_eq!(
        (closed.status, &closed.body["status"]),
        (200, &json!("closed"))
    );
    stack.told_closed(order_no, "closed_by_app").await;
}

/// An order with one attempt, its row, and then a second attempt.
async fn two_attempts(stack: &Stack) -> (Value, Row) {
    let order = stack.native(json!({"trade_type": null})).await;
    let url = order["pay_url"].as_str().unwrap();
    stack.page(url, DESKTOP, "en").await;
    let before = stack.row(&order["order_no"], "order").await;
    stack.browser(WECHAT).open(url).await;
    (order, before)
}

#[tokio::test]
async fn an_order_that_is_restored_from_before_two_payments_keeps_the_one_that_was_told() {
    for by_hand in [false, true] {
        let stack = Stack::with_app(|app| app.refund_by_hand = by_hand).await;
        for arrival in ["query", "first", "second"] {
            let (order, _) = two_attempts(&stack).await;
            let order_no = &order["order_no"];
            let backup = stack.row(order_no, "order").await;
            let (first, second) = (&attempt(&order, 1), &attempt(&order, 2));
            stack.pay(second, json!({})).await;
            stack.told(order_no, "payment.succeeded").await;
            stack.pay(first, json!({})).await;
            let mut before = stack.told(order_no, "payment.anomaly").await;
            if !by_hand {
                stack.sweep().await;
                before = stack.told(order_no, "refund.succeeded").await;
            }
            stack.put_row(backup).await;
            assert_eq!(stack.show(order_no).await.body["status"], "paying");
            match arrival {
                "query" => drop(stack.act(order_no, "query", json!({})).await),
                "first" => drop(stack.notify(first, json!({})).await),
                _ => drop(stack.notify(second, json!({})).await),
            }
            for trade_no in [first, second] {
                let answers = stack.notify(trade_no, json!({"copies": 4})).await;
                let mut answers = answers.iter();
                assert!(answers.all(|answer| answer["accepted"] == true));
            }
            stack.sweep().await;
            let after = stack.show(order_no).await.body;
            for name in [
                "status",
                "transaction_id",
                "refunded_fee",
                "refunds",
                "deliveries",
            ] {
                assert_eq!(after[name], before[name], "{by_hand} {arrival} {name}");
            }
            let anomalies = [&after, &before].map(|order| {
                let anomalies = order["anomalies"].as_array().unwrap();
                let of = |anomaly: &Value| {
                    ["transaction_id", "kind", "refunded_fee"].map(|name| anomaly[name].clone())
                };
                anomalies.iter().map(of).collect::<Vec<_>>()
            });
            assert_eq!(anomalies[0], anomalies[1], "{by_hand} {arrival}");
            let paid = stack.at_wechat(second).await;
            assert_eq!(paid["refunds"], json!([]), "{by_hand} {arrival}");
            let told = stack.callbacks(order_no).await.len();
            assert_eq!(told, before["deliveries"].as_array().unwrap().len());
        }
    }
}

#[tokio::test]
async fn of_two_payments_that_nobody_told_the_one_that_has_not_gone_back_is_the_orders() {
    let stack = Stack::new().await;
    let (order, _) = two_attempts(&stack).await;
    let order_no = &order["order_no"];
    for number in [1, 2] {
        let silently = json!({"notify": false});
        stack.pay(&attempt(&order, number), silently).await;
    }
    stack.give_back(&attempt(&order, 1), json!({})).await;
    stack.age(order_no, 61).await;
    stack.sweep().await;
    stack.told(order_no, "payment.succeeded").await;
    let shown = stack.told(order_no, "payment.anomaly").await;
    assert_eq!(
        (&shown["status"], &shown["trade_no"]),
        (&json!("paid"), &attempt(&order, 2))
    );
    assert_eq!(shown["anomalies"][0]["refunded_fee"], order["total_fee"]);
    let told = stack.told_of(order_no, "payment.anomaly").await;
    assert!(told[0]["params"]["refund_no"].is_null(), "{told:?}");
    let paid = stack.at_wechat(&attempt(&order, 2)).await;
    assert_eq!(paid["refunds"], json!([]));
}

#[tokio::test]
async fn an_order_whose_paid_attempt_a_backup_lacks_is_paid_and_never_told_as_closed() {
    let stack = Stack::new().await;
    let (order, backup) = two_attempts(&stack).await;
    let order_no = &order["order_no"];
    stack.pay(&attempt(&order, 2), json!({})).await;
    let before = stack.told(order_no, "payment.succeeded").await;
    let told = stack.row(order_no, "delivery#payment.succeeded").await;
    stack.put_row(backup).await;
    assert_eq!(stack.show(order_no).await.body["status"], "paying");
    stack.age(order_no, 7231).await;
    stack.sweep().await;
    let after = stack
        .order_when(order_no, |order| order["status"] == "paid")
        .await;
    for name in ["transaction_id", "trade_no", "deliveries", "anomalies"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(stack.callbacks(order_no).await.len(), 1);

    // One of which WeChat knows nothing is not closed either, and a person must
    // look.
    let unpaid = stack.native(json!({})).await;
    let order_no = &unpaid["order_no"];
    let mut told = told;
    let pk = stack.row(order_no, "order").await["pk"].clone();
    told.insert("pk".to_owned(), pk);
    let Some(AttributeValue::M(payload)) = told.get_mut("payload") else {
        panic!("a delivery has a payload");
    };
    let trade_no = attempt(&unpaid, 3);
    let text = trade_no.as_str().unwrap().to_owned();
    payload.insert("trade_no".to_owned(), AttributeValue::S(text));
    stack.put_row(told).await;
    stack.age(order_no, 7231).await;
    stack.sweep().await;
    stack
        .order_when(order_no, |order| order["trade_no"] == trade_no)
        .await;
    // No longer as young as WeChat does not close it.
    eventually(|| async {
        stack.age(order_no, 400).await;
        stack.sweep().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let alarms = stack.alarms("reconcile", order_no).await;
        match alarms.iter().any(|alarm| alarm == "payment_missing") {
            true => Ok(()),
            false => Err(json!(alarms)),
        }
    })
    .await;
    assert_eq!(stack.show(order_no).await.body["status"], "paying");
    assert_eq!(stack.callbacks(order_no).await, Vec::<Value>::new());
}
