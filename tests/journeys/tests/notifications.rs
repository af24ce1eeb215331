//! WeChat's notifications, and everything that pretends to be one.

use aws_sdk_dynamodb::types::AttributeValue;
use journeys::{Stack, eventually};
use serde_json::{Value, json};

fn accepted(answers: &[Value]) -> usize {
    answers
        .iter()
        .filter(|answer| answer["accepted"] == true)
        .count()
}

#[tokio::test]
async fn twenty_notifications_at_once_make_one_payment_and_one_delivery() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;

    let answers = stack
        .notify(&order["trade_no"], json!({"copies": 20}))
        .await;
    assert_eq!(accepted(&answers), 20, "{answers:?}");
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;

    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(shown["anomalies"], json!([]));
    let later = stack.notify(&order["trade_no"], json!({"copies": 3})).await;
    assert_eq!(accepted(&later), 3);
    assert_eq!(stack.callbacks(&order["order_no"]).await.len(), 1);
    assert_eq!(stack.show(&order["order_no"]).await.body, shown);
}

const BOTH_FAULTS: [&str; 6] = [
    "forged_sign",
    "no_sign",
    "wrong_appid",
    "wrong_mch_id",
    "unknown_order",
    "oversized",
];
const V2_FAULTS: [&str; 4] = ["no_return_code", "doctype", "duplicate_element", "not_xml"];
const V3_FAULTS: [&str; 14] = [
    "two_signs",
    "sign_test",
    "bad_base64",
    "wrong_serial",
    "unknown_serial",
    "old",
    "ahead",
    "changed_body",
    "not_json",
    "other_key",
    "short_nonce",
    "no_nonce",
    "bad_ciphertext",
    "short_ciphertext",
];

#[tokio::test]
async fn what_is_not_wechats_is_refused_and_changes_nothing() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let before = stack.show(&order["order_no"]).await.body;
    let (faults, refusal) = match stack.is_v3() {
        false => (&V2_FAULTS[..], "<![CDATA[FAIL]]>"),
        true => (&V3_FAULTS[..], r#""code":"FAIL""#),
    };
    for fault in BOTH_FAULTS.iter().chain(faults) {
        let answers = stack
            .notify(&order["trade_no"], json!({"fault": fault}))
            .await;
        assert_eq!(accepted(&answers), 0, "{fault}: {answers:?}");
        let body = answers[0]["body"].as_str().unwrap();
        assert!(body.contains(refusal), "{fault}: {body}");
        assert_eq!(stack.show(&order["order_no"]).await.body, before, "{fault}");
    }
    if stack.is_v3() {
        // What it was about is sealed.
        return;
    }
    // An operator finds out what was refused, and why.
    let refused = eventually(|| async {
        let lines = stack.logged("wechat-notify", &order["order_no"]).await;
        let is_forged = |line: &&Value| {
            let reason = line["reason"].as_str().unwrap_or_default();
            reason.contains("signature") && line["message"] == "notification refused"
        };
        let found = lines.iter().find(is_forged).cloned();
        found.ok_or(json!(lines))
    })
    .await;
    assert_eq!(
        (
            &refused["attempt"],
            &refused["total_fee"],
            &refused["cash_fee"]
        ),
        (&json!(1), &json!("1999"), &json!("1999"))
    );
}

#[tokio::test]
async fn a_well_signed_notification_of_an_unpaid_order_is_not_believed() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let answers = stack
        .notify(&order["trade_no"], json!({"transaction_id": "4200009999"}))
        .await;
    assert_eq!(accepted(&answers), 0, "{answers:?}");
    assert_eq!(
        stack.show(&order["order_no"]).await.body["status"],
        "paying"
    );
}

#[tokio::test]
async fn a_notification_of_a_failed_payment_is_answered_and_changes_nothing() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let answers = stack
        .notify(&order["trade_no"], json!({"fault": "result_fail"}))
        .await;
    assert_eq!(accepted(&answers), 1, "{answers:?}");
    assert_eq!(
        stack.show(&order["order_no"]).await.body["status"],
        "paying"
    );
}

#[tokio::test]
async fn a_wrong_amount_that_wechat_does_not_confirm_changes_nothing() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let wrong = json!({"fault": "wrong_amount", "transaction_id": "4200008888"});
    let answers = stack.notify(&order["trade_no"], wrong).await;
    assert_eq!(accepted(&answers), 0, "{answers:?}");
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(shown["status"], "paying");
    assert_eq!(shown["deliveries"], json!([]));
    assert_eq!(shown["anomalies"], json!([]));

    // The right payment is not kept out by it.
    stack.pay(&order["trade_no"], json!({})).await;
    assert_eq!(
        stack.delivered_as(&order["order_no"], "delivered").await["status"],
        "paid"
    );
}

#[tokio::test]
async fn the_same_notification_is_taken_on_the_http_api() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let url = format!("{}/wechat/notify", stack.setting("HUB_URL"));
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    let answers = stack.notify(&order["trade_no"], json!({"url": url})).await;
    assert_eq!(accepted(&answers), 1, "{answers:?}");
    stack.delivered_as(&order["order_no"], "delivered").await;
}

#[tokio::test]
async fn wechat_repeats_a_notification_until_it_is_accepted() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    let known = eventually(|| async {
        let known = stack.at_wechat(&order["trade_no"]).await;
        let sent = known["notifications"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if accepted(&sent) == 1 {
            Ok(sent)
        } else {
            Err(known)
        }
    })
    .await;
    assert!(known[0]["latency_ms"].as_i64().unwrap() < 5000, "{known:?}");
}

#[tokio::test]
async fn a_payment_whose_receipt_cannot_be_read_is_a_payment() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    let answers = stack
        .notify(&order["trade_no"], json!({"fault": "odd_receipt"}))
        .await;
    assert_eq!(accepted(&answers), 1, "{answers:?}");
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(
        (&shown["status"], &shown["anomalies"]),
        (&json!("paid"), &json!([]))
    );
    // WeChat's answer to the query replaces what the notification said.
    assert_eq!(shown["receipt"]["bank_type"], "OTHERS");
}

#[tokio::test]
async fn a_payment_that_yesterdays_version_stored_has_no_receipt() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "delivered").await;
    let mut row = stack.row(&order["order_no"], "order").await;
    let payment = row.get_mut("payment").unwrap();
    let AttributeValue::M(payment) = payment else {
        panic!("a payment is a map")
    };
    assert!(payment.remove("receipt").is_some());
    stack.put_row(row).await;
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(
        (&shown["status"], &shown["receipt"]),
        (&json!("paid"), &Value::Null)
    );
}

/// What WeChat would send of this order, sent to this address of the hub.
async fn posted(stack: &Stack, composed: &Value, url: &str) -> bool {
    let body = composed["body"].as_str().unwrap().to_owned();
    let answer = stack
        .send(|http| {
            let headers = composed["headers"].as_array().unwrap().iter();
            headers.fold(http.post(url).body(body), |request, pair| {
                request.header(pair[0].as_str().unwrap(), pair[1].as_str().unwrap())
            })
        })
        .await;
    assert!([200, 204, 400].contains(&answer.status), "{answer:?}");
    let words = answer.body.as_str().unwrap_or_default();
    answer.status == 204 || words.contains("SUCCESS")
}

#[tokio::test]
async fn an_address_that_names_another_merchant_takes_nothing() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let silently = json!({"notify": false});
    stack.pay(&order["trade_no"], silently).await;
    let asked = json!({"out_trade_no": order["trade_no"]});
    let composed = stack.wechat("compose", &asked).await.body;
    let bases = ["HUB_NOTIFY_URL", "HUB_URL"].map(|name| stack.setting(name));
    let bases = bases.map(|base| base.trim_end_matches('/'));
    for base in bases {
        for path in ["/wechat/notify", "/wechat/v3/notify"] {
            let url = format!("{base}{path}/1900000000");
            assert!(!posted(&stack, &composed, &url).await, "{url}");
        }
    }
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(shown["status"], "paying");
    // The form tells the version at each of the merchant's own, old and new.
    let mch_id = stack.setting("WECHAT_MCH_ID");
    for path in [
        "/wechat/notify".to_owned(),
        format!("/wechat/notify/{mch_id}"),
        format!("/wechat/v3/notify/{mch_id}"),
    ] {
        for base in bases {
            let url = format!("{base}{path}");
            assert!(posted(&stack, &composed, &url).await, "{url}");
        }
    }
    let shown = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(shown["status"], "paid");
    assert_eq!(stack.callbacks(&order["order_no"]).await.len(), 1);
}

/// A merchant has moved from one version to the other, or back: what the other one
/// opened is asked about and given back by the version that its row names.
#[tokio::test]
async fn an_order_is_spoken_of_by_the_version_that_its_row_names() {
    let stack = Stack::new().await;
    for (version, question, refund) in [
        ("v2", "/pay/orderquery", "/secapi/pay/refund"),
        ("v3", "/v3/pay/transactions/out-trade-no/", "/v3/refund/"),
    ] {
        let order = stack.native(json!({})).await;
        let (order_no, trade_no) = (&order["order_no"], &order["trade_no"]);
        let mut row = stack.row(order_no, "order").await;
        let Some(AttributeValue::L(attempts)) = row.get_mut("attempts") else {
            panic!("there are attempts")
        };
        let AttributeValue::M(attempt) = &mut attempts[0] else {
            panic!("an attempt is a map")
        };
        let named = AttributeValue::S(version.to_owned());
        attempt.insert("api_version".to_owned(), named);
        stack.put_row(row).await;

        stack.pay(trade_no, json!({})).await;
        stack.delivered_as(order_no, "delivered").await;
        let part = json!({"refund_fee": 500});
        assert_eq!(stack.refund(order_no, "R1", part).await.status, 201);
        stack.told(order_no, "refund.succeeded").await;
        for (function, path) in [("wechat-notify", question), ("orders", refund)] {
            eventually(|| async {
                let lines = stack.logged(function, order_no).await;
                let asked = |line: &Value| {
                    let asked = line["path"].as_str().unwrap_or_default();
                    line["message"] == "asked WeChat" && asked.starts_with(path)
                };
                match lines.iter().any(asked) {
                    true => Ok(()),
                    false => Err(json!(lines)),
                }
            })
            .await;
        }
    }
}
