//! An app that is told nothing for a while, and one whose developer wants to know
//! what is wrong.

use journeys::desk::Proof;
use journeys::{Answer, Stack, eventually, unix_seconds};
use serde_json::{Value, json};

async fn post(stack: &Stack, proof: &Proof, what: &str, body: Value) -> Answer {
    let path = format!("apps/{}/{what}", stack.app.id);
    let answer = stack.desk(proof, "POST", &path, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// When a delivery of the order is due and wakes.
async fn due_and_wake(stack: &Stack, order: &Value) -> [i64; 2] {
    let row = stack
        .row(&order["order_no"], "delivery#payment.succeeded")
        .await;
    ["due", "wake"].map(|name| row[name].as_n().unwrap().parse().unwrap())
}

/// Waits until what the app is owed is kept, anew if it was before.
async fn kept(stack: &Stack, order: &Value, after: i64) {
    eventually(|| async {
        let [due, wake] = due_and_wake(stack, order).await;
        match due == wake && due > after {
            true => Ok(()),
            false => Err(json!([due, wake])),
        }
    })
    .await;
    let callbacks = stack.callbacks(&order["order_no"]).await;
    assert_eq!(callbacks, Vec::<Value>::new());
}

async fn wake_all(stack: &Stack, operator: &Proof) -> u64 {
    let (mut asked, mut woken) = (json!({"per_second": 100}), 0);
    loop {
        let batch = post(stack, operator, "deliveries/wake", asked.clone()).await;
        woken += batch.body["woken"].as_u64().unwrap();
        match &batch.body["next"] {
            Value::Null => return woken,
            next => asked["cursor"] = next.clone(),
        }
    }
}

#[tokio::test]
async fn what_a_paused_app_is_owed_is_kept_quietly_and_told_when_it_is_resumed() {
    let stack = Stack::new().await;
    let operator = stack.at_work("operator").await;
    let paused = post(&stack, &operator, "pause", json!({"reason": "they move"})).await;
    assert_eq!(paused.body["paused"], true);
    let mut orders = Vec::new();
    for _ in 0..2 {
        let order = stack.native(json!({})).await;
        stack.pay(&order["trade_no"], json!({})).await;
        let is_paid = |order: &Value| order["status"] == "paid";
        stack.order_when(&order["order_no"], is_paid).await;
        kept(&stack, &order, 0).await;
        orders.push(order);
    }
    // The sweeper has nothing to ring: it is due in a day.
    let before = due_and_wake(&stack, &orders[0]).await;
    let in_a_day = (unix_seconds() + 86_400) * 1000;
    assert!((in_a_day - before[0]).abs() < 120_000, "{before:?}");
    stack.sweep().await;
    assert_eq!(due_and_wake(&stack, &orders[0]).await, before);
    // Woken too early it is kept anew.
    assert_eq!(wake_all(&stack, &operator).await, 2);
    stack.sweep().await;
    for order in &orders {
        kept(&stack, order, before[0]).await;
    }
    let given_up = format!("apps/{}/deliveries", stack.app.id);
    let given_up = stack.desk(&operator, "GET", &given_up, &Value::Null).await;
    assert_eq!(given_up.body["deliveries"], json!([]));

    let resumed = post(&stack, &operator, "resume", json!({})).await;
    assert_eq!(resumed.body["paused"], false);
    // By hubctl, which has the same words.
    let wake = ["delivery", "wake", &stack.app.id, "--per-second", "100"];
    let woken = stack.run(&wake).await;
    assert_eq!(woken.code, 0, "{woken:?}");
    assert!(woken.err.contains("2 are due now"), "{woken:?}");
    stack.sweep().await;
    for order in &orders {
        let told = stack.delivered_as(&order["order_no"], "delivered").await;
        let attempts = told["deliveries"][0]["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        assert_eq!(attempts[0]["step"], 0);
    }
    // And what comes now is told at once.
    let order = stack.native(json!({})).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "delivered").await;
}

#[tokio::test]
async fn a_test_event_says_in_words_what_is_wrong() {
    let stack = Stack::new().await;
    let operator = stack.at_work("operator").await;
    let test = |address: String| {
        let (stack, operator) = (&stack, &operator);
        async move {
            let asked = json!({"address": address});
            post(stack, operator, "test-event", asked).await.body
        }
    };
    let shop = stack.setting("SHOP_URL").to_owned();
    let nothing = test(format!("{shop}/nothing-here")).await;
    let verdict = &nothing["signed"]["verdict"];
    assert_eq!(verdict, "there is nothing at this address (404)");
    assert_eq!(nothing["signed"]["params"]["event"], "test");
    let (signed, forged) = (&nothing["signed"]["params"], &nothing["forged"]["params"]);
    assert_eq!(signed["nonce"], forged["nonce"]);
    assert_ne!(signed["sign"], forged["sign"]);
    let notify = test(format!("{shop}/notify")).await;
    assert_eq!(notify["signed"]["http_status"], 200, "{notify}");
    let forged = notify["forged"]["verdict"].as_str().unwrap();
    assert!(forged.starts_with("good"), "{notify}");

    let silent = test("http://127.0.0.1:1/".to_owned()).await;
    assert_eq!(silent["forged"], Value::Null, "{silent}");
    // The guard that keeps callbacks out of the hub's network keeps these out.
    let inside = test("http://169.254.169.254/latest/meta-data".to_owned()).await;
    let verdict = inside["signed"]["verdict"].as_str().unwrap();
    assert!(verdict.contains("not public"), "{verdict}");

    for bad in [
        "",
        "ftp://x.example/",
        "http://user@127.0.0.1/",
        "http://127.0.0.1/?a=b",
    ] {
        let path = format!("apps/{}/test-event", stack.app.id);
        let asked = json!({"address": bad});
        let refused = stack.desk(&operator, "POST", &path, &asked).await;
        assert_eq!(refused.status, 422, "{bad}");
    }
    let listed = ["audit", "list", "--app", &stack.app.id, "--json"];
    let trail = stack.run(&listed).await.out;
    assert!(trail.contains("app.test_event"), "{trail}");
    assert!(!trail.contains(&stack.app.secret));
}
