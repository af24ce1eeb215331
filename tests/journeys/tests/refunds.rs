//! Money back: by the app, in parts, at once, twice, and what WeChat says of it.

use std::collections::BTreeMap;

use journeys::Stack;
use serde_json::{Value, json};
use wechat_simulator::{sign, xml};

/// A paid order of 19.99 yuan.
async fn paid(stack: &Stack) -> Value {
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.told(&order["order_no"], "payment.succeeded").await;
    order
}

/// What WeChat has paid back of an order.
async fn paid_back(stack: &Stack, order: &Value) -> (usize, i64) {
    let known = stack.at_wechat(&order["trade_no"]).await;
    let refunds = known["refunds"].as_array().unwrap();
    let sum = refunds
        .iter()
        .map(|refund| refund["refund_fee"].as_i64().unwrap());
    (refunds.len(), sum.sum())
}

/// A refund notification as WeChat encrypts it.
fn notification(stack: &Stack, payment: &Value, out_refund_no: &str) -> String {
    let about = |name: &str| payment[name].as_str().unwrap();
    let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    let secret = text(&[
        ("out_trade_no", about("out_trade_no")),
        ("transaction_id", about("transaction_id")),
        ("out_refund_no", out_refund_no),
        ("refund_id", "50000000000000000000000000001"),
        ("refund_status", "SUCCESS"),
        ("refund_fee", "1999"),
    ]);
    let sealed = sign::seal(
        &xml::write_under("root", &secret),
        stack.setting("WECHAT_API_KEY"),
    );
    xml::write(&text(&[
        ("return_code", "SUCCESS"),
        ("appid", stack.setting("WECHAT_APP_ID")),
        ("mch_id", stack.setting("WECHAT_MCH_ID")),
        ("nonce_str", "n"),
        ("req_info", &sealed),
    ]))
}

fn is_accepted(body: &Value) -> bool {
    body.as_str().unwrap().contains("SUCCESS")
}

#[tokio::test]
async fn a_payment_goes_back_in_parts_and_the_app_is_told_of_each() {
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    let part = json!({"refund_fee": 999, "reason": "too cold 太冷"});
    let accepted = stack.refund(order_no, "R1", part).await;
    assert_eq!(
        (accepted.status, &accepted.body["status"]),
        (201, &json!("processing"))
    );
    assert!(accepted.body["refund_id"].is_string());
    let shown = stack.told(order_no, "refund.succeeded").await;
    assert_eq!(
        (&shown["status"], &shown["refunded_fee"]),
        (&json!("partly_refunded"), &json!(999))
    );
    let told = stack.told_of(order_no, "refund.succeeded").await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["verified"], &told[0]["address"]),
        (&json!(true), &json!("notify"))
    );
    assert_eq!(told[0]["params"]["refund_no"], "R1");
    assert_eq!(told[0]["params"]["refund_fee"], "999");

    let refund = stack.show_refund(order_no, "R1").await;
    assert_eq!(
        (refund.status, &refund.body["status"]),
        (200, &json!("succeeded"))
    );
    assert_eq!(refund.body["reason"], "too cold 太冷");

    let rest = stack
        .refund(order_no, "R2", json!({"refund_fee": 1000}))
        .await;
    assert_eq!(rest.status, 201, "{rest:?}");
    let shown = stack
        .order_when(order_no, |order| order["status"] == "refunded")
        .await;
    assert_eq!(shown["refunded_fee"], 1999);
    assert_eq!(paid_back(&stack, &order).await, (2, 1999));
    let page = stack
        .page(order["pay_url"].as_str().unwrap(), journeys::DESKTOP, "en")
        .await;
    assert!(page.body.as_str().unwrap().contains("Payment received"));
}

#[tokio::test]
async fn a_refund_is_one_however_often_it_is_asked_for() {
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    let whole = json!({"refund_fee": 1999});
    assert_eq!(
        stack.refund(order_no, "R1", whole.clone()).await.status,
        201
    );
    for _ in 0..2 {
        let again = stack.refund(order_no, "R1", whole.clone()).await;
        assert_eq!(
            (again.status, &again.body["refund_no"]),
            (200, &json!("R1")),
            "{again:?}"
        );
    }
    let other = stack.refund(order_no, "R1", json!({"refund_fee": 1})).await;
    assert_eq!(
        (other.status, &other.body["code"]),
        (409, &json!("refund_conflict"))
    );
    let more = stack.refund(order_no, "R2", json!({"refund_fee": 1})).await;
    assert_eq!(
        (more.status, &more.body["code"]),
        (409, &json!("refund_exceeds"))
    );
    stack
        .order_when(order_no, |order| order["status"] == "refunded")
        .await;
    assert_eq!(paid_back(&stack, &order).await, (1, 1999));
}

#[tokio::test]
async fn twenty_refunds_at_once_never_exceed_the_payment() {
    let stack = std::sync::Arc::new(Stack::new().await);
    let order = paid(&stack).await;
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (stack, order_no) = (std::sync::Arc::clone(&stack), order["order_no"].clone());
        asked.spawn(async move {
            let fee = json!({"refund_fee": 300});
            stack.refund(&order_no, &format!("R{number}"), fee).await
        });
    }
    let mut statuses: Vec<u16> = Vec::new();
    for answer in asked.join_all().await {
        assert!([201, 202, 409, 503].contains(&answer.status), "{answer:?}");
        statuses.push(answer.status);
    }
    let taken = statuses.iter().filter(|status| **status < 300).count();
    assert!((1..=6).contains(&taken), "{statuses:?}");
    let shown = stack
        .order_when(&order["order_no"], |order| {
            let refunds = order["refunds"].as_array().unwrap();
            refunds.iter().all(|refund| refund["status"] == "succeeded")
        })
        .await;
    let (count, sum) = paid_back(&stack, &order).await;
    assert!(sum <= 1999 && count <= 6, "{count} refunds of {sum} fen");
    assert_eq!(shown["refunded_fee"], sum);
}

#[tokio::test]
async fn what_cannot_be_refunded_is_refused_with_a_reason() {
    let stack = Stack::new().await;
    let unpaid = stack.native(json!({})).await;
    let fee = |fen: i64| json!({"refund_fee": fen});
    let cases = [
        (
            stack.refund(&unpaid["order_no"], "R1", fee(1)).await,
            409,
            "order_not_paid",
        ),
        (
            stack.refund(&json!("0000000000"), "R1", fee(1)).await,
            404,
            "order_not_found",
        ),
        (
            stack.refund(&unpaid["order_no"], "R 1", fee(1)).await,
            422,
            "param_invalid",
        ),
        (
            stack.refund(&unpaid["order_no"], "auto-1", fee(1)).await,
            422,
            "param_invalid",
        ),
        (
            stack.refund(&unpaid["order_no"], "R1", fee(0)).await,
            422,
            "param_invalid",
        ),
        (
            stack.refund(&unpaid["order_no"], "R1", fee(-5)).await,
            422,
            "param_invalid",
        ),
        (
            stack.refund(&unpaid["order_no"], "R1", json!({})).await,
            422,
            "param_invalid",
        ),
        (
            stack.show_refund(&unpaid["order_no"], "R1").await,
            404,
            "refund_not_found",
        ),
    ];
    for (answer, status, code) in cases {
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (status, &json!(code)),
            "{answer:?}"
        );
    }
    let stranger = Stack::new().await;
    let order = paid(&stack).await;
    let theirs = stranger.refund(&order["order_no"], "R1", fee(1)).await;
    assert_eq!(theirs.status, 404);
}

#[tokio::test]
async fn a_refund_notification_is_believed_only_as_far_as_wechat_confirms_it() {
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    let payment = stack.at_wechat(&order["trade_no"]).await;
    let number =
        |refund_no: &str| format!("{}{}{refund_no}", stack.app.id, order_no.as_str().unwrap());
    // It says SUCCESS, and there is no such refund.
    let unknown = stack
        .post_notification(notification(&stack, &payment, &number("R1")))
        .await;
    assert!(!is_accepted(&unknown.body), "{unknown:?}");
    for foreign in ["", "by-hand-1", &"9".repeat(64)] {
        let notice = notification(&stack, &payment, foreign);
        let answer = stack.post_notification(notice).await;
        assert!(!is_accepted(&answer.body), "{answer:?}");
    }
    // A payment that there is not, of an order that there is, or is not.
    for (name, value) in [
        ("transaction_id", json!("4200000000202611240000000000")),
        (
            "out_trade_no",
            json!(format!("{}000000000001", stack.app.id)),
        ),
        ("out_trade_no", json!("somebody-elses-number")),
    ] {
        let mut other = payment.clone();
        other[name] = value;
        let notice = notification(&stack, &other, &number("R1"));
        let answer = stack.post_notification(notice).await;
        assert!(!is_accepted(&answer.body), "{name}: {answer:?}");
    }
    // Broken in every way that comes to mind.
    let good = notification(&stack, &payment, &number("R1"));
    let sealed = good.split("<req_info><![CDATA[").nth(1).unwrap();
    let sealed = sealed.split("]]>").next().unwrap().to_owned();
    let cut = sealed[..sealed.len() - 8].to_owned();
    for broken in ["", "not base64", "aGVsbG8=", cut.as_str(), &"A".repeat(64)] {
        let answer = stack.post_notification(good.replace(&sealed, broken)).await;
        assert_eq!(answer.status, 200, "{broken}: {answer:?}");
        assert!(!is_accepted(&answer.body), "{broken}");
    }
    let stranger = good.replace(stack.setting("WECHAT_MCH_ID"), "1900000000");
    assert!(!is_accepted(&stack.post_notification(stranger).await.body));
    assert_eq!(stack.show(order_no).await.body["status"], "paid");

    // A real one, twenty times at once and once more.
    assert_eq!(
        stack
            .refund(order_no, "R1", json!({"refund_fee": 1999}))
            .await
            .status,
        201
    );
    stack.told(order_no, "refund.succeeded").await;
    let copies = (0..20).map(|_| stack.post_notification(good.clone()));
    for answer in futures_util::future::join_all(copies).await {
        assert!(is_accepted(&answer.body), "{answer:?}");
    }
    let shown = stack.show(order_no).await.body;
    assert_eq!(
        (&shown["status"], &shown["refunded_fee"]),
        (&json!("refunded"), &json!(1999))
    );
    assert_eq!(stack.told_of(order_no, "refund.succeeded").await.len(), 1);
}

/// What stands in the way of the next refund of this order.
async fn obstacle(stack: &Stack, order: &Value) -> Value {
    let known = stack.at_wechat(&order["trade_no"]).await;
    known["obstacles"][0].clone()
}

/// As if it had been hurried longer ago.
async fn a_minute_later(stack: &Stack, order_no: &Value) {
    let mut row = stack.row(order_no, "refund#R1").await;
    assert!(row.remove("hurried_at").is_some(), "{row:?}");
    stack.put_row(row).await;
}

#[tokio::test]
async fn a_refused_refund_waits_under_its_number_until_it_passes() {
    let stack = std::sync::Arc::new(Stack::new().await);
    let order = paid(&stack).await;
    let (order_no, trade_no) = (&order["order_no"], &order["trade_no"]);
    let empty = json!([{"err_code": "NOTENOUGH", "times": 100}]);
    stack.refuse_refunds(trade_no, empty).await;
    let asked = stack
        .refund(order_no, "R1", json!({"refund_fee": 1999}))
        .await;
    assert_eq!(
        (asked.status, &asked.body["status"], &asked.body["err_code"]),
        (202, &json!("pending"), &json!("NOTENOUGH")),
        "{asked:?}"
    );
    stack.alarmed("orders", order_no, "refund_refused").await;
    // The same again is the same, and no other number may have the amount.
    let again = stack
        .refund(order_no, "R1", json!({"refund_fee": 1999}))
        .await;
    assert_eq!((again.status, &again.body), (202, &asked.body));
    let other = stack.refund(order_no, "R2", json!({"refund_fee": 1})).await;
    assert_eq!(other.body["code"], "refund_exceeds");

    // Of twenty who hurry it at once, one asks.
    let before = obstacle(&stack, &order).await["times"].as_i64().unwrap();
    let mut hurries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (stack, order_no) = (std::sync::Arc::clone(&stack), order_no.clone());
        hurries.spawn(async move { stack.retry_refund(&order_no, "R1").await });
    }
    for answer in hurries.join_all().await {
        assert_eq!(
            (answer.status, &answer.body["status"]),
            (202, &json!("pending")),
            "{answer:?}"
        );
    }
    let after = obstacle(&stack, &order).await["times"].as_i64().unwrap();
    assert_eq!(before - after, 1, "{before} {after}");
    let again = stack.retry_refund(order_no, "R1").await;
    assert_eq!(
        (again.status, &again.body["status"]),
        (202, &json!("pending"))
    );
    let last = obstacle(&stack, &order).await["times"].as_i64().unwrap();
    assert_eq!(after, last, "once a minute");

    // Somebody has filled the balance up.
    stack.refuse_refunds(trade_no, json!([])).await;
    a_minute_later(&stack, order_no).await;
    let taken = stack.retry_refund(order_no, "R1").await;
    assert!([200, 202].contains(&taken.status), "{taken:?}");
    assert_eq!(taken.body["err_code"], Value::Null);
    let shown = stack.told(order_no, "refund.succeeded").await;
    assert_eq!(shown["status"], "refunded");
    assert_eq!(paid_back(&stack, &order).await, (1, 1999));
    assert!(stack.told_of(order_no, "refund.failed").await.is_empty());
    let ended = stack.retry_refund(order_no, "R1").await;
    assert_eq!(
        (ended.status, &ended.body["status"]),
        (200, &json!("succeeded"))
    );
    let unknown = stack.retry_refund(order_no, "R9").await;
    assert_eq!(
        (unknown.status, &unknown.body["code"]),
        (404, &json!("refund_not_found"))
    );
}

#[tokio::test]
async fn a_refund_is_over_only_after_hours_or_a_week_of_refusals() {
    let stack = Stack::new().await;
    let own = match stack.is_v3() {
        false => [("TRADE_OVERDUE", 2 * 3600), ("ERROR", 7 * 86_400)],
        true => [
            ("RESOURCE_NOT_EXISTS", 2 * 3600),
            ("INVALID_REQUEST", 7 * 86_400),
        ],
    };
    let both = [
        ("USER_ACCOUNT_ABNORMAL", 2 * 3600),
        ("NOTENOUGH", 7 * 86_400),
    ];
    for (err_code, patience) in own.into_iter().chain(both) {
        let order = paid(&stack).await;
        let order_no = &order["order_no"];
        let refusal = json!([{"err_code": err_code}]);
        stack.refuse_refunds(&order["trade_no"], refusal).await;
        let whole = json!({"refund_fee": 1999});
        let asked = stack.refund(order_no, "R1", whole.clone()).await;
        assert_eq!(
            (asked.status, &asked.body["err_code"]),
            (202, &json!(err_code))
        );
        stack.age_refund(order_no, "R1", patience - 60).await;
        let early = stack.retry_refund(order_no, "R1").await;
        assert_eq!(early.body["status"], "pending", "{err_code}");
        let other = stack.refund(order_no, "R2", whole.clone()).await;
        assert_eq!(other.body["code"], "refund_exceeds", "{err_code}");

        stack.age_refund(order_no, "R1", 120).await;
        let over = stack.retry_refund(order_no, "R1").await;
        assert_eq!(
            (over.status, &over.body["status"], &over.body["err_code"]),
            (200, &json!("failed"), &json!(err_code))
        );
        let shown = stack.told(order_no, "refund.failed").await;
        assert_eq!(shown["status"], "paid");
        stack.alarmed("orders", order_no, "refund_failed").await;
        let told = stack.told_of(order_no, "refund.failed").await;
        assert_eq!(
            (&told[0]["params"]["err_code"], &told[0]["params"]["source"]),
            (&json!(err_code), &json!("app"))
        );
        stack.refuse_refunds(&order["trade_no"], json!([])).await;
        assert_eq!(stack.refund(order_no, "R2", whole).await.status, 201);
        assert_eq!(paid_back(&stack, &order).await, (1, 1999));
    }
}

#[tokio::test]
async fn a_refund_whose_first_answer_is_lost_goes_out_once_though_no_question_finds_it() {
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let (order_no, trade_no) = (&order["order_no"], &order["trade_no"]);
    // WeChat has it, says that it has not, and then that it never will.
    let lost = json!({"refund_lag_seconds": 3600, "refund": [
        {"err_code": "ERROR", "times": 1, "although_done": true},
        {"err_code": "TRADE_OVERDUE"},
    ]});
    stack.obstruct(trade_no, lost).await;
    let whole = json!({"refund_fee": 1999});
    let asked = stack.refund(order_no, "R1", whole.clone()).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    for _ in 0..3 {
        let hurried = stack.retry_refund(order_no, "R1").await;
        assert_eq!(hurried.body["status"], "pending", "{hurried:?}");
        a_minute_later(&stack, order_no).await;
        let other = stack.refund(order_no, "R2", whole.clone()).await;
        assert_eq!(other.body["code"], "refund_exceeds");
    }
    stack
        .obstruct(trade_no, json!({"refund_lag_seconds": 0}))
        .await;
    let found = stack.retry_refund(order_no, "R1").await;
    assert_ne!(found.body["status"], "pending", "{found:?}");
    stack.told(order_no, "refund.succeeded").await;
    assert_eq!(paid_back(&stack, &order).await, (1, 1999));
}

#[tokio::test]
async fn only_what_an_app_signed_for_it_hurries_a_refund() {
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = order["order_no"].as_str().unwrap();
    let refunded = stack
        .refund(&order["order_no"], "R1", json!({"refund_fee": 1}))
        .await;
    assert_eq!(refunded.status, 201, "{refunded:?}");
    let numbers = [("order_no", order_no), ("refund_no", "R1")];
    let (hub, now) = (stack.setting("HUB_URL"), journeys::unix_seconds());
    let url = format!("{hub}/v1/orders/{order_no}/refunds/R1/retry");
    // The text that is signed to look at it, which stands in access logs.
    let looked_at = stack.app.request(&numbers, demo_shop::Fields::new(), now);
    let looked_at = Value::from(looked_at.unwrap());
    let other = json!({"action": "close"}).as_object().unwrap().clone();
    let other = Value::from(stack.app.request(&numbers, other, now).unwrap());
    for body in [looked_at, other] {
        let refused = stack.send(|http| http.post(&url).json(&body)).await;
        assert_eq!(
            (refused.status, &refused.body["field"]),
            (422, &json!("action")),
            "{refused:?}"
        );
    }
}
