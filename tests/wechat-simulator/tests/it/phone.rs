//! Tests of the payer's telephone: pages, bridge, app and `mweb_url`.

use serde_json::{Value, json};
use wechat_simulator::sign::{self, Fields, SignType};

use crate::harness::World;

fn bridged(world: &World, prepay_id: &str) -> Value {
    let mut fields = Fields::new();
    for (name, value) in [
        ("appId", world.config.app_id.as_str()),
        ("nonceStr", "e61463f8efa94090b1f366cccfbbb444"),
        ("package", &format!("prepay_id={prepay_id}")),
        ("signType", "MD5"),
        ("timeStamp", "1395712654"),
    ] {
        fields.insert(name.to_owned(), value.to_owned());
    }
    let sign = sign::v2(&fields, SignType::Md5, &world.config.api_key);
    fields.insert("paySign".to_owned(), sign);
    json!(fields)
}

#[tokio::test]
async fn the_bridge_pays_only_what_is_signed_exactly() {
    let world = World::start().await;
    let order = world.order("JSAPI", "order-1", &[]).await;
    let good = bridged(&world, &order["prepay_id"]);
    for (name, value) in [
        ("timeStamp", json!(1395712654)),
        ("timeStamp", json!("1395712655")),
        ("appId", json!("wx1")),
        ("signType", json!("HMAC-SHA256")),
        ("package", json!("prepay_id=other")),
        ("paySign", Value::Null),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        let answer = world.post("/phone/jsapi", &bad).await;
        assert_eq!(answer["err_msg"], "get_brand_wcpay_request:fail", "{bad}");
    }
    world.set(json!({"jsapi_result": "cancel"})).await;
    let answer = world.post("/phone/jsapi", &good).await;
    assert_eq!(answer["err_msg"], "get_brand_wcpay_request:cancel");
    world.set(json!({"jsapi_result": "ok"})).await;
    let answer = world.post("/phone/jsapi", &good).await;
    assert_eq!(answer["err_msg"], "get_brand_wcpay_request:ok");
    world.hears(1).await;
    assert_eq!(world.query("order-1").await["trade_state"], "SUCCESS");
    let script = world
        .http
        .get(format!("{}/phone/bridge.js", world.url))
        .send()
        .await
        .unwrap();
    let script = script.text().await.unwrap();
    assert!(script.contains(&format!("var base = \"{}\"", world.url)));
}

#[tokio::test]
async fn an_app_pays_with_its_lower_case_names() {
    let world = World::start().await;
    let order = world.order("APP", "order-1", &[]).await;
    let mut fields = Fields::new();
    for (name, value) in [
        ("appid", world.config.app_id.as_str()),
        ("noncestr", "n"),
        ("package", "Sign=WXPay"),
        ("partnerid", &world.config.mch_id),
        ("prepayid", &order["prepay_id"]),
        ("timestamp", "1395712654"),
    ] {
        fields.insert(name.to_owned(), value.to_owned());
    }
    let sign = sign::v2(&fields, SignType::Md5, &world.config.api_key);
    fields.insert("sign".to_owned(), sign.to_ascii_lowercase());
    let refused = world.post("/phone/app", &json!(fields)).await;
    assert_eq!(refused["err_msg"], "get_brand_wcpay_request:fail");
    fields.insert("sign".to_owned(), sign);
    let paid = world.post("/phone/app", &json!(fields)).await;
    assert_eq!(paid["err_msg"], "get_brand_wcpay_request:ok");
}

#[tokio::test]
async fn a_person_scans_and_pays() {
    let world = World::start().await;
    let order = world.order("NATIVE", "order-1", &[]).await;
    let page = async |path: String| {
        let answer = world
            .http
            .get(format!("{}{path}", world.url))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (_, list) = page("/".to_owned()).await;
    assert!(
        list.contains("¥19.99") && list.contains("a book &#38; more"),
        "{list}"
    );
    let (status, asked) = page(format!("/phone/pay?code_url={}", order["code_url"])).await;
    assert!(status == 200 && asked.contains("value=\"pay\""));
    assert_eq!(
        page("/phone/pay?code_url=weixin://none".to_owned()).await.0,
        404
    );
    let url = format!("{}/phone/pay", world.url);
    let press = |action: &'static str| {
        world
            .http
            .post(&url)
            .form(&[("out_trade_no", "order-1"), ("action", action)])
            .send()
    };
    assert_eq!(press("cancel").await.unwrap().status(), 200);
    assert_eq!(world.query("order-1").await["trade_state"], "NOTPAY");
    assert_eq!(press("pay").await.unwrap().status(), 200);
    assert_eq!(press("pay").await.unwrap().status(), 409);
    world.hears(1).await;
}

/// A browser that opens the order's address: what it says of itself, and where
/// it wants to go back to. The status, and what stands on the page.
async fn opens(world: &World, url: &str, said: &[(&'static str, &str)]) -> (u16, String) {
    let mut request = world.http.get(url);
    for (name, value) in said {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn the_page_of_a_mobile_browser_leads_back() {
    let world = World::start().await;
    let order = world.order("MWEB", "order-1", &[]).await;
    let back = "&redirect_url=https%3A%2F%2Fshop.example%2Fdone%3Fa%3D1";
    let url = format!("{}{back}", order["mweb_url"]);
    let from = [("referer", "https://shop.example/")];
    let (status, page) = opens(&world, &url, &from).await;
    assert_eq!(status, 200);
    assert!(page.contains("https://shop.example/done?a=1"), "{page}");
    let form = [
        ("out_trade_no", "order-1"),
        ("action", "pay"),
        ("redirect_url", "https://shop.example/done?a=1"),
    ];
    let paid = world
        .http
        .post(format!("{}/phone/pay", world.url))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(paid.headers()["location"], "https://shop.example/done?a=1");
    world.set(json!({"clock_ahead_seconds": 301})).await;
    assert_eq!(opens(&world, &url, &from).await.0, 400);
}

#[tokio::test]
async fn the_page_of_a_mobile_browser_opens_for_who_comes_from_the_merchant_only() {
    let world = World::start().await;
    let order = world.order("MWEB", "order-1", &[]).await;
    let url = &order["mweb_url"];
    let shop = ("referer", "https://shop.example/");
    let port = ("referer", "https://pay.example:8443/");
    let payer = ("x-payer-address", "203.0.113.9");
    let inside = ("user-agent", "Mozilla/5.0 MicroMessenger/8.0.50");
    for (said, words) in [
        (&[shop][..], None),
        (&[port], None),
        (&[shop, payer], None),
        (&[], Some("商家参数格式有误")),
        (&[("referer", "")], Some("商家参数格式有误")),
        (
            &[("referer", "android-app://shop")],
            Some("商家存在未配置的参数"),
        ),
        (
            &[("referer", "https://pay.example/")],
            Some("商家存在未配置的参数"),
        ),
        (
            &[("referer", "https://not.shop.example/")],
            Some("商家存在未配置的参数"),
        ),
        (
            &[shop, ("x-payer-address", "203.0.113.8")],
            Some("网络环境未能通过安全验证"),
        ),
        (&[shop, payer, inside], Some("请在微信外打开订单")),
    ] {
        let (status, page) = opens(&world, url, said).await;
        match words {
            None => assert_eq!(status, 200, "{said:?}: {page}"),
            Some(words) => assert!(status == 403 && page.contains(words), "{said:?}: {page}"),
        }
    }
    let away = format!("{url}&redirect_url=https%3A%2F%2Fother.example%2F");
    let (status, page) = opens(&world, &away, &[shop]).await;
    assert!(
        status == 403 && page.contains("商家存在未配置的参数"),
        "{page}"
    );
    world.set(json!({"h5_domains": ["other.example"]})).await;
    let other = ("referer", "https://other.example/");
    assert_eq!(opens(&world, &away, &[other]).await.0, 200);
}

#[tokio::test]
async fn an_order_that_was_made_older_can_be_closed() {
    let world = World::start().await;
    world.order("NATIVE", "order-1", &[]).await;
    world.order("NATIVE", "order-2", &[]).await;
    let close = async |number: &str| {
        world
            .v2("/pay/closeorder", &[("out_trade_no", number)])
            .await
    };
    assert_eq!(close("order-1").await["err_code"], "INVALID_REQUEST");
    let older = json!({"prefix": "order-1", "seconds": 301});
    let aged = world.post("/_control/age", &older);
    assert_eq!(aged.await, json!({"aged": 1}));
    assert_eq!(close("order-1").await["result_code"], "SUCCESS");
    assert_eq!(close("order-2").await["err_code"], "INVALID_REQUEST");
}
