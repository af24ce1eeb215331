//! Tests of APIv3's codepay and its reverse.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::World;
use crate::v3_client::Client;

async fn turns(client: &Client<'_>, number: &str, state: &str) {
    let turned = json!(state);
    let mut known = Value::Null;
    for _ in 0..500 {
        known = client.query(number).await.1;
        if known.get("trade_state") == Some(&turned) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(known.get("trade_state"), Some(&turned), "{number}");
}

fn both(client: &Client<'_>) -> Value {
    json!({"appid": client.app_id, "mchid": client.mch_id})
}

#[tokio::test]
async fn the_last_digits_choose_the_case() {
    let world = World::start().await;
    world.set(json!({"userpaying_ms": 20})).await;
    let client = Client::start(&world).await;
    let (status, paid) = client
        .codepay("codes-00", "130000000000000000", json!({}))
        .await;
    assert_eq!(
        (status, &paid["trade_state"], &paid["trade_type"]),
        (200, &json!("SUCCESS"), &json!("MICROPAY")),
        "{paid}"
    );
    assert_eq!(paid, client.query("codes-00").await.1);
    for (case, status, code, state) in [
        ("01", 202, "USER_PAYING", "SUCCESS"),
        ("02", 202, "USER_PAYING", "USERPAYING"),
        ("03", 500, "SYSTEM_ERROR", "SUCCESS"),
        ("04", 500, "BANKERROR", "PAYERROR"),
        ("05", 403, "NOT_ENOUGH", "PAYERROR"),
    ] {
        let number = format!("codes-{case}");
        let code_shown = format!("1300000000000000{case}");
        let (given, answer) = client.codepay(&number, &code_shown, json!({})).await;
        assert_eq!((given, &answer["code"]), (status, &json!(code)), "{case}");
        turns(&client, &number, state).await;
    }
    let code = "130000000000000006";
    let (status, expired) = client.codepay("codes-06", code, json!({})).await;
    assert_eq!((status, &expired["code"]), (400, &json!("AUTHCODEEXPIRE")));
    assert_eq!(client.query("codes-06").await.0, 404);
    world.set(json!({"v3_older_codes": true})).await;
    let again = client.codepay("codes-02", "130000000000000002", json!({}));
    assert_eq!(again.await.1["code"], "USERPAYING");
    assert!(world.heard().is_empty());
}

#[tokio::test]
async fn what_is_not_the_documents_is_refused_and_charges_nothing() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    let code = "130000000000000000";
    for (odd, why) in [
        (json!({"notify_url": "https://hub.example/"}), "PARAM_ERROR"),
        (
            json!({"time_expire": "2026-12-01T10:00:00+08:00"}),
            "PARAM_ERROR",
        ),
        (
            json!({"scene_info": {"payer_client_ip": "203.0.113.9"}}),
            "PARAM_ERROR",
        ),
        (json!({"scene_info": {"device_ip": "here"}}), "PARAM_ERROR"),
        (json!({"payer": {"openid": "o"}}), "PARAM_ERROR"),
        (
            json!({"payer": {"auth_code": "990000000000000000"}}),
            "AUTH_CODE_INVALID",
        ),
        (json!({"mchid": "1900000100"}), "PARAM_ERROR"),
        (json!({"appid": "wxother"}), "APPID_MCHID_NOT_MATCH"),
    ] {
        let (status, answer) = client.codepay("codes-1", code, odd.clone()).await;
        assert_eq!((status, &answer["code"]), (400, &json!(why)), "{odd}");
    }
    assert_eq!(client.query("codes-1").await.0, 404);
    assert_eq!(client.codepay("codes-1", code, json!({})).await.0, 200);
    let used = client.codepay("codes-2", code, json!({})).await;
    assert_eq!(used.1["code"], "AUTH_CODE_ERROR");
    let twice = client
        .codepay("codes-1", "130000000000000099", json!({}))
        .await;
    assert_eq!(twice.1["code"], "ORDER_PAID");
}

#[tokio::test]
async fn a_payment_is_taken_back_as_often_as_one_likes_but_not_at_once() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    client
        .codepay("codes-1", "130000000000000000", json!({}))
        .await;
    client
        .codepay("codes-2", "130000000000000002", json!({}))
        .await;
    let body = both(&client);
    world.set(json!({"reverse_guard_seconds": 15})).await;
    let (status, early) = client.reverse("codes-1", &body).await;
    assert_eq!((status, &early["code"]), (500, &json!("SYSTEM_ERROR")));
    world
        .set(json!({"reverse_guard_seconds": 0, "reverse_recalls": 1}))
        .await;
    for odd in [
        json!({"mchid": client.mch_id}),
        json!({"appid": client.app_id, "mchid": client.mch_id, "recall": "Y"}),
        json!({"appid": "wxother", "mchid": client.mch_id}),
    ] {
        assert_eq!(client.reverse("codes-1", &odd).await.0, 400, "{odd}");
    }
    assert_eq!(client.reverse("codes-3", &body).await.0, 404);
    let (status, busy) = client.reverse("codes-1", &body).await;
    assert_eq!((status, &busy["code"]), (202, &json!("USER_PAYING")));
    for number in ["codes-1", "codes-1", "codes-2"] {
        let (status, done) = client.reverse(number, &body).await;
        let expected = json!({
            "appid": client.app_id, "mchid": client.mch_id, "out_trade_no": number,
        });
        assert_eq!((status, done), (200, expected));
        assert_eq!(client.query(number).await.1["trade_state"], "REVOKED");
    }
    let (_, order) = client.order("native", "codes-native", json!({})).await;
    assert!(order["code_url"].is_string());
    let (status, other) = client.reverse("codes-native", &body).await;
    assert_eq!((status, &other["code"]), (400, &json!("INVALID_REQUEST")));
}
