//! One order, many ways to pay it, and its end: switching, expiry, closing,
//! and payments that come when they should not.

use journeys::{DESKTOP, PHONE, Stack, WECHAT};
use serde_json::{Value, json};

fn address(order: &Value) -> &str {
    order["pay_url"].as_str().unwrap()
}

/// The number of another attempt of the same order.
pub(crate) fn attempt(order: &Value, number: u8) -> Value {
    let first = order["trade_no"].as_str().unwrap();
    json!(format!("{}{number:02}", &first[..first.len() - 2]))
}

/// The payment that does not fit goes back by itself, whole and once, and the
/// app is told of both. The order stays what it was.
async fn goes_back(stack: &Stack, order: &Value) {
    let order_no = &order["order_no"];
    let before = stack.told(order_no, "payment.anomaly").await;
    stack.sweep().await;
    let after = stack.told(order_no, "refund.succeeded").await;
    assert_eq!(before["status"], after["status"]);
    let anomaly = &after["anomalies"][0];
    assert_eq!(anomaly["refunded_fee"], anomaly["total_fee"]);
    assert_eq!(after["refunded_fee"], 0);
    let known = stack.at_wechat(&order["trade_no"]).await;
    let refunds = known["refunds"].as_array().unwrap();
    assert_eq!(refunds.len(), 1, "{known}");
    assert_eq!(refunds[0]["refund_fee"], order["total_fee"]);
    let told = stack.told_of(order_no, "payment.anomaly").await;
    assert_eq!(told[0]["params"]["kind"], anomaly["kind"]);
    assert_eq!(
        told[0]["params"]["refund_no"],
        after["refunds"][0]["refund_no"]
    );
    assert_eq!(told[0]["address"], "notify");
}

#[tokio::test]
async fn desktop_phone_and_wechat_can_all_pay_within_seconds_and_a_second_payment_goes_back() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    let order_no = &order["order_no"];
    let desktop = stack.browser(DESKTOP).get(address(&order)).await;
    assert!(desktop.html.contains("<svg"), "{desktop:?}");
    let phone = stack.browser(PHONE).at("203.0.113.9");
    let going = phone.get(address(&order)).await;
    assert!(phone.follow(&going).await.html.contains("value=\"pay\""));
    let inside = stack.browser(WECHAT).open(address(&order)).await;
    assert!(inside.html.contains("id=\"bridge\""), "{inside:?}");
    // The desktop is still served what it had: its code can be scanned.
    let again = stack.browser(DESKTOP).get(address(&order)).await;
    assert!(again.html.contains("<svg"));
    for (number, trade_type) in [(1, "NATIVE"), (2, "MWEB"), (3, "JSAPI")] {
        let known = stack.at_wechat(&attempt(&order, number)).await;
        let is = (&known["state"], &known["trade_type"]);
        assert_eq!(is, (&json!("NOTPAY"), &json!(trade_type)));
    }
    let none = stack.at_wechat(&attempt(&order, 4)).await;
    assert!(none["error"].is_string(), "{none}");

    stack.pay(&attempt(&order, 3), json!({})).await;
    let paid = stack.delivered_as(order_no, "delivered").await;
    assert_eq!(
        (&paid["status"], &paid["trade_type"]),
        (&json!("paid"), &json!("JSAPI"))
    );
    stack.pay(&order["trade_no"], json!({})).await;
    let shown = stack
        .order_when(order_no, |order| order["anomalies"] != json!([]))
        .await;
    assert_eq!(shown["anomalies"][0]["kind"], "paid_twice");
    goes_back(&stack, &order).await;

    // The third one could still be paid, and nobody would expect it.
    let left = attempt(&order, 2);
    assert_eq!(stack.at_wechat(&left).await["state"], "NOTPAY");
    stack.age(order_no, 320).await;
    stack.sweep().await;
    closed_at_wechat(&stack, &left).await;
    assert_eq!(stack.show(order_no).await.body["status"], "paid");
}

/// WeChat has closed this attempt, or soon has.
async fn closed_at_wechat(stack: &Stack, trade_no: &Value) {
    journeys::eventually(|| async {
        let known = stack.at_wechat(trade_no).await;
        match known["state"] == "CLOSED" {
            true => Ok(()),
            false => Err(known),
        }
    })
    .await;
}

#[tokio::test]
async fn an_attempt_that_lost_its_place_is_closed_as_soon_as_wechat_does_so() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    let order_no = &order["order_no"];
    stack.page(address(&order), DESKTOP, "en").await;
    stack.browser(WECHAT).open(address(&order)).await;
    // WeChat was asked at once, and does not close one so young.
    let first = stack.at_wechat(&order["trade_no"]).await;
    assert_eq!(first["state"], "NOTPAY");
    stack.age(order_no, 320).await;
    stack.sweep().await;
    closed_at_wechat(&stack, &order["trade_no"]).await;
    let second = stack.at_wechat(&attempt(&order, 2)).await;
    assert_eq!(second["state"], "NOTPAY");
    stack.pay(&attempt(&order, 2), json!({})).await;
    let paid = stack.delivered_as(order_no, "delivered").await;
    assert_eq!(
        (&paid["status"], &paid["anomalies"]),
        (&json!("paid"), &json!([]))
    );
}

#[tokio::test]
async fn who_pays_the_older_attempt_without_a_word_from_wechat_gets_the_money_back() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    let order_no = &order["order_no"];
    stack.page(address(&order), DESKTOP, "en").await;
    stack.browser(WECHAT).open(address(&order)).await;
    stack.pay(&attempt(&order, 2), json!({})).await;
    stack.delivered_as(order_no, "delivered").await;
    let silently = json!({"notify": false});
    stack.pay(&order["trade_no"], silently).await;
    stack.age(order_no, 320).await;
    stack.sweep().await;
    let shown = stack
        .order_when(order_no, |order| order["anomalies"] != json!([]))
        .await;
    assert_eq!(shown["anomalies"][0]["kind"], "paid_twice");
    goes_back(&stack, &order).await;
}

#[tokio::test]
async fn a_stranger_with_the_link_cannot_open_attempts_without_end() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    let visit = async |number: u8| {
        let phone = stack.browser(PHONE).at(&format!("203.0.113.{number}"));
        phone.get(address(&order)).await
    };
    for number in 1..=10 {
        assert_eq!(visit(number).await.status, 200, "{number}");
    }
    let refused = visit(11).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.html.contains("too_many_attempts"));
    assert!(refused.html.contains("Try again in a few minutes"));
    let chinese = stack.page(address(&order), DESKTOP, "zh-CN").await;
    assert!(chinese.body.as_str().unwrap().contains("请几分钟后再试"));
    // Whoever has an attempt can still pay.
    assert_eq!(visit(10).await.status, 200);
    stack.age(&order["order_no"], 300).await;
    assert_eq!(visit(11).await.status, 200);
}

#[tokio::test]
async fn later_another_way_gets_a_new_number_and_the_old_one_is_closed() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    assert_eq!(stack.page(address(&order), DESKTOP, "en").await.status, 200);
    stack.age(&order["order_no"], 320).await;
    let page = stack.browser(WECHAT).open(address(&order)).await;
    assert!(page.html.contains("id=\"bridge\""));
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(shown["trade_no"], attempt(&order, 2));
    assert_eq!(stack.at_wechat(&order["trade_no"]).await["state"], "CLOSED");

    stack.pay(&attempt(&order, 2), json!({})).await;
    assert_eq!(
        stack.delivered_as(&order["order_no"], "delivered").await["status"],
        "paid"
    );
    // The old number is paid all the same: that money must go back.
    stack.pay(&order["trade_no"], json!({"force": true})).await;
    let shown = stack
        .order_when(&order["order_no"], |order| order["anomalies"] != json!([]))
        .await;
    assert_eq!(shown["anomalies"][0]["kind"], "paid_twice");
    assert_eq!(shown["status"], "paid");
    let paid = stack.told_of(&order["order_no"], "payment.succeeded").await;
    assert_eq!(paid.len(), 1);
    goes_back(&stack, &order).await;
}

#[tokio::test]
async fn an_old_attempt_that_turns_out_paid_pays_the_order() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    stack.page(address(&order), DESKTOP, "en").await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    stack.age(&order["order_no"], 320).await;
    let page = stack.browser(WECHAT).open(address(&order)).await;
    // "Being confirmed", or paid already if another journey swept meanwhile.
    assert!(matches!(page.status, 409 | 200), "{page:?}");
    assert!(!page.html.contains("id=\"bridge\""));
    stack.sweep().await;
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(
        (&shown["status"], &shown["trade_no"]),
        (&json!("paid"), &order["trade_no"])
    );
}

#[tokio::test]
async fn a_number_that_wechat_does_not_take_again_is_closed_and_replaced() {
    let stack = Stack::new().await;
    let order = stack
        .native(json!({"expires_in": 86_400, "trade_type": null}))
        .await;
    assert_eq!(stack.page(address(&order), DESKTOP, "en").await.status, 200);
    stack.age(&order["order_no"], 7200).await;
    // The session is too old. WeChat's clock has not moved, so the changed times
    // are changed parameters to it: INVALID_REQUEST.
    let page = stack.page(address(&order), DESKTOP, "en").await;
    assert_eq!(page.status, 200, "{page:?}");
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(shown["trade_no"], attempt(&order, 2));
    assert_eq!(
        stack.at_wechat(&attempt(&order, 1)).await["state"],
        "CLOSED"
    );
}

#[tokio::test]
async fn an_expired_order_is_closed_by_itself_and_shows_its_page() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack.age(&order["order_no"], 7231).await;
    let page = stack.page(address(&order), DESKTOP, "en").await;
    assert_eq!(page.status, 410);
    assert!(
        page.body
            .as_str()
            .unwrap()
            .contains("closed or has expired")
    );
    let again = stack
        .create(&stack.order(json!({"order_no": order["order_no"]})))
        .await;
    assert_eq!((again.status, &again.body["code_url"]), (200, &Value::Null));

    stack.sweep().await;
    let shown = stack
        .order_when(&order["order_no"], |order| order["status"] == "closed")
        .await;
    assert_eq!(shown["deliveries"][0]["event"], "order.closed");
    stack.told_closed(&order["order_no"], "expired").await;
    assert_eq!(stack.at_wechat(&order["trade_no"]).await["state"], "CLOSED");

    stack.pay(&order["trade_no"], json!({"force": true})).await;
    let shown = stack
        .order_when(&order["order_no"], |order| order["anomalies"] != json!([]))
        .await;
    assert_eq!(shown["anomalies"][0]["kind"], "paid_after_close");
    assert_eq!(shown["status"], "closed");
    // Closed was no promise that nobody pays: the app is told of both.
    stack.told(&order["order_no"], "payment.anomaly").await;
    stack.told_closed(&order["order_no"], "expired").await;
    goes_back(&stack, &order).await;
}

#[tokio::test]
async fn an_order_paid_at_the_last_moment_is_paid_and_not_closed() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    stack.age(&order["order_no"], 7231).await;
    stack.sweep().await;
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(shown["status"], "paid");
}

#[tokio::test]
async fn an_order_nobody_opened_is_closed_when_it_expires() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    stack.age(&order["order_no"], 7231).await;
    stack.sweep().await;
    stack.told_closed(&order["order_no"], "expired").await;
}

#[tokio::test]
async fn an_app_that_refunds_by_hand_is_told_and_refunds_the_payment_by_its_number() {
    let stack = Stack::with_app(|app| app.refund_by_hand = true).await;
    let order = stack.native(json!({})).await;
    stack.age(&order["order_no"], 7231).await;
    stack.sweep().await;
    stack
        .order_when(&order["order_no"], |order| order["status"] == "closed")
        .await;
    stack.pay(&order["trade_no"], json!({"force": true})).await;
    let shown = stack.told(&order["order_no"], "payment.anomaly").await;
    assert_eq!(shown["refunds"], json!([]));

    let unnamed = stack
        .refund(&order["order_no"], "R1", json!({"refund_fee": 1}))
        .await;
    assert_eq!(
        (unnamed.status, &unnamed.body["code"]),
        (409, &json!("order_not_paid"))
    );
    let transaction_id = &shown["anomalies"][0]["transaction_id"];
    let all = json!({"refund_fee": 1999, "transaction_id": transaction_id});
    let refund = stack.refund(&order["order_no"], "R1", all).await;
    assert_eq!(refund.status, 201, "{refund:?}");
    let shown = stack.told(&order["order_no"], "refund.succeeded").await;
    assert_eq!(shown["anomalies"][0]["refunded_fee"], 1999);
    assert_eq!(shown["status"], "closed");
}

#[tokio::test]
async fn a_payment_of_another_amount_goes_back_and_the_order_can_still_be_paid() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    stack.page(address(&order), DESKTOP, "en").await;
    stack
        .pay(&order["trade_no"], json!({"total_fee": 1998}))
        .await;
    let shown = stack.told(&order["order_no"], "payment.anomaly").await;
    assert_eq!(shown["anomalies"][0]["kind"], "amount_mismatch");
    assert_eq!(shown["status"], "paying");
    stack.sweep().await;
    let shown = stack.told(&order["order_no"], "refund.succeeded").await;
    assert_eq!(shown["anomalies"][0]["refunded_fee"], 1998);

    assert_eq!(stack.page(address(&order), DESKTOP, "en").await.status, 200);
    stack.pay(&attempt(&order, 2), json!({})).await;
    let shown = stack.told(&order["order_no"], "payment.succeeded").await;
    assert_eq!(
        (&shown["status"], &shown["refunded_fee"]),
        (&json!("paid"), &json!(0))
    );
}
