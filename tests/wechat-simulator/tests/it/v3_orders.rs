//! Tests of APIv3's orders: who may call, what is refused, and one order seen
//! by both versions.

use serde_json::{Value, json};

use crate::harness::World;
use crate::v3_client::{Client, Odd, read};

#[tokio::test]
async fn every_client_gets_what_it_needs() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    for (kind, field) in [
        ("jsapi", "prepay_id"),
        ("native", "code_url"),
        ("app", "prepay_id"),
        ("h5", "h5_url"),
    ] {
        let (status, answer) = client
            .order(kind, &format!("order-{kind}"), json!({}))
            .await;
        assert_eq!(status, 200, "{answer}");
        assert!(!answer[field].as_str().unwrap().is_empty());
        assert_eq!(answer.as_object().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn who_cannot_be_trusted_learns_nothing() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    let path = "/v3/pay/transactions/native";
    let body = client.wanted("native", "order-1", json!({})).to_string();
    let other = body.replace("1999", "1998");
    let table = [
        (
            Odd {
                clock: 301,
                ..Odd::default()
            },
            401,
            "SIGN_ERROR",
        ),
        (
            Odd {
                clock: -301,
                ..Odd::default()
            },
            401,
            "SIGN_ERROR",
        ),
        (
            Odd {
                serial: Some("5157F09D"),
                ..Odd::default()
            },
            401,
            "SIGN_ERROR",
        ),
        (
            Odd {
                serial: Some("5157f09e"),
                ..Odd::default()
            },
            401,
            "SIGN_ERROR",
        ),
        (
            Odd {
                sent_body: Some(&other),
                ..Odd::default()
            },
            401,
            "SIGN_ERROR",
        ),
        (
            Odd {
                authorization: Some("Basic x"),
                ..Odd::default()
            },
            401,
            "SIGN_ERROR",
        ),
        (
            Odd {
                without: Some("authorization"),
                ..Odd::default()
            },
            401,
            "SIGN_ERROR",
        ),
        (
            Odd {
                without: Some("user-agent"),
                ..Odd::default()
            },
            400,
            "PARAM_ERROR",
        ),
        (
            Odd {
                without: Some("content-type"),
                ..Odd::default()
            },
            400,
            "PARAM_ERROR",
        ),
    ];
    for (n, (odd, status, code)) in table.into_iter().enumerate() {
        let (given, headers, text) = client.send("POST", path, &body, odd).await;
        let answer = read(&text);
        assert_eq!(
            (given, answer["code"].as_str().unwrap()),
            (status, code),
            "{n}"
        );
        assert!(headers.get("wechatpay-signature").is_none(), "{n}");
        assert_eq!(world.why().await, code);
    }
    assert_eq!(client.query("order-1").await.0, 404);
    for clock in [-290, 290] {
        let odd = Odd {
            clock,
            ..Odd::default()
        };
        let (status, headers, text) = client.send("POST", path, &body, odd).await;
        assert_eq!(status, 200, "{text}");
        client.verify(&headers, &text).unwrap();
    }
    let stranger = Client {
        mch_id: "1900000100".to_owned(),
        ..Client::start(&world).await
    };
    assert_eq!(stranger.query("order-1").await.1["code"], "SIGN_ERROR");
    world.set(json!({"v3_wants_user_agent": false})).await;
    let odd = Odd {
        without: Some("user-agent"),
        ..Odd::default()
    };
    assert_eq!(client.send("POST", path, &body, odd).await.0, 200);
}

#[tokio::test]
async fn a_body_has_the_fields_of_the_documents_and_no_other() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    let long = "x".repeat(128);
    let table = [
        ("native", json!({"colour": "red"}), 270_924_358),
        ("native", json!({"payer": {"openid": "o"}}), 270_924_358),
        (
            "jsapi",
            json!({"payer": {"openid": "oMadeUp", "name": "x"}}),
            270_924_358,
        ),
        (
            "native",
            json!({"amount": {"total": 1, "colour": 1}}),
            270_924_358,
        ),
        ("native", json!({"attach": null}), 268_435_461),
        ("native", json!({"description": ""}), 268_435_461),
        ("native", json!({"description": long}), 268_435_461),
        ("native", json!({"description": "a 📚"}), 268_435_461),
        ("native", json!({"amount": {"total": 0}}), 268_435_461),
        ("native", json!({"amount": {"total": "1"}}), 268_435_461),
        ("native", json!({"amount": {"total": 1.5}}), 268_435_461),
        (
            "native",
            json!({"amount": {"total": 1, "currency": "USD"}}),
            268_435_461,
        ),
        ("native", json!({"amount": {}}), 268_435_461),
        (
            "native",
            json!({"notify_url": "https://a.example/x?y=1"}),
            268_435_461,
        ),
        (
            "native",
            json!({"time_expire": "20301121100000"}),
            268_435_461,
        ),
        ("native", json!({"mchid": "1900000100"}), 268_435_461),
        (
            "native",
            json!({"scene_info": {"payer_client_ip": "here"}}),
            268_435_461,
        ),
        ("jsapi", json!({"payer": {}}), 268_435_461),
        (
            "h5",
            json!({"scene_info": {"payer_client_ip": "::1"}}),
            268_435_461,
        ),
        (
            "h5",
            json!({"scene_info": {"payer_client_ip": "::1", "h5_info": {"type": "Palm"}}}),
            268_435_461,
        ),
    ];
    for (kind, more, number) in table {
        let path = format!("/v3/pay/transactions/{kind}");
        let body = client.wanted(kind, "order-1", more.clone()).to_string();
        let (status, headers, text) = client.send("POST", &path, &body, Odd::default()).await;
        let id = headers["request-id"].to_str().unwrap();
        assert_eq!(read(&text)["code"], "PARAM_ERROR", "{more}");
        assert_eq!(
            (status, id.rsplit('-').next()),
            (400, Some(number.to_string().as_str())),
            "{more}"
        );
    }
    for number in ["short", "order 1 &", "123456789012345678901234567890123"] {
        let (status, _) = client.order("native", number, json!({})).await;
        assert_eq!(status, 400, "{number}");
    }
    let (status, _) = client
        .post("/v3/pay/transactions/native", &json!([1]))
        .await;
    assert_eq!(status, 400);
    assert_eq!(client.query("order-1").await.0, 404);
    let whole = json!({
        "attach": "mine", "goods_tag": "WXG", "support_fapiao": false, "limit_pay": ["no_credit"],
        "settle_info": {"profit_sharing": false}, "time_expire": "2030-11-21T10:00:00+08:00",
        "detail": {"cost_price": 1, "goods_detail": [
            {"merchant_goods_id": "g", "quantity": 1, "unit_price": 1999}]},
        "scene_info": {"payer_client_ip": "203.0.113.9", "device_id": "013467007045764",
            "store_info": {"id": "0001"}},
    });
    assert_eq!(client.order("native", "order-1", whole).await.0, 200);
    world.set(json!({"https_notify_url": true})).await;
    let (_, answer) = client.order("native", "order-2", json!({})).await;
    assert_eq!(answer["code"], "PARAM_ERROR");
}

#[tokio::test]
async fn accounts_are_bound_and_of_a_kind() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    for (app_id, kind, merchant) in [
        ("wxofficial", "official_account", client.mch_id.as_str()),
        ("wxmobile", "mobile_app", &client.mch_id),
        ("wxforeign", "mobile_app", "1900000109"),
    ] {
        let told = json!({"app_id": app_id, "kind": kind, "secret": "s", "merchants": [merchant]});
        world.post("/_control/accounts", &told).await;
    }
    for (kind, app_id, code) in [
        ("jsapi", "wxmobile", json!("PARAM_ERROR")),
        ("app", "wxofficial", json!("PARAM_ERROR")),
        ("app", "wxforeign", json!("APPID_MCHID_NOT_MATCH")),
        ("app", "wxnobody", json!("APPID_MCHID_NOT_MATCH")),
        ("jsapi", "wxofficial", json!("OPENID_MISMATCH")),
        ("app", "wxmobile", Value::Null),
        ("h5", "wxofficial", Value::Null),
    ] {
        let number = format!("order-{kind}-{app_id}");
        let more = json!({"appid": app_id});
        let (_, answer) = client.order(kind, &number, more).await;
        assert_eq!(answer["code"], code, "{kind} {app_id}");
    }
    let snapshot = json!({"payer": {"openid": "oSimulatedSnapshot0000000003"}});
    let (status, _) = client.order("jsapi", "order-1", snapshot).await;
    assert_eq!(status, 500);
}

#[tokio::test]
async fn the_same_again_is_fresh_and_another_refused() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    let (_, first) = client.order("native", "order-1", json!({})).await;
    let (_, again) = client.order("native", "order-1", json!({})).await;
    assert_ne!(first["code_url"], again["code_url"]);
    let (status, _) = world.post_status("/_control/pay", &first).await;
    assert_eq!(status, 404);
    let (status, changed) = client
        .order("native", "order-1", json!({"description": "another"}))
        .await;
    assert_eq!(
        (status, changed["code"].as_str()),
        (400, Some("INVALID_REQUEST"))
    );
    assert_eq!(world.post_status("/_control/pay", &again).await.0, 200);
    let (status, paid) = client.order("native", "order-1", json!({})).await;
    assert_eq!((status, paid["code"].as_str()), (400, Some("ORDER_PAID")));
    let (_, first) = client.order("app", "order-2", json!({})).await;
    let (_, again) = client.order("app", "order-2", json!({})).await;
    assert_ne!(first["prepay_id"], again["prepay_id"]);
    assert_eq!(world.post_status("/_control/pay", &first).await.0, 200);
}

#[tokio::test]
async fn an_expiry_is_moved_into_its_bounds() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    let day = 24 * 3600;
    for (number, time, seconds) in [
        ("order-default", json!({}), 7 * day),
        (
            "order-past",
            json!({"time_expire": "2020-01-01T00:00:00+08:00"}),
            60,
        ),
        (
            "order-far",
            json!({"time_expire": "2099-01-01T00:00:00+08:00"}),
            90 * day,
        ),
    ] {
        assert_eq!(client.order("native", number, time).await.0, 200);
        let order = world.get(&format!("/_control/orders/{number}")).await;
        let at = |name: &str| order[name].as_i64().unwrap();
        assert_eq!(
            at("expires_ms") - at("created_ms"),
            seconds * 1000,
            "{number}"
        );
    }
    world.set(json!({"clock_ahead_seconds": 61})).await;
    let late = json!({"out_trade_no": "order-past"});
    assert_eq!(world.post_status("/_control/pay", &late).await.0, 409);
    let (_, dead) = client
        .order(
            "native",
            "order-past",
            json!({"time_expire": "2020-01-01T00:00:00+08:00"}),
        )
        .await;
    assert_eq!(dead["code"], "ORDER_CLOSED");
}

#[tokio::test]
async fn a_query_needs_the_merchant_and_tells_no_more_than_there_is() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    let more = json!({"attach": "mine", "scene_info": {"device_id": "7"}});
    client.order("jsapi", "order-1", more).await;
    let (_, open) = client.query("order-1").await;
    assert_eq!(open["trade_state"], "NOTPAY");
    for absent in [
        "transaction_id",
        "payer",
        "amount",
        "attach",
        "success_time",
    ] {
        assert!(open.get(absent).is_none(), "{absent}");
    }
    let wish = json!({"out_trade_no": "order-1", "coupon_fee": 99});
    let receipt = world.post("/_control/pay", &wish).await;
    let (_, paid) = client.query("order-1").await;
    let id = receipt["transaction_id"].as_str().unwrap();
    let by_id = format!("/v3/pay/transactions/id/{id}?mchid={}", client.mch_id);
    assert_eq!(client.get(&by_id).await.1, paid);
    assert_eq!(paid["trade_state"], "SUCCESS");
    assert_eq!(paid["trade_type"], "JSAPI");
    assert_eq!(paid["attach"], "mine");
    assert_eq!(paid["scene_info"], json!({"device_id": "7"}));
    assert_eq!(
        paid["payer"],
        json!({"openid": "oSimulatedPayerBob0000000002"})
    );
    let amount =
        json!({"total": 1999, "payer_total": 1900, "currency": "CNY", "payer_currency": "CNY"});
    assert_eq!(paid["amount"], amount);
    assert_eq!(paid["promotion_detail"][0]["amount"], 99);
    assert!(paid["success_time"].as_str().unwrap().ends_with("+08:00"));
    let nameless = "/v3/pay/transactions/out-trade-no/order-1";
    assert_eq!(client.get(nameless).await.1["code"], "PARAM_ERROR");
    let wrong = format!("{nameless}?mchid=1900000100");
    assert_eq!(client.get(&wrong).await.1["code"], "PARAM_ERROR");
    let (status, none) = client.query("order-2").await;
    assert_eq!(
        (status, none["code"].as_str()),
        (404, Some("ORDER_NOT_EXIST"))
    );
    world.set(json!({"v3_older_codes": true})).await;
    assert_eq!(client.query("order-2").await.1["code"], "ORDERNOTEXIST");
    let (status, _) = client.get("/v3/pay/transactions/bills").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn coupons_and_a_whole_refund_are_told_as_v2_tells_them() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    client.order("native", "order-1", json!({})).await;
    let wish = json!({
        "out_trade_no": "order-1", "coupon_fee": 99, "cash_coupon_fee": 100, "notify": false,
    });
    world.post("/_control/pay", &wish).await;
    let (_, paid) = client.query("order-1").await;
    assert_eq!(paid["amount"]["payer_total"], 1800);
    let told = paid["promotion_detail"].as_array().unwrap();
    let kinds: Vec<&Value> = told.iter().map(|coupon| &coupon["type"]).collect();
    assert_eq!(kinds, ["NOCASH", "CASH"]);
    let odd = json!({"out_trade_no": "order-1", "fault": "odd_receipt"});
    assert_eq!(world.post_status("/_control/notify", &odd).await.0, 200);
    let alone = json!({"out_trade_no": "order-1", "full_refund_state": "CLOSED"});
    world.post("/_control/obstacles", &alone).await;
    assert_eq!(client.query("order-1").await.1["trade_state"], "SUCCESS");
    assert_eq!(
        client.refund("order-1", "r-1", 1999, json!({})).await.0,
        200
    );
    let (_, closed) = client.query("order-1").await;
    assert_eq!(closed["trade_state"], "CLOSED");
    assert!(closed.get("transaction_id").is_none());
}

#[tokio::test]
async fn a_number_with_odd_letters_is_signed_as_sent() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    client.order("native", "order|1*_-", json!({})).await;
    let (status, told) = client.query("order%7C1%2A_-").await;
    assert_eq!(
        (status, told["out_trade_no"].as_str()),
        (200, Some("order|1*_-"))
    );
}

#[tokio::test]
async fn an_order_is_closed_at_once_and_again() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    client.order("native", "order-1", json!({})).await;
    world.set(json!({"v3_close_guard_seconds": 300})).await;
    assert_eq!(client.close("order-1").await.1["code"], "INVALID_REQUEST");
    world.set(json!({"v3_close_guard_seconds": 0})).await;
    assert_eq!(client.close("order-1").await, (204, Value::Null));
    assert_eq!(client.close("order-1").await.0, 204);
    assert_eq!(client.query("order-1").await.1["trade_state"], "CLOSED");
    let (_, closed) = client.order("native", "order-1", json!({})).await;
    assert_eq!(closed["code"], "ORDER_CLOSED");
    assert_eq!(client.close("order-2").await.0, 404);
    client.order("native", "order-3", json!({})).await;
    world.pay("order-3").await;
    let (status, paid) = client.close("order-3").await;
    assert_eq!((status, paid["code"].as_str()), (400, Some("ORDER_PAID")));
    let code = [
        ("body", "x"),
        ("out_trade_no", "order-4"),
        ("total_fee", "1"),
        ("spbill_create_ip", "::1"),
        ("auth_code", "134567890123456702"),
    ];
    world.v2("/pay/micropay", &code).await;
    assert_eq!(client.close("order-4").await.1["code"], "INVALID_REQUEST");
}

#[tokio::test]
async fn both_versions_see_one_order() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    client
        .order("native", "order-1", json!({"attach": "mine"}))
        .await;
    assert_eq!(world.query("order-1").await["trade_state"], "NOTPAY");
    let receipt = world.pay("order-1").await;
    let told = world.query("order-1").await;
    assert_eq!(
        (told["total_fee"].as_str(), told["attach"].as_str()),
        ("1999", "mine")
    );
    assert_eq!(
        told["transaction_id"],
        receipt["transaction_id"].as_str().unwrap()
    );
    world
        .order("JSAPI", "order-2", &[("attach", "yours")])
        .await;
    assert_eq!(client.query("order-2").await.1["trade_state"], "NOTPAY");
    world.pay("order-2").await;
    let (_, told) = client.query("order-2").await;
    assert_eq!(
        (&told["amount"]["total"], &told["attach"]),
        (&json!(1999), &json!("yours"))
    );
    world.order("NATIVE", "order-3", &[]).await;
    assert_eq!(client.close("order-3").await.0, 204);
    assert_eq!(world.query("order-3").await["trade_state"], "CLOSED");
    client.order("native", "order-4", json!({})).await;
    world.set(json!({"close_guard_seconds": 0})).await;
    let closed = world
        .v2("/pay/closeorder", &[("out_trade_no", "order-4")])
        .await;
    assert_eq!(closed["result_code"], "SUCCESS");
    assert_eq!(client.query("order-4").await.1["trade_state"], "CLOSED");
    let order = world.get("/_control/orders/order-4").await;
    assert_eq!(order["version"], "v3");
}

#[tokio::test]
async fn a_merchant_without_a_certificate_or_a_v2_key_has_one_version() {
    let world = World::start().await;
    let told = json!({"mch_id": "1900000109", "api_key": null});
    world.post("/_control/merchants", &told).await;
    let bound =
        json!({"app_id": "wxsite", "kind": "website", "secret": "s", "merchants": ["1900000109"]});
    world.post("/_control/accounts", &bound).await;
    let client = Client::of(&world, "1900000109", "wxsite", 1).await;
    assert_eq!(client.order("native", "order-1", json!({})).await.0, 200);
    let own = [
        ("appid", "wxsite"),
        ("mch_id", "1900000109"),
        ("out_trade_no", "order-1"),
    ];
    let refused = world.v2_raw("/pay/orderquery", &world.request(&own)).await;
    assert_eq!(refused["return_code"], "FAIL");
    assert_eq!(world.why().await, "SIGNERROR");
    let first = Client {
        mch_id: world.config.mch_id.clone(),
        ..Client::of(&world, "1900000109", "wxsite", 1).await
    };
    assert_eq!(first.query("order-1").await.1["code"], "SIGN_ERROR");
    let own = Client::start(&world).await;
    assert_eq!(own.query("order-1").await.0, 404);
}
