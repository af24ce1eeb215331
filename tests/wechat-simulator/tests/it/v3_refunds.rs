//! Tests of APIv3's refunds, also of the other version's payments.

use serde_json::{Value, json};

use crate::harness::World;
use crate::v3_client::Client;

const REFUNDS: &str = "/v3/refund/domestic/refunds";

async fn paid<'w>(world: &'w World) -> Client<'w> {
    let client = Client::start(world).await;
    client.order("native", "order-1", json!({})).await;
    let (status, unpaid) = client.refund("order-1", "r-0", 1, json!({})).await;
    assert_eq!(
        (status, unpaid["code"].as_str()),
        (400, Some("INVALID_REQUEST"))
    );
    let quiet = json!({"out_trade_no": "order-1", "notify": false, "coupon_fee": 199});
    world.post("/_control/pay", &quiet).await;
    world.set(json!({"refund_delay_ms": 10})).await;
    client
}

async fn settled(client: &Client<'_>, refund_no: &str) -> Value {
    for _ in 0..200 {
        let (_, refund) = client.get(&format!("{REFUNDS}/{refund_no}")).await;
        if refund["status"] != "PROCESSING" {
            return refund;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{refund_no} never ends");
}

#[tokio::test]
async fn a_refund_is_accepted_ends_and_is_the_same_again() {
    let world = World::start().await;
    let client = paid(&world).await;
    let (status, first) = client
        .refund("order-1", "r-1", 1000, json!({"reason": "torn"}))
        .await;
    assert_eq!(
        (status, first["status"].as_str()),
        (200, Some("PROCESSING"))
    );
    let amount = &first["amount"];
    assert_eq!(
        (&amount["total"], &amount["refund"]),
        (&json!(1999), &json!(1000))
    );
    assert_eq!(
        (&amount["payer_total"], &amount["payer_refund"]),
        (&json!(1800), &json!(901))
    );
    let end = settled(&client, "r-1").await;
    assert_eq!(end["status"], "SUCCESS");
    assert!(end["success_time"].is_string());
    assert_eq!(end["user_received_account"], "支付用户零钱");
    let (_, again) = client.refund("order-1", "r-1", 1000, json!({})).await;
    assert_eq!(again["refund_id"], first["refund_id"]);
    let (status, _) = client.refund("order-1", "r-1", 999, json!({})).await;
    assert_eq!(status, 400);
    assert_eq!(client.query("order-1").await.1["trade_state"], "REFUND");
}

#[tokio::test]
async fn what_wechat_refuses_is_refused() {
    let world = World::start().await;
    let client = paid(&world).await;
    for (more, status, code) in [
        (json!({"colour": 1}), 400, "PARAM_ERROR"),
        (
            json!({"amount": {"refund": 1, "total": 1999}}),
            400,
            "PARAM_ERROR",
        ),
        (
            json!({"amount": {"refund": 0, "total": 1999, "currency": "CNY"}}),
            400,
            "PARAM_ERROR",
        ),
        (
            json!({"amount": {"refund": 1, "total": 1999, "currency": "USD"}}),
            400,
            "PARAM_ERROR",
        ),
        (
            json!({"amount": {"refund": 1, "total": 1998, "currency": "CNY"}}),
            400,
            "INVALID_REQUEST",
        ),
        (
            json!({"amount": {"refund": 2000, "total": 1999, "currency": "CNY"}}),
            400,
            "INVALID_REQUEST",
        ),
        (json!({"out_refund_no": "r 1"}), 400, "PARAM_ERROR"),
        (json!({"out_refund_no": "x".repeat(65)}), 400, "PARAM_ERROR"),
        (json!({"reason": "x".repeat(81)}), 400, "PARAM_ERROR"),
        (
            json!({"notify_url": "https://a.example/?x=1"}),
            400,
            "PARAM_ERROR",
        ),
        (json!({"funds_account": "MINE"}), 400, "PARAM_ERROR"),
        (
            json!({"out_trade_no": "order-2"}),
            404,
            "RESOURCE_NOT_EXISTS",
        ),
        (
            json!({"transaction_id": "4200"}),
            404,
            "RESOURCE_NOT_EXISTS",
        ),
    ] {
        let (given, answer) = client.refund("order-1", "r-1", 1, more.clone()).await;
        assert_eq!(
            (given, answer["code"].as_str()),
            (status, Some(code)),
            "{more}"
        );
    }
    let numberless =
        json!({"out_refund_no": "r-1", "amount": {"refund": 1, "total": 1999, "currency": "CNY"}});
    let (status, _) = client.post(REFUNDS, &numberless).await;
    assert_eq!(status, 400);
    let (status, none) = client.get(&format!("{REFUNDS}/r-1")).await;
    assert_eq!(
        (status, none["code"].as_str()),
        (404, Some("RESOURCE_NOT_EXISTS"))
    );
    world.set(json!({"balance_fen": 10})).await;
    let (status, poor) = client.refund("order-1", "r-1", 11, json!({})).await;
    assert_eq!((status, poor["code"].as_str()), (403, Some("NOT_ENOUGH")));
    world
        .set(json!({"balance_fen": null, "refund_gap_seconds": 60}))
        .await;
    assert_eq!(client.refund("order-1", "r-1", 1, json!({})).await.0, 200);
    let (status, soon) = client.refund("order-1", "r-2", 1, json!({})).await;
    assert_eq!(
        (status, soon["code"].as_str()),
        (429, Some("FREQUENCY_LIMITED"))
    );
}

#[tokio::test]
async fn obstacles_and_lags_are_apiv3s_too() {
    let world = World::start().await;
    let client = paid(&world).await;
    let lost = json!({
        "out_trade_no": "order-1",
        "refund": [{"err_code": "FREQUENCY_LIMITED", "times": 1, "although_done": true}],
        "refund_lag_seconds": 60,
    });
    world.post("/_control/obstacles", &lost).await;
    let (status, _) = client.refund("order-1", "r-1", 5, json!({})).await;
    assert_eq!(status, 429);
    assert_eq!(client.get(&format!("{REFUNDS}/r-1")).await.0, 404);
    world.set(json!({"clock_ahead_seconds": 61})).await;
    assert_eq!(client.get(&format!("{REFUNDS}/r-1")).await.0, 200);
}

#[tokio::test]
async fn either_version_refunds_the_others_payment() {
    let world = World::start().await;
    let client = paid(&world).await;
    let (_, order) = client.query("order-1").await;
    let id = order["transaction_id"].as_str().unwrap();
    let by_v2 = [
        ("transaction_id", id),
        ("out_refund_no", "r-v2"),
        ("total_fee", "1999"),
        ("refund_fee", "500"),
        ("notify_url", &world.notify_url),
    ];
    let made = world.v2("/secapi/pay/refund", &by_v2).await;
    assert_eq!(made["result_code"], "SUCCESS");
    assert_eq!(
        settled(&client, "r-v2").await["refund_id"],
        made["refund_id"].as_str()
    );
    let (_, body) = world.hears(1).await[0].clone();
    assert!(body.contains("<req_info>"), "{body}");
    assert!(world.headers()[0].get("wechatpay-signature").is_none());

    world.order("NATIVE", "order-2", &[]).await;
    let quiet = json!({"out_trade_no": "order-2", "notify": false});
    let receipt = world.post("/_control/pay", &quiet).await;
    let more = json!({"transaction_id": receipt["transaction_id"]});
    let (status, made) = client.refund("order-2", "r-v3", 700, more).await;
    assert_eq!(status, 200, "{made}");
    let told = world
        .v2("/pay/refundquery", &[("out_refund_no", "r-v3")])
        .await;
    assert_eq!(told["refund_id_0"], made["refund_id"].as_str().unwrap());
    let (_, body) = world.hears(2).await[1].clone();
    assert!(body.contains("REFUND.SUCCESS"), "{body}");
    client.verify(&world.headers()[1], &body).unwrap();
}

#[tokio::test]
async fn merchants_do_not_see_each_others_payments_and_refunds() {
    let world = World::start().await;
    let client = paid(&world).await;
    let other = json!({"mch_id": "1900000109"});
    world.post("/_control/merchants", &other).await;
    let bound = json!({
        "app_id": "wxsite", "kind": "website", "secret": "s", "merchants": ["1900000109"],
    });
    world.post("/_control/accounts", &bound).await;
    let other = Client::of(&world, "1900000109", "wxsite", 1).await;
    let (_, order) = client.query("order-1").await;
    let id = order["transaction_id"].as_str().unwrap();
    let by_id =
        |client: &Client<'_>| format!("/v3/pay/transactions/id/{id}?mchid={}", client.mch_id);
    assert_eq!(client.get(&by_id(&client)).await.0, 200);
    assert_eq!(other.get(&by_id(&other)).await.0, 404);
    assert_eq!(other.query("order-1").await.0, 404);
    assert_eq!(other.close("order-1").await.0, 404);
    let foreign = json!({"transaction_id": id});
    assert_eq!(other.refund("order-1", "r-1", 5, foreign).await.0, 404);

    assert_eq!(client.refund("order-1", "r-1", 5, json!({})).await.0, 200);
    assert_eq!(other.get(&format!("{REFUNDS}/r-1")).await.0, 404);
    // Numbers of orders and of refunds are each merchant's own.
    assert_eq!(other.order("native", "order-1", json!({})).await.0, 200);
    assert_eq!(client.query("order-1").await.1["trade_state"], "REFUND");
    assert_eq!(other.query("order-1").await.1["trade_state"], "NOTPAY");
    let (_, code) = other.order("native", "order-2", json!({})).await;
    let quiet = json!({"code_url": code["code_url"], "notify": false});
    world.post("/_control/pay", &quiet).await;
    let (status, made) = other.refund("order-2", "r-1", 7, json!({})).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(made["amount"]["refund"], 7);
    let (_, own) = client.get(&format!("{REFUNDS}/r-1")).await;
    assert_eq!(own["amount"]["refund"], 5);
}
