//! Asking WeChat out of turn: for an app that wants to know, and for a payer who
//! is back before WeChat's notification.

use std::sync::Arc;
use std::time::Instant;

use journeys::{Answer, DESKTOP, Stack, WECHAT, auth_code, random_order_no};
use serde_json::{Value, json};
use tokio::task::JoinSet;

async fn query(stack: &Stack, order_no: &Value) -> Answer {
    stack
        .act(order_no, "query", json!({"action": "query"}))
        .await
}

fn code(answer: &Answer) -> (u16, &str) {
    let code = answer.body["code"].as_str();
    (answer.status, code.unwrap_or_default())
}

/// How often the simulator was asked about this order.
async fn questions(stack: &Stack, trade_no: &Value) -> i64 {
    stack.at_wechat(trade_no).await["queries"].as_i64().unwrap()
}

async fn paid_silently(stack: &Stack, changes: Value) -> Value {
    let order = stack.native(changes).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    order
}

#[tokio::test]
async fn an_app_that_asks_learns_of_a_payment_without_a_notification() {
    let stack = Stack::new().await;
    let order = paid_silently(&stack, json!({})).await;
    assert_eq!(
        stack.show(&order["order_no"]).await.body["status"],
        "paying"
    );
    let asked = query(&stack, &order["order_no"]).await;
    assert_eq!(
        (asked.status, &asked.body["status"]),
        (200, &json!("paid")),
        "{asked:?}"
    );
    assert!(asked.body["transaction_id"].is_string());
    // It is told as ever, once.
    stack.delivered_as(&order["order_no"], "delivered").await;
    stack.notify(&order["trade_no"], json!({"copies": 3})).await;
    let told = stack.told_of(&order["order_no"], "payment.succeeded").await;
    assert_eq!(told.len(), 1);
}

#[tokio::test]
async fn of_twenty_who_ask_at_once_one_has_wechat_asked() {
    let stack = Arc::new(Stack::new().await);
    let order = stack.native(json!({})).await;
    let before = questions(&stack, &order["trade_no"]).await;
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let (stack, order_no) = (Arc::clone(&stack), order["order_no"].clone());
        asking.spawn(async move { query(&stack, &order_no).await });
    }
    for answer in asking.join_all().await {
        assert_eq!(
            (answer.status, &answer.body["status"]),
            (200, &json!("paying")),
            "{answer:?}"
        );
    }
    // On a slow machine the last of them come after the two seconds.
    let asked = questions(&stack, &order["trade_no"]).await - before;
    assert!((1..=2).contains(&asked), "{asked}");
}

#[tokio::test]
async fn an_order_that_waits_for_nobody_is_answered_as_it_is() {
    let (stack, other) = (Stack::new().await, Stack::new().await);
    let refunded = stack.native(json!({})).await;
    stack.pay(&refunded["trade_no"], json!({})).await;
    stack.delivered_as(&refunded["order_no"], "delivered").await;
    let back = json!({"refund_fee": 1999});
    stack.refund(&refunded["order_no"], "R1", back).await;
    stack.told(&refunded["order_no"], "refund.succeeded").await;
    let untouched = stack.native(json!({"trade_type": null})).await;
    let closed = stack.native(json!({"trade_type": null})).await;
    stack.act(&closed["order_no"], "close", json!({})).await;
    stack.told(&closed["order_no"], "order.closed").await;
    for (order, status) in [
        (&refunded, "refunded"),
        (&untouched, "created"),
        (&closed, "closed"),
    ] {
        let before = stack.show(&order["order_no"]).await;
        let asked = query(&stack, &order["order_no"]).await;
        assert_eq!(asked.status, 200, "{asked:?}");
        assert_eq!(asked.body["status"], status);
        assert_eq!(asked.body, before.body);
    }
    for unknown in [
        query(&other, &refunded["order_no"]).await,
        query(&stack, &json!("0000000000")).await,
    ] {
        assert_eq!(code(&unknown), (404, "order_not_found"));
    }
}

#[tokio::test]
async fn what_was_signed_to_read_an_order_does_not_have_wechat_asked() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let before = questions(&stack, &order["trade_no"]).await;
    for (fields, field) in [
        (json!({"action": null}), "action"),
        (json!({"action": "close"}), "action"),
        (json!({"action": "query", "total_fee": 1}), "total_fee"),
    ] {
        let refused = stack.act(&order["order_no"], "query", fields).await;
        assert_eq!(code(&refused), (422, "param_invalid"), "{refused:?}");
        assert_eq!(refused.body["field"], field);
    }
    assert_eq!(questions(&stack, &order["trade_no"]).await, before);
}

#[tokio::test]
async fn an_expired_order_is_closed_by_who_asks_unless_it_was_paid() {
    let stack = Stack::new().await;
    let expired = stack.native(json!({"expires_in": 60})).await;
    stack.age(&expired["order_no"], 400).await;
    let asked = query(&stack, &expired["order_no"]).await;
    assert_eq!(asked.body["status"], "closed", "{asked:?}");
    let known = stack.at_wechat(&expired["trade_no"]).await;
    assert_eq!(known["state"], "CLOSED");
    stack.told_closed(&expired["order_no"], "expired").await;

    let late = paid_silently(&stack, json!({"expires_in": 60})).await;
    stack.age(&late["order_no"], 400).await;
    let asked = query(&stack, &late["order_no"]).await;
    assert_eq!(asked.body["status"], "paid", "{asked:?}");
}

#[tokio::test]
async fn a_payment_by_code_is_asked_about_and_not_taken_back() {
    let stack = Stack::new().await;
    let order_no = json!(random_order_no());
    // The payer types the password and never ends.
    let scan =
        json!({"order_no": order_no, "trade_type": "MICROPAY", "auth_code": auth_code("02")});
    let scanned = stack.create(&stack.order(scan)).await;
    assert_eq!(scanned.status, 202, "{scanned:?}");
    let asked = query(&stack, &order_no).await;
    assert_eq!(
        (asked.status, &asked.body["status"]),
        (200, &json!("paying")),
        "{asked:?}"
    );
    stack.pay(&scanned.body["trade_no"], json!({})).await;
    stack
        .order_when(&order_no, |order| order["status"] == "paid")
        .await;
}

#[tokio::test]
async fn the_page_of_a_payer_who_is_back_says_paid_without_a_notification() {
    let stack = Stack::new().await;
    let order = paid_silently(&stack, json!({})).await;
    let status = order["pay_url"].as_str().unwrap();
    let status = status.replace("/pay?", "/pay/status?");
    // A page that only waits asks nobody.
    let before = questions(&stack, &order["trade_no"]).await;
    let waiting = stack.page(&status, DESKTOP, "en").await;
    assert_eq!(waiting.body["status"], "paying");
    assert_eq!(questions(&stack, &order["trade_no"]).await, before);

    let began = Instant::now();
    let back = stack
        .page(&format!("{status}&hub_back=1"), WECHAT, "en")
        .await;
    assert_eq!(back.body["status"], "paid", "{back:?}");
    assert!(back.body["return_url"].is_string());
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    stack.delivered_as(&order["order_no"], "delivered").await;
}

#[tokio::test]
async fn a_payer_who_paid_at_the_last_moment_is_not_told_that_it_was_too_late() {
    let stack = Stack::new().await;
    let order = paid_silently(&stack, json!({"expires_in": 60})).await;
    stack.age(&order["order_no"], 61).await;
    let pay_url = order["pay_url"].as_str().unwrap();
    let gone = stack.page(pay_url, DESKTOP, "en").await;
    assert_eq!(gone.status, 410, "{gone:?}");
    let back = format!("{pay_url}&hub_back=1");
    let paid = stack.page(&back, DESKTOP, "en").await;
    assert_eq!(paid.status, 200, "{paid:?}");
    assert!(paid.body.as_str().unwrap().contains("Payment received"));
}

#[tokio::test]
async fn nobody_with_a_pay_address_has_wechat_asked_without_end() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let status = order["pay_url"].as_str().unwrap();
    let back = format!("{}&hub_back=1", status.replace("/pay?", "/pay/status?"));
    let before = questions(&stack, &order["trade_no"]).await;
    let began = Instant::now();
    while began.elapsed().as_secs() < 8 {
        let waiting = stack.page(&back, DESKTOP, "en").await;
        assert_eq!(waiting.body["status"], "paying", "{waiting:?}");
    }
    // At 0, 2, 4 and 6 s.
    let asked = questions(&stack, &order["trade_no"]).await - before;
    assert!((3..=4).contains(&asked), "{asked}");
}
