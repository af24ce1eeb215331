//! Doorbells that are lost. It has a process of its own, because it silences
//! the queues that every other journey listens to.

#![expect(clippy::unwrap_used, reason = "a journey that cannot go on has failed")]

use std::time::Duration;

use serde_json::json;
use tests::{Hub, eventually};

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
