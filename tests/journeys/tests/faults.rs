//! What goes wrong around the hub: doorbells that are lost, a WeChat that does
//! not answer. It has a process of its own and goes one at a time, because it
//! silences what every other journey listens to.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a journey that cannot go on has failed"
)]

use std::time::Duration;

use journeys::{Stack, auth_code, eventually, random_order_no};
use serde_json::{Value, json};
use tokio::sync::Mutex;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Turns the event source of a queue on or off.
async fn listen(stack: &Stack, queue_setting: &str, enabled: bool) {
    let lambda = aws_sdk_lambda::Client::new(&stack.aws);
    let queue = stack
        .setting(queue_setting)
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let mappings = lambda.list_event_source_mappings().send().await.unwrap();
    let mapping = mappings
        .event_source_mappings()
        .iter()
        .find(|mapping| {
            mapping
                .event_source_arn()
                .is_some_and(|arn| arn.ends_with(&queue))
        })
        .unwrap();
    let uuid = mapping.uuid().unwrap();
    lambda
        .update_event_source_mapping()
        .uuid(uuid)
        .enabled(enabled)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_doorbell_that_is_lost_is_rung_again_by_the_sweeper() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let sqs = aws_sdk_sqs::Client::new(&stack.aws);
    let queue = stack.setting("DELIVER_FIRST_QUEUE_URL");

    listen(&stack, "DELIVER_FIRST_QUEUE_URL", false).await;
    stack.pay(&order["trade_no"], json!({})).await;
    // Take the message from the queue and throw it away.
    let mut lost = 0;
    for _ in 0..50 {
        let received = sqs
            .receive_message()
            .queue_url(queue)
            .wait_time_seconds(1)
            .send()
            .await
            .unwrap();
        for message in received.messages() {
            let body = message.body().unwrap_or_default();
            let receipt = message.receipt_handle().unwrap();
            sqs.delete_message()
                .queue_url(queue)
                .receipt_handle(receipt)
                .send()
                .await
                .unwrap();
            lost += usize::from(body.contains(order["order_no"].as_str().unwrap()));
        }
        if lost > 0 {
            break;
        }
    }
    listen(&stack, "DELIVER_FIRST_QUEUE_URL", true).await;
    assert_eq!(lost, 1, "no doorbell was lost, so nothing is proved");
    let shown = stack.show(&order["order_no"]).await.body;
    assert_eq!(
        (&shown["status"], &shown["deliveries"][0]["status"]),
        (&json!("paid"), &json!("pending"))
    );

    let shown = eventually(|| async {
        stack.sweep().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let shown = stack.show(&order["order_no"]).await.body;
        let done = shown["deliveries"][0]["status"] == "delivered";
        if done { Ok(shown) } else { Err(shown) }
    })
    .await;
    assert_eq!(
        shown["deliveries"][0]["attempts"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn an_order_that_wechat_did_not_answer_is_kept_and_can_be_tried_again() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    for kind in [
        "timeout_after",
        "timeout_before",
        "http_500",
        "reset",
        "system_error_after",
    ] {
        let order_no = random_order_no();
        let fault =
            json!({"path": stack.path_at_wechat("/pay/unifiedorder"), "kind": kind, "times": 1});
        assert_eq!(stack.wechat("faults", &fault).await.status, 200, "{kind}");
        let failed = stack
            .create(&stack.order(json!({"order_no": order_no})))
            .await;
        assert_eq!(
            (failed.status, &failed.body["code"]),
            (504, &json!("wechat_timeout")),
            "{kind}"
        );
        let kept = stack.show(&json!(order_no)).await;
        assert_eq!(
            (kept.status, &kept.body["status"]),
            (200, &json!("created")),
            "{kind}"
        );
        let again = stack
            .create(&stack.order(json!({"order_no": order_no})))
            .await;
        assert_eq!(again.status, 200, "{kind}: {again:?}");
        assert!(again.body["code_url"].is_string(), "{kind}");
    }
}

#[tokio::test]
async fn a_notification_that_cannot_be_confirmed_is_answered_in_time_and_settled_later() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack
        .pay(&order["trade_no"], json!({"notify": false}))
        .await;
    let fault = json!({"path": stack.path_at_wechat("/pay/orderquery"), "kind": "timeout_before", "times": 1});
    assert_eq!(stack.wechat("faults", &fault).await.status, 200);
    let answers = stack.notify(&order["trade_no"], json!({})).await;
    assert_eq!(answers[0]["accepted"], false, "{answers:?}");
    assert!(
        answers[0]["latency_ms"]
            .as_i64()
            .is_some_and(|ms| ms < 5000),
        "{answers:?}"
    );
    assert_ne!(answers[0]["status"], Value::Null);
    let answers = stack.notify(&order["trade_no"], json!({})).await;
    assert_eq!(answers[0]["accepted"], true, "{answers:?}");
    stack.delivered_as(&order["order_no"], "delivered").await;
}

#[tokio::test]
async fn an_order_that_wechat_says_nothing_of_is_not_said_to_be_unknown() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    let auditor = stack.at_work("auditor").await;
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    let seen = stack.told(&order["order_no"], "payment.succeeded").await;
    let id = seen["transaction_id"].as_str().unwrap();
    let by = format!(
        "orders?transaction_id={id}&mch_id={}",
        stack.setting("WECHAT_MCH_ID")
    );
    let find = || stack.desk(&auditor, "GET", &by, &Value::Null);
    let path = match stack.is_v3() {
        true => "/v3/pay/transactions/id/{transaction_id}",
        false => "/pay/orderquery",
    };
    for kind in ["timeout_before", "http_500", "system_error", "reset"] {
        let fault = json!({"path": path, "kind": kind, "times": 1});
        assert_eq!(stack.wechat("faults", &fault).await.status, 200, "{kind}");
        let silent = find().await;
        assert_eq!(
            (silent.status, &silent.body["code"]),
            (504, &json!("wechat_timeout")),
            "{kind}"
        );
        let found = find().await;
        assert_eq!(
            (found.status, &found.body["order_no"]),
            (200, &order["order_no"]),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn whoever_asks_while_wechat_is_silent_learns_nothing_and_nothing_wrong() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    for kind in ["timeout_before", "http_500", "system_error", "reset"] {
        let order = stack.native(json!({})).await;
        stack
            .pay(&order["trade_no"], json!({"notify": false}))
            .await;
        let fault =
            json!({"path": stack.path_at_wechat("/pay/orderquery"), "kind": kind, "times": 1});
        assert_eq!(stack.wechat("faults", &fault).await.status, 200, "{kind}");
        let action = json!({"action": "query"});
        let asked = stack.act(&order["order_no"], "query", action).await;
        assert_eq!(
            (asked.status, &asked.body["status"]),
            (200, &json!("paying")),
            "{kind}: {asked:?}"
        );
        // Within the pause nobody asks again; after it WeChat is heard.
        tokio::time::sleep(Duration::from_millis(2100)).await;
        let action = json!({"action": "query"});
        let asked = stack.act(&order["order_no"], "query", action).await;
        assert_eq!(asked.body["status"], "paid", "{kind}: {asked:?}");
    }
}

/// The order, paid, and its app told.
async fn paid(stack: &Stack) -> Value {
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.told(&order["order_no"], "payment.succeeded").await;
    order
}

/// What WeChat has paid back of it.
async fn refunds(stack: &Stack, order: &Value) -> Vec<Value> {
    let known = stack.at_wechat(&order["trade_no"]).await;
    known["refunds"].as_array().unwrap().clone()
}

/// Waits until the hub knows that the refund stands there.
async fn refund_is(stack: &Stack, order_no: &Value, refund_no: &str, status: &str) {
    eventually(|| async {
        let shown = stack.show_refund(order_no, refund_no).await.body;
        let there = shown["status"] == status;
        if there { Ok(()) } else { Err(shown) }
    })
    .await;
}

/// Waits until the refund has ended at WeChat.
async fn settled(stack: &Stack, order: &Value) {
    eventually(|| async {
        let known = refunds(stack, order).await;
        let open = known.is_empty() || known[0]["status"] == "PROCESSING";
        if open { Err(json!(known)) } else { Ok(()) }
    })
    .await;
}

/// Settings of the simulated WeChat, for as long as a journey has its turn.
async fn set(stack: &Stack, settings: Value) {
    let set = stack.wechat("settings", &settings).await;
    assert_eq!(set.status, 200, "{set:?}");
}

#[tokio::test]
async fn a_refund_that_wechat_did_not_answer_is_repeated_and_goes_out_once() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    // A notification would tell what the answer did not.
    set(&stack, json!({"auto_notify_refunds": false})).await;
    for kind in [
        "timeout_after",
        "timeout_before",
        "http_500",
        "reset",
        "reset_after",
        "system_error",
        "system_error_after",
    ] {
        let order = paid(&stack).await;
        let order_no = &order["order_no"];
        let fault =
            json!({"path": stack.path_at_wechat("/secapi/pay/refund"), "kind": kind, "times": 1});
        assert_eq!(stack.wechat("faults", &fault).await.status, 200, "{kind}");
        let asked = stack
            .refund(order_no, "R1", json!({"refund_fee": 1000}))
            .await;
        assert_eq!(
            (asked.status, &asked.body["status"]),
            (202, &json!("pending")),
            "{kind}: {asked:?}"
        );
        // Promised is promised: the rest is all that is left.
        let more = stack
            .refund(order_no, "R2", json!({"refund_fee": 1000}))
            .await;
        assert_eq!(more.body["code"], "refund_exceeds", "{kind}");
        // Sent again, and then asked about. Version 3 answers with how it stands.
        let is_done = stack.is_v3() && kind.ends_with("after");
        if is_done {
            settled(&stack, &order).await;
        }
        for status in ["processing", "succeeded"].into_iter().skip(is_done.into()) {
            stack.age_refund(order_no, "R1", 120).await;
            stack.sweep().await;
            refund_is(&stack, order_no, "R1", status).await;
            settled(&stack, &order).await;
        }
        let shown = stack.told(order_no, "refund.succeeded").await;
        assert_eq!(shown["refunded_fee"], 1000, "{kind}");
        let known = refunds(&stack, &order).await;
        assert_eq!(known.len(), 1, "{kind}: {known:?}");
        let told = stack.told_of(order_no, "refund.succeeded").await;
        assert_eq!(told.len(), 1, "{kind}");
    }
    set(&stack, json!({"auto_notify_refunds": true})).await;
}

/// How many questions about a refund have been answered.
async fn step(stack: &Stack, order_no: &Value, refund_no: &str) -> u8 {
    let row = stack.row(order_no, &format!("refund#{refund_no}")).await;
    row["step"].as_n().unwrap().parse().unwrap()
}

#[tokio::test]
async fn refunds_that_come_too_fast_for_wechat_go_out_one_after_the_other() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    set(&stack, json!({"refund_gap_seconds": 1000})).await;
    for (refund_no, status) in [("R1", 201), ("R2", 202), ("R3", 202)] {
        let asked = stack.refund(order_no, refund_no, json!({"refund_fee": 500}));
        assert_eq!(asked.await.status, status, "{refund_no}");
    }
    stack.told(order_no, "refund.succeeded").await;
    for (refund_no, ahead) in [("R2", 2000), ("R3", 4000)] {
        // As often as it may be put off, it is offered again at least each hour.
        for _ in 0..6 {
            let before = step(&stack, order_no, refund_no).await;
            stack.age_refund(order_no, refund_no, 3601).await;
            stack.sweep().await;
            eventually(|| async {
                let now = step(&stack, order_no, refund_no).await;
                if now > before {
                    Ok(())
                } else {
                    Err(json!(now))
                }
            })
            .await;
            refund_is(&stack, order_no, refund_no, "pending").await;
        }
        let waiting = stack.show_refund(order_no, refund_no).await.body;
        // Version 3 says it with a status after which nothing is known.
        let code = (!stack.is_v3()).then_some("FREQUENCY_LIMITED");
        assert_eq!(waiting["err_code"], json!(code));
        stack.alarmed("reconcile", order_no, "refund_stuck").await;
        set(&stack, json!({"clock_ahead_seconds": ahead})).await;
        eventually(|| async {
            stack.age_refund(order_no, refund_no, 3601).await;
            stack.sweep().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let shown = stack.show_refund(order_no, refund_no).await.body;
            let done = shown["status"] == "succeeded";
            if done { Ok(()) } else { Err(shown) }
        })
        .await;
    }
    set(
        &stack,
        json!({"refund_gap_seconds": 0, "clock_ahead_seconds": 0}),
    )
    .await;
    assert_eq!(refunds(&stack, &order).await.len(), 3);
}

#[tokio::test]
async fn a_refund_for_which_the_balance_lacks_goes_out_when_it_is_filled() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    set(&stack, json!({"balance_fen": 1500})).await;
    let first = stack
        .refund(order_no, "R1", json!({"refund_fee": 1000}))
        .await;
    assert_eq!(first.status, 201, "{first:?}");
    let second = stack
        .refund(order_no, "R2", json!({"refund_fee": 900}))
        .await;
    assert_eq!(
        (second.status, &second.body["err_code"]),
        (202, &json!("NOTENOUGH")),
        "{second:?}"
    );
    // The hub offers it again by itself, in vain.
    let refusals = || async {
        let raised = stack.alarms("reconcile", order_no).await;
        raised.iter().filter(|one| *one == "refund_refused").count()
    };
    stack.age_refund(order_no, "R2", 61).await;
    stack.sweep().await;
    eventually(|| async {
        let count = refusals().await;
        if count > 0 { Ok(()) } else { Err(json!(count)) }
    })
    .await;
    refund_is(&stack, order_no, "R2", "pending").await;
    set(&stack, json!({"balance_fen": 900})).await;
    stack.age_refund(order_no, "R2", 3600).await;
    stack.sweep().await;
    refund_is(&stack, order_no, "R2", "succeeded").await;
    set(&stack, json!({"balance_fen": null})).await;
    assert_eq!(refunds(&stack, &order).await.len(), 2);
    let shown = stack.show(order_no).await.body;
    assert_eq!(shown["refunded_fee"], 1900);
}

#[tokio::test]
async fn a_refund_that_wechat_does_not_tell_of_is_asked_about() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    set(&stack, json!({"auto_notify_refunds": false})).await;
    let asked = stack
        .refund(order_no, "R1", json!({"refund_fee": 1999}))
        .await;
    assert_eq!(
        (asked.status, &asked.body["status"]),
        (201, &json!("processing"))
    );
    settled(&stack, &order).await;
    set(&stack, json!({"auto_notify_refunds": true})).await;
    let shown = stack.show_refund(order_no, "R1").await.body;
    assert_eq!(shown["status"], "processing");
    stack.age_refund(order_no, "R1", 120).await;
    stack.sweep().await;
    let shown = stack.told(order_no, "refund.succeeded").await;
    assert_eq!(shown["status"], "refunded");
}

#[tokio::test]
async fn a_refund_that_fails_for_good_frees_its_amount_and_one_that_needs_a_person_waits() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    let order = paid(&stack).await;
    let order_no = &order["order_no"];
    set(&stack, json!({"refund_result": "REFUNDCLOSE"})).await;
    let whole = json!({"refund_fee": 1999});
    assert_eq!(
        stack.refund(order_no, "R1", whole.clone()).await.status,
        201
    );
    let shown = stack.told(order_no, "refund.failed").await;
    assert_eq!(
        (&shown["status"], &shown["refunded_fee"]),
        (&json!("paid"), &json!(0))
    );
    let told = stack.told_of(order_no, "refund.failed").await;
    assert_eq!(told[0]["params"]["err_code"], "REFUNDCLOSE");
    // The number is used up; it never becomes another refund.
    let again = stack.refund(order_no, "R1", whole.clone()).await;
    assert_eq!(
        (again.status, &again.body["status"]),
        (200, &json!("failed"))
    );

    set(&stack, json!({"refund_result": "CHANGE"})).await;
    assert_eq!(
        stack.refund(order_no, "R2", whole.clone()).await.status,
        201
    );
    refund_is(&stack, order_no, "R2", "change").await;
    set(&stack, json!({"refund_result": "SUCCESS"})).await;
    // It may still go out: nothing else may.
    let third = stack.refund(order_no, "R3", whole).await;
    assert_eq!(third.body["code"], "refund_exceeds");
    assert!(stack.told_of(order_no, "refund.succeeded").await.is_empty());
}

#[tokio::test]
async fn a_payment_code_is_taken_back_although_wechat_asks_to_be_called_again() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    for fault in [None, Some("system_error"), Some("timeout_after")] {
        set(&stack, json!({"reverse_recalls": 2})).await;
        if let Some(kind) = fault {
            let fault = json!({"path": "/secapi/pay/reverse", "kind": kind, "times": 1});
            assert_eq!(stack.wechat("faults", &fault).await.status, 200);
        }
        // Nobody ever types the password.
        let order_no = json!(random_order_no());
        let code = json!({
            "order_no": order_no, "trade_type": "MICROPAY", "auth_code": auth_code("02")
        });
        let waiting = stack.create(&stack.order(code)).await;
        assert_eq!(waiting.status, 202, "{waiting:?}");
        let shown = stack.told(&order_no, "payment.failed").await;
        assert_eq!(shown["err_code"], "REVERSED", "{fault:?}");
        let known = stack.at_wechat(&waiting.body["trade_no"]).await;
        assert_eq!(known["state"], "REVOKED", "{fault:?}");
        assert_eq!(stack.told_of(&order_no, "payment.failed").await.len(), 1);
    }
}
