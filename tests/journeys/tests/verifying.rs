//! Version 1.0: WeChat notifies the app, which has the hub verify what came.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use journeys::{Answer, Stack, eventually};
use serde_json::{Value, json};

async fn direct() -> Stack {
    Stack::with_app(|app| app.allow_direct = true).await
}

/// A notification as WeChat would send it to the app.
#[derive(Debug, Clone)]
struct Told {
    body: String,
    /// Version 3's headers, as the hub's parameters.
    proof: Value,
}

/// What WeChat would send of this order.
async fn composed(stack: &Stack, order: &Value, changes: Value) -> Told {
    let mut asked = json!({"out_trade_no": order["trade_no"]});
    let changes = changes.as_object().unwrap().clone();
    asked.as_object_mut().unwrap().extend(changes);
    let composed = stack.wechat("compose", &asked).await;
    assert_eq!(composed.status, 200, "{composed:?}");
    let headers = composed.body["headers"].as_array().unwrap().iter();
    let headers = headers.map(|pair| {
        let name = pair[0].as_str().unwrap().to_lowercase().replace('-', "_");
        (name, pair[1].clone())
    });
    Told {
        body: composed.body["body"].as_str().unwrap().to_owned(),
        proof: headers
            .filter(|(name, _)| name.starts_with("wechatpay_") && !name.ends_with("_type"))
            .collect(),
    }
}

async fn pass_on(stack: &Stack, notification: Value, proof: &Value) -> Answer {
    let mut body = proof.clone();
    body["notification"] = notification;
    let body = stack.signed(body);
    let url = format!("{}/v1/notifications/verify", stack.setting("HUB_URL"));
    stack.send(|http| http.post(url).json(&body)).await
}

async fn verify(stack: &Stack, told: &Told) -> Answer {
    pass_on(stack, json!(STANDARD.encode(&told.body)), &told.proof).await
}

fn code(answer: &Answer) -> (u16, &str) {
    let code = answer.body["code"].as_str();
    (answer.status, code.unwrap_or_default())
}

async fn paid_silently(stack: &Stack, changes: Value) -> Value {
    let order = stack.native(changes).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    order
}

#[tokio::test]
async fn what_wechat_told_the_app_is_verified_settled_and_answered_each_time() {
    let stack = direct().await;
    for version in ["1.0", "2.0"] {
        let order = paid_silently(&stack, json!({"version": version})).await;
        let xml = composed(&stack, &order, json!({})).await;
        let verified = verify(&stack, &xml).await;
        assert_eq!(verified.status, 200, "{verified:?}");
        assert_eq!(
            (&verified.body["status"], &verified.body["order_no"]),
            (&json!("paid"), &order["order_no"])
        );
        assert!(verified.body["transaction_id"].is_string());
        let shown = stack.show(&order["order_no"]).await;
        assert_eq!(
            shown.body["transaction_id"],
            verified.body["transaction_id"]
        );
        let again = verify(&stack, &xml).await;
        assert_eq!((again.status, &again.body["status"]), (200, &json!("paid")));
        assert_eq!(again.body["anomalies"], json!([]));
        // Nobody is told of 1.0; of 2.0 as ever, and once.
        match version {
            "1.0" => assert_eq!(shown.body["deliveries"], json!([])),
            _ => drop(stack.delivered_as(&order["order_no"], "delivered").await),
        }
    }
}

#[tokio::test]
async fn what_wechat_did_not_sign_for_this_merchant_is_refused() {
    let stack = direct().await;
    let order = paid_silently(&stack, json!({"version": "1.0", "expires_in": 86_400})).await;
    let faults: &[&str] = match stack.is_v3() {
        false => &["no_return_code", "doctype", "duplicate_element", "not_xml"],
        true => &[
            "sign_test",
            "bad_base64",
            "unknown_serial",
            "old",
            "ahead",
            "other_key",
        ],
    };
    let both = ["forged_sign", "no_sign", "wrong_appid", "wrong_mch_id"];
    for fault in both.iter().chain(faults) {
        let told = composed(&stack, &order, json!({"fault": fault})).await;
        let answer = verify(&stack, &told).await;
        assert_eq!(code(&answer), (400, "notification_invalid"), "{fault}");
    }
    let good = composed(&stack, &order, json!({})).await;
    let other = |body: String| Told {
        body,
        ..good.clone()
    };
    for (told, expected) in [
        (
            other(good.body.replace('1', "2")),
            (400, "notification_invalid"),
        ),
        (other("<xml></xml>".into()), (400, "notification_invalid")),
        (
            composed(&stack, &order, json!({"fault": "unknown_order"})).await,
            (404, "order_not_found"),
        ),
        (
            composed(&stack, &order, json!({"fault": "result_fail"})).await,
            (409, "order_not_paid"),
        ),
        (
            composed(&stack, &order, json!({"fault": "oversized"})).await,
            (413, "body_too_large"),
        ),
    ] {
        let answer = verify(&stack, &told).await;
        assert_eq!(code(&answer), expected, "{:.300}", told.body);
    }
    // Signed well, and not what WeChat says when it is asked.
    let unpaid = stack.native(json!({"version": "1.0"})).await;
    let xml = composed(&stack, &unpaid, json!({})).await;
    assert_eq!(code(&verify(&stack, &xml).await), (409, "order_not_paid"));
}

#[tokio::test]
async fn only_base64_is_taken_for_a_notification() {
    let stack = direct().await;
    let order = paid_silently(&stack, json!({"version": "1.0"})).await;
    let Told { body, proof } = composed(&stack, &order, json!({})).await;
    for bad in [
        json!(null),
        json!(""),
        json!(body),
        json!("%%%"),
        json!(URL_SAFE_NO_PAD.encode(format!("{body}??>"))),
        json!(format!("{}\n", STANDARD.encode(&body))),
        json!(7),
    ] {
        let answer = pass_on(&stack, bad.clone(), &proof).await;
        assert_eq!(code(&answer), (422, "param_invalid"), "{bad}");
        assert_eq!(answer.body["field"], "notification");
    }
    // Bytes that are no text are no notification either.
    let noise = pass_on(&stack, json!(STANDARD.encode([0xff_u8, 0, 1])), &proof).await;
    assert_eq!(code(&noise), (400, "notification_invalid"));
}

#[tokio::test]
async fn an_app_cannot_ask_about_anothers_notification() {
    let (stack, other) = (direct().await, direct().await);
    let order = paid_silently(&stack, json!({"version": "1.0"})).await;
    let xml = composed(&stack, &order, json!({})).await;
    let stolen = verify(&other, &xml).await;
    assert_eq!(code(&stolen), (404, "order_not_found"), "{stolen:?}");
    // Nor does it settle anything; the early questions may have by now.
    assert_eq!(verify(&stack, &xml).await.body["status"], "paid");
}

#[tokio::test]
async fn a_payment_that_does_not_fit_does_not_read_as_paid() {
    let stack = direct().await;
    let order = stack.native(json!({"version": "1.0"})).await;
    let wrong = json!({"notify": false, "total_fee": 1});
    stack.pay(&order["trade_no"], wrong).await;
    let xml = composed(&stack, &order, json!({})).await;
    let verified = verify(&stack, &xml).await;
    assert_eq!(verified.status, 200, "{verified:?}");
    assert_eq!(verified.body["status"], "paying");
    assert_eq!(verified.body["anomalies"][0]["kind"], "amount_mismatch");
}

#[tokio::test]
async fn a_shop_of_version_1_is_paid_by_wechats_own_notification() {
    let stack = direct().await;
    // Version 3 seals which order it is about: the address says whose it is.
    let notify_url = format!("{}/notify/{}", stack.setting("SHOP_URL"), stack.app.id);
    let placed = json!({"app_id": stack.app.id, "version": "1.0", "trade_type": "NATIVE",
                        "total_fee": 1999, "notify_url": notify_url});
    let placed = stack.shop("orders", &placed).await;
    assert_eq!(placed.body["status"], 201, "{placed:?}");
    let order = &placed.body["body"];
    stack.pay(&order["trade_no"], json!({})).await;
    let url = format!(
        "{}/_control/orders/{}?app_id={}",
        stack.setting("SHOP_URL"),
        order["order_no"].as_str().unwrap(),
        stack.app.id
    );
    eventually(|| async {
        let known = stack.send(|http| http.get(&url)).await.body;
        if known["paid"] == true {
            Ok(())
        } else {
            Err(known)
        }
    })
    .await;
    let shown = stack.show(&order["order_no"]).await;
    assert_eq!(
        (&shown.body["status"], &shown.body["deliveries"]),
        (&json!("paid"), &json!([]))
    );
    // WeChat has heard SUCCESS, to the byte; and FAIL for what is not its own.
    let known = stack.at_wechat(&order["trade_no"]).await;
    assert_eq!(known["notifications"][0]["accepted"], true, "{known}");
    let forged = json!({"fault": "forged_sign"});
    let answers = stack.notify(&order["trade_no"], forged).await;
    assert_eq!(answers[0]["accepted"], false, "{answers:?}");
}

#[tokio::test]
async fn an_order_of_version_1_is_asked_about_within_seconds() {
    let stack = direct().await;
    let order = paid_silently(&stack, json!({"version": "1.0"})).await;
    // Nobody sweeps, nobody notifies, nobody asks: 5 s after the attempt began
    // the hub does.
    let shown = stack
        .order_when(&order["order_no"], |order| order["status"] == "paid")
        .await;
    assert_eq!(shown["deliveries"], json!([]));
}
