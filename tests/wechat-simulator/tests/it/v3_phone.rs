//! Tests of the payer's telephone with orders of APIv3.

use serde_json::{Value, json};

use crate::harness::World;
use crate::v3_client::Client;

const NONCE: &str = "593BEC0C930BF1AFEB40B4A08C8FB242";

fn bridged(client: &Client<'_>, prepay_id: &str) -> Value {
    let package = format!("prepay_id={prepay_id}");
    let message = format!("{}\n1554208460\n{NONCE}\n{package}\n", client.app_id);
    json!({
        "appId": client.app_id,
        "timeStamp": "1554208460",
        "nonceStr": NONCE,
        "package": package,
        "signType": "RSA",
        "paySign": client.identity.sign(&message),
    })
}

#[tokio::test]
async fn the_bridge_pays_only_what_the_merchants_key_has_signed() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    let (_, order) = client.order("jsapi", "order-1", json!({})).await;
    let good = bridged(&client, order["prepay_id"].as_str().unwrap());
    let pair = Client::of(&world, &client.mch_id, &client.app_id, 1).await;
    let foreign = bridged(&pair, order["prepay_id"].as_str().unwrap());
    let client = Client::start(&world).await;
    let answer = world.post("/phone/jsapi", &foreign).await;
    assert_eq!(answer["err_msg"], "get_brand_wcpay_request:fail");
    for (name, value) in [
        ("timeStamp", json!("1554208461")),
        ("appId", json!("wx1")),
        ("signType", json!("MD5")),
        ("package", json!("prepay_id=other")),
        ("paySign", json!("")),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        let answer = world.post("/phone/jsapi", &bad).await;
        assert_eq!(answer["err_msg"], "get_brand_wcpay_request:fail", "{bad}");
    }
    let answer = world.post("/phone/jsapi", &good).await;
    assert_eq!(answer["err_msg"], "get_brand_wcpay_request:ok");
    assert_eq!(client.query("order-1").await.1["trade_state"], "SUCCESS");
}

#[tokio::test]
async fn an_app_signs_the_bare_prepay_id() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    let (_, order) = client.order("app", "order-1", json!({})).await;
    let prepay_id = order["prepay_id"].as_str().unwrap();
    let signed = |line: &str| {
        let message = format!("{}\n1554208460\n{NONCE}\n{line}\n", client.app_id);
        json!({
            "appid": client.app_id,
            "partnerid": client.mch_id,
            "prepayid": prepay_id,
            "package": "Sign=WXPay",
            "noncestr": NONCE,
            "timestamp": "1554208460",
            "sign": client.identity.sign(&message),
        })
    };
    let like_jsapi = signed(&format!("prepay_id={prepay_id}"));
    let refused = world.post("/phone/app", &like_jsapi).await;
    assert_eq!(refused["err_msg"], "get_brand_wcpay_request:fail");
    let mut stranger = signed(prepay_id);
    stranger["partnerid"] = json!("1900000109");
    let refused = world.post("/phone/app", &stranger).await;
    assert_eq!(refused["err_msg"], "get_brand_wcpay_request:fail");
    let paid = world.post("/phone/app", &signed(prepay_id)).await;
    assert_eq!(paid["err_msg"], "get_brand_wcpay_request:ok");
}

#[tokio::test]
async fn a_phones_browser_opens_the_h5_page_for_five_minutes() {
    let world = World::start().await;
    let client = Client::start(&world).await;
    let (_, order) = client.order("h5", "order-1", json!({})).await;
    let url = order["h5_url"].as_str().unwrap();
    let open = async |from: &str| {
        let request = world.http.get(url).header("referer", from);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(open("https://shop.example/").await, 200);
    assert_eq!(open("https://other.example/").await, 403);
    world.set(json!({"clock_ahead_seconds": 301})).await;
    assert_eq!(open("https://shop.example/").await, 400);
}
