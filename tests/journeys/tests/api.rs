//! The third parties' API: what it promises and what it refuses, by code.

use journeys::{Stack, random_order_no, unix_seconds};
use serde_json::{Value, json};

fn code(answer: &journeys::Answer) -> (u16, &str) {
    (
        answer.status,
        answer.body["code"].as_str().unwrap_or_default(),
    )
}

#[tokio::test]
async fn the_same_order_again_is_the_same_order() {
    let stack = Stack::new().await;
    let order_no = random_order_no();
    let first = stack
        .create(&stack.order(json!({"order_no": order_no})))
        .await;
    assert_eq!(first.status, 201, "{first:?}");
    let again = stack
        .create(&stack.order(json!({"order_no": order_no})))
        .await;
    assert_eq!(again.status, 200);
    assert_eq!(again.body, first.body);
    let other = stack
        .create(&stack.order(json!({"order_no": order_no, "total_fee": 2000})))
        .await;
    assert_eq!(code(&other), (409, "order_conflict"));
}

#[tokio::test]
async fn the_same_order_twenty_times_at_once_is_one_order_at_wechat() {
    let stack = std::sync::Arc::new(Stack::new().await);
    let order_no = random_order_no();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (stack, order_no) = (stack.clone(), order_no.clone());
        requests.spawn(async move {
            stack
                .create(&stack.order(json!({"order_no": order_no})))
                .await
        });
    }
    let answers = requests.join_all().await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "{answers:?}");
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        assert!(answer.body["code_url"].is_string(), "{answer:?}");
        // Version 3 makes a new code at each question, and the last one counts.
        let same = answer.body["code_url"] == answers[0].body["code_url"];
        assert!(same || stack.is_v3(), "{answers:?}");
    }
    let shown = stack.show(&json!(order_no)).await.body;
    let paid = stack
        .wechat("pay", &json!({"code_url": shown["code_url"]}))
        .await;
    assert_eq!(paid.status, 200, "{paid:?}: {shown}");
}

#[tokio::test]
async fn each_broken_rule_names_its_parameter() {
    let stack = Stack::new().await;
    for (field, value) in [
        ("order_no", json!(null)),
        ("order_no", json!("short")),
        ("order_no", json!("12345678901")),
        ("order_no", json!("1234-67890")),
        ("order_no", json!(1_234_567_890)),
        ("total_fee", json!(null)),
        ("total_fee", json!(0)),
        ("total_fee", json!(-1)),
        ("total_fee", json!("1999")),
        ("total_fee", json!(19.99)),
        ("total_fee", json!(4_294_967_297_i64)),
        ("total_fee", json!({"fen": 1})),
        ("body", json!(null)),
        ("body", json!("a\u{0}b")),
        ("notify_url", json!(null)),
        ("notify_url", json!("not an address")),
        ("notify_url", json!("ftp://127.0.0.1/notify")),
        ("notify_url", json!("http://127.0.0.1/notify?with=query")),
        ("return_url", json!("http://user@127.0.0.1/return")),
        ("trade_type", json!("CASH")),
        ("version", json!("3.0")),
        ("version", json!("1.0")),
        ("expires_in", json!(59)),
        ("expires_in", json!(86_401)),
        ("client_ip", json!("not an address")),
        ("attach", json!("x".repeat(128))),
        ("device_info", json!("x".repeat(33))),
        ("goods_tag", json!("x".repeat(33))),
        ("limit_pay", json!("no_debit")),
        ("detail", json!("Tea, two cups")),
        ("detail", json!({"goods_detail": []})),
        ("detail", json!(r#"{"goods_detail":[]}"#)),
        ("store_id", json!("x".repeat(33))),
        ("store_area_code", json!("44030")),
        ("nonce", json!(null)),
        ("timestamp", json!("soon")),
        ("expire_in", json!(60)),
    ] {
        let answer = stack.create(&stack.order(json!({field: value}))).await;
        assert_eq!(
            code(&answer),
            (422, "param_invalid"),
            "{field}={value}: {answer:?}"
        );
        assert_eq!(answer.body["field"], field, "{answer:?}");
        assert!(
            answer.body["rule"]
                .as_str()
                .is_some_and(|rule| !rule.is_empty())
        );
    }
}

#[tokio::test]
async fn who_cannot_prove_who_they_are_gets_nothing() {
    let stack = Stack::new().await;
    let stranger = json!({"app_id": "nobody0000000000"});
    assert_eq!(
        code(&stack.create(&stack.order(stranger)).await),
        (401, "app_unknown")
    );
    let unsigned = json!({"sign": ""});
    assert_eq!(
        code(&stack.create(&stack.order(unsigned)).await),
        (401, "sign_invalid")
    );
    for sign in ["0".repeat(64), "é".into(), "x".repeat(10_000)] {
        let answer = stack.create(&stack.order(json!({"sign": sign}))).await;
        assert_eq!(code(&answer), (401, "sign_invalid"), "{answer:?}");
    }
    for seconds in [-301, 301] {
        let stale = json!({"timestamp": unix_seconds() + seconds + seconds.signum() * 5});
        assert_eq!(
            code(&stack.create(&stack.order(stale)).await),
            (401, "timestamp_expired")
        );
    }
    let mut changed = stack.order(json!({}));
    changed["total_fee"] = json!(1);
    assert_eq!(code(&stack.create(&changed).await), (401, "sign_invalid"));

    let disabled = Stack::with_app(|app| app.disabled = true).await;
    assert_eq!(
        code(&disabled.create(&disabled.order(json!({}))).await),
        (403, "app_disabled")
    );
}

#[tokio::test]
async fn bodies_that_are_no_orders_are_refused_without_a_server_error() {
    let stack = Stack::new().await;
    for (body, expected) in [
        (b"".to_vec(), (400, "body_invalid")),
        (b"{".to_vec(), (400, "body_invalid")),
        (b"<xml/>".to_vec(), (400, "body_invalid")),
        (vec![b' '; 20_000], (413, "body_too_large")),
        (b"[]".to_vec(), (422, "param_invalid")),
        (b"\"x\"".to_vec(), (422, "param_invalid")),
        (b"{\"app_id\":1}".to_vec(), (422, "param_invalid")),
        (b"{\"a\":1,\"a\":2}".to_vec(), (422, "param_invalid")),
        (
            format!("{{\"a\":{}", "[".repeat(9000)).into_bytes(),
            (400, "body_invalid"),
        ),
    ] {
        let answer = stack.create_raw(body.clone()).await;
        let start = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
        assert_eq!(code(&answer), expected, "{start}: {answer:?}");
    }
}

#[tokio::test]
async fn an_app_sees_its_own_orders_only() {
    let (one, other) = (Stack::new().await, Stack::new().await);
    let order = one.native(json!({})).await;
    assert_eq!(one.show(&order["order_no"]).await.status, 200);
    assert_eq!(
        code(&other.show(&order["order_no"]).await),
        (404, "order_not_found")
    );
    assert_eq!(
        code(&one.show(&json!("0000000000")).await),
        (404, "order_not_found")
    );
    let unsigned = format!(
        "{}/v1/orders/{}",
        one.setting("HUB_URL"),
        order["order_no"].as_str().unwrap()
    );
    let answer = one.send(|http| http.get(unsigned)).await;
    assert_eq!(answer.status, 422, "{answer:?}");
}

#[tokio::test]
async fn what_a_payer_holds_opens_no_api() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "delivered").await;
    let pay_url = order["pay_url"].as_str().unwrap();
    let status = stack
        .page(
            &pay_url.replace("/pay?", "/pay/status?"),
            journeys::DESKTOP,
            "en",
        )
        .await;
    let return_url = status.body["return_url"].as_str().unwrap();
    for signed in [pay_url, return_url] {
        let url = url::Url::parse(signed).unwrap();
        let (mut order_no, mut rest) = (String::new(), Vec::new());
        for (name, value) in url.query_pairs().into_owned() {
            if name == "order_no" {
                order_no = value
            } else {
                rest.push((name, value))
            }
        }
        let api = format!("{}/v1/orders/{order_no}", stack.setting("HUB_URL"));
        let url = url::Url::parse_with_params(&api, rest).unwrap();
        let answer = stack.send(|http| http.get(url)).await;
        assert_eq!(code(&answer), (422, "param_invalid"), "{answer:?}");
    }
    // Nor is a return address a pay address.
    let query = return_url.split('?').nth(1).unwrap();
    let url = format!("{}/pay?{query}", stack.setting("HUB_URL"));
    assert_eq!(stack.page(&url, journeys::DESKTOP, "en").await.status, 401);
}

#[tokio::test]
async fn wechats_own_refusal_reaches_the_app_with_its_code() {
    let stack = Stack::new().await;
    // WeChat refuses a payer it shows to previewers.
    let order =
        stack.order(json!({"trade_type": "JSAPI", "openid": "oSimulatedSnapshot0000000003"}));
    let answer = stack.create(&order).await;
    assert_eq!(code(&answer), (502, "wechat_error"), "{answer:?}");
    assert_ne!(answer.body["err_code"], Value::Null);
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_not_found() {
    let stack = Stack::new().await;
    let url = format!("{}/v1/nothing", stack.setting("HUB_URL"));
    assert_eq!(stack.send(|http| http.get(url)).await.status, 404);
}

#[tokio::test]
async fn what_is_signed_to_look_at_an_order_does_not_close_it() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let order_no = order["order_no"].as_str().unwrap();
    let (hub, now) = (stack.setting("HUB_URL"), unix_seconds());
    let url = format!("{hub}/v1/orders/{order_no}/close");
    let look = stack
        .app
        .request(&[("order_no", order_no)], demo_shop::Fields::new(), now);
    let look = look.unwrap();
    let mut more = look.clone();
    more.insert("action".to_owned(), json!("close"));
    let wrong = stack
        .act(&order["order_no"], "close", json!({"action": "retry"}))
        .await;
    for (answer, status, code) in [
        (
            stack.send(|http| http.post(&url).json(&look)).await,
            422,
            "param_invalid",
        ),
        (
            stack.send(|http| http.post(&url).json(&more)).await,
            401,
            "sign_invalid",
        ),
        (wrong, 422, "param_invalid"),
    ] {
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (status, &json!(code)),
            "{answer:?}"
        );
    }
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(shown["status"], "paying");
}

#[tokio::test]
async fn a_time_is_digits() {
    let stack = Stack::new().await;
    let now = unix_seconds();
    for odd in [
        format!("+{now}"),
        format!(" {now}"),
        format!("{now}.0"),
        format!("0x{now:x}"),
        format!("-{now}"),
    ] {
        let order = stack.order(json!({"timestamp": odd}));
        let refused = stack.create(&order).await;
        assert_eq!(
            (refused.status, &refused.body["field"]),
            (422, &json!("timestamp")),
            "{odd}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_repeated_order_may_come_from_another_address() {
    let stack = Stack::new().await;
    let order_no = random_order_no();
    let from = |address: &str| {
        stack.order(json!({
            "order_no": order_no, "trade_type": "APP", "client_ip": address,
        }))
    };
    assert_eq!(stack.create(&from("203.0.113.7")).await.status, 201);
    for address in ["198.51.100.9", "2001:db8::7", "203.0.113.7"] {
        let again = stack.create(&from(address)).await;
        assert_eq!(again.status, 200, "{address}: {again:?}");
    }
}
