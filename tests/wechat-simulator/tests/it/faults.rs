//! Tests of ordered misbehaviour, counters and reset.

use std::time::Duration;

use serde_json::json;

use crate::harness::World;

#[tokio::test]
async fn faults_fire_as_often_as_ordered_and_are_counted() {
    let world = World::start().await;
    let path = "/pay/unifiedorder";
    let order = |number: &'static str| world.order("NATIVE", number, &[]);
    world
        .post(
            "/_control/faults",
            &json!({"path": path, "kind": "system_error", "times": 2}),
        )
        .await;
    let error = json!({"path": path, "kind": "error", "err_code": "NOAUTH"});
    world.post("/_control/faults", &error).await;
    let after = json!({"path": path, "kind": "system_error_after"});
    world.post("/_control/faults", &after).await;
    assert_eq!(order("order-1").await["err_code"], "SYSTEMERROR");
    assert_eq!(order("order-1").await["err_code"], "SYSTEMERROR");
    assert_eq!(order("order-1").await["err_code"], "NOAUTH");
    assert_eq!(world.query("order-1").await["err_code"], "ORDERNOTEXIST");
    assert_eq!(order("order-1").await["err_code"], "SYSTEMERROR");
    assert_eq!(world.query("order-1").await["trade_state"], "NOTPAY");
    assert_eq!(order("order-1").await["result_code"], "SUCCESS");
    let faults = world.get("/_control/faults").await;
    assert_eq!(
        (&faults[0]["left"], &faults[0]["fired"]),
        (&json!(0), &json!(2))
    );
    let counters = world.get("/_control/counters").await;
    assert_eq!(counters[path], 5);
    assert_eq!(counters["/pay/orderquery"], 2);
    world.post("/_control/reset", &json!({})).await;
    assert_eq!(world.get("/_control/faults").await, json!([]));
    assert_eq!(world.get("/_control/orders").await, json!([]));
    assert_eq!(world.get("/_control/counters").await, json!({}));
}

#[tokio::test]
async fn connections_break_before_and_after_the_deed() {
    let world = World::start().await;
    let url = format!("{}/pay/unifiedorder", world.url);
    let body = world.request(&[
        ("body", "x"),
        ("out_trade_no", "order-1"),
        ("total_fee", "1"),
        ("spbill_create_ip", "::1"),
        ("notify_url", &world.notify_url),
        ("trade_type", "APP"),
    ]);
    let call = || {
        world
            .http
            .post(&url)
            .timeout(Duration::from_millis(300))
            .body(body.clone())
            .send()
    };
    for (kind, exists) in [
        ("reset", false),
        ("timeout_before", false),
        ("reset_after", true),
        ("timeout_after", true),
    ] {
        world
            .post(
                "/_control/faults",
                &json!({"path": "/pay/unifiedorder", "kind": kind}),
            )
            .await;
        let error = call().await.unwrap_err();
        assert_eq!(
            error.is_timeout(),
            kind.starts_with("timeout"),
            "{kind}: {error}"
        );
        let known = world.query("order-1").await["result_code"] == "SUCCESS";
        assert_eq!(known, exists, "{kind}");
    }
    world
        .post(
            "/_control/faults",
            &json!({"path": "/pay/unifiedorder", "kind": "http_500"}),
        )
        .await;
    assert_eq!(call().await.unwrap().status(), 500);
    assert_eq!(call().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_misspelt_order_is_refused() {
    let world = World::start().await;
    for odd in [
        json!({"path": "/pay/unified", "kind": "reset"}),
        json!({"path": "/pay/unifiedorder", "kind": "explode"}),
        json!({"path": "/pay/unifiedorder", "kind": "error"}),
        json!({"path": "/pay/unifiedorder", "kind": "reset", "time": 2}),
    ] {
        assert_eq!(
            world.post_status("/_control/faults", &odd).await.0,
            400,
            "{odd}"
        );
    }
    for odd in [
        json!({"auto_notyfi": false}),
        json!({"oauth_user": "carol"}),
        json!({"clock_ahead_seconds": i64::MAX}),
        json!({"refund_gap_seconds": -1}),
        json!({"expired_state": "SUCCESS"}),
    ] {
        assert_eq!(
            world.post_status("/_control/settings", &odd).await.0,
            400,
            "{odd}"
        );
    }
    let (status, _) = world
        .post_status("/_control/pay", &json!({"out_trade_no": "none"}))
        .await;
    assert_eq!(status, 404);
}
