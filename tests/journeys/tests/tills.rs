//! Payment by the code on the payer's phone, as a shop's till sees it. The last
//! two digits of a code tell the simulator what the payer does.

use journeys::{Answer, Stack, auth_code, eventually, random_order_no};
use serde_json::{Value, json};

use crate::brand::{Brand, done};

/// A till of the installation's first merchant, and one of a merchant whose codes
/// are charged by version 3; and the version by which WeChat knows their orders.
async fn tills() -> [(Stack, &'static str); 2] {
    let first = Stack::new().await;
    let brand = Brand::register(&first, "3").await;
    let switched = ["merchant", "edit", &brand.mch_id, "--codepay", "true"];
    done(&first, &switched).await;
    [(first, "v2"), (brand.stack().await, "v3")]
}

async fn scan(stack: &Stack, order_no: &str, code: &str) -> Answer {
    let order = json!({"order_no": order_no, "trade_type": "MICROPAY", "auth_code": code});
    stack.create(&stack.order(order)).await
}

/// Nothing asks for a second, and the order's row has this text. A run that is
/// under way would write over what is made older.
async fn between_questions(stack: &Stack, order_no: &Value, text: &str) {
    eventually(|| async {
        let row = stack.row(order_no, "order").await;
        let due: i64 = row["due"].as_n().unwrap().parse().unwrap();
        let row = format!("{row:?}");
        if row.contains(text) && due > (journeys::unix_seconds() + 2) * 1000 {
            Ok(())
        } else {
            Err(json!(row))
        }
    })
    .await;
}

const WAITING: &str = "";
const REVERSING: &str = "\"reversing\": Bool(true)";

fn number(stack: &Stack, order_no: &str, attempt: u8) -> Value {
    json!(format!("{}{order_no}{attempt:02}", stack.app.id))
}

#[tokio::test]
async fn a_code_without_a_password_is_paid_at_once() {
    for (stack, version) in tills().await {
        let order_no = random_order_no();
        let code = auth_code("99");
        let paid = scan(&stack, &order_no, &code).await;
        assert_eq!(
            (paid.status, &paid.body["status"]),
            (201, &json!("paid")),
            "{paid:?}"
        );
        assert!(paid.body["transaction_id"].is_string());
        // The answer was lost on its way to the till, perhaps: nothing moves twice.
        let again = scan(&stack, &order_no, &code).await;
        assert_eq!((again.status, &again.body["status"]), (200, &json!("paid")));
        let other = scan(&stack, &order_no, &auth_code("99")).await;
        assert_eq!(
            (other.status, &other.body["transaction_id"]),
            (200, &paid.body["transaction_id"])
        );
        let shown = stack.told(&json!(order_no), "payment.succeeded").await;
        assert_eq!(
            (&shown["trade_type"], &shown["pay_url"]),
            (&json!("MICROPAY"), &Value::Null)
        );
        assert_eq!(
            stack
                .told_of(&json!(order_no), "payment.succeeded")
                .await
                .len(),
            1
        );
        let known = stack.at_wechat(&number(&stack, &order_no, 1)).await;
        assert_eq!(known["version"], version);
        let second = stack.at_wechat(&number(&stack, &order_no, 2)).await;
        assert!(second["error"].is_string(), "{second}");
    }
}

#[tokio::test]
async fn a_payer_who_types_the_password_has_paid_a_little_later() {
    for (stack, version) in tills().await {
        let order_no = random_order_no();
        let code = auth_code("01");
        let paying = scan(&stack, &order_no, &code).await;
        assert_eq!(
            (paying.status, &paying.body["status"]),
            (202, &json!("paying")),
            "{paying:?}"
        );
        assert_eq!(scan(&stack, &order_no, &code).await.status, 202);
        let second = scan(&stack, &order_no, &auth_code("99")).await;
        assert_eq!(
            (second.status, &second.body["code"]),
            (409, &json!("order_paying"))
        );
        let shown = stack.told(&json!(order_no), "payment.succeeded").await;
        assert_eq!(shown["status"], "paid");
        let known = stack.at_wechat(&number(&stack, &order_no, 1)).await;
        assert_eq!(
            (&known["state"], &known["version"]),
            (&json!("SUCCESS"), &json!(version))
        );
    }
}

#[tokio::test]
async fn a_payer_who_never_types_the_password_is_given_up_and_the_payment_taken_back() {
    for (stack, version) in tills().await {
        let order_no = random_order_no();
        assert_eq!(scan(&stack, &order_no, &auth_code("02")).await.status, 202);
        let shown = stack.told(&json!(order_no), "payment.failed").await;
        assert_eq!(
            (&shown["status"], &shown["err_code"]),
            (&json!("failed"), &json!("REVERSED"))
        );
        let known = stack.at_wechat(&number(&stack, &order_no, 1)).await;
        assert_eq!(
            (&known["state"], &known["version"]),
            (&json!("REVOKED"), &json!(version))
        );
        let told = stack.told_of(&json!(order_no), "payment.failed").await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0]["params"]["err_code"], "REVERSED");
        assert_eq!(told[0]["address"], "notify");

        // Another code, another number.
        let paid = scan(&stack, &order_no, &auth_code("99")).await;
        assert_eq!(
            (paid.status, &paid.body["status"]),
            (200, &json!("paid")),
            "{paid:?}"
        );
        assert_eq!(paid.body["trade_no"], number(&stack, &order_no, 2));
        stack.told(&json!(order_no), "payment.succeeded").await;
    }
}

#[tokio::test]
async fn an_order_given_up_at_the_till_is_taken_back() {
    let stack = Stack::new().await;
    let order_no = random_order_no();
    assert_eq!(scan(&stack, &order_no, &auth_code("02")).await.status, 202);
    let closing = stack.act(&json!(order_no), "close", json!({})).await;
    assert_eq!(closing.status, 202, "{closing:?}");
    let shown = stack.told(&json!(order_no), "payment.failed").await;
    assert_eq!(shown["status"], "failed");
    let late = scan(&stack, &order_no, &auth_code("99")).await;
    assert_eq!(
        (late.status, &late.body["code"]),
        (409, &json!("order_closed"))
    );
}

#[tokio::test]
async fn what_wechat_is_not_sure_of_is_asked_about() {
    let stack = Stack::new().await;
    // SYSTEMERROR although paid; the answer held back although paid; BANKERROR
    // and then a failure.
    for (case, event, status) in [
        ("03", "payment.succeeded", "paid"),
        ("07", "payment.succeeded", "paid"),
        ("04", "payment.failed", "failed"),
    ] {
        let order_no = random_order_no();
        let paying = scan(&stack, &order_no, &auth_code(case)).await;
        assert_eq!(paying.status, 202, "{case}: {paying:?}");
        let shown = stack.told(&json!(order_no), event).await;
        assert_eq!(shown["status"], status, "{case}");
        assert_eq!(
            stack.told_of(&json!(order_no), event).await.len(),
            1,
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_refused_code_is_told_at_once_and_another_may_be_shown() {
    for (stack, version) in tills().await {
        for (case, err_code) in [("05", "NOTENOUGH"), ("06", "AUTHCODEEXPIRE")] {
            let order_no = random_order_no();
            let code = auth_code(case);
            for _ in 0..2 {
                let refused = scan(&stack, &order_no, &code).await;
                assert_eq!(
                    (
                        refused.status,
                        &refused.body["code"],
                        &refused.body["err_code"]
                    ),
                    (402, &json!("payment_refused"), &json!(err_code)),
                    "{refused:?}"
                );
            }
            stack.told(&json!(order_no), "payment.failed").await;
            let paid = scan(&stack, &order_no, &auth_code("99")).await;
            assert_eq!((paid.status, &paid.body["status"]), (200, &json!("paid")));
            assert_eq!(paid.body["trade_no"], number(&stack, &order_no, 2));
            let known = stack.at_wechat(&paid.body["trade_no"]).await;
            assert_eq!(known["version"], version);
        }
    }
}

#[tokio::test]
async fn a_code_that_is_not_wechats_never_gets_there() {
    let stack = Stack::with_app(|app| app.allow_direct = true).await;
    for (changes, field) in [
        (json!({"auth_code": null}), "auth_code"),
        (json!({"auth_code": "12345"}), "auth_code"),
        (json!({"auth_code": "281234567890123456"}), "auth_code"),
        (json!({"auth_code": "13123456789012345x"}), "auth_code"),
        (json!({"trade_type": "NATIVE"}), "auth_code"),
        (json!({"version": "1.0"}), "version"),
    ] {
        let mut order = json!({"trade_type": "MICROPAY", "auth_code": auth_code("99")});
        order
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        let refused = stack.create(&stack.order(order)).await;
        assert_eq!(
            (refused.status, &refused.body["field"]),
            (422, &json!(field)),
            "{changes}"
        );
    }
}

#[tokio::test]
async fn twenty_scans_of_one_code_at_once_charge_it_once() {
    for (stack, version) in tills().await {
        let stack = std::sync::Arc::new(stack);
        let (order_no, code) = (random_order_no(), auth_code("99"));
        let mut scans = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (stack, order_no, code) = (
                std::sync::Arc::clone(&stack),
                order_no.clone(),
                code.clone(),
            );
            scans.spawn(async move { scan(&stack, &order_no, &code).await });
        }
        for answer in scans.join_all().await {
            assert!([200, 201, 202].contains(&answer.status), "{answer:?}");
        }
        let shown = stack.told(&json!(order_no), "payment.succeeded").await;
        assert_eq!(
            (&shown["status"], &shown["anomalies"]),
            (&json!("paid"), &json!([]))
        );
        assert_eq!(shown["trade_no"], number(&stack, &order_no, 1));
        let known = stack.at_wechat(&shown["trade_no"]).await;
        assert_eq!(known["version"], version);
        let back = json!({"refund_fee": 1999});
        let back = stack.refund(&shown["order_no"], "R1", back).await;
        assert!(matches!(back.status, 200..=202), "{back:?}");
        stack.told(&shown["order_no"], "refund.succeeded").await;
    }
}

#[tokio::test]
async fn a_charge_that_comes_after_it_was_given_up_goes_back_whoever_has_paid_since() {
    let stack = Stack::new().await;
    let order_no = random_order_no();
    let shown = json!(order_no);
    // Nobody answers, and WeChat knows nothing of it.
    let waiting = scan(&stack, &order_no, &auth_code("08")).await;
    assert_eq!(
        (waiting.status, &waiting.body["status"]),
        (202, &json!("paying")),
        "{waiting:?}"
    );
    let first = number(&stack, &order_no, 1);
    // WeChat has nothing to take back, which proves nothing yet: half a minute
    // after it was given up the code may still be charged.
    between_questions(&stack, &shown, WAITING).await;
    stack.age(&shown, 60).await;
    stack.sweep().await;
    between_questions(&stack, &shown, REVERSING).await;
    let still = scan(&stack, &order_no, &auth_code("99")).await;
    assert_eq!(still.body["code"], "order_paying", "{still:?}");
    // Two minutes after it began none can come any more.
    stack.age(&shown, 70).await;
    stack.sweep().await;
    let failed = stack.told(&shown, "payment.failed").await;
    assert_eq!(failed["err_code"], "REVERSED");
    let paid = scan(&stack, &order_no, &auth_code("99")).await;
    assert_eq!(
        (paid.status, &paid.body["status"]),
        (200, &json!("paid")),
        "{paid:?}"
    );
    stack.told(&shown, "payment.succeeded").await;

    // It comes all the same.
    let comes = stack
        .wechat("charge", &json!({"out_trade_no": first}))
        .await;
    assert_eq!(comes.status, 200, "{comes:?}");
    assert_eq!(stack.at_wechat(&first).await["state"], "SUCCESS");
    stack.age(&shown, 600).await;
    stack.sweep().await;
    let told = stack.told(&shown, "payment.anomaly").await;
    assert_eq!(told["anomalies"][0]["kind"], "paid_after_close");
    stack.alarmed("reconcile", &shown, "payment_anomaly").await;
    stack.sweep().await;
    let refunded = stack.told(&shown, "refund.succeeded").await;
    assert_eq!(
        (&refunded["status"], &refunded["transaction_id"]),
        (&json!("paid"), &paid.body["transaction_id"])
    );
    let known = stack.at_wechat(&first).await;
    assert_eq!(known["refunds"].as_array().unwrap().len(), 1);
    assert_eq!(known["refunds"][0]["refund_fee"], 1999);
    for event in ["payment.succeeded", "payment.anomaly", "refund.succeeded"] {
        assert_eq!(stack.told_of(&shown, event).await.len(), 1, "{event}");
    }
    // Once more hours later, and then no more.
    stack.age(&shown, 6 * 3600).await;
    stack.sweep().await;
    eventually(|| async {
        let row = stack.row(&shown, "order").await;
        match row.contains_key("wake") {
            true => Err(json!(format!("{row:?}"))),
            false => Ok(()),
        }
    })
    .await;
    assert_eq!(stack.told_of(&shown, "payment.anomaly").await.len(), 1);
}

#[tokio::test]
async fn an_app_that_asks_learns_at_once_of_a_charge_that_came_after_it_was_given_up() {
    let stack = Stack::new().await;
    let order_no = random_order_no();
    let shown = json!(order_no);
    assert_eq!(scan(&stack, &order_no, &auth_code("08")).await.status, 202);
    between_questions(&stack, &shown, WAITING).await;
    stack.age(&shown, 130).await;
    stack.sweep().await;
    stack.told(&shown, "payment.failed").await;
    let quiet = stack.act(&shown, "query", json!({})).await;
    assert_eq!(quiet.body["anomalies"], json!([]), "{quiet:?}");
    let first = number(&stack, &order_no, 1);
    let comes = stack
        .wechat("charge", &json!({"out_trade_no": first}))
        .await;
    assert_eq!(comes.status, 200, "{comes:?}");
    // Asked a moment ago; two seconds later WeChat is asked again.
    stack.age(&shown, 3).await;
    let asked = stack.act(&shown, "query", json!({})).await;
    assert_eq!(
        (&asked.body["status"], &asked.body["anomalies"][0]["kind"]),
        (&json!("failed"), &json!("paid_after_close")),
        "{asked:?}"
    );
    stack.told(&shown, "payment.anomaly").await;
    stack.sweep().await;
    stack.told(&shown, "refund.succeeded").await;
}

#[tokio::test]
async fn a_charge_that_comes_while_it_is_being_given_up_is_taken_back() {
    let stack = Stack::new().await;
    let order_no = random_order_no();
    let shown = json!(order_no);
    assert_eq!(scan(&stack, &order_no, &auth_code("08")).await.status, 202);
    between_questions(&stack, &shown, WAITING).await;
    stack.age(&shown, 30).await;
    stack.sweep().await;
    between_questions(&stack, &shown, REVERSING).await;
    let first = number(&stack, &order_no, 1);
    let comes = stack
        .wechat("charge", &json!({"out_trade_no": first}))
        .await;
    assert_eq!(comes.status, 200, "{comes:?}");
    // It can be taken back 15 s after it came, and is not paid meanwhile.
    let told = stack.told(&shown, "payment.failed").await;
    assert_eq!(
        (&told["status"], &told["err_code"], &told["anomalies"]),
        (&json!("failed"), &json!("REVERSED"), &json!([]))
    );
    assert_eq!(stack.at_wechat(&first).await["state"], "REVOKED");
    assert!(stack.told_of(&shown, "payment.succeeded").await.is_empty());
}
