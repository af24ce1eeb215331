//! What an operator is told of an order by `hubctl order show`.

use journeys::{DESKTOP, Stack, eventually};
use serde_json::{Value, json};

use crate::roles::credentials_of;

/// The events that `hubctl order show --json` prints.
async fn story(stack: &Stack, order_no: &Value) -> Vec<Value> {
    let order_no = order_no.as_str().unwrap();
    let shown = ["order", "show", &stack.app.id, order_no, "--json"];
    let ran = stack.run(&shown).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

/// Whether these were told by those, in this order, whatever else was.
fn tells(story: &[Value], expected: &[(&str, &str)]) -> bool {
    let mut events = story.iter();
    expected.iter().all(|(source, words)| {
        events.any(|event| {
            let what = event["what"].as_str().unwrap();
            event["source"] == *source && words.split(" .. ").all(|word| what.contains(word))
        })
    })
}

/// The story, once it tells these. Log lines arrive a moment after what they tell
/// of.
async fn story_with(stack: &Stack, order_no: &Value, expected: &[(&str, &str)]) -> Vec<Value> {
    eventually(|| async {
        let told = story(stack, order_no).await;
        match tells(&told, expected) {
            true => Ok(told),
            false => Err(json!(told)),
        }
    })
    .await
}

#[tokio::test]
async fn an_orders_whole_story_is_told_in_the_order_of_time_in_both_forms() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let (order_no, trade_no) = (&order["order_no"], &order["trade_no"]);
    let pay_url = order["pay_url"].as_str().unwrap();
    assert_eq!(stack.page(pay_url, DESKTOP, "en").await.status, 200);
    stack
        .notify(trade_no, json!({"fault": "forged_sign"}))
        .await;
    stack.pay(trade_no, json!({})).await;
    stack.told(order_no, "payment.succeeded").await;
    let part = json!({"refund_fee": 500, "reason": "too cold"});
    assert_eq!(stack.refund(order_no, "R1", part).await.status, 201);
    stack.told(order_no, "refund.succeeded").await;

    let asked = |v2: &'static str, v3: &'static str| match stack.is_v3() {
        false => v2,
        true => v3,
    };
    let mut expected = vec![
        ("ledger", "order created: 1999 fen, NATIVE, version 2.0"),
        ("ledger", "attempt 1 opened: NATIVE, WeChat takes payments"),
        (
            "create-order",
            asked(
                "asked WeChat .. answer SUCCESS .. path /pay/unifiedorder",
                "asked WeChat .. answer SUCCESS .. path /v3/pay/transactions/native",
            ),
        ),
        ("cashier", "pay page opened"),
        (
            "wechat-notify",
            "WARN notification refused .. signature .. total_fee 1999",
        ),
        (
            "wechat-notify",
            "WeChat tells of a payment .. total_fee 1999",
        ),
        (
            "wechat-notify",
            asked(
                "asked WeChat .. answer SUCCESS .. path /pay/orderquery",
                "asked WeChat .. answer SUCCESS .. path /v3/pay/transactions/out-trade-no/",
            ),
        ),
        ("wechat-notify", "settled: status paid"),
        (
            "ledger",
            "called with payment.succeeded .. HTTP 200 .. success",
        ),
        ("ledger", "refund R1 promised: 500 fen .. by app"),
        (
            "orders",
            asked(
                "asked WeChat .. answer SUCCESS .. path /secapi/pay/refund .. refund_no R1",
                "asked WeChat .. answer PROCESSING .. path /v3/refund/domestic/refunds .. refund_no R1",
            ),
        ),
        (
            "ledger",
            "called with refund.succeeded R1 .. HTTP 200 .. success",
        ),
        (
            "ledger",
            "now the order is partly_refunded, 500 of 1999 fen have gone back",
        ),
    ];
    if stack.is_v3() {
        // What a refused notification was about is sealed.
        expected.retain(|(_, words)| !words.contains("notification refused"));
    }
    let told = story_with(&stack, order_no, &expected).await;
    for words in ["paid: 1999 fen", "refund R1 succeeded"] {
        assert!(tells(&told, &[("ledger", words)]), "{words}: {told:#?}");
    }
    assert!(
        told.is_sorted_by_key(|event| event["at"].as_str()),
        "{told:#?}"
    );

    let key = [stack.app.id.as_str(), order_no.as_str().unwrap()];
    let text = stack.run(&["order", "show", key[0], key[1]]).await;
    assert_eq!((text.code, text.err.as_str()), (0, ""), "{text:?}");
    let lines: Vec<Value> = text
        .out
        .lines()
        .map(|line| {
            let (at, rest) = line.split_once("  ").unwrap();
            let (source, what) = rest.split_once("  ").unwrap();
            json!({"at": at, "source": source, "what": what.trim_start()})
        })
        .collect();
    assert_eq!(lines.len(), told.len(), "{text:?}");
    for (line, event) in lines.iter().zip(&told) {
        assert_eq!(
            (&line["source"], &line["what"]),
            (&event["source"], &event["what"])
        );
        let is_standing = line["what"].as_str().unwrap().starts_with("now ");
        assert!(is_standing || line["at"] == event["at"], "{line} {event}");
    }
    assert!(!text.out.contains(&stack.app.secret));

    // Without the logs the rows tell the essential.
    for options in [&["--no-logs"][..], &["--stack", "nobodys"]] {
        let mut shown = vec!["order", "show", key[0], key[1]];
        shown.extend(options);
        let rows = stack.run(&shown).await;
        assert_eq!(rows.code, 0, "{rows:?}");
        assert!(rows.err.contains("Without the logs"), "{rows:?}");
        let of_rows = lines.iter().filter(|line| line["source"] == "ledger");
        assert_eq!(rows.out.lines().count(), of_rows.count(), "{rows:?}");
    }
}

/// What the function logged with this text in it.
async fn logged(stack: &Stack, function: &str, text: &str) -> Vec<Value> {
    let group = format!("/aws/lambda/{}/{function}", stack.setting("STACK_NAME"));
    let found = aws_sdk_cloudwatchlogs::Client::new(&stack.aws)
        .filter_log_events()
        .log_group_name(group)
        .filter_pattern(format!("\"{text}\""))
        .send()
        .await
        .unwrap();
    let lines = found.events.unwrap_or_default().into_iter();
    let lines = lines.map(|line| line.message.unwrap());
    lines
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_refused_request_is_logged_with_its_app_and_order_once_they_are_proven() {
    let stack = Stack::new().await;
    let proven = stack.order(json!({"total_fee": 0}));
    let mut forged = stack.order(json!({"order_no": "FORGED0001"}));
    forged["total_fee"] = json!(1);
    for (order, status) in [(&proven, 422), (&forged, 401)] {
        assert_eq!(stack.create(order).await.status, status);
    }
    let app_id = &stack.app.id;
    let lines = eventually(|| async {
        let mut lines = logged(&stack, "create-order", app_id).await;
        lines.retain(|line| line["fields"]["message"] == "request refused");
        match lines.len() {
            2 => Ok(lines),
            _ => Err(json!(lines)),
        }
    })
    .await;
    let of = |code: &str| {
        let mut lines = lines.iter();
        let line = lines.find(|line| line["fields"]["code"] == code);
        line.unwrap_or_else(|| panic!("{code}: {lines:?}"))
    };
    let line = of("param_invalid");
    assert_eq!(line["fields"]["field"], "total_fee", "{line}");
    assert!(line["fields"]["rule"].is_string(), "{line}");
    assert_eq!(line["span"]["app_id"], **app_id, "{line}");
    let order_no = proven["order_no"].as_str().unwrap();
    assert_eq!(line["span"]["order"], format!("{app_id}#{order_no}"));
    let line = of("sign_invalid");
    assert_eq!(line["span"]["claimed_app_id"], **app_id, "{line}");
    for unproven in ["app_id", "order"] {
        assert!(line["span"][unproven].is_null(), "{line}");
    }
    for line in &lines {
        assert!(line["span"]["requestId"].is_string(), "{line}");
        assert!(!line.to_string().contains(&stack.app.secret), "{line}");
    }
}

#[tokio::test]
async fn an_orders_story_has_what_its_app_was_refused() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "delivered").await;
    let closed = stack.act(&order["order_no"], "close", json!({})).await;
    assert_eq!(closed.status, 409, "{closed:?}");
    eventually(|| async {
        let told = story(&stack, &order["order_no"]).await;
        match tells(&told, &[("orders", "request refused: code order_paid")]) {
            true => Ok(()),
            false => Err(json!(told)),
        }
    })
    .await;
}

#[tokio::test]
async fn questions_by_wechats_own_numbers_are_in_the_orders_story() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let (order_no, trade_no) = (&order["order_no"], &order["trade_no"]);
    stack.pay(trade_no, json!({})).await;
    stack.told(order_no, "payment.succeeded").await;
    let coming = json!({"status": "CHANGE", "notify": true});
    let made = stack.give_back(trade_no, coming).await;
    stack
        .order_when(order_no, |order| order["refunds"] != json!([]))
        .await;
    let arrived = json!({"out_refund_no": made["out_refund_no"], "status": "SUCCESS"});
    stack.wechat("refund_becomes", &arrived).await;
    stack.told(order_no, "refund.succeeded").await;
    // The payment's refunds by its number, then the refund by its own.
    let asked = [
        "asked WeChat: answer CHANGE, path /pay/refundquery, transaction_id ",
        "asked WeChat: answer SUCCESS, path /pay/refundquery, refund_no ext-",
    ];
    let expected = asked.map(|words| ("wechat-notify", words));
    story_with(&stack, order_no, &expected).await;
}

#[tokio::test]
async fn who_may_not_read_the_logs_is_told_what_the_rows_tell() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let order_no = order["order_no"].as_str().unwrap();
    let role = credentials_of(&stack, "ORDERS_FUNCTION_NAME").await;
    let mut command = stack.hubctl(&["order", "show", &stack.app.id, order_no]);
    command
        .env("AWS_ACCESS_KEY_ID", role.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", role.secret_access_key())
        .env("AWS_SESSION_TOKEN", role.session_token().unwrap());
    let ran = command.output().unwrap();
    let [out, err] = [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(ran.status.success(), "{err}");
    assert!(err.contains("these credentials lack logs:"), "{err}");
    assert!(out.contains("ledger  order created"), "{out}");
}

#[tokio::test]
async fn an_order_that_does_not_exist_has_no_story() {
    let stack = Stack::new().await;
    let unknown = ["order", "show", &stack.app.id, "X000000001"];
    let ran = stack.run(&unknown).await;
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{ran:?}");
    assert!(ran.err.contains("has no order X000000001"), "{ran:?}");
    let malformed = ["order", "show", &stack.app.id, "X1"];
    let ran = stack.run(&malformed).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("must be 10 characters"), "{ran:?}");
}
