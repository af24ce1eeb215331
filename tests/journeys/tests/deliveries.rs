//! From a payment to the app's `success`.

use journeys::{Stack, eventually};
use serde_json::json;

#[tokio::test]
async fn a_native_order_is_paid_and_delivered_at_once() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"attach": "table 7"})).await;
    assert_eq!(order["status"], "paying");
    assert!(
        order["code_url"]
            .as_str()
            .unwrap()
            .starts_with("weixin://wxpay/"),
        "{order}"
    );

    let paid = stack
        .pay(
            &order["trade_no"],
            json!({"coupon_fee": 90, "cash_coupon_fee": 9}),
        )
        .await;
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;

    assert_eq!(shown["status"], "paid");
    assert_eq!(shown["transaction_id"], paid["transaction_id"]);
    assert_eq!(
        (&shown["total_fee"], &shown["cash_fee"]),
        (&json!(1999), &json!(1900))
    );
    // Version 3 does not say who follows the account.
    let is_subscribe = (!stack.is_v3()).then_some(true);
    let receipt = json!({
        "bank_type": "OTHERS", "fee_type": "CNY", "is_subscribe": is_subscribe,
        "settlement_total_fee": 1909, "coupon_fee": 99, "coupon_count": 2,
        "coupons": [
            {"id": "10000", "type": "NO_CASH", "fee": 90},
            {"id": "10001", "type": "CASH", "fee": 9},
        ],
    });
    assert_eq!(shown["receipt"], receipt);
    let delivery = &shown["deliveries"][0];
    assert_eq!(delivery["event"], "payment.succeeded");
    assert_eq!(
        delivery["attempts"].as_array().unwrap().len(),
        1,
        "{delivery}"
    );
    let attempt = &delivery["attempts"][0];
    assert_eq!(
        (&attempt["step"], &attempt["address"]),
        (&json!(0), &json!("return"))
    );
    assert_eq!(
        (&attempt["http_status"], &attempt["answer"]),
        (&json!(200), &json!("success"))
    );

    let callbacks = stack.callbacks(&order["order_no"]).await;
    assert_eq!(callbacks.len(), 1, "{callbacks:?}");
    assert_eq!(callbacks[0]["verified"], true, "{callbacks:?}");
    let params = &callbacks[0]["params"];
    for (name, value) in [
        ("app_id", json!(stack.app.id)),
        ("order_no", order["order_no"].clone()),
        ("trade_no", order["trade_no"].clone()),
        ("transaction_id", paid["transaction_id"].clone()),
        ("event", json!("payment.succeeded")),
        ("event_id", delivery["event_id"].clone()),
        ("attempt", json!("1")),
        ("total_fee", json!("1999")),
        ("cash_fee", json!("1900")),
        ("settlement_total_fee", json!("1909")),
        ("coupon_fee", json!("99")),
        ("bank_type", json!("OTHERS")),
        ("paid_at", shown["paid_at"].clone()),
        ("trade_type", json!("NATIVE")),
        ("attach", json!("table 7")),
        ("paid_at", shown["paid_at"].clone()),
    ] {
        assert_eq!(params[name], value, "{name}");
    }
    assert!(
        params["openid"]
            .as_str()
            .is_some_and(|openid| !openid.is_empty()),
        "{params}"
    );
}

#[tokio::test]
async fn when_the_synchronous_address_does_not_answer_the_asynchronous_one_is_called() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let refuse = json!({"order_no": order["order_no"], "address": "return", "mode": "fail"});
    stack.shop("behaviour", &refuse).await;

    stack.pay(&order["trade_no"], json!({})).await;
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;

    let attempts = shown["deliveries"][0]["attempts"].as_array().unwrap();
    let called: Vec<_> = attempts
        .iter()
        .map(|a| (&a["step"], &a["address"]))
        .collect();
    assert_eq!(
        called,
        [(&json!(0), &json!("return")), (&json!(0), &json!("notify"))]
    );
}

#[tokio::test]
async fn an_app_may_switch_the_synchronous_call_off() {
    let stack = Stack::with_app(|app| app.skip_return_call = true).await;
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    let attempts = shown["deliveries"][0]["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0]["address"], "notify");
}

#[tokio::test]
async fn a_shop_that_fails_at_first_is_told_at_step_3_with_the_same_event_id() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    // Both addresses of step 0, then steps 1 and 2.
    let refuse = json!({"order_no": order["order_no"], "mode": "http_500", "times": 4});
    stack.shop("behaviour", &refuse).await;

    stack.pay(&order["trade_no"], json!({})).await;
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;

    let attempts = shown["deliveries"][0]["attempts"].as_array().unwrap();
    let steps: Vec<_> = attempts
        .iter()
        .map(|a| a["step"].as_i64().unwrap())
        .collect();
    assert_eq!(steps, [0, 0, 1, 2, 3]);
    let callbacks = stack.callbacks(&order["order_no"]).await;
    let ids: Vec<_> = callbacks.iter().map(|c| &c["params"]["event_id"]).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let numbers: Vec<_> = callbacks
        .iter()
        .map(|c| c["params"]["attempt"].as_str().unwrap())
        .collect();
    assert_eq!(numbers, ["1", "1", "2", "3", "4"]);
    let mut nonces: Vec<_> = callbacks
        .iter()
        .map(|c| c["params"]["nonce"].as_str().unwrap())
        .collect();
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), 5, "each call is signed freshly");
    assert!(
        callbacks
            .iter()
            .all(|callback| callback["verified"] == true)
    );
}

#[tokio::test]
async fn a_shop_that_never_answers_success_is_told_fourteen_times_and_given_up() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack
        .shop(
            "behaviour",
            &json!({"order_no": order["order_no"], "mode": "fail"}),
        )
        .await;

    stack.pay(&order["trade_no"], json!({})).await;
    let shown = stack.delivered_as(&order["order_no"], "exhausted").await;

    let attempts = shown["deliveries"][0]["attempts"].as_array().unwrap();
    let steps: Vec<_> = attempts
        .iter()
        .map(|a| a["step"].as_i64().unwrap())
        .collect();
    assert_eq!(steps, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    assert_eq!(shown["status"], "paid");
    assert_eq!(shown["deliveries"][0]["next_due"], json!(null));
}

#[tokio::test]
async fn hostile_answers_are_failures_that_are_kept_short() {
    let stack = Stack::new().await;
    for (mode, expected) in [
        ("redirect", "any"),
        ("huge", "the answer is too large"),
        ("drop", "any"),
    ] {
        let order = stack.native(json!({})).await;
        // Both addresses of step 0; step 1 succeeds.
        let rule = json!({"order_no": order["order_no"], "mode": mode, "times": 2});
        stack.shop("behaviour", &rule).await;
        stack.pay(&order["trade_no"], json!({})).await;
        let shown = stack.delivered_as(&order["order_no"], "delivered").await;
        let attempts = shown["deliveries"][0]["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 3, "{mode}: {attempts:?}");
        let answer = attempts[0]["answer"].as_str().unwrap();
        assert!(answer.len() <= 96, "{mode}: {answer}");
        assert!(expected == "any" || answer == expected, "{mode}: {answer}");
        let callbacks = stack.callbacks(&order["order_no"]).await;
        assert!(
            callbacks.iter().all(|c| c["address"] != "redirected"),
            "{callbacks:?}"
        );
    }
}

#[tokio::test]
async fn an_order_whose_notification_never_came_is_found_by_asking() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    assert_eq!(
        stack.show(&order["order_no"]).await.body["status"],
        "paying"
    );

    stack.age(&order["order_no"], 61).await;
    stack.sweep().await;

    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(shown["status"], "paid");
    eventually(|| async {
        let callbacks = stack.callbacks(&order["order_no"]).await;
        if callbacks.len() == 1 {
            Ok(())
        } else {
            Err(json!(callbacks))
        }
    })
    .await;
}
