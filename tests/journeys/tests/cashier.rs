//! The payer's pages: the second handshake, the QR code, the bridge.

use journeys::{DESKTOP, Stack, WECHAT};
use serde_json::{Value, json};

fn address(order: &Value) -> &str {
    order["pay_url"].as_str().unwrap()
}

#[tokio::test]
async fn a_desktop_shows_a_qr_code_and_returns_to_the_shop_once_paid() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    assert_eq!(order["status"], "created");
    let page = stack.page(address(&order), DESKTOP, "en-US,en").await;
    let html = page.body.as_str().unwrap();
    assert_eq!(page.status, 200, "{html}");
    assert!(html.contains("<svg") && html.contains("19.99") && html.contains("Scan with WeChat"));
    let chinese = stack.page(address(&order), DESKTOP, "zh-CN,zh;q=0.9").await;
    assert!(
        chinese
            .body
            .as_str()
            .unwrap()
            .contains("请用微信扫一扫支付")
    );

    let status = address(&order).replace("/pay?", "/pay/status?");
    let waiting = stack.page(&status, DESKTOP, "en").await;
    assert_eq!(waiting.body["status"], "paying");
    assert_eq!(waiting.body["return_url"], Value::Null);

    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "delivered").await;
    let done = stack.page(&status, DESKTOP, "en").await;
    assert_eq!(done.body["status"], "paid");
    let back = done.body["return_url"].as_str().unwrap();
    let shop = stack.page(back, DESKTOP, "en").await;
    assert_eq!(shop.status, 200, "{back}");
    let again = stack.page(address(&order), DESKTOP, "en").await;
    assert!(again.body.as_str().unwrap().contains("Payment received"));
}

#[tokio::test]
async fn inside_wechat_the_user_is_recognised_and_the_bridge_pays() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    let page = stack.browser(WECHAT).open(address(&order)).await;
    assert!(page.url.path().ends_with("/pay"), "{}", page.url);
    assert_eq!(page.status, 200);
    let params = bridge_params(&page.html);
    for name in [
        "appId",
        "timeStamp",
        "nonceStr",
        "package",
        "signType",
        "paySign",
    ] {
        assert!(params[name].is_string(), "{name}: {params}");
    }
    let url = format!("{}/phone/jsapi", stack.setting("SIMULATOR_URL"));
    let paid = stack.send(|http| http.post(url).json(&params)).await;
    assert_eq!(paid.status, 200, "{paid:?}");
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(
        (&shown["status"], &shown["trade_type"]),
        (&json!("paid"), &json!("JSAPI"))
    );
}

#[tokio::test]
async fn an_app_that_knows_the_payer_needs_no_login() {
    let stack = Stack::new().await;
    let known = json!({"trade_type": "JSAPI", "openid": "oSimulatedPayerBob0000000002"});
    let order = stack.native(known).await;
    assert_eq!(order["status"], "paying");
    let page = stack.page(address(&order), WECHAT, "zh-CN").await;
    assert_eq!(page.status, 200, "{page:?}");
    let params = bridge_params(page.body.as_str().unwrap());
    assert!(
        params["package"]
            .as_str()
            .unwrap()
            .starts_with("prepay_id=")
    );
}

#[tokio::test]
async fn outside_wechat_an_order_for_wechat_says_where_to_open_it() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": "JSAPI"})).await;
    let page = stack.page(address(&order), DESKTOP, "en").await;
    assert!(
        page.body
            .as_str()
            .unwrap()
            .contains("Open this page in WeChat")
    );
}

#[tokio::test]
async fn a_forged_or_changed_pay_address_shows_a_page_and_no_code() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let good = address(&order);
    let other = stack.native(json!({})).await;
    for bad in [
        good.replace("total_fee=1999", "total_fee=1"),
        good.replace(
            order["order_no"].as_str().unwrap(),
            other["order_no"].as_str().unwrap(),
        ),
        format!("{good}&total_fee=1999"),
        format!("{good}&attach=other"),
        good.split("&sign=").next().unwrap().to_owned(),
        good.split('?').next().unwrap().to_owned(),
        format!("{}/pay?app_id=%00&sign=%FF", stack.setting("HUB_URL")),
    ] {
        let page = stack.page(&bad, DESKTOP, "en").await;
        let html = page.body.as_str().unwrap();
        assert!((400..500).contains(&page.status), "{bad}: {}", page.status);
        assert!(html.contains("not valid"), "{bad}: {html}");
        assert!(!html.contains("<svg"), "{bad}");
        let status = stack
            .page(&bad.replace("/pay?", "/pay/status?"), DESKTOP, "en")
            .await;
        assert!((400..500).contains(&status.status), "{bad}");
    }
}

#[tokio::test]
async fn what_wechat_appends_to_a_shared_link_does_no_harm() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let shared = format!("{}&from=singlemessage&isappinstalled=0", address(&order));
    let page = stack.page(&shared, DESKTOP, "en").await;
    assert!(page.body.as_str().unwrap().contains("<svg"), "{page:?}");
}

#[tokio::test]
async fn an_address_signed_by_the_app_itself_must_be_true_to_the_order() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    for (fee, expected) in [("1999", 200), ("1998", 422)] {
        let mut params: std::collections::BTreeMap<String, String> = [
            ("app_id", stack.app.id.as_str()),
            ("order_no", order["order_no"].as_str().unwrap()),
            ("total_fee", fee),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        let sign = stack.app.sign(&params);
        params.insert("sign".into(), sign);
        let base = format!("{}/pay", stack.setting("HUB_URL"));
        let url = url::Url::parse_with_params(&base, params).unwrap();
        assert_eq!(
            stack.page(url.as_str(), DESKTOP, "en").await.status,
            expected,
            "{fee}"
        );
    }
}

#[tokio::test]
async fn a_login_cannot_be_forged_replayed_or_moved_to_another_browser() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    let callback = format!("{}/oauth/callback", stack.setting("HUB_URL"));
    let forged = stack
        .page(&format!("{callback}?code=x&state=y"), WECHAT, "en")
        .await;
    assert_eq!(forged.status, 400, "{forged:?}");
    assert!(!forged.body.as_str().unwrap().is_empty());

    // Another browser has the state but not the cookie.
    let redirect = stack.browser(WECHAT).get(address(&order)).await;
    let to_wechat = redirect.location().unwrap();
    let from_wechat = stack.browser(WECHAT).get(to_wechat.as_str()).await;
    let back = from_wechat.location().unwrap().to_string();
    assert!(back.starts_with(&callback), "{back}");
    let stolen = stack.page(&back, WECHAT, "en").await;
    assert_eq!(stolen.status, 400, "{stolen:?}");
    // And the state is used up now.
    let cookie = redirect.headers["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let replayed = stack
        .send(|http| http.get(&back).header("cookie", cookie))
        .await;
    assert_eq!(replayed.status, 400, "{replayed:?}");
}

fn bridge_params(html: &str) -> Value {
    let start = html
        .find("id=\"bridge\">")
        .expect("the page has the bridge's parameters");
    let text = &html[start + "id=\"bridge\">".len()..];
    let text = &text[..text.find("</script>").unwrap()];
    serde_json::from_str(text).unwrap()
}
