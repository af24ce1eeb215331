//! One order, many ways to pay it, and its end: switching, expiry, closing,
//! and payments that come when they should not.

use serde_json::{Value, json};
use tests::{DESKTOP, Hub, WECHAT};

fn address(order: &Value) -> &str {
    order["pay_url"].as_str().unwrap()
}

/// The number of another attempt of the same order.
fn attempt(order: &Value, number: u8) -> Value {
    let first = order["trade_no"].as_str().unwrap();
    json!(format!("{}{number:02}", &first[..first.len() - 2]))
}

/// WeChat would refuse to close what it has only just been given.
async fn let_wechat_close_young_orders(hub: &Hub) {
    let settings = hub
        .wechat("settings", &json!({"close_guard_seconds": 0}))
        .await;
    assert_eq!(settings.status, 200, "{settings:?}");
}

#[tokio::test]
async fn within_five_minutes_another_browser_is_served_the_attempt_that_is_open() {
    let hub = Hub::new().await;
    let order = hub.native(json!({"trade_type": null})).await;
    assert_eq!(hub.page(address(&order), DESKTOP, "en").await.status, 200);
    let page = hub
        .browser(WECHAT)
        .get(address(&order))
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    let html = page.text().await.unwrap();
    assert!(
        html.contains("<svg") && !html.contains("id=\"bridge\""),
        "{html}"
    );
    let shown = hub.show(&order["order_no"]).await.body;
    assert_eq!(shown["trade_no"], order["trade_no"]);
}

#[tokio::test]
async fn later_another_way_gets_a_new_number_and_the_old_one_is_closed() {
    let hub = Hub::new().await;
    let_wechat_close_young_orders(&hub).await;
    let order = hub.native(json!({"trade_type": null})).await;
    assert_eq!(hub.page(address(&order), DESKTOP, "en").await.status, 200);
    hub.age(&order["order_no"], 320).await;
    let page = hub
        .browser(WECHAT)
        .get(address(&order))
        .send()
        .await
        .unwrap();
    assert!(page.text().await.unwrap().contains("id=\"bridge\""));
    let shown = hub.show(&order["order_no"]).await.body;
    assert_eq!(shown["trade_no"], attempt(&order, 2));
    assert_eq!(hub.at_wechat(&order["trade_no"]).await["state"], "CLOSED");

    hub.pay(&attempt(&order, 2), json!({})).await;
    assert_eq!(
        hub.delivered_as(&order["order_no"], "delivered").await["status"],
        "paid"
    );
    // The old number is paid all the same: that money must go back.
    hub.pay(&order["trade_no"], json!({"force": true})).await;
    let shown = hub
        .order_when(&order["order_no"], |order| order["anomalies"] != json!([]))
        .await;
    assert_eq!(shown["anomalies"][0]["kind"], "paid_twice");
    assert_eq!(shown["status"], "paid");
    assert_eq!(hub.callbacks(&order["order_no"]).await.len(), 1);
}

#[tokio::test]
async fn an_old_attempt_that_turns_out_paid_pays_the_order() {
    let hub = Hub::new().await;
    let_wechat_close_young_orders(&hub).await;
    let order = hub.native(json!({"trade_type": null})).await;
    hub.page(address(&order), DESKTOP, "en").await;
    hub.pay(&order["trade_no"], json!({"notify": false})).await;
    hub.age(&order["order_no"], 320).await;
    let page = hub
        .browser(WECHAT)
        .get(address(&order))
        .send()
        .await
        .unwrap();
    // "Being confirmed", or paid already if another journey swept meanwhile.
    assert!(matches!(page.status().as_u16(), 409 | 200), "{page:?}");
    assert!(!page.text().await.unwrap().contains("id=\"bridge\""));
    hub.sweep().await;
    let shown = hub.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(
        (&shown["status"], &shown["trade_no"]),
        (&json!("paid"), &order["trade_no"])
    );
}

#[tokio::test]
async fn a_session_older_than_two_hours_is_asked_for_again() {
    let hub = Hub::new().await;
    let order = hub
        .native(json!({"expires_in": 86_400, "trade_type": null}))
        .await;
    assert_eq!(hub.page(address(&order), DESKTOP, "en").await.status, 200);
    hub.age(&order["order_no"], 7200).await;
    // WeChat's clock has not moved, so the changed times are changed parameters
    // to it: what counts here is that the hub asks, once, and says what it got.
    let page = hub.page(address(&order), DESKTOP, "en").await;
    assert_eq!(page.status, 502, "{page:?}");
}

#[tokio::test]
async fn an_expired_order_is_closed_by_itself_and_shows_its_page() {
    let hub = Hub::new().await;
    let_wechat_close_young_orders(&hub).await;
    let order = hub.native(json!({})).await;
    hub.age(&order["order_no"], 7231).await;
    let page = hub.page(address(&order), DESKTOP, "en").await;
    assert_eq!(page.status, 410);
    assert!(
        page.body
            .as_str()
            .unwrap()
            .contains("closed or has expired")
    );
    let again = hub
        .create(&hub.order(json!({"order_no": order["order_no"]})))
        .await;
    assert_eq!((again.status, &again.body["code_url"]), (200, &Value::Null));

    hub.sweep().await;
    let shown = hub
        .order_when(&order["order_no"], |order| order["status"] == "closed")
        .await;
    assert_eq!(shown["deliveries"], json!([]));
    assert_eq!(hub.at_wechat(&order["trade_no"]).await["state"], "CLOSED");

    hub.pay(&order["trade_no"], json!({"force": true})).await;
    let shown = hub
        .order_when(&order["order_no"], |order| order["anomalies"] != json!([]))
        .await;
    assert_eq!(shown["anomalies"][0]["kind"], "paid_after_close");
    assert_eq!(shown["status"], "closed");
}

#[tokio::test]
async fn an_order_paid_at_the_last_moment_is_paid_and_not_closed() {
    let hub = Hub::new().await;
    let order = hub.native(json!({})).await;
    hub.pay(&order["trade_no"], json!({"notify": false})).await;
    hub.age(&order["order_no"], 7231).await;
    hub.sweep().await;
    let shown = hub.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(shown["status"], "paid");
}

#[tokio::test]
async fn an_order_nobody_opened_is_closed_when_it_expires() {
    let hub = Hub::new().await;
    let order = hub.native(json!({"trade_type": null})).await;
    hub.age(&order["order_no"], 7231).await;
    hub.sweep().await;
    hub.order_when(&order["order_no"], |order| order["status"] == "closed")
        .await;
}
