//! What goes wrong around the hub: doorbells that are lost, a WeChat that does
//! not answer. It has a process of its own and goes one at a time, because it
//! silences what every other journey listens to.

#![expect(clippy::unwrap_used, reason = "a journey that cannot go on has failed")]

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Hub, eventually, random_order_no};
use tokio::sync::Mutex;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Turns the event source of a queue on or off.
async fn listen(hub: &Hub, queue_setting: &str, enabled: bool) {
    let lambda = aws_sdk_lambda::Client::new(&hub.aws);
    let queue = hub
        .setting(queue_setting)
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let mappings = lambda.list_event_source_mappings().send().await.unwrap();
    let mapping = mappings
        .event_source_mappings()
        .iter()
        .find(|mapping| {
            mapping
                .event_source_arn()
                .is_some_and(|arn| arn.ends_with(&queue))
        })
        .unwrap();
    let uuid = mapping.uuid().unwrap();
    lambda
        .update_event_source_mapping()
        .uuid(uuid)
        .enabled(enabled)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_doorbell_that_is_lost_is_rung_again_by_the_sweeper() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let hub = Hub::new().await;
    let order = hub.native(json!({})).await;
    let sqs = aws_sdk_sqs::Client::new(&hub.aws);
    let queue = hub.setting("DELIVER_FIRST_QUEUE_URL");

    listen(&hub, "DELIVER_FIRST_QUEUE_URL", false).await;
    hub.pay(&order["trade_no"], json!({})).await;
    // Take the message from the queue and throw it away.
    let mut lost = 0;
    for _ in 0..50 {
        let received = sqs
            .receive_message()
            .queue_url(queue)
            .wait_time_seconds(1)
            .send()
            .await
            .unwrap();
        for message in received.messages() {
            let body = message.body().unwrap_or_default();
            let receipt = message.receipt_handle().unwrap();
            sqs.delete_message()
                .queue_url(queue)
                .receipt_handle(receipt)
                .send()
                .await
                .unwrap();
            lost += usize::from(body.contains(order["order_no"].as_str().unwrap()));
        }
        if lost > 0 {
            break;
        }
    }
    listen(&hub, "DELIVER_FIRST_QUEUE_URL", true).await;
    assert_eq!(lost, 1, "no doorbell was lost, so nothing is proved");
    let shown = hub.show(&order["order_no"]).await.body;
    assert_eq!(
        (&shown["status"], &shown["deliveries"][0]["status"]),
        (&json!("paid"), &json!("pending"))
    );

    let shown = eventually(|| async {
        hub.sweep().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let shown = hub.show(&order["order_no"]).await.body;
        let done = shown["deliveries"][0]["status"] == "delivered";
        if done { Ok(shown) } else { Err(shown) }
    })
    .await;
    assert_eq!(
        shown["deliveries"][0]["attempts"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn an_order_that_wechat_did_not_answer_is_kept_and_can_be_tried_again() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let hub = Hub::new().await;
    for kind in [
        "timeout_after",
        "timeout_before",
        "http_500",
        "reset",
        "system_error_after",
    ] {
        let order_no = random_order_no();
        let fault = json!({"path": "/pay/unifiedorder", "kind": kind, "times": 1});
        assert_eq!(hub.wechat("faults", &fault).await.status, 200, "{kind}");
        let failed = hub.create(&hub.order(json!({"order_no": order_no}))).await;
        assert_eq!(
            (failed.status, &failed.body["code"]),
            (504, &json!("wechat_timeout")),
            "{kind}"
        );
        let kept = hub.show(&json!(order_no)).await;
        assert_eq!(
            (kept.status, &kept.body["status"]),
            (200, &json!("created")),
            "{kind}"
        );
        let again = hub.create(&hub.order(json!({"order_no": order_no}))).await;
        assert_eq!(again.status, 200, "{kind}: {again:?}");
        assert!(again.body["code_url"].is_string(), "{kind}");
    }
}

#[tokio::test]
async fn a_notification_that_cannot_be_confirmed_is_answered_in_time_and_settled_later() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let hub = Hub::new().await;
    let order = hub.native(json!({})).await;
    hub.pay(&order["trade_no"], json!({"notify": false})).await;
    let fault = json!({"path": "/pay/orderquery", "kind": "timeout_before", "times": 1});
    assert_eq!(hub.wechat("faults", &fault).await.status, 200);
    let answers = hub.notify(&order["trade_no"], json!({})).await;
    assert_eq!(answers[0]["accepted"], false, "{answers:?}");
    assert!(
        answers[0]["latency_ms"]
            .as_i64()
            .is_some_and(|ms| ms < 5000),
        "{answers:?}"
    );
    assert_ne!(answers[0]["status"], Value::Null);
    let answers = hub.notify(&order["trade_no"], json!({})).await;
    assert_eq!(answers[0]["accepted"], true, "{answers:?}");
    hub.delivered_as(&order["order_no"], "delivered").await;
}
