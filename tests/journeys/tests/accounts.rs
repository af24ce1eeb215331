//! Several merchants and accounts in one installation: each order goes to its own
//! merchant through its own account, and nobody's keys speak of another's money.

use std::path::PathBuf;

use journeys::{DESKTOP, PHONE, Stack, WECHAT, auth_code, eventually};
use serde_json::{Value, json};
use shared::ambient::random_hex;
use shared::domain::merchant::SignType;
use shared::domain::signature::Params;
use shared::wechat::v2::sign::sign;
use shared::wechat::v2::xml;

use crate::brand::{Brand, done, file, paid_and_back};

fn version(stack: &Stack) -> &'static str {
    if stack.is_v3() { "3" } else { "2" }
}

#[tokio::test]
async fn each_way_to_pay_goes_to_the_apps_merchant_through_the_account_that_serves() {
    let first = Stack::new().await;
    let brand = Brand::register(&first, version(&first)).await;
    let stack = brand.stack().await;
    for (asked, account) in [
        (json!({"trade_type": "NATIVE"}), &brand.official),
        (
            json!({"trade_type": "NATIVE", "account": brand.mini}),
            &brand.mini,
        ),
        (json!({"trade_type": "APP"}), &brand.mobile),
    ] {
        let order = stack.native(asked.clone()).await;
        let known = stack.at_wechat(&order["trade_no"]).await;
        assert_eq!(known["mch_id"], *brand.mch_id, "{asked}: {known}");
        assert_eq!(known["app_id"], **account, "{asked}: {known}");
        let shown = stack.show(&order["order_no"]).await.body;
        assert_eq!(shown["account"], **account, "{asked}: {shown}");
        if let Some(params) = order.get("app_params") {
            assert_eq!(params["appid"], *brand.mobile);
            assert_eq!(params["partnerid"], *brand.mch_id);
        }
        paid_and_back(&stack, &order).await;
    }
    // The first merchant's apps go on as before.
    let order = first.native(json!({})).await;
    let known = first.at_wechat(&order["trade_no"]).await;
    assert_eq!(known["mch_id"], first.setting("WECHAT_MCH_ID"), "{known}");
    paid_and_back(&first, &order).await;
}

#[tokio::test]
async fn a_mini_programs_user_is_known_and_pays_in_it() {
    let first = Stack::new().await;
    let brand = Brand::register(&first, version(&first)).await;
    let stack = brand.stack().await;
    let code = stack
        .wechat("js_code", &json!({"app_id": brand.mini}))
        .await
        .body;
    let session = |fields: Value| {
        let url = format!("{}/v1/miniprogram/session", stack.setting("HUB_URL"));
        let body = stack.signed(fields);
        let stack = &stack;
        async move { stack.send(|http| http.post(url).json(&body)).await }
    };
    let fields = json!({"js_code": code["js_code"]});
    let known = session(fields.clone()).await;
    assert_eq!(known.status, 200, "{known:?}");
    assert_eq!(known.body["account"], *brand.mini);
    assert_eq!(known.body.get("session_key"), None, "nobody has allowed it");
    let again = session(fields).await;
    assert_eq!(
        (again.status, &again.body["code"]),
        (400, &json!("code_invalid"))
    );
    let foreign = session(json!({"js_code": "js_x", "account": brand.official})).await;
    assert_eq!(
        (foreign.status, &foreign.body["field"]),
        (422, &json!("account"))
    );

    let order = stack
        .native(json!({
            "trade_type": "JSAPI", "account": brand.mini, "openid": known.body["openid"],
        }))
        .await;
    assert_eq!(order["bridge_params"]["appId"], *brand.mini, "{order}");
    // Who opens the pay page inside WeChat has another openid: the page says where.
    let page = stack
        .page(order["pay_url"].as_str().unwrap(), WECHAT, "en")
        .await;
    assert_eq!(page.status, 200);
    paid_and_back(&stack, &order).await;
}

#[tokio::test]
async fn users_log_in_through_their_apps_own_account() {
    let stack = Stack::new().await;
    let brand = Brand::register(&stack, version(&stack)).await;
    let app_id = stack.app.id.clone();
    let half = ["app", "edit", &app_id, "--merchant", &brand.mch_id];
    let refused = stack.run(&half).await;
    assert_eq!(
        refused.code, 4,
        "its accounts are the first merchant's: {refused:?}"
    );
    done(
        &stack,
        &[&half[..], &["--add-account", &brand.official]].concat(),
    )
    .await;
    let site = format!("{}/", stack.setting("SHOP_URL"));
    done(&stack, &["app", "edit", &app_id, "--add-site", &site]).await;
    let asked = json!({"redirect_uri": site, "scope": "snsapi_base", "state": "s"});
    let url = stack.signed_url("/oauth/authorize", asked);
    let sent = stack.browser(WECHAT).get(&url).await;
    let to = sent.location().unwrap().to_string();
    assert!(to.contains(&format!("appid={}", brand.official)), "{to}");
    let config = stack.signed_url("/v1/jssdk/config", json!({"url": site}));
    let config = stack.send(|http| http.get(config)).await;
    assert_eq!(config.body["appId"], *brand.official, "{config:?}");
}

#[tokio::test]
async fn one_merchants_key_never_speaks_of_anothers_order() {
    let stack = Stack::new().await;
    let brand = Brand::register(&stack, "2").await;
    let order = stack.native(json!({})).await;
    let mut fields = Params::new();
    for (name, value) in [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", stack.setting("WECHAT_APP_ID")),
        ("mch_id", &brand.mch_id),
        ("nonce_str", &random_hex()),
        ("sign_type", "HMAC-SHA256"),
        ("out_trade_no", order["trade_no"].as_str().unwrap()),
        ("transaction_id", &random_hex()[..28]),
        ("trade_type", "NATIVE"),
        ("bank_type", "CMC"),
        ("total_fee", "1999"),
        ("cash_fee", "1999"),
        ("openid", "oThief"),
        ("time_end", "20261124120000"),
    ] {
        fields.insert(name.to_owned(), value.to_owned());
    }
    let signature = sign(&fields, &brand.api_key, SignType::HmacSha256);
    fields.insert("sign".to_owned(), signature);
    let body = xml::write(&fields);
    let hub = stack.setting("HUB_NOTIFY_URL");
    for address in [
        "",
        &format!("wechat/notify/{}", stack.setting("WECHAT_MCH_ID")),
        &format!("wechat/notify/{}", brand.mch_id),
        "wechat/notify/1111111111",
    ] {
        let url = format!("{hub}{address}");
        let answer = stack.send(|http| http.post(url).body(body.clone())).await;
        assert!(
            answer.body.as_str().unwrap().contains("FAIL"),
            "{address}: {answer:?}"
        );
    }
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(shown["status"], "paying", "{shown}");
    eventually(|| async {
        let lines = stack.logged("wechat-notify", &order["order_no"]).await;
        let named = "the order is another merchant's or account's";
        match lines.iter().any(|line| line.to_string().contains(named)) {
            true => Ok(()),
            false => Err(json!(lines)),
        }
    })
    .await;
    paid_and_back(&stack, &order).await;
}

#[tokio::test]
async fn an_account_that_is_not_the_apps_or_does_not_serve_is_refused() {
    let first = Stack::new().await;
    let brand = Brand::register(&first, version(&first)).await;
    let stack = brand.stack().await;
    for (asked, rule) in [
        (
            json!({"account": first.setting("WECHAT_APP_ID")}),
            "is not one of the app's",
        ),
        (json!({"account": "wx#1"}), "must be 1 to 32 characters"),
        (
            json!({"account": brand.mobile, "trade_type": null}),
            "is not paid through in this way",
        ),
        (
            json!({"account": brand.mobile, "trade_type": "JSAPI"}),
            "is not paid through in this way",
        ),
        (
            json!({"account": brand.official, "trade_type": "APP"}),
            "is not paid through in this way",
        ),
    ] {
        let refused = stack.create(&stack.order(asked.clone())).await;
        assert_eq!(refused.status, 422, "{asked}: {refused:?}");
        assert_eq!(refused.body["field"], "account", "{asked}");
        let told = refused.body["rule"].as_str().unwrap();
        assert!(told.starts_with(rule), "{asked}: {told}");
    }
    // Another app may name the same account only if it has it.
    let foreign = first
        .create(&first.order(json!({"account": brand.official})))
        .await;
    assert_eq!(foreign.status, 422, "{foreign:?}");
    let bare = Stack::with_app(|app| {
        brand.equip(app);
        app.accounts.truncate(1);
    });
    let refused = bare.await;
    let refused = refused
        .create(&refused.order(json!({"trade_type": "APP"})))
        .await;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (403, &json!("account_missing"))
    );
}

#[tokio::test]
async fn a_merchant_is_switched_over_with_orders_open_in_both_versions() {
    let first = Stack::new().await;
    let brand = Brand::register(&first, "2").await;
    let stack = brand.stack().await;
    let older = stack.native(json!({})).await;
    assert_eq!(attempt(&stack, &older).await, None);
    let edit = [
        "merchant",
        "edit",
        &brand.mch_id,
        "--api-version",
        "3",
        "--reason",
        "ready",
    ];
    done(&stack, &edit).await;
    // The functions see it when what they know of the merchant has aged.
    let newer = eventually(|| async {
        let order = stack.native(json!({})).await;
        match attempt(&stack, &order).await.as_deref() {
            Some("v3") => Ok(order),
            other => Err(json!(other)),
        }
    })
    .await;
    for order in [&older, &newer] {
        paid_and_back(&stack, order).await;
    }
    let back = ["merchant", "edit", &brand.mch_id, "--api-version", "2"];
    done(&stack, &back).await;
}

/// By which version the order's attempt was opened; none is the second.
async fn attempt(stack: &Stack, order: &Value) -> Option<String> {
    let row = stack.row(&order["order_no"], "order").await;
    let attempts = row["attempts"].as_l().unwrap();
    let version = attempts[0].as_m().unwrap().get("api_version")?;
    Some(version.as_s().unwrap().clone())
}

#[tokio::test]
async fn a_disabled_merchant_takes_nothing_and_gives_back_what_it_took() {
    let first = Stack::new().await;
    let brand = Brand::register(&first, version(&first)).await;
    let stack = brand.stack().await;
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.told(&order["order_no"], "payment.succeeded").await;
    done(
        &stack,
        &["merchant", "disable", &brand.mch_id, "--reason", "over"],
    )
    .await;
    let code = eventually(|| async {
        let refused = stack.create(&stack.order(json!({}))).await;
        match refused.status {
            403 => Ok(refused.body["code"].clone()),
            _ => Err(refused.body),
        }
    })
    .await;
    assert_eq!(code, "merchant_disabled");
    let later = stack
        .create(&stack.order(json!({"trade_type": null})))
        .await;
    assert_eq!(later.status, 403, "{later:?}");
    let till = json!({"trade_type": "MICROPAY", "auth_code": auth_code("01")});
    let till = stack.create(&stack.order(till)).await;
    assert_eq!(till.status, 403, "{till:?}");
    let same = json!({"order_no": order["order_no"]});
    let same = stack.create(&stack.order(same)).await;
    assert_eq!((same.status, &same.body["status"]), (200, &json!("paid")));
    let back = stack
        .refund(&order["order_no"], "R1", json!({"refund_fee": 1999}))
        .await;
    assert!(matches!(back.status, 200..=202), "{back:?}");
    stack.told(&order["order_no"], "refund.succeeded").await;
}

#[tokio::test]
async fn an_app_that_moves_leaves_its_open_orders_where_they_are() {
    let first = Stack::new().await;
    let (old, new) = (
        Brand::register(&first, version(&first)).await,
        Brand::register(&first, version(&first)).await,
    );
    let stack = old.stack().await;
    let asked = stack.order(json!({"trade_type": null}));
    let order = stack.create(&asked).await.body;
    let address = order["pay_url"].as_str().unwrap();
    stack.page(address, DESKTOP, "en").await;
    let app_id = stack.app.id.clone();
    let mut moved = vec!["app", "edit", &app_id, "--merchant", &new.mch_id];
    moved.extend(["--add-account", &new.official]);
    for (account, _) in old.accounts() {
        moved.extend(["--remove-account", account]);
    }
    done(&stack, &moved).await;
    let fresh = stack.native(json!({})).await;
    let known = stack.at_wechat(&fresh["trade_no"]).await;
    assert_eq!(known["mch_id"], *new.mch_id, "{known}");
    // Another way to pay needs another attempt.
    stack.page(address, PHONE, "en").await;
    let trade_no = order["trade_no"].as_str().unwrap();
    let second = json!(format!("{}02", &trade_no[..26]));
    let known = stack.at_wechat(&second).await;
    assert_eq!(known["mch_id"], *old.mch_id, "{known}");
    assert_eq!(known["app_id"], *old.official, "{known}");
    paid_and_back(
        &stack,
        &json!({"order_no": order["order_no"], "trade_no": second}),
    )
    .await;
    let again = stack
        .create(&stack.order(json!({
            "trade_type": null, "order_no": order["order_no"],
        })))
        .await;
    assert_eq!(
        (again.status, &again.body["status"]),
        (200, &json!("refunded"))
    );
}

#[tokio::test]
async fn credentials_are_checked_before_they_are_stored_and_asked_about_after() {
    let stack = Stack::new().await;
    let brand = Brand::register(&stack, "2").await;
    let checked = stack.run(&["merchant", "check", &brand.mch_id]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(
        checked.out.contains(&brand.mini) && !checked.out.contains("BAD"),
        "{checked:?}"
    );
    // A key of the right form that is not the merchant's.
    let folder = std::env::temp_dir().join(format!("keys-{}", brand.mch_id));
    std::fs::create_dir_all(&folder).unwrap();
    let wrong = file(&folder, "wrong.txt", &random_hex());
    let short = file(&folder, "short.txt", "too short");
    let import = |path: &PathBuf| {
        let path = path.to_str().unwrap().to_owned();
        let mch_id = brand.mch_id.clone();
        let stack = &stack;
        async move {
            stack
                .run(&["credentials", "import", &mch_id, "--api-key", &path])
                .await
        }
    };
    let refused = import(&short).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("32 characters"), "{refused:?}");
    let still = stack.run(&["merchant", "check", &brand.mch_id]).await;
    assert_eq!(still.code, 0, "{still:?}");
    assert_eq!(import(&wrong).await.code, 0);
    let bad = stack.run(&["merchant", "check", &brand.mch_id]).await;
    assert_eq!(bad.code, 4, "{bad:?}");
    assert!(
        bad.out.contains("BAD") && bad.out.contains("import it again"),
        "{bad:?}"
    );
    let nothing = stack.run(&["credentials", "import", &brand.mch_id]).await;
    assert_eq!(nothing.code, 4, "{nothing:?}");
    for ran in [&checked, &bad, &refused] {
        let said = format!("{}{}", ran.out, ran.err);
        assert!(!said.contains(&brand.api_key), "{said}");
    }
    let listed = stack.run(&["merchant", "list", "--json"]).await;
    assert!(listed.out.contains(&brand.mch_id), "{listed:?}");
    let listed = stack.run(&["account", "list"]).await;
    assert!(listed.out.contains(&brand.official), "{listed:?}");
    std::fs::remove_dir_all(folder).unwrap();
}
