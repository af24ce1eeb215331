//! Orders in operators' hands: looked at, asked about, given up, and given back, by
//! one person up to the limit and by two above it. The tests' limit is 1500 fen.

use aws_sdk_dynamodb::types::AttributeValue;
use journeys::desk::Proof;
use journeys::{Answer, Stack, unix_seconds};
use serde_json::{Value, json};

use crate::brand::Brand;

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or("-"))
}

fn path(order: &Value) -> String {
    let text = |name: &str| order[name].as_str().unwrap().to_owned();
    format!("orders/{}/{}", text("app_id"), text("order_no"))
}

async fn get(stack: &Stack, proof: &Proof, path: &str) -> Answer {
    stack.desk(proof, "GET", path, &Value::Null).await
}

async fn post(stack: &Stack, proof: &Proof, path: &str, body: Value) -> Answer {
    stack.desk(proof, "POST", path, &body).await
}

async fn paid(stack: &Stack) -> Value {
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "delivered").await;
    order
}

/// What the trail says of an order: action and who, the oldest first.
async fn trail(stack: &Stack, order: &Value) -> Vec<(String, Value)> {
    let listed = ["audit", "list", "--app", &stack.app.id, "--json"];
    let entries: Value = serde_json::from_str(&stack.run(&listed).await.out).unwrap();
    let subject = format!("{}#{}", stack.app.id, order["order_no"].as_str().unwrap());
    let entries = entries.as_array().unwrap().iter().rev();
    let of_order = entries.filter(|entry| entry["subject"] == subject);
    of_order
        .map(|entry| (entry["action"].as_str().unwrap().to_owned(), entry.clone()))
        .collect()
}

fn actions(trail: &[(String, Value)]) -> Vec<&str> {
    trail.iter().map(|(action, _)| action.as_str()).collect()
}

#[tokio::test]
async fn an_order_is_found_and_shown_as_its_app_sees_it() {
    let stack = Stack::new().await;
    let auditor = stack.at_work("auditor").await;
    let order = paid(&stack).await;
    let seen = stack.show(&order["order_no"]).await.body;
    let shown = get(&stack, &auditor, &path(&order)).await;
    assert_eq!((shown.status, &shown.body), (200, &seen));
    let trade_no = order["trade_no"].as_str().unwrap();
    let found = get(&stack, &auditor, &format!("orders?trade_no={trade_no}")).await;
    assert_eq!(found.body, seen);
    let unknown = format!("orders/{}/Z999999999", stack.app.id);
    assert_eq!(
        code(&get(&stack, &auditor, &unknown).await),
        (404, "order_not_found")
    );
    for bad in ["orders?trade_no=1", "orders", "orders?order_no=A000000001"] {
        let refused = get(&stack, &auditor, bad).await;
        assert_eq!(code(&refused), (422, "param_invalid"), "{bad}");
    }
}

#[tokio::test]
async fn an_order_is_found_by_wechats_number_at_whichever_merchant_was_paid() {
    let first = Stack::new().await;
    let auditor = first.at_work("auditor").await;
    let find = |by: String| {
        let (stack, auditor) = (&first, &auditor);
        async move { get(stack, auditor, &format!("orders?{by}")).await }
    };
    let not_found = (404, "order_not_found");
    for version in ["2", "3"] {
        let brand = Brand::register(&first, version).await;
        let stack = brand.stack().await;
        let order = paid(&stack).await;
        let seen = stack.show(&order["order_no"]).await.body;
        let id = seen["transaction_id"].as_str().unwrap();
        let (own, other) = (&*brand.mch_id, first.setting("WECHAT_MCH_ID"));
        let found = find(format!("transaction_id={id}&mch_id={own}")).await;
        assert_eq!((found.status, &found.body), (200, &seen), "{version}");
        for nobodys in [
            format!("transaction_id={id}&mch_id={other}"),
            format!("transaction_id={id}&mch_id=4711"),
            format!("transaction_id=4200000000000000&mch_id={own}"),
        ] {
            assert_eq!(code(&find(nobodys.clone()).await), not_found, "{nobodys}");
        }

        // Its app's owner finds it, and another app's owner learns nothing.
        let path = format!("orders?transaction_id={id}&mch_id={own}");
        let owner = stack.with_link(&[&stack.app.id]).await;
        assert_eq!(get(&stack, &owner, &path).await.body, seen);
        let stranger = first.with_link(&[&first.app.id]).await;
        assert_eq!(code(&get(&first, &stranger, &path).await), not_found);
    }
    // The first merchant's, among all of them, unless there are too many.
    let order = paid(&first).await;
    let seen = first.show(&order["order_no"]).await.body;
    let id = seen["transaction_id"].as_str().unwrap();
    let found = find(format!("transaction_id={id}")).await;
    match found.status {
        200 => assert_eq!(found.body, seen),
        _ => assert_eq!(found.body["field"], "mch_id", "{found:?}"),
    }
    for (bad, field) in [
        ("transaction_id=4200-1", "transaction_id"),
        ("transaction_id=1&mch_id=x", "mch_id"),
        ("transaction_id=1&trade_no=1", "trade_no"),
        ("mch_id=1", "mch_id"),
    ] {
        let refused = find(bad.to_owned()).await;
        assert_eq!(
            (refused.status, &refused.body["field"]),
            (422, &json!(field)),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn wechat_is_asked_now_and_an_order_given_up_and_both_are_remembered() {
    let stack = Stack::new().await;
    let operator = stack.at_work("operator").await;
    let lost = stack.native(json!({})).await;
    stack.pay(&lost["trade_no"], json!({"notify": false})).await;
    let asked = post(
        &stack,
        &operator,
        &format!("{}/query", path(&lost)),
        json!({}),
    )
    .await;
    assert_eq!(
        (asked.status, &asked.body["status"]),
        (200, &json!("paid")),
        "{asked:?}"
    );
    let close = |order: &Value| {
        let path = format!("{}/close", path(order));
        let (stack, operator) = (&stack, &operator);
        async move { post(stack, operator, &path, json!({"reason": "sold out"})).await }
    };
    assert_eq!(code(&close(&lost).await), (409, "order_paid"));
    let open = stack.native(json!({})).await;
    let given_up = close(&open).await;
    assert_eq!(given_up.status, 202, "{given_up:?}");
    stack.age(&open["order_no"], 310).await;
    stack.sweep().await;
    stack.told_closed(&open["order_no"], "closed_by_app").await;
    let trail = [trail(&stack, &lost).await, trail(&stack, &open).await];
    assert_eq!(actions(&trail[0]), ["order.query", "order.close"]);
    assert_eq!(actions(&trail[1]), ["order.close"]);
    assert_eq!(trail[1][0].1["reason"], "sold out");
}

#[tokio::test]
async fn one_person_gives_back_up_to_the_limit_and_a_second_confirms_the_rest() {
    let stack = Stack::new().await;
    let [ann, bob] = [
        stack.at_work("finance").await,
        stack.at_work("finance").await,
    ];
    let operator = stack.at_work("operator").await;
    let order = paid(&stack).await;
    let refunds = format!("{}/refunds", path(&order));

    // Alone, and again under the same number.
    let first =
        json!({"refund_no": "R1", "refund_fee": 1000, "payer_reason": "late", "reason": "call 17"});
    for _ in 0..2 {
        let refund = post(&stack, &ann, &refunds, first.clone()).await;
        assert_eq!(refund.status, 201, "{refund:?}");
        assert_eq!(refund.body["refund_no"], "auto-op-R1");
        assert_eq!(refund.body["source"], "hub");
    }
    let other = json!({"refund_no": "R1", "refund_fee": 999});
    let other = post(&stack, &ann, &refunds, other).await;
    assert_eq!(code(&other), (409, "refund_conflict"));
    let too_much = json!({"refund_no": "R2", "refund_fee": 1000});
    let too_much = post(&stack, &ann, &refunds, too_much).await;
    assert_eq!(code(&too_much), (409, "refund_exceeds"));

    // With what went before it is above the limit.
    let second = json!({"refund_no": "R2", "refund_fee": 600});
    let waits = post(&stack, &ann, &refunds, second.clone()).await;
    assert_eq!(waits.status, 202, "{waits:?}");
    let again = post(&stack, &ann, &refunds, second).await;
    assert_eq!((again.status, &again.body["id"]), (202, &waits.body["id"]));
    let waiting = format!("confirmations/{}", waits.body["id"].as_str().unwrap());
    assert_eq!(get(&stack, &bob, &waiting).await.body, waits.body);
    let confirm = format!("{waiting}/confirm");
    let own = post(&stack, &ann, &confirm, json!({})).await;
    assert_eq!(
        code(&own),
        (404, "nothing_waits"),
        "nobody confirms their own"
    );
    let weak = post(&stack, &operator, &confirm, json!({})).await;
    assert_eq!(code(&weak), (403, "forbidden"));
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(
        shown["refunds"].as_array().unwrap().len(),
        1,
        "nothing has gone back"
    );
    // Twenty at once are one refund.
    let all = (0..20).map(|_| post(&stack, &bob, &confirm, json!({})));
    let answers = futures_util::future::join_all(all).await;
    assert!(
        answers.iter().any(|answer| answer.status == 200),
        "{answers:?}"
    );
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 404 | 503), "{answer:?}");
    }
    assert_eq!(
        code(&post(&stack, &bob, &confirm, json!({})).await),
        (404, "nothing_waits")
    );

    let refunded = stack
        .order_when(&order["order_no"], |order| order["refunded_fee"] == 1600)
        .await;
    assert_eq!(
        refunded["refunds"].as_array().unwrap().len(),
        2,
        "{refunded}"
    );

    // All that is left, which nobody lets go.
    let rest = post(&stack, &operator, &refunds, json!({"refund_no": "rest"})).await;
    assert_eq!(
        (rest.status, &rest.body["refund_fee"]),
        (202, &json!(399)),
        "{rest:?}"
    );
    let id = rest.body["id"].as_str().unwrap();
    let rejected = stack
        .desk(&bob, "DELETE", &format!("confirmations/{id}"), &Value::Null)
        .await;
    assert_eq!(rejected.status, 204, "{rejected:?}");
    let late = post(
        &stack,
        &bob,
        &format!("confirmations/{id}/confirm"),
        json!({}),
    )
    .await;
    assert_eq!(code(&late), (404, "nothing_waits"));
    let expired = post(&stack, &operator, &refunds, json!({"refund_no": "rest"})).await;
    assert_eq!(
        expired.status, 202,
        "it may be asked for again: {expired:?}"
    );
    end_waiting(&stack, id).await;
    let late = post(
        &stack,
        &bob,
        &format!("confirmations/{id}/confirm"),
        json!({}),
    )
    .await;
    assert_eq!(code(&late), (404, "nothing_waits"));

    let trail = trail(&stack, &order).await;
    assert_eq!(
        actions(&trail),
        [
            "refund.create",
            "refund.ask",
            "refund.confirm",
            "refund.ask",
            "refund.reject",
            "refund.ask"
        ]
    );
    assert_eq!(trail[0].1["reason"], "call 17");
    assert_eq!(trail[0].1["after"]["refund_fee"], 1000);
    let (asked, confirmed) = (&trail[1].1, &trail[2].1);
    assert_eq!(confirmed["after"]["asked_by"], asked["who"]);
    assert_ne!(confirmed["who"], asked["who"]);
}

#[tokio::test]
async fn what_cannot_be_given_back_is_refused_and_takes_nothing() {
    let stack = Stack::new().await;
    let finance = stack.at_work("finance").await;
    let open = stack.native(json!({})).await;
    let refunds = format!("{}/refunds", path(&open));
    let unpaid = post(&stack, &finance, &refunds, json!({"refund_no": "R1"})).await;
    assert_eq!(code(&unpaid), (409, "order_not_paid"));
    let order = paid(&stack).await;
    let refunds = format!("{}/refunds", path(&order));
    for (bad, field) in [
        (json!({"refund_no": "R1", "refund_fee": 0}), "refund_fee"),
        (json!({"refund_no": "R1", "refund_fee": -5}), "refund_fee"),
        (
            json!({"refund_no": "auto-1/2", "refund_fee": 5}),
            "refund_no",
        ),
        (json!({"refund_no": "x".repeat(25)}), "refund_no"),
        (
            json!({"refund_no": "R1", "payer_reason": "x".repeat(81)}),
            "payer_reason",
        ),
        (json!({"refund_fee": 5}), "body"),
        (json!({"refund_no": "R1", "confirmed": true}), "body"),
    ] {
        let refused = post(&stack, &finance, &refunds, bad.clone()).await;
        assert_eq!(code(&refused), (422, "param_invalid"), "{bad}");
        assert_eq!(refused.body["field"], field, "{bad}");
    }
    let foreign = json!({"refund_no": "R1", "transaction_id": "4200000000000000000000000000"});
    let foreign = post(&stack, &finance, &refunds, foreign).await;
    assert_eq!(code(&foreign), (409, "order_not_paid"));
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(shown["refunds"], json!([]));
    assert_eq!(actions(&trail(&stack, &order).await), [""; 0]);
}

/// A day passes for what waits.
async fn end_waiting(stack: &Stack, id: &str) {
    aws_sdk_dynamodb::Client::new(&stack.aws)
        .update_item()
        .table_name(stack.setting("REGISTRY_TABLE"))
        .key("pk", AttributeValue::S(format!("confirmation#{id}")))
        .update_expression("SET ends_at = :now")
        .condition_expression("attribute_exists(pk)")
        .expression_attribute_values(
            ":now",
            AttributeValue::N((unix_seconds() * 1000).to_string()),
        )
        .send()
        .await
        .unwrap();
}
