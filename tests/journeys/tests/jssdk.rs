//! JS-SDK signatures for the pages of apps. The expected ones are computed
//! here, with the ticket that the simulator has in circulation.

use journeys::Stack;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

const SITE: &str = "https://tea.example/shop";

async fn with_site() -> Stack {
    Stack::with_app(|app| app.sites = vec![SITE.to_owned()]).await
}

/// The ticket as anybody with the account's secret gets it from WeChat.
async fn ticket_at_wechat(stack: &Stack) -> String {
    let base = stack.setting("SIMULATOR_URL");
    let asked = json!({
        "grant_type": "client_credential",
        "appid": stack.setting("WECHAT_APP_ID"),
        "secret": stack.setting("WECHAT_APP_SECRET"),
    });
    let url = format!("{base}/cgi-bin/stable_token");
    let token = stack.send(|http| http.post(url).json(&asked)).await.body;
    let token = token["access_token"].as_str().unwrap().to_owned();
    let url = format!("{base}/cgi-bin/ticket/getticket?access_token={token}&type=jsapi");
    let ticket = stack.send(|http| http.get(url)).await.body;
    ticket["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_page_of_the_app_gets_a_signature_that_wechat_would_accept() {
    let stack = with_site().await;
    let page = format!("{SITE}/item?id=7&from=%E8%8C%B6");
    let url = stack.signed_url("/v1/jssdk/config", json!({"url": page}));
    let config = stack.send(|http| http.get(url)).await;
    assert_eq!(config.status, 200, "{config:?}");
    let config = config.body;
    assert_eq!(config["appId"], stack.setting("WECHAT_APP_ID"));
    let text = format!(
        "jsapi_ticket={}&noncestr={}&timestamp={}&url={page}",
        ticket_at_wechat(&stack).await,
        config["nonceStr"].as_str().unwrap(),
        config["timestamp"].as_i64().unwrap(),
    );
    let expected = hex::encode(Sha1::digest(text));
    assert_eq!(config["signature"], Value::String(expected));
}

#[tokio::test]
async fn nothing_is_signed_for_the_pages_of_others() {
    let stack = with_site().await;
    for (changes, status, code) in [
        (json!({"url": "https://tea.example/"}), 422, "param_invalid"),
        (
            json!({"url": "https://tea.example.evil.com/shop/"}),
            422,
            "param_invalid",
        ),
        (
            json!({"url": "https://tea.example@evil.example/shop/"}),
            422,
            "param_invalid",
        ),
        (
            json!({"url": "https://tea.example/shop/../admin"}),
            422,
            "param_invalid",
        ),
        (
            json!({"url": "http://tea.example/shop/"}),
            422,
            "param_invalid",
        ),
        (json!({"url": format!("{SITE}/#x")}), 422, "param_invalid"),
        (json!({}), 422, "param_invalid"),
        (
            json!({"url": SITE, "order_no": "A000000001"}),
            422,
            "param_invalid",
        ),
        (
            json!({"url": SITE, "timestamp": 1_700_000_000}),
            401,
            "timestamp_expired",
        ),
        (json!({"url": SITE, "sign": "0"}), 401, "sign_invalid"),
    ] {
        let url = stack.signed_url("/v1/jssdk/config", changes.clone());
        let refused = stack.send(|http| http.get(url)).await;
        let found = (refused.status, refused.body["code"].as_str().unwrap());
        assert_eq!(found, (status, code), "{changes}");
    }
    let without_sites = Stack::new().await;
    let url = without_sites.signed_url("/v1/jssdk/config", json!({"url": SITE}));
    assert_eq!(without_sites.send(|http| http.get(url)).await.status, 422);
}
