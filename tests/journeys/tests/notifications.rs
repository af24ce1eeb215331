//! WeChat's notifications, and everything that pretends to be one.

use journeys::{Stack, eventually};
use serde_json::{Value, json};

fn accepted(answers: &[Value]) -> usize {
    answers
        .iter()
        .filter(|answer| answer["accepted"] == true)
        .count()
}

#[tokio::test]
async fn twenty_notifications_at_once_make_one_payment_and_one_delivery() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;

    let answers = stack
        .notify(&order["trade_no"], json!({"copies": 20}))
        .await;
    assert_eq!(accepted(&answers), 20, "{answers:?}");
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;

    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(shown["anomalies"], json!([]));
    let later = stack.notify(&order["trade_no"], json!({"copies": 3})).await;
    assert_eq!(accepted(&later), 3);
    assert_eq!(stack.callbacks(&order["order_no"]).await.len(), 1);
    assert_eq!(stack.show(&order["order_no"]).await.body, shown);
}

#[tokio::test]
async fn what_is_not_wechats_is_refused_and_changes_nothing() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let before = stack.show(&order["order_no"]).await.body;
    for fault in [
        "forged_sign",
        "no_sign",
        "no_return_code",
        "wrong_appid",
        "wrong_mch_id",
        "doctype",
        "duplicate_element",
        "unknown_order",
        "oversized",
        "not_xml",
    ] {
        let answers = stack
            .notify(&order["trade_no"], json!({"fault": fault}))
            .await;
        assert_eq!(accepted(&answers), 0, "{fault}: {answers:?}");
        let body = answers[0]["body"].as_str().unwrap();
        assert!(body.contains("<![CDATA[FAIL]]>"), "{fault}: {body}");
        assert_eq!(stack.show(&order["order_no"]).await.body, before, "{fault}");
    }
    // An operator finds out what was refused, and why.
    let refused = eventually(|| async {
        let lines = stack.logged("wechat-notify", &order["order_no"]).await;
        let is_forged = |line: &&Value| {
            let reason = line["reason"].as_str().unwrap_or_default();
            reason.contains("signature") && line["message"] == "notification refused"
        };
        let found = lines.iter().find(is_forged).cloned();
        found.ok_or(json!(lines))
    })
    .await;
    assert_eq!(
        (
            &refused["attempt"],
            &refused["total_fee"],
            &refused["cash_fee"]
        ),
        (&json!(1), &json!("1999"), &json!("1999"))
    );
}

#[tokio::test]
async fn a_well_signed_notification_of_an_unpaid_order_is_not_believed() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let answers = stack
        .notify(&order["trade_no"], json!({"transaction_id": "4200009999"}))
        .await;
    assert_eq!(accepted(&answers), 0, "{answers:?}");
    assert_eq!(
        stack.show(&order["order_no"]).await.body["status"],
        "paying"
    );
}

#[tokio::test]
async fn a_notification_of_a_failed_payment_is_answered_and_changes_nothing() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let answers = stack
        .notify(&order["trade_no"], json!({"fault": "result_fail"}))
        .await;
    assert_eq!(accepted(&answers), 1, "{answers:?}");
    assert_eq!(
        stack.show(&order["order_no"]).await.body["status"],
        "paying"
    );
}

#[tokio::test]
async fn a_wrong_amount_that_wechat_does_not_confirm_changes_nothing() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let wrong = json!({"fault": "wrong_amount", "transaction_id": "4200008888"});
    let answers = stack.notify(&order["trade_no"], wrong).await;
    assert_eq!(accepted(&answers), 0, "{answers:?}");
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(shown["status"], "paying");
    assert_eq!(shown["deliveries"], json!([]));
    assert_eq!(shown["anomalies"], json!([]));

    // The right payment is not kept out by it.
    stack.pay(&order["trade_no"], json!({})).await;
    assert_eq!(
        stack.delivered_as(&order["order_no"], "delivered").await["status"],
        "paid"
    );
}

#[tokio::test]
async fn the_same_notification_is_taken_on_the_http_api() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let url = format!("{}/wechat/notify", stack.setting("HUB_URL"));
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    let answers = stack.notify(&order["trade_no"], json!({"url": url})).await;
    assert_eq!(accepted(&answers), 1, "{answers:?}");
    stack.delivered_as(&order["order_no"], "delivered").await;
}

#[tokio::test]
async fn wechat_repeats_a_notification_until_it_is_accepted() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    let known = eventually(|| async {
        let known = stack.at_wechat(&order["trade_no"]).await;
        let sent = known["notifications"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if accepted(&sent) == 1 {
            Ok(sent)
        } else {
            Err(known)
        }
    })
    .await;
    assert!(known[0]["latency_ms"].as_i64().unwrap() < 5000, "{known:?}");
}

#[tokio::test]
async fn a_payment_whose_receipt_cannot_be_read_is_a_payment() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    let answers = stack
        .notify(&order["trade_no"], json!({"fault": "odd_receipt"}))
        .await;
    assert_eq!(accepted(&answers), 1, "{answers:?}");
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(
        (&shown["status"], &shown["anomalies"]),
        (&json!("paid"), &json!([]))
    );
    // WeChat's answer to the query replaces what the notification said.
    assert_eq!(shown["receipt"]["bank_type"], "OTHERS");
}

#[tokio::test]
async fn a_payment_that_yesterdays_version_stored_has_no_receipt() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "delivered").await;
    let mut row = stack.row(&order["order_no"], "order").await;
    let payment = row.get_mut("payment").unwrap();
    let aws_sdk_dynamodb::types::AttributeValue::M(payment) = payment else {
        panic!("a payment is a map")
    };
    assert!(payment.remove("receipt").is_some());
    stack.put_row(row).await;
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(
        (&shown["status"], &shown["receipt"]),
        (&json!("paid"), &Value::Null)
    );
}
