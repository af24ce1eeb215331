//! Tests of unifiedorder, orderquery and closeorder.

use serde_json::json;

use crate::harness::World;

#[tokio::test]
async fn every_trade_type_gets_what_its_client_needs() {
    let world = World::start().await;
    for (kind, field) in [
        ("JSAPI", "prepay_id"),
        ("NATIVE", "code_url"),
        ("APP", "prepay_id"),
        ("MWEB", "mweb_url"),
    ] {
        let answer = world.order(kind, &format!("order-{kind}"), &[]).await;
        assert_eq!(answer["result_code"], "SUCCESS", "{answer:?}");
        assert_eq!(answer["trade_type"], kind);
        assert!(!answer[field].is_empty());
    }
    let signed = world
        .order("NATIVE", "order-hmac", &[("sign_type", "HMAC-SHA256")])
        .await;
    assert_eq!(signed["sign"].len(), 64);
}

#[tokio::test]
async fn a_repeated_order_is_the_same_and_a_changed_one_refused() {
    let world = World::start().await;
    let first = world.order("JSAPI", "order-1", &[]).await;
    let again = world
        .order("JSAPI", "order-1", &[("nonce_str", "another")])
        .await;
    assert_eq!(first["prepay_id"], again["prepay_id"]);
    let changed = world
        .order("JSAPI", "order-1", &[("total_fee", "2000")])
        .await;
    assert_eq!(changed["err_code"], "INVALID_REQUEST");
    assert_eq!(changed["err_code_des"], "201 商户订单号重复");
    world.pay("order-1").await;
    assert_eq!(
        world.order("JSAPI", "order-1", &[]).await["err_code"],
        "ORDERPAID"
    );
}

#[tokio::test]
async fn bad_requests_are_refused_in_wechats_words() {
    let world = World::start().await;
    let table: &[(&str, &str, &str)] = &[
        ("total_fee", "0", "PARAM_ERROR"),
        ("total_fee", "1.5", "PARAM_ERROR"),
        ("total_fee", "", "LACK_PARAMS"),
        ("openid", "", "LACK_PARAMS"),
        ("openid", "oSimulatedSnapshot0000000003", "PARAM_ERROR"),
        ("out_trade_no", "short", "PARAM_ERROR"),
        ("out_trade_no", "order 1 &", "PARAM_ERROR"),
        (
            "out_trade_no",
            "123456789012345678901234567890123",
            "PARAM_ERROR",
        ),
        ("notify_url", "https://a.example/x?y=1", "PARAM_ERROR"),
        ("spbill_create_ip", "here", "PARAM_ERROR"),
        ("trade_type", "OTHER", "PARAM_ERROR"),
        ("time_expire", "20200101000000", "PARAM_ERROR"),
        ("nonce_str", "", "LACK_PARAMS"),
    ];
    for (name, value, code) in table {
        let answer = world.order("JSAPI", "order-1", &[(name, value)]).await;
        assert_eq!(
            answer.get("err_code").map(String::as_str),
            Some(*code),
            "{name}={value}"
        );
    }
    assert_eq!(world.query("order-1").await["err_code"], "ORDERNOTEXIST");
}

#[tokio::test]
async fn what_a_shop_says_of_its_order_is_checked_and_kept() {
    let world = World::start().await;
    let detail = r#"{"cost_price":5,"goods_detail":[{"goods_id":"g","quantity":1,"price":5}]}"#;
    let store = r#"{"store_info":{"id":"S1","name":"n","area_code":"440305","address":"a"}}"#;
    let good = [
        ("device_info", "till 3"),
        ("detail", detail),
        ("goods_tag", "WXG"),
        ("limit_pay", "no_credit"),
        ("scene_info", store),
    ];
    let answer = world.order("NATIVE", "order-1", &good).await;
    assert_eq!(answer["result_code"], "SUCCESS", "{answer:?}");
    let kept = world.get("/_control/orders/order-1").await;
    for (name, value) in good {
        assert_eq!(kept["parameters"][name], value);
    }
    let long = "x".repeat(33);
    let wide = format!(
        r#"{{"store_info":{{"id":"S1","name":"{}"}}}}"#,
        "茶".repeat(22)
    );
    for (kind, name, value) in [
        ("NATIVE", "device_info", long.as_str()),
        ("NATIVE", "goods_tag", &long),
        ("NATIVE", "limit_pay", "no_debit"),
        ("NATIVE", "detail", "Tea, two cups"),
        ("NATIVE", "detail", r#"{"goods_detail":[]}"#),
        (
            "NATIVE",
            "detail",
            r#"{"goods_detail":[{"goods_id":"g","quantity":0,"price":5}]}"#,
        ),
        ("NATIVE", "scene_info", "[]"),
        ("NATIVE", "scene_info", r#"{"store_info":{"name":"n"}}"#),
        ("NATIVE", "scene_info", &wide),
        (
            "NATIVE",
            "scene_info",
            r#"{"store_info":{"id":"S1","area_code":"44"}}"#,
        ),
        ("MWEB", "scene_info", store),
        ("MWEB", "scene_info", r#"{"h5_info":{"type":"Desktop"}}"#),
    ] {
        let answer = world.order(kind, "order-2", &[(name, value)]).await;
        let code = answer.get("err_code").map(String::as_str);
        assert_eq!(code, Some("PARAM_ERROR"), "{name}={value}");
    }
    let both = r#"{"h5_info":{"type":"Wap"},"store_info":{"id":"S1"}}"#;
    let answer = world
        .order("MWEB", "order-3", &[("scene_info", both)])
        .await;
    assert_eq!(answer["result_code"], "SUCCESS", "{answer:?}");
}

#[tokio::test]
async fn unsigned_answers_go_to_those_who_cannot_be_trusted() {
    let world = World::start().await;
    let good = world.request(&[("out_trade_no", "order-1")]);
    let table = [
        (good.replace("order-1", "order-2"), "SIGNERROR"),
        (good.replace("10000100", "10000101"), "MCHID_NOT_EXIST"),
        (
            good.replace("wxd930ea5d5a258f4f", "wx1"),
            "APPID_MCHID_NOT_MATCH",
        ),
        (format!("<!DOCTYPE x>{good}"), "XML_FORMAT_ERROR"),
        ("{}".to_owned(), "XML_FORMAT_ERROR"),
        (String::new(), "POST_DATA_EMPTY"),
    ];
    for (body, code) in table {
        let answer = world.v2_raw("/pay/orderquery", &body).await;
        assert_eq!(answer["return_code"], "FAIL");
        assert!(!answer.contains_key("sign") && !answer.contains_key("result_code"));
        assert_eq!(world.why().await, code);
    }
    world
        .http
        .get(format!("{}/pay/orderquery", world.url))
        .send()
        .await
        .unwrap();
    assert_eq!(world.why().await, "REQUIRE_POST_METHOD");
}

#[tokio::test]
async fn a_paid_order_tells_its_payment() {
    let world = World::start().await;
    world.order("JSAPI", "order-1", &[("attach", "mine")]).await;
    assert_eq!(world.query("order-1").await["trade_state"], "NOTPAY");
    for bad in [
        json!({"coupon_fee": 1000, "cash_coupon_fee": 999}),
        json!({"coupon_fee": -1, "cash_coupon_fee": 2}),
        json!({"coupon_fee": i64::MAX, "cash_coupon_fee": 1}),
    ] {
        let mut wish = json!({"out_trade_no": "order-1"});
        wish.as_object_mut()
            .unwrap()
            .extend(bad.as_object().unwrap().clone());
        assert_eq!(world.post_status("/_control/pay", &wish).await.0, 409);
    }
    let wish = json!({"out_trade_no": "order-1", "coupon_fee": 99, "cash_coupon_fee": 1});
    let receipt = world.post("/_control/pay", &wish).await;
    let id = receipt["transaction_id"].as_str().unwrap();
    let told = world.v2("/pay/orderquery", &[("transaction_id", id)]).await;
    assert_eq!(told["trade_state"], "SUCCESS");
    assert_eq!(told["total_fee"], "1999");
    assert_eq!(told["cash_fee"], "1899");
    assert_eq!(told["settlement_total_fee"], "1900");
    assert_eq!((&*told["coupon_fee"], &*told["coupon_count"]), ("100", "2"));
    assert_eq!(
        (&*told["coupon_fee_0"], &*told["coupon_type_0"]),
        ("99", "NO_CASH")
    );
    assert_eq!(
        (&*told["coupon_fee_1"], &*told["coupon_type_1"]),
        ("1", "CASH")
    );
    assert_eq!(told["attach"], "mine");
    assert_eq!(told["openid"], "oSimulatedPayerBob0000000002");
    assert_eq!(told["time_end"].len(), 14);
    let twice = world
        .post_status("/_control/pay", &json!({"out_trade_no": "order-1"}))
        .await;
    assert_eq!(twice.0, 409);
}

#[tokio::test]
async fn an_order_is_closed_after_five_minutes_and_then_stays_closed() {
    let world = World::start().await;
    world.order("NATIVE", "order-1", &[]).await;
    let close = [("out_trade_no", "order-1")];
    assert_eq!(
        world.v2("/pay/closeorder", &close).await["err_code"],
        "INVALID_REQUEST"
    );
    world.set(json!({"clock_ahead_seconds": 301})).await;
    assert_eq!(
        world.v2("/pay/closeorder", &close).await["result_code"],
        "SUCCESS"
    );
    assert_eq!(
        world.v2("/pay/closeorder", &close).await["err_code"],
        "ORDERCLOSED"
    );
    assert_eq!(world.query("order-1").await["trade_state"], "CLOSED");
    assert_eq!(
        world.order("NATIVE", "order-1", &[]).await["err_code"],
        "ORDERCLOSED"
    );
    let (status, _) = world
        .post_status("/_control/pay", &json!({"out_trade_no": "order-1"}))
        .await;
    assert_eq!(status, 409);
    let forced = json!({"out_trade_no": "order-1", "force": true});
    assert_eq!(world.post_status("/_control/pay", &forced).await.0, 200);
    assert_eq!(world.query("order-1").await["trade_state"], "SUCCESS");
    assert_eq!(
        world.v2("/pay/closeorder", &close).await["err_code"],
        "ORDERPAID"
    );
}

#[tokio::test]
async fn an_expired_order_is_not_paid_without_force() {
    let world = World::start().await;
    let times = [
        ("time_start", "20990101000000"),
        ("time_expire", "20990101000100"),
    ];
    world.order("NATIVE", "order-1", &times).await;
    // A little under a century, which takes the clock behind the expiry.
    world
        .set(json!({"clock_ahead_seconds": 3_155_760_000_i64}))
        .await;
    let wish = json!({"out_trade_no": "order-1"});
    assert_eq!(world.post_status("/_control/pay", &wish).await.0, 409);
    assert_eq!(world.query("order-1").await["trade_state"], "NOTPAY");
    world.set(json!({"expired_state": "CLOSED"})).await;
    assert_eq!(world.query("order-1").await["trade_state"], "CLOSED");
    let forced = json!({"out_trade_no": "order-1", "force": true});
    assert_eq!(world.post_status("/_control/pay", &forced).await.0, 200);
}
