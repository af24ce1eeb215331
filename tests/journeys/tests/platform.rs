//! What people do in WeChat's merchant platform, of which the hub learns by a
//! notification, or when it asks about the payment.

use journeys::{Answer, Stack, eventually};
use serde_json::{Value, json};

/// An order of 19.99 yuan that was paid, of which the hub was told nothing.
async fn paid_in_silence(stack: &Stack) -> Value {
    let order = stack.native(json!({})).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    order
}

/// The same, of which the hub and the app know.
async fn paid(stack: &Stack) -> Value {
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.told(&order["order_no"], "payment.succeeded").await;
    order
}

/// The hub's first question about the payment.
async fn asked(stack: &Stack, order: &Value) {
    stack.age(&order["order_no"], 61).await;
    stack.sweep().await;
}

/// The app asks.
async fn query(stack: &Stack, order_no: &Value) -> Answer {
    let action = json!({"action": "query"});
    stack.act(order_no, "query", action).await
}

/// What the app was told of, in order.
async fn events(stack: &Stack, order: &Value) -> Vec<String> {
    let callbacks = stack.callbacks(&order["order_no"]).await;
    let event = |callback: &Value| callback["params"]["event"].as_str().unwrap().to_owned();
    callbacks.iter().map(event).collect()
}

#[tokio::test]
async fn a_payment_that_went_back_before_the_hub_knew_of_it_is_never_told_as_one() {
    let stack = Stack::new().await;
    let order = paid_in_silence(&stack).await;
    let order_no = &order["order_no"];
    let made = stack.give_back(&order["trade_no"], json!({})).await;
    asked(&stack, &order).await;
    let shown = stack.told(order_no, "refund.succeeded").await;
    assert_eq!(
        (&shown["status"], &shown["refunded_fee"]),
        (&json!("refunded"), &json!(1999))
    );
    let refund = &shown["refunds"][0];
    assert_eq!(refund["source"], "wechat");
    assert_eq!(refund["refund_id"], made["refund_id"]);
    assert_eq!(refund["status"], "succeeded");
    let told = stack.told_of(order_no, "refund.succeeded").await;
    let params = &told[0]["params"];
    assert_eq!(
        (&params["source"], &params["refund_fee"]),
        (&json!("wechat"), &json!("1999"))
    );
    assert_eq!(params["refund_no"], refund["refund_no"]);
    // The payment's own notification comes after all.
    let late = stack.notify(&order["trade_no"], json!({"copies": 4})).await;
    assert!(late.iter().all(|answer| answer["accepted"] == true));
    assert_eq!(events(&stack, &order).await, ["refund.succeeded"]);
    let more = stack.refund(order_no, "R1", json!({"refund_fee": 1})).await;
    assert_eq!(more.body["code"], "refund_exceeds");
}

#[tokio::test]
async fn what_wechat_calls_closed_or_tells_no_payment_of_is_asked_for_by_its_refunds() {
    let stack = Stack::new().await;
    for state in ["CLOSED", "REFUND"] {
        let order = paid_in_silence(&stack).await;
        let told = json!({"full_refund_state": state});
        stack.obstruct(&order["trade_no"], told).await;
        let made = stack.give_back(&order["trade_no"], json!({})).await;
        asked(&stack, &order).await;
        let shown = stack.told(&order["order_no"], "refund.succeeded").await;
        assert_eq!(
            (&shown["status"], &shown["refunded_fee"]),
            (&json!("refunded"), &json!(1999)),
            "{state}"
        );
        assert_eq!(shown["refunds"][0]["refund_id"], made["refund_id"]);
        assert_eq!(events(&stack, &order).await, ["refund.succeeded"]);
    }
}

#[tokio::test]
async fn a_refund_of_which_nobody_tells_is_found_when_the_app_asks() {
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    let part = json!({"refund_fee": 700});
    stack.give_back(&order["trade_no"], part).await;
    let shown = query(&stack, order_no).await;
    assert_eq!(
        (
            shown.status,
            &shown.body["status"],
            &shown.body["refunded_fee"]
        ),
        (200, &json!("partly_refunded"), &json!(700)),
        "{shown:?}"
    );
    stack.told(order_no, "refund.succeeded").await;
    // Of twenty at once one asks WeChat, and it finds the second one.
    stack.age(order_no, 3).await;
    stack
        .give_back(&order["trade_no"], json!({"refund_fee": 300}))
        .await;
    let all = futures_util::future::join_all((0..20).map(|_| query(&stack, order_no))).await;
    assert!(all.iter().all(|shown| shown.status == 200), "{all:?}");
    let shown = stack
        .order_when(order_no, |order| order["refunded_fee"] == 1000)
        .await;
    assert_eq!(shown["refunds"].as_array().unwrap().len(), 2);
    eventually(|| async {
        let told = stack.told_of(order_no, "refund.succeeded").await;
        if told.len() == 2 {
            Ok(())
        } else {
            Err(json!(told))
        }
    })
    .await;
}

#[tokio::test]
async fn fifty_refunds_that_are_found_at_once_are_all_booked() {
    let stack = Stack::new().await;
    let order = paid_in_silence(&stack).await;
    for _ in 0..50 {
        let part = json!({"refund_fee": 10});
        stack.give_back(&order["trade_no"], part).await;
    }
    asked(&stack, &order).await;
    let order_no = &order["order_no"];
    let shown = stack
        .order_when(order_no, |order| order["refunded_fee"] != 0)
        .await;
    assert_eq!(shown["refunded_fee"], 500);
    stack.age(order_no, 3).await;
    let shown = query(&stack, order_no).await;
    assert_eq!(shown.body["refunded_fee"], 500, "{shown:?}");
    assert_eq!(shown.body["refunds"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn of_a_payment_that_went_back_in_part_the_app_is_told_both_and_the_rest_is_right() {
    let stack = Stack::new().await;
    let order = paid_in_silence(&stack).await;
    let order_no = &order["order_no"];
    let part = json!({"refund_fee": 500});
    stack.give_back(&order["trade_no"], part).await;
    asked(&stack, &order).await;
    stack.told(order_no, "payment.succeeded").await;
    let shown = stack.told(order_no, "refund.succeeded").await;
    assert_eq!(
        (&shown["status"], &shown["refunded_fee"]),
        (&json!("partly_refunded"), &json!(500))
    );
    let more = stack
        .refund(order_no, "R1", json!({"refund_fee": 1500}))
        .await;
    assert_eq!(more.body["code"], "refund_exceeds");
    let rest = stack
        .refund(order_no, "R1", json!({"refund_fee": 1499}))
        .await;
    assert_eq!(rest.status, 201, "{rest:?}");
    let shown = stack
        .order_when(order_no, |order| order["status"] == "refunded")
        .await;
    assert_eq!(shown["refunded_fee"], 1999);
    assert_eq!(stack.told_of(order_no, "payment.succeeded").await.len(), 1);
}

#[tokio::test]
async fn more_refunds_than_wechat_tells_at_once_are_all_found() {
    let stack = Stack::new().await;
    let order = paid_in_silence(&stack).await;
    for _ in 0..21 {
        let part = json!({"refund_fee": 90});
        stack.give_back(&order["trade_no"], part).await;
    }
    asked(&stack, &order).await;
    let shown = stack
        .order_when(&order["order_no"], |order| order["refunded_fee"] != 0)
        .await;
    assert_eq!(shown["refunded_fee"], 21 * 90);
    assert_eq!(shown["refunds"].as_array().unwrap().len(), 21);
}

#[tokio::test]
async fn a_refund_that_comes_twenty_times_is_known_once() {
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    let told = json!({"refund_fee": 700, "notify": true, "copies": 20});
    let made = stack.give_back(&order["trade_no"], told).await;
    let shown = stack.told(order_no, "refund.succeeded").await;
    assert_eq!(
        (&shown["status"], &shown["refunded_fee"]),
        (&json!("partly_refunded"), &json!(700))
    );
    assert_eq!(shown["refunds"].as_array().unwrap().len(), 1);
    // All twenty of the first round end accepted, sooner or later.
    let known = eventually(|| async {
        let known = stack.at_wechat(&order["trade_no"]).await;
        let attempts = known["refunds"][0]["notifications"].clone();
        let mut all = attempts.as_array().unwrap().iter();
        let enough = all.any(|attempt| attempt["accepted"] == true);
        if enough { Ok(known) } else { Err(known) }
    })
    .await;
    assert_eq!(known["refunds"][0]["refund_id"], made["refund_id"]);
    // And a second one beside it.
    let other = json!({"refund_fee": 300, "notify": true});
    stack.give_back(&order["trade_no"], other).await;
    stack
        .order_when(order_no, |order| order["refunded_fee"] == 1000)
        .await;
    eventually(|| async {
        let told = stack.told_of(order_no, "refund.succeeded").await;
        if told.len() == 2 {
            Ok(())
        } else {
            Err(json!(told))
        }
    })
    .await;
    let more = stack
        .refund(order_no, "R1", json!({"refund_fee": 1000}))
        .await;
    assert_eq!(more.body["code"], "refund_exceeds");
}

#[tokio::test]
async fn a_refund_that_is_under_way_is_told_when_it_has_arrived() {
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    let coming = json!({"status": "CHANGE", "notify": true});
    let made = stack.give_back(&order["trade_no"], coming).await;
    let shown = stack
        .order_when(order_no, |order| order["refunds"] != json!([]))
        .await;
    assert_eq!(
        (&shown["status"], &shown["refunded_fee"]),
        (&json!("paid"), &json!(0))
    );
    // What is on its way is not promised to another.
    let more = stack.refund(order_no, "R1", json!({"refund_fee": 1})).await;
    assert_eq!(more.body["code"], "refund_exceeds");
    let arrived = json!({"out_refund_no": made["out_refund_no"], "status": "SUCCESS"});
    stack.wechat("refund_becomes", &arrived).await;
    let shown = stack.told(order_no, "refund.succeeded").await;
    assert_eq!(shown["status"], "refunded");
    assert_eq!(stack.told_of(order_no, "refund.succeeded").await.len(), 1);
}

#[tokio::test]
async fn a_payment_that_stays_after_all_is_told_then() {
    let stack = Stack::new().await;
    let order = paid_in_silence(&stack).await;
    let order_no = &order["order_no"];
    let coming = json!({"status": "PROCESSING"});
    let made = stack.give_back(&order["trade_no"], coming).await;
    asked(&stack, &order).await;
    stack
        .order_when(order_no, |order| order["refunds"] != json!([]))
        .await;
    assert!(events(&stack, &order).await.is_empty());
    let undone = json!({"out_refund_no": made["out_refund_no"], "status": "REFUNDCLOSE"});
    stack.wechat("refund_becomes", &undone).await;
    stack.told(order_no, "refund.failed").await;
    let shown = stack.told(order_no, "payment.succeeded").await;
    assert_eq!(
        (&shown["status"], &shown["refunded_fee"]),
        (&json!("paid"), &json!(0))
    );
    let told = stack.told_of(order_no, "refund.failed").await;
    assert_eq!(told[0]["params"]["source"], "wechat");
    let whole = stack
        .refund(order_no, "R1", json!({"refund_fee": 1999}))
        .await;
    assert_eq!(whole.status, 201, "{whole:?}");
}

#[tokio::test]
async fn a_refund_that_is_heard_of_before_its_payment_brings_both_in() {
    let stack = Stack::new().await;
    let order = paid_in_silence(&stack).await;
    let order_no = &order["order_no"];
    let told = json!({"notify": true, "copies": 5});
    stack.give_back(&order["trade_no"], told).await;
    let shown = stack.told(order_no, "refund.succeeded").await;
    assert_eq!(shown["status"], "refunded");
    assert_eq!(events(&stack, &order).await, ["refund.succeeded"]);
}

#[tokio::test]
async fn a_payment_of_a_closed_order_that_went_back_by_hand_goes_back_once() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"expires_in": 60})).await;
    let order_no = &order["order_no"];
    stack.age(order_no, 400).await;
    stack.sweep().await;
    stack
        .order_when(order_no, |order| order["status"] == "closed")
        .await;
    let late = json!({"force": true, "notify": false});
    stack.pay(&order["trade_no"], late).await;
    let told = json!({"refund_fee": 999, "notify": true});
    stack.give_back(&order["trade_no"], told).await;
    let shown = stack.told(order_no, "payment.anomaly").await;
    assert_eq!(shown["anomalies"][0]["kind"], "paid_after_close");
    // The hub gives back what is left.
    stack.sweep().await;
    let known = eventually(|| async {
        let known = stack.at_wechat(&order["trade_no"]).await;
        let fees = known["refunds"].as_array().unwrap().iter();
        let fees: Vec<i64> = fees
            .map(|refund| refund["refund_fee"].as_i64().unwrap())
            .collect();
        if fees == [999, 1000] {
            Ok(known)
        } else {
            Err(known)
        }
    })
    .await;
    assert_eq!(known["state"], "REFUND");
}

#[tokio::test]
async fn a_refund_of_which_nobody_tells_is_found_when_the_next_one_is_refused() {
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    let part = json!({"refund_fee": 1000});
    stack.give_back(&order["trade_no"], part).await;
    let refused = stack
        .refund(order_no, "R1", json!({"refund_fee": 1999}))
        .await;
    assert_eq!(
        (refused.status, &refused.body["err_code"]),
        (202, &json!("INVALID_REQUEST")),
        "{refused:?}"
    );
    let shown = stack.told(order_no, "refund.succeeded").await;
    assert_eq!(
        (&shown["status"], &shown["refunded_fee"]),
        (&json!("partly_refunded"), &json!(1000))
    );
    // After a week of refusals the app's own is over, and what is left is free.
    stack.age_refund(order_no, "R1", 8 * 86_400).await;
    let over = stack.retry_refund(order_no, "R1").await;
    assert_eq!(
        (over.status, &over.body["status"]),
        (200, &json!("failed")),
        "{over:?}"
    );
    let more = stack
        .refund(order_no, "R2", json!({"refund_fee": 1000}))
        .await;
    assert_eq!(more.body["code"], "refund_exceeds");
    let rest = stack
        .refund(order_no, "R2", json!({"refund_fee": 999}))
        .await;
    assert_eq!(rest.status, 201, "{rest:?}");
    stack
        .order_when(order_no, |order| order["status"] == "refunded")
        .await;
}
