//! How an app wants to be told: webhooks by the standard, judged by the standard's own
//! libraries; what it does not want to hear; and where it hears of what.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journeys::desk::printed;
use journeys::{Stack, eventually, with};
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::{Value, json};
use shared::domain::app::Form;
use standardwebhooks::Webhook;

/// What the standard's library for Python says of a webhook that came to the shop:
/// prints `right` or `wrong` for each secret.
const PYTHON: &str = r#"
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
came = json.loads(sys.argv[1])
body = came.pop("body")
for secret in sys.argv[2:]:
    try:
        Webhook(secret).verify(body, came)
        print("right")
    except WebhookVerificationError:
        print("wrong")
"#;

/// Whether the standard's libraries take this webhook under each of these secrets.
/// They must agree.
fn believed(webhook: &Value, secrets: &[&str]) -> Vec<bool> {
    let mut headers = HeaderMap::new();
    for (name, value) in webhook.as_object().unwrap() {
        if name != "body" {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, value.as_str().unwrap().parse().unwrap());
        }
    }
    let body = webhook["body"].as_str().unwrap().as_bytes();
    let verify = |secret: &&str| Webhook::new(secret).unwrap().verify(body, &headers).is_ok();
    let in_rust: Vec<bool> = secrets.iter().map(verify).collect();

    let venv = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../.local/venv/stack/bin/python"
    );
    let ran = Command::new(PathBuf::from(venv))
        .args(["-c", PYTHON, &webhook.to_string()])
        .args(secrets)
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    let in_python: Vec<bool> = said.lines().map(|line| line == "right").collect();
    assert_eq!(
        in_python,
        in_rust,
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    in_rust
}

/// The first answer that hubctl refuses, and why.
async fn refused(stack: &Stack, flags: &[&str]) -> String {
    let ran = stack
        .run(&[&["app", "edit", &stack.app.id], flags].concat())
        .await;
    assert_eq!(ran.code, 4, "{ran:?}");
    ran.err
}

async fn edited(stack: &Stack, flags: &[&str]) {
    let ran = stack
        .run(&[&["app", "edit", &stack.app.id], flags].concat())
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn a_webhook_is_believed_by_the_libraries_of_the_standard() {
    let mut stack = Stack::new().await;
    edited(&stack, &["--form", "standard_webhooks"]).await;
    let rotated = stack.run(&["app", "rotate", &stack.app.id, "--yes"]).await;
    let new = printed(&rotated, "webhook_secret");
    // The shop has the old one still, and one good signature is enough for it.
    let order = stack.native(json!({"attach": "table 7"})).await;
    let refuse = json!({"order_no": order["order_no"], "mode": "fail", "times": 1});
    stack.shop("behaviour", &refuse).await;
    stack.pay(&order["trade_no"], json!({})).await;
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;

    let attempts = shown["deliveries"][0]["attempts"].as_array().unwrap();
    let went: Vec<Value> = attempts
        .iter()
        .map(|one| json!([one["step"], one["address"], one["http_status"]]))
        .collect();
    assert_eq!(went, [json!([0, "notify", 400]), json!([1, "notify", 204])]);

    let came = stack.callbacks(&order["order_no"]).await;
    assert_eq!(came.len(), 2, "{came:?}");
    let old = format!("whsec_{}", STANDARD.encode(&stack.app.secret));
    let stranger = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for callback in &came {
        assert_eq!(callback["verified"], true, "{callback}");
        let webhook = &callback["webhook"];
        assert_eq!(webhook["webhook-id"], shown["deliveries"][0]["event_id"]);
        assert_eq!(webhook["body"], came[0]["webhook"]["body"]);
        assert_eq!(
            believed(webhook, &[&new, &old, stranger]),
            [true, true, false]
        );
        let dearer = webhook["body"].as_str().unwrap().replace("1999", "1998");
        let forged = with(webhook.clone(), json!({"body": dearer}));
        assert_eq!(believed(&forged, &[&new, &old]), [false, false]);
    }
    let body: Value = serde_json::from_str(came[0]["webhook"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["type"], "payment.succeeded", "{body}");
    let data = &body["data"];
    assert_eq!(data["total_fee"], 1999, "{body}");
    assert_eq!(data["order_no"], order["order_no"], "{body}");
    assert_eq!(data["attach"], "table 7", "{body}");

    // Once it is over, and at once where the old one was stolen, it is the new one alone.
    let stolen = ["app", "rotate", &stack.app.id, "--now", "--yes"];
    let stolen = stack.run(&stolen).await;
    let newest = printed(&stolen, "webhook_secret");
    stack.app.secret = printed(&stolen, "app_secret");
    let known = json!({"app_id": stack.app.id, "app_secret": stack.app.secret});
    stack.shop("apps", &known).await;
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    let callback = eventually(|| async {
        let came = stack.callbacks(&order["order_no"]).await;
        came.into_iter().next().ok_or(Value::Null)
    })
    .await;
    let secrets = [newest.as_str(), &new, &old];
    assert_eq!(
        believed(&callback["webhook"], &secrets),
        [true, false, false]
    );
}

#[tokio::test]
async fn an_app_hears_of_what_it_wants_and_where_it_wants() {
    let stack = Stack::new().await;
    let shop = stack.setting("SHOP_URL").to_owned();
    let elsewhere = format!("refund.succeeded={shop}/return");
    let site = format!("{shop}/");
    for (flags, why) in [
        (
            &["--mute", "payment.succeeded"][..],
            "must not have payment.succeeded",
        ),
        (&["--notify-url", &elsewhere], "must be under a site"),
    ] {
        let said = refused(&stack, flags).await;
        assert!(said.contains(why), "{said}");
    }
    edited(&stack, &["--add-site", &site, "--notify-url", &elsewhere]).await;
    let operator = stack.at_work("operator").await;
    let path = format!("apps/{}", stack.app.id);
    let asked = json!({"changes": {"add_muted": ["order.closed"]}});
    let patched = stack.desk(&operator, "PATCH", &path, &asked).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    assert_eq!(patched.body["muted"], json!(["order.closed"]));
    let urls = json!({"refund.succeeded": format!("{shop}/return")});
    assert_eq!(patched.body["notify_urls"], urls);
    let without = json!({"changes": {"remove_sites": [site]}});
    let refused = stack.desk(&operator, "PATCH", &path, &without).await;
    assert_eq!(
        (refused.status, &refused.body["field"]),
        (422, &json!("notify_urls"))
    );

    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "delivered").await;
    let refund = stack
        .refund(&order["order_no"], "R1", json!({"refund_fee": 1}))
        .await;
    assert_eq!(refund.status, 201, "{refund:?}");
    stack.told(&order["order_no"], "refund.succeeded").await;
    let told = stack.told_of(&order["order_no"], "refund.succeeded").await;
    assert_eq!((told.len(), &told[0]["address"]), (1, &json!("return")));
    assert_eq!(told[0]["verified"], true, "{told:?}");

    let order = stack
        .create(&stack.order(json!({"trade_type": null})))
        .await
        .body;
    let closed = stack.act(&order["order_no"], "close", json!({})).await;
    assert_eq!(closed.status, 200, "{closed:?}");
    let shown = stack.told(&order["order_no"], "order.closed").await;
    let attempt = &shown["deliveries"][0]["attempts"][0];
    let words = attempt["answer"].as_str().unwrap();
    assert!(words.starts_with("not called"), "{shown}");
    assert_eq!(attempt["http_status"], Value::Null, "{shown}");
    assert!(stack.callbacks(&order["order_no"]).await.is_empty());
}

#[tokio::test]
async fn a_test_event_comes_in_the_apps_own_form() {
    let stack = Stack::with_app(|app| app.form = Form::StandardWebhooks).await;
    let operator = stack.at_work("operator").await;
    let shop = stack.setting("SHOP_URL").to_owned();
    let test = |path: &'static str| {
        let asked = json!({"address": format!("{shop}{path}")});
        let (stack, operator) = (&stack, &operator);
        let called = format!("apps/{}/test-event", stack.app.id);
        async move { stack.desk(operator, "POST", &called, &asked).await.body }
    };
    let good = test("/notify").await;
    let (signed, forged) = (&good["signed"], &good["forged"]);
    assert_eq!(signed["verdict"], "good: your answer was 204", "{good}");
    assert_eq!(forged["http_status"], 400, "{good}");
    assert!(
        forged["verdict"].as_str().unwrap().starts_with("good"),
        "{good}"
    );
    assert_eq!(signed["body"], forged["body"]);
    let (right, wrong) = (&signed["headers"], &forged["headers"]);
    assert_eq!(right["webhook-id"], wrong["webhook-id"]);
    assert_ne!(right["webhook-signature"], wrong["webhook-signature"]);
    let wrong_method = test("/return").await;
    let verdict = &wrong_method["signed"]["verdict"];
    assert_eq!(
        verdict,
        "your server does not take POST at this address (405)"
    );
}
