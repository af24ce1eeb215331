//! What an app reads instead of being called: nothing missing, nothing doubled, and
//! nobody else's.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use journeys::{Stack, eventually};
use serde_json::{Value, json};

/// One page after another until there are as many events: of them id and order.
async fn read_on(stack: &Stack, limit: &str, wanted: usize) -> Vec<Value> {
    let cursor = tokio::sync::Mutex::new((Value::Null, Vec::new()));
    eventually(|| async {
        let mut read = cursor.lock().await;
        let page = stack.events(json!({"after": read.0, "limit": limit})).await;
        assert_eq!(page.status, 200, "{page:?}");
        read.0 = page.body["next"].clone();
        read.1
            .extend(page.body["events"].as_array().unwrap().clone());
        match read.1.len() >= wanted {
            true => Ok(read.1.clone()),
            false => Err(json!(read.1)),
        }
    })
    .await
}

#[tokio::test]
async fn a_reader_misses_nothing_while_twenty_payments_settle_at_once() {
    let stack = Stack::with_app(|app| {
        app.feed = true;
        app.skip_callbacks = true;
    })
    .await;
    let orders = join_all((0..20).map(|_| stack.native(json!({})))).await;
    let paying = join_all(
        orders
            .iter()
            .map(|order| stack.pay(&order["trade_no"], json!({}))),
    );
    let (_, read) = tokio::join!(paying, read_on(&stack, "3", 20));

    let of = |events: &[Value], name: &str| -> BTreeSet<String> {
        let values = events.iter().map(|event| match name {
            "id" => &event["id"],
            _ => &event["data"]["order_no"],
        });
        values
            .map(|value| value.as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(read.len(), 20);
    assert_eq!(of(&read, "id").len(), 20, "{read:?}");
    let numbers: BTreeSet<String> = orders
        .iter()
        .map(|order| order["order_no"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(of(&read, "order_no"), numbers);
    assert!(read.iter().all(|event| event["type"] == "payment.succeeded"
        && event["data"]["total_fee"] == 1999
        && event["data"]["app_id"] == json!(stack.app.id)));
    // Read anew, by whatever pages, it is the same order.
    assert_eq!(read_on(&stack, "7", 20).await, read);
    assert_eq!(read_on(&stack, "100", 20).await, read);

    for order in &orders {
        let shown = stack.delivered_as(&order["order_no"], "delivered").await;
        let attempts = shown["deliveries"][0]["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "{shown}");
        let answer = attempts[0]["answer"].as_str().unwrap();
        assert_eq!(answer, "not called: the app reads its feed");
        assert!(stack.callbacks(&order["order_no"]).await.is_empty());
    }
    let end = stack.events(json!({})).await.body;
    assert_eq!(end["has_more"], false);
    let beyond = stack.events(json!({"after": end["next"]})).await.body;
    assert_eq!(
        beyond,
        json!({"events": [], "next": end["next"], "has_more": false})
    );
}

#[tokio::test]
async fn an_app_is_called_and_reads_the_same_events_from_when_on_it_wants() {
    let stack = Stack::new().await;
    let none = stack.events(json!({})).await;
    assert_eq!((none.status, &none.body["field"]), (422, &json!("app_id")));
    let before = stack.native(json!({})).await;
    stack.pay(&before["trade_no"], json!({})).await;
    stack.delivered_as(&before["order_no"], "delivered").await;

    let edited = ["app", "edit", &stack.app.id, "--feed", "true"];
    let ran = stack.run(&edited).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stack.events(json!({})).await.body["events"], json!([]));

    let order = stack.native(json!({})).await;
    let refuse = json!({"order_no": order["order_no"], "mode": "http_500", "times": 3});
    stack.shop("behaviour", &refuse).await;
    stack.pay(&order["trade_no"], json!({})).await;
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    let refund = stack
        .refund(&order["order_no"], "R1", json!({"refund_fee": 1}))
        .await;
    assert_eq!(refund.status, 201, "{refund:?}");
    let shown_later = stack.told(&order["order_no"], "refund.succeeded").await;

    // Once each, however often it was called.
    let read = stack.events(json!({})).await.body;
    let told: Vec<Value> = read["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| json!([event["type"], event["id"]]))
        .collect();
    let refunded = shown_later["deliveries"].as_array().unwrap().iter();
    let mut refunded = refunded.filter(|one| one["event"] == "refund.succeeded");
    assert_eq!(
        told,
        [
            json!(["payment.succeeded", shown["deliveries"][0]["event_id"]]),
            json!(["refund.succeeded", refunded.next().unwrap()["event_id"]]),
        ]
    );
    assert_eq!(stack.callbacks(&order["order_no"]).await.len(), 5);
}

#[tokio::test]
async fn nobody_reads_on_from_a_cursor_that_is_not_his() {
    let stack = Stack::with_app(|app| app.feed = true).await;
    let other = Stack::with_app(|app| app.feed = true).await;
    let own = stack.events(json!({})).await.body["next"].clone();
    let of_another = other.events(json!({})).await.body["next"].clone();
    assert_eq!(stack.events(json!({"after": own})).await.status, 200);
    let own = own.as_str().unwrap();
    for bad in [
        of_another.as_str().unwrap(),
        "5",
        "5-0000000000000000",
        &own.replacen('0', "1", 1),
        &format!("{own}0"),
        "-1-0000000000000000",
    ] {
        let refused = stack.events(json!({"after": bad})).await;
        assert_eq!(
            (refused.status, &refused.body["field"]),
            (422, &json!("after")),
            "{bad}"
        );
    }
    for (limit, status) in [
        ("1", 200),
        ("100", 200),
        ("0", 422),
        ("101", 422),
        ("x", 422),
    ] {
        let answer = stack.events(json!({"limit": limit})).await;
        assert_eq!(answer.status, status, "{limit}");
    }
    let twice = stack.events(json!({"order_no": "A000000001"})).await;
    assert_eq!(twice.status, 422, "{twice:?}");
    let forged = stack.events(json!({"sign": "0".repeat(64)})).await;
    assert_eq!(forged.status, 401, "{forged:?}");
}
