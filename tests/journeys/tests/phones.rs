//! Phones' browsers outside WeChat (MWEB): from which page WeChat is reached,
//! from which address, and where not at all.

use journeys::{Browser, PHONE, Page, Stack, WECHAT};
use serde_json::{Value, json};

const HOME: &str = "203.0.113.9";
const TRAIN: &str = "2001:db8::9";

fn address(order: &Value) -> &str {
    order["pay_url"].as_str().unwrap()
}

/// WeChat's page, on which the payer can pay.
fn can_pay(page: &Page) -> bool {
    page.status == 200 && page.html.contains("value=\"pay\"")
}

/// The page of the shop that this browser comes from.
async fn shop_page(stack: &Stack, browser: &Browser) -> Page {
    let shop = browser.get(stack.setting("SHOP_URL")).await;
    assert_eq!(shop.status, 200, "{shop:?}");
    shop
}

#[tokio::test]
async fn a_phone_comes_to_wechat_from_a_page_of_the_hub_and_back_to_it() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": null})).await;
    let phone = stack.browser(PHONE).at(HOME);
    // From a text message, a native app, or the shop's page: WeChat sees the hub.
    let shop = shop_page(&stack, &phone).await;
    for page in [
        phone.get(address(&order)).await,
        phone.open_from(&shop, address(&order)).await,
    ] {
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.goes_on(), "{page:?}");
        assert_eq!(page.headers["referrer-policy"], "origin");
        assert!(can_pay(&phone.follow(&page).await));
    }
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(shown["trade_type"], "MWEB");

    // WeChat brings the payer back, paid or not.
    let back = format!("{}&hub_back=1", address(&order));
    let waiting = phone.get(&back).await;
    assert!(waiting.html.contains("returns to the shop by itself"));
    assert!(!waiting.goes_on());
    assert!(can_pay(&phone.follow(&waiting).await));
    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "delivered").await;
    let paid = phone.get(&back).await;
    assert!(paid.html.contains("Payment received"));
    assert_eq!(paid.headers["referrer-policy"], "no-referrer");
}

#[tokio::test]
async fn an_app_that_takes_the_browser_to_wechat_itself_needs_a_domain_of_its_own_there() {
    let stack = Stack::new().await;
    let order = stack
        .native(json!({"trade_type": "MWEB", "client_ip": HOME}))
        .await;
    let mweb_url = order["mweb_url"].as_str().unwrap();
    let phone = stack.browser(PHONE).at(HOME);
    let typed = phone.get(mweb_url).await;
    assert_eq!(typed.status, 403);
    assert!(typed.html.contains("商家参数格式有误"), "{typed:?}");
    let shop = shop_page(&stack, &phone).await;
    let linked = phone.open_from(&shop, mweb_url).await;
    assert!(linked.html.contains("商家存在未配置的参数"), "{linked:?}");

    // By the hub's page it is the same attempt, and it opens.
    let page = phone.get(address(&order)).await;
    assert!(can_pay(&phone.follow(&page).await));
    let url = url::Url::parse(mweb_url).unwrap();
    let mut query = url.query_pairs();
    let back = query.find(|(name, _)| name == "redirect_url").unwrap().1;
    assert_eq!(back, format!("{}&hub_back=1", address(&order)));
    stack.pay(&order["trade_no"], json!({})).await;
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(shown["trade_no"], order["trade_no"]);
}

#[tokio::test]
async fn a_payer_at_another_address_gets_another_attempt() {
    let stack = Stack::new().await;
    let order = stack.native(json!({"trade_type": "MWEB"})).await;
    // A robot that makes a preview of the link came first.
    let robot = stack.browser(PHONE).at("198.51.100.1");
    robot.get(address(&order)).await;
    let phone = stack.browser(PHONE);
    let home = phone.at(HOME);
    let page = home.get(address(&order)).await;
    assert!(can_pay(&home.follow(&page).await));
    // From Wi-Fi to 4G: what was opened at home does not open here.
    let train = home.at(TRAIN);
    let refused = train.follow(&page).await;
    assert!(
        refused.html.contains("网络环境未能通过安全验证"),
        "{refused:?}"
    );
    let page = train.get(address(&order)).await;
    assert!(can_pay(&train.follow(&page).await));
    let shown = stack.show(&order["order_no"]).await.body;
    let third = shown["trade_no"].as_str().unwrap();
    assert!(third.ends_with("03"), "{third}");
    let known = stack.at_wechat(&shown["trade_no"]).await;
    assert_eq!(known["parameters"]["spbill_create_ip"], TRAIN);
}

#[tokio::test]
async fn inside_wechat_nobody_is_sent_to_the_page_for_other_browsers() {
    let stack = Stack::new().await;
    let order = stack
        .native(json!({"trade_type": "MWEB", "client_ip": HOME}))
        .await;
    for (language, words) in [
        ("en", "Open this page in your browser"),
        ("zh-CN", "在浏览器中打开"),
    ] {
        let page = stack.page(address(&order), WECHAT, language).await;
        let html = page.body.as_str().unwrap();
        assert_eq!(page.status, 200, "{page:?}");
        assert!(
            html.contains(words) && !html.contains("checkmweb"),
            "{html}"
        );
    }

    // Where the app has not said how, the visitor pays inside WeChat, whoever
    // came first.
    let order = stack.native(json!({"trade_type": null})).await;
    stack.browser(PHONE).at(HOME).get(address(&order)).await;
    let page = stack.browser(WECHAT).at(HOME).open(address(&order)).await;
    assert!(page.html.contains("id=\"bridge\""), "{page:?}");
    assert!(!page.html.contains("checkmweb"));
}
