//! Logging WeChat users in for apps: one callback domain for many sites, and
//! what a hostile browser, user or app cannot do with it.

use std::collections::BTreeMap;

use journeys::{Browser, Stack, WECHAT, unix_seconds};
use serde_json::{Value, json};
use shared::domain::app::App;
use url::Url;

const ALICE: &str = "oSimulatedPayerAlice00000001";
const BOB: &str = "oSimulatedPayerBob0000000002";

async fn with_site(site: &str) -> Stack {
    let site = site.to_owned();
    Stack::with_app(|app| app.sites = vec![site]).await
}

fn browser(stack: &Stack) -> Browser {
    stack.browser(WECHAT)
}

fn authorize_url(stack: &Stack, redirect_uri: &str, scope: &str) -> String {
    let wish = json!({"redirect_uri": redirect_uri, "scope": scope, "state": "the app's ?#=+% 茶"});
    stack.signed_url("/oauth/authorize", wish)
}

/// Where a request is redirected to.
async fn next(browser: &Browser, address: &str) -> Url {
    let page = browser.get(address).await;
    assert!(page.location().is_some(), "{address}: {page:?}");
    page.location().unwrap()
}

/// From the app's address to WeChat and back to the hub's callback, as this
/// user: `alice`, `bob`, `snapshot` or `refuse`.
async fn at_callback(browser: &Browser, authorize: &str, user: &str) -> Url {
    let mut wechat = next(browser, authorize).await;
    wechat.query_pairs_mut().append_pair("_user", user);
    next(browser, wechat.as_str()).await
}

async fn log_in(browser: &Browser, authorize: &str, user: &str) -> Url {
    let callback = at_callback(browser, authorize, user).await;
    next(browser, callback.as_str()).await
}

fn params(url: &Url) -> BTreeMap<String, String> {
    let all: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let params: BTreeMap<String, String> = all.iter().cloned().collect();
    assert_eq!(all.len(), params.len(), "a parameter is repeated: {url}");
    params
}

async fn exchange(stack: &Stack, code: &str) -> (u16, Value) {
    let body = stack.signed(json!({"code": code}));
    let url = format!("{}/v1/oauth/token", stack.setting("HUB_URL"));
    let answer = stack.send(|http| http.post(url).json(&body)).await;
    (answer.status, answer.body)
}

/// A page and its status: never blank, never a redirect.
async fn page(browser: &Browser, address: &str) -> (u16, String) {
    let page = browser.get(address).await;
    assert!(
        page.html.contains("The login was not completed"),
        "{address}: {page:?}"
    );
    (page.status, page.html)
}

#[tokio::test]
async fn two_apps_on_different_hosts_log_in_the_same_user() {
    let tea = with_site("https://tea.example/").await;
    let cup = with_site("https://cup.example:8443/wechat").await;
    let browser = browser(&tea);
    for (stack, back, scope) in [
        (&tea, "https://tea.example/login", "snsapi_base"),
        (
            &cup,
            "https://cup.example:8443/wechat/back.php",
            "snsapi_userinfo",
        ),
    ] {
        let home = log_in(&browser, &authorize_url(stack, back, scope), "alice").await;
        assert_eq!(home.as_str().split('?').next(), Some(back));
        let given = params(&home);
        assert_eq!(given["state"], "the app's ?#=+% 茶");
        assert_eq!((given.len(), given["code"].len()), (2, 64));
        let (status, user) = exchange(stack, &given["code"]).await;
        assert_eq!((status, &user["openid"]), (200, &json!(ALICE)), "{user}");
        assert_eq!(user["is_snapshot"], false);
        if scope == "snsapi_base" {
            assert_eq!(user.as_object().unwrap().len(), 2, "{user}");
        } else {
            assert_eq!(user["nickname"], "Alice");
            assert_eq!(user["unionid"], "uSimulatedPayerAlice00000001");
            assert!(user["headimgurl"].as_str().unwrap().starts_with("https://"));
        }
        assert_eq!(exchange(stack, &given["code"]).await.0, 400, "used twice");
    }
}

#[tokio::test]
async fn a_code_is_its_own_apps_and_good_once_even_when_asked_for_at_once() {
    let stack = with_site("https://tea.example/").await;
    let other = with_site("https://tea.example/").await;
    let authorize = authorize_url(&stack, "https://tea.example/", "snsapi_base");
    let code = |home: &Url| params(home)["code"].clone();

    let stolen = code(&log_in(&browser(&stack), &authorize, "bob").await);
    let (status, problem) = exchange(&other, &stolen).await;
    assert_eq!((status, &problem["code"]), (400, &json!("code_invalid")));
    assert_eq!(
        exchange(&stack, &stolen).await.0,
        400,
        "found by another, so used up"
    );

    let raced = code(&log_in(&browser(&stack), &authorize, "bob").await);
    let (a, b, c) = tokio::join!(
        exchange(&stack, &raced),
        exchange(&stack, &raced),
        exchange(&stack, &raced)
    );
    let mut statuses = [a.0, b.0, c.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400]);

    for made_up in ["x", &"0".repeat(64), "../app"] {
        assert_eq!(exchange(&stack, made_up).await.0, 400, "{made_up}");
    }
    assert_eq!(exchange(&stack, &"0".repeat(65)).await.0, 422);
    let unsigned =
        json!({"app_id": stack.app.id, "code": raced, "timestamp": unix_seconds(), "nonce": "n"});
    let url = format!("{}/v1/oauth/token", stack.setting("HUB_URL"));
    assert_eq!(
        stack
            .send(|http| http.post(url).json(&unsigned))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_state_cannot_be_forged_replayed_or_moved_to_another_browser() {
    let stack = with_site("https://tea.example/").await;
    let authorize = authorize_url(&stack, "https://tea.example/", "snsapi_base");
    let callback = format!("{}/oauth/callback", stack.setting("HUB_URL"));
    let (victim, thief) = (browser(&stack), browser(&stack));
    for query in [
        "",
        "?state=",
        "?code=x",
        "?code=x&state=made-up",
        "?state=a&state=b",
    ] {
        assert_eq!(
            page(&thief, &format!("{callback}{query}")).await.0,
            400,
            "{query}"
        );
    }

    let back = at_callback(&victim, &authorize, "alice").await;
    assert_eq!(page(&thief, back.as_str()).await.0, 400, "another browser");
    assert_eq!(
        page(&victim, back.as_str()).await.0,
        400,
        "the state is used up"
    );

    // The cookie's name is no secret, its value is.
    let back = at_callback(&victim, &authorize, "alice").await;
    let state = params(&back)["state"].clone();
    let planted = stack
        .send(|http| {
            let cookie = format!("hub_login_{}={}", &state[..8], "0".repeat(32));
            http.get(back.as_str()).header("cookie", cookie)
        })
        .await;
    assert_eq!(planted.status, 400, "a cookie of the right name");

    // A thief with a login of their own under way has a cookie, but not this one.
    let back = at_callback(&victim, &authorize, "alice").await;
    at_callback(&thief, &authorize, "bob").await;
    assert_eq!(
        page(&thief, back.as_str()).await.0,
        400,
        "another login's browser"
    );

    let back = at_callback(&victim, &authorize, "alice").await;
    assert!(params(&next(&victim, back.as_str()).await).contains_key("code"));
    assert_eq!(page(&victim, back.as_str()).await.0, 400, "replayed");
}

#[tokio::test]
async fn two_logins_in_two_tabs_do_not_end_each_other() {
    let stack = with_site("https://tea.example/").await;
    let authorize = authorize_url(&stack, "https://tea.example/", "snsapi_base");
    let browser = browser(&stack);
    let first = at_callback(&browser, &authorize, "alice").await;
    let second = at_callback(&browser, &authorize, "alice").await;
    for back in [first, second] {
        assert!(params(&next(&browser, back.as_str()).await).contains_key("code"));
    }
}

#[tokio::test]
async fn the_browser_is_sent_to_registered_sites_only() {
    let stack = with_site("https://good.example/app").await;
    let browser = browser(&stack);
    for bad in [
        "https://evil.example/app/",
        "https://good.example.evil.com/app/",
        "https://good.example@evil.example/app/",
        "https://good.example\\@evil.example/app/",
        "https://evil.example\\.good.example/app/",
        "https://good.example%2f@evil.example/app/",
        "https://good.example:8443/app/",
        "https://good.example:443/app/",
        "http://good.example/app/",
        "https://good.example/",
        "https://good.example/application",
        "https://good.example/app/../",
        "https://good.example/app/%2e%2e/evil",
        "https://good.example/app/%2e%2e%2fevil",
        "https://good.example/app/..;/evil",
        "https://good.example/app?code=mine",
        "https://good.example/app#",
        "//good.example/app",
        "javascript:alert(1)",
    ] {
        let (status, html) = page(&browser, &authorize_url(&stack, bad, "snsapi_base")).await;
        assert_eq!(status, 400, "{bad}");
        assert!(
            html.contains("param_invalid") && !html.contains("example"),
            "{html}"
        );
    }
}

#[tokio::test]
async fn an_authorize_address_is_signed_fresh_and_for_this_purpose() {
    let stack = with_site("https://tea.example/").await;
    let browser = browser(&stack);
    let good =
        json!({"redirect_uri": "https://tea.example/", "scope": "snsapi_base", "state": "s"});
    for (changes, status, code) in [
        (json!({"scope": "snsapi_login"}), 400, "param_invalid"),
        (json!({"scope": null}), 400, "param_invalid"),
        (json!({"state": null}), 400, "param_invalid"),
        (json!({"state": "x".repeat(129)}), 400, "param_invalid"),
        (json!({"order_no": "A000000001"}), 400, "param_invalid"),
        (
            json!({"timestamp": unix_seconds() - 301}),
            401,
            "timestamp_expired",
        ),
        (json!({"sign": "0"}), 401, "sign_invalid"),
        (json!({"app_id": "0000000000000000"}), 401, "app_unknown"),
    ] {
        let mut wish = good.clone();
        wish.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        let found = page(&browser, &stack.signed_url("/oauth/authorize", wish)).await;
        assert_eq!(found.0, status, "{changes}");
        assert!(found.1.contains(code), "{changes}: {}", found.1);
    }
    let repeated = format!(
        "{}&redirect_uri=https://evil.example/",
        stack.signed_url("/oauth/authorize", good)
    );
    assert_eq!(page(&browser, &repeated).await.0, 400);
    let blank = format!("{}/oauth/authorize", stack.setting("HUB_URL"));
    assert_eq!(page(&browser, &blank).await.0, 400);
}

#[tokio::test]
async fn who_declines_comes_back_with_an_error_and_the_state() {
    let stack = with_site("https://tea.example/").await;
    let authorize = authorize_url(&stack, "https://tea.example/", "snsapi_userinfo");
    let home = log_in(&browser(&stack), &authorize, "refuse").await;
    let expected = [("error", "access_denied"), ("state", "the app's ?#=+% 茶")];
    assert_eq!(
        params(&home),
        expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    );

    // WeChat does not know the code, or it is none.
    let long = "c".repeat(600);
    for code in ["made-up", "\u{1}", "a b&c=d", "茶", &long] {
        let browser = browser(&stack);
        let mut back = at_callback(&browser, &authorize, "alice").await;
        let state = params(&back)["state"].clone();
        back.query_pairs_mut()
            .clear()
            .append_pair("code", code)
            .append_pair("state", &state);
        let home = next(&browser, back.as_str()).await;
        assert_eq!(params(&home)["error"], "code_invalid", "{code}");
    }
}

#[tokio::test]
async fn a_time_with_a_sign_logs_nobody_in() {
    let stack = with_site("https://tea.example/").await;
    let wish = json!({
        "redirect_uri": "https://tea.example/", "scope": "snsapi_base", "state": "s",
        "timestamp": format!("+{}", unix_seconds()),
    });
    let url = stack.signed_url("/oauth/authorize", wish);
    let page = browser(&stack).get(&url).await;
    assert_eq!(page.status, 400, "{page:?}");
    assert!(page.html.contains("timestamp"), "{}", page.html);
}

#[tokio::test]
async fn the_page_of_a_refused_log_in_names_parameter_and_rule_in_both_languages() {
    let stack = with_site("https://tea.example/").await;
    for (name, value, field, rule) in [
        ("scope", "snsapi_login", "scope", "must be snsapi_base or"),
        ("<b>x", "1", "&lt;b&gt;x", "is not a parameter of this"),
    ] {
        let mut wish = json!({
            "redirect_uri": "https://tea.example/", "scope": "snsapi_base", "state": "s",
        });
        wish[name] = value.into();
        let url = stack.signed_url("/oauth/authorize", wish);
        let (status, html) = page(&browser(&stack), &url).await;
        assert_eq!(status, 400, "{name}");
        let chinese = format!("参数 {field} 有误：<span lang=\"en\">{rule}");
        let english = format!("param_invalid: {field} {rule}");
        assert!(html.contains(&chinese) && html.contains(&english), "{html}");
    }
}

#[tokio::test]
async fn a_virtual_account_is_marked_for_apps_and_cannot_pay() {
    let stack = with_site("https://tea.example/").await;
    let authorize = authorize_url(&stack, "https://tea.example/", "snsapi_base");
    let home = log_in(&browser(&stack), &authorize, "snapshot").await;
    let (_, user) = exchange(&stack, &params(&home)["code"]).await;
    assert_eq!(user["is_snapshot"], true, "{user}");

    let order = stack.native(json!({"trade_type": null})).await;
    let browser = browser(&stack);
    let back = at_callback(&browser, order["pay_url"].as_str().unwrap(), "snapshot").await;
    assert_eq!(page(&browser, back.as_str()).await.0, 400);
}

#[tokio::test]
async fn an_app_may_choose_the_signed_profile_and_no_endpoint_takes_it() {
    let change = |app: &mut App| {
        app.sites = vec!["https://tea.example/".to_owned()];
        app.signed_profile = true;
    };
    let stack = Stack::with_app(change).await;
    let mut wish = json!({"redirect_uri": "https://tea.example/", "scope": "snsapi_userinfo"});
    wish["state"] = "x&order_no=A000000001&refund_fee=1&refund_no=R1".into();
    let (status, html) = page(
        &browser(&stack),
        &stack.signed_url("/oauth/authorize", wish.clone()),
    )
    .await;
    assert!(
        status == 400 && html.contains("must not contain &amp;"),
        "{html}"
    );
    wish["state"] = "the app's = 茶".into();
    let authorize = stack.signed_url("/oauth/authorize", wish);
    let home = log_in(&browser(&stack), &authorize, "bob").await;
    let given = params(&home);
    assert_eq!(given["sign"], stack.app.sign(&given), "{given:?}");
    let expected = [
        ("app_id", stack.app.id.as_str()),
        ("purpose", "login"),
        ("state", "the app's = 茶"),
        ("openid", BOB),
        ("nickname", "Bob"),
        ("is_snapshot", "false"),
    ];
    for (name, value) in expected {
        assert_eq!(given[name], value);
    }
    let age = unix_seconds() - given["timestamp"].parse::<i64>().unwrap();
    assert!((0..60).contains(&age) && given["nonce"].len() == 32);

    let query = home.query().unwrap();
    let base = stack.setting("HUB_URL");
    for path in [
        "/oauth/authorize",
        "/v1/jssdk/config",
        "/v1/orders/A000000001",
        "/pay",
        "/pay/status",
    ] {
        let url = format!("{base}{path}?{query}");
        let status = stack.send(|http| http.get(url)).await.status;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    // The signature holds: what they refuse is the parameters.
    for path in ["/v1/oauth/token", "/v1/orders"] {
        let url = format!("{base}{path}");
        let answer = stack.send(|http| http.post(url).json(&given)).await;
        assert_eq!(answer.body["code"], "param_invalid", "{path}: {answer:?}");
    }
    let url = format!("{base}/v1/orders/A000000001/close");
    let answer = stack.send(|http| http.post(url).json(&given)).await;
    assert_eq!(answer.body["code"], "sign_invalid", "{answer:?}");
}

#[tokio::test]
async fn the_demo_shop_logs_a_user_in() {
    let stack = Stack::new().await;
    let shop = stack.setting("SHOP_URL");
    let browser = browser(&stack);
    let authorize = next(&browser, &format!("{shop}/login")).await;
    let back = log_in(&browser, authorize.as_str(), "bob").await;
    assert!(back.as_str().starts_with(&format!("{shop}/logged-in?")));
    let stolen = stack.page(back.as_str(), WECHAT, "en").await;
    assert_eq!(stolen.status, 400, "another browser: {stolen:?}");
    let html = browser.get(back.as_str()).await.html;
    assert!(html.contains("Hello, Bob") && html.contains(BOB), "{html}");
    let again = browser.get(back.as_str()).await;
    assert!(again.html.contains("code_invalid"));
}

#[tokio::test]
async fn a_disabled_app_logs_nobody_in() {
    let stack = Stack::with_app(|app| {
        app.sites = vec!["https://tea.example/".to_owned()];
        app.disabled = true;
    })
    .await;
    let authorize = authorize_url(&stack, "https://tea.example/", "snsapi_base");
    assert_eq!(page(&browser(&stack), &authorize).await.0, 403);
}
