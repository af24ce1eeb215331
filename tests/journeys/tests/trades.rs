//! The other ways to pay, and giving an order up.

use journeys::{Answer, DESKTOP, Stack, random_order_no, with};
use serde_json::{Value, json};

/// The merchant's app hands these to WeChat, and the payer pays: WeChat's word.
async fn pay_in_app(stack: &Stack, app_params: &Value) -> String {
    let url = format!("{}/phone/app", stack.setting("SIMULATOR_URL"));
    let answer = stack.send(|http| http.post(url).json(app_params)).await;
    answer.body["err_msg"].as_str().unwrap().to_owned()
}

async fn close(stack: &Stack, order_no: &Value) -> Answer {
    stack.act(order_no, "close", json!({})).await
}

#[tokio::test]
async fn an_app_order_gives_the_parameters_with_which_wechat_opens() {
    let stack = Stack::new().await;
    let order = stack
        .native(json!({"trade_type": "APP", "client_ip": "203.0.113.7"}))
        .await;
    assert_eq!(order["app_params"]["package"], "Sign=WXPay", "{order}");
    let mut forged = order["app_params"].clone();
    forged["timestamp"] = json!("1");
    assert!(pay_in_app(&stack, &forged).await.ends_with(":fail"));
    let paid = pay_in_app(&stack, &order["app_params"]).await;
    assert!(paid.ends_with(":ok"), "{paid}");
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(
        (&shown["status"], &shown["trade_type"]),
        (&json!("paid"), &json!("APP"))
    );
    let page = stack.native(json!({"trade_type": "APP"})).await;
    let page = stack
        .page(page["pay_url"].as_str().unwrap(), DESKTOP, "en")
        .await;
    assert!(
        page.body.as_str().unwrap().contains("in the shop's app")
            || page
                .body
                .as_str()
                .unwrap()
                .contains("in the shop&#39;s app")
    );
}

#[tokio::test]
async fn an_app_with_old_clients_is_paid_the_way_of_2014() {
    let stack = Stack::with_app(|app| app.genprepay = true).await;
    let order =
        json!({"trade_type": "APP", "client_ip": "203.0.113.7", "body": "Tea & cake + 1 支"});
    let order = stack.native(order).await;
    assert_eq!(order["app_params"]["sign"].as_str().unwrap().len(), 40);
    let known = stack.at_wechat(&order["trade_no"]).await;
    assert_eq!(known["total_fee"], 1999, "{known}");
    let paid = pay_in_app(&stack, &order["app_params"]).await;
    assert!(paid.ends_with(":ok"), "{paid}");
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(
        (&shown["status"], &shown["trade_type"]),
        (&json!("paid"), &json!("APP"))
    );
    // It tells by the query and wants plain words; twenty at once are one.
    let answers = stack
        .notify(&order["trade_no"], json!({"copies": 20}))
        .await;
    assert_eq!(answers.len(), 20);
    assert!(answers.iter().all(|answer| answer["accepted"] == true));
    let told = stack.told_of(&order["order_no"], "payment.succeeded").await;
    assert_eq!(told.len(), 1);
    for query in ["sign=", "total_fee=1999&trade_state=0&sign=ABC", "a=1&a=2"] {
        let url = format!("{}?{query}", stack.setting("HUB_NOTIFY_URL"));
        let refused = stack.send(|http| http.post(&url)).await;
        assert_eq!(
            (refused.status, &refused.body),
            (200, &json!("fail")),
            "{url}"
        );
    }
    let back = json!({"refund_fee": 1999});
    assert_eq!(
        stack.refund(&order["order_no"], "R1", back).await.status,
        201
    );
    stack.told(&order["order_no"], "refund.succeeded").await;
}

#[tokio::test]
async fn an_order_given_up_is_closed_as_soon_as_wechat_allows_it() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let closing = close(&stack, &order["order_no"]).await;
    assert_eq!(
        (closing.status, &closing.body["status"]),
        (202, &json!("paying")),
        "{closing:?}"
    );
    assert!(closing.body["closes_at"].is_string());
    let page = stack
        .page(order["pay_url"].as_str().unwrap(), DESKTOP, "en")
        .await;
    assert_eq!(page.status, 410);

    stack.age(&order["order_no"], 320).await;
    stack.sweep().await;
    stack
        .order_when(&order["order_no"], |order| order["status"] == "closed")
        .await;
    assert_eq!(stack.at_wechat(&order["trade_no"]).await["state"], "CLOSED");
    assert_eq!(close(&stack, &order["order_no"]).await.status, 200);
    stack.told_closed(&order["order_no"], "closed_by_app").await;
}

#[tokio::test]
async fn an_order_that_twenty_close_at_once_is_told_once() {
    let stack = std::sync::Arc::new(Stack::new().await);
    let order = stack.native(json!({"trade_type": null})).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (stack, order_no) = (stack.clone(), order["order_no"].clone());
        requests.spawn(async move { close(&stack, &order_no).await });
    }
    for answer in requests.join_all().await {
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
    }
    let shown = stack.told(&order["order_no"], "order.closed").await;
    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 1);
    stack.told_closed(&order["order_no"], "closed_by_app").await;
}

#[tokio::test]
async fn an_order_of_version_1_0_is_closed_without_a_callback() {
    let stack = Stack::with_app(|app| app.allow_direct = true).await;
    let order = stack
        .native(json!({"version": "1.0", "trade_type": null}))
        .await;
    let closed = close(&stack, &order["order_no"]).await;
    assert_eq!(closed.body["status"], "closed", "{closed:?}");
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(shown["deliveries"], json!([]));
}

#[tokio::test]
async fn an_order_paid_while_it_is_being_closed_is_paid() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    assert_eq!(close(&stack, &order["order_no"]).await.status, 202);
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    stack.age(&order["order_no"], 320).await;
    stack.sweep().await;
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(shown["status"], "paid");
    let late = close(&stack, &order["order_no"]).await;
    assert_eq!(
        (late.status, &late.body["code"]),
        (409, &json!("order_paid"))
    );
}

#[tokio::test]
async fn an_order_that_wechat_never_heard_of_is_closed_at_once() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    let closed = close(&stack, &order["order_no"]).await;
    assert_eq!(
        (closed.status, &closed.body["status"]),
        (200, &json!("closed"))
    );
    stack.told_closed(&order["order_no"], "closed_by_app").await;
    let unknown = close(&stack, &json!("0000000000")).await;
    assert_eq!(
        (unknown.status, &unknown.body["code"]),
        (404, &json!("order_not_found"))
    );
}

#[tokio::test]
async fn with_version_1_wechat_tells_the_app_itself_and_the_hub_only_asks() {
    let stack = Stack::with_app(|app| app.allow_direct = true).await;
    let order = stack.native(json!({"version": "1.0"})).await;
    let known = stack.at_wechat(&order["trade_no"]).await;
    let shop = format!("{}/notify", stack.setting("SHOP_URL"));
    assert_eq!(known["parameters"]["notify_url"], json!(shop));
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    stack.age(&order["order_no"], 60).await;
    stack.sweep().await;
    let shown = stack
        .order_when(&order["order_no"], |order| order["status"] == "paid")
        .await;
    assert_eq!(shown["deliveries"], json!([]));
    assert_eq!(stack.callbacks(&order["order_no"]).await.len(), 0);

    let other = Stack::new().await;
    let refused = other.create(&other.order(json!({"version": "1.0"}))).await;
    assert_eq!(
        (refused.status, &refused.body["field"]),
        (422, &json!("version"))
    );
}

const DETAIL: &str = r#"{ "cost_price":1999,"goods_detail":[{"goods_id":"tea_1","goods_name":"茶 & more","quantity":2,"price":999}]}"#;

/// The same in the words of version 3, as the simulator writes them down.
const V3_DETAIL: &str = r#"{"cost_price":1999,"goods_detail":[{"goods_name":"茶 & more","merchant_goods_id":"tea_1","quantity":2,"unit_price":999}]}"#;

/// All that a shop may say of its order.
fn said() -> Value {
    json!({
        "device_info": "till-3", "detail": DETAIL, "goods_tag": "WXG", "limit_pay": "no_credit",
        "store_id": "SZTX001", "store_name": "腾大餐厅", "store_area_code": "440305",
        "store_address": "科技园中一路",
    })
}

#[tokio::test]
async fn what_a_shop_says_of_its_order_reaches_wechat_and_is_shown() {
    let stack = Stack::new().await;
    let order_no = json!(random_order_no());
    let code = json!({"trade_type": "MICROPAY", "auth_code": journeys::auth_code("99")});
    let phone = json!({"trade_type": "MWEB", "client_ip": "203.0.113.9"});
    for (order_no, kind) in [
        (json!(random_order_no()), json!({})),
        (order_no.clone(), code),
        (json!(random_order_no()), phone),
    ] {
        let asked = with(with(json!({"order_no": order_no}), kind.clone()), said());
        let placed = stack.create(&stack.order(asked.clone())).await;
        assert_eq!(placed.status, 201, "{placed:?}");
        let known = stack.at_wechat(&placed.body["trade_no"]).await;
        let sent = &known["parameters"];
        for name in ["device_info", "goods_tag"] {
            assert_eq!(sent[name], asked[name], "{sent}");
        }
        // Payers' codes are version 2's.
        let by_v3 = stack.is_v3() && kind["trade_type"] != "MICROPAY";
        let (detail, limit_pay) = match by_v3 {
            false => (DETAIL, "no_credit"),
            true => (V3_DETAIL, r#"["no_credit"]"#),
        };
        assert_eq!(
            (&sent["detail"], &sent["limit_pay"]),
            (&json!(detail), &json!(limit_pay))
        );
        let scene: Value = serde_json::from_str(sent["scene_info"].as_str().unwrap()).unwrap();
        let store = json!({
            "id": "SZTX001", "name": "腾大餐厅", "area_code": "440305", "address": "科技园中一路",
        });
        assert_eq!(scene["store_info"], store);
        let is_phone = kind["trade_type"] == "MWEB";
        assert_eq!(scene["h5_info"].is_object(), is_phone, "{scene}");

        let shown = stack.show(&order_no).await.body;
        for (name, value) in said().as_object().unwrap() {
            assert_eq!(&shown[name], value, "{shown}");
        }
        // It is part of what makes a repeated order the same.
        let again = stack.create(&stack.order(asked.clone())).await;
        assert_eq!(again.status, 200, "{again:?}");
        let other = with(asked, json!({"goods_tag": "OTHER"}));
        let other = stack.create(&stack.order(other)).await;
        assert_eq!(
            (other.status, &other.body["code"]),
            (409, &json!("order_conflict"))
        );
    }
}

#[tokio::test]
async fn what_wechat_would_not_take_or_could_be_cut_is_refused() {
    let stack = Stack::with_app(|app| {
        app.allow_direct = true;
        app.genprepay = true;
    })
    .await;
    // It fits as it is, but not beside the address of the shop's page.
    let (name, address) = ("茶".repeat(21), "茶".repeat(42));
    let long = json!({"store_id": "1", "store_name": name, "store_address": address});
    let placed = stack.create(&stack.order(long.clone())).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let long = with(long, json!({"trade_type": null}));
    for (asked, field) in [
        (json!({"store_name": "Tea"}), "store_id"),
        (long, "store_address"),
        (
            json!({"version": "1.0", "device_info": "a&b=c"}),
            "device_info",
        ),
        (
            json!({"trade_type": "APP", "limit_pay": "no_credit"}),
            "limit_pay",
        ),
    ] {
        let refused = stack.create(&stack.order(asked)).await;
        assert_eq!(
            (refused.status, &refused.body["field"]),
            (422, &json!(field)),
            "{refused:?}"
        );
    }
    let order = stack.native(json!({})).await;
    for (name, value) in said().as_object().unwrap() {
        let asked = json!({
            "order_no": order["order_no"], "total_fee": order["total_fee"], name: value,
        });
        let page = stack
            .page(&stack.signed_url("/pay", asked), DESKTOP, "en")
            .await;
        assert_eq!(page.status, 422, "{name}: {page:?}");
    }
}
