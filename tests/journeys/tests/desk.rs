//! What operators do through their API: apps, what they are told, and the trail.

use futures_util::future::join_all;
use journeys::desk::Proof;
use journeys::{Answer, Stack, eventually};
use serde_json::{Value, json};

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or("-"))
}

async fn get(stack: &Stack, proof: &Proof, path: &str) -> Value {
    let answer = stack.desk(proof, "GET", path, &Value::Null).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

/// The app's entries, the oldest first.
async fn trail(stack: &Stack, auditor: &Proof) -> Vec<Value> {
    let path = format!("audit?app_id={}&limit=100", stack.app.id);
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(stack, auditor, &format!("{path}{cursor}")).await;
        found.extend(page["entries"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    found.reverse();
    found
}

fn actions(trail: &[Value]) -> Vec<&str> {
    let actions = trail.iter().map(|entry| entry["action"].as_str().unwrap());
    actions.collect()
}

#[tokio::test]
async fn an_app_is_registered_and_sells_until_it_is_disabled() {
    let mut stack = Stack::new().await;
    let operator = stack.at_work("operator").await;
    let asked = json!({
        "changes": {"name": "Tea", "allow_http": true, "add_sites": ["https://shop.example/"]},
        "reason": "a new customer",
    });
    let created = stack.desk(&operator, "POST", "apps", &asked).await;
    assert_eq!(created.status, 201, "{created:?}");
    let secret = created.body["app_secret"].as_str().unwrap().to_owned();
    stack.app = demo_shop::App {
        id: created.body["app"]["app_id"].as_str().unwrap().to_owned(),
        secret: secret.clone(),
    };
    let taken = json!({"app_id": stack.app.id, "app_secret": "0".repeat(32)});
    let taken = stack.desk(&operator, "POST", "apps", &taken).await;
    assert_eq!(code(&taken), (409, "app_exists"));
    stack.native(json!({})).await;

    let path = format!("apps/{}", stack.app.id);
    let change = |how: &'static str, body: Value| {
        let (stack, operator, path) = (&stack, &operator, &path);
        async move {
            let (method, path) = match how {
                "" => ("PATCH", path.clone()),
                how => ("POST", format!("{path}/{how}")),
            };
            stack.desk(operator, method, &path, &body).await
        }
    };
    let edited = change(
        "",
        json!({"changes": {"refund_by_hand": true, "remove_sites": ["https://shop.example/"]}}),
    );
    let edited = edited.await;
    assert_eq!(edited.body["refund_by_hand"], true, "{edited:?}");
    assert_eq!(
        (&edited.body["sites"], &edited.body["name"]),
        (&json!([]), &json!("Tea"))
    );
    for (bad, field) in [
        (
            json!({"changes": {"add_sites": ["https://shop.example/?a=b"]}}),
            "add_sites",
        ),
        (
            json!({"changes": {"remove_sites": ["https://none.example/"]}}),
            "remove_sites",
        ),
        (json!({"changes": {"merchant": "4711"}}), "merchant"),
        (json!({"changes": {"name": "a\nb"}}), "name"),
        // What an edit is not for.
        (json!({"changes": {"app_secret": "0".repeat(32)}}), "body"),
        (json!({"changes": {"disabled": true}}), "body"),
        (json!({"changes": {"revision": 0}}), "body"),
        (json!({"changes": {}, "disabled": true}), "body"),
    ] {
        let refused = change("", bad.clone()).await;
        assert_eq!(code(&refused), (422, "param_invalid"), "{bad}");
        assert_eq!(refused.body["field"], field, "{bad}: {refused:?}");
    }
    assert_eq!(
        get(&stack, &operator, &path).await,
        edited.body,
        "nothing changed"
    );

    let noted = change("annotate", json!({"note": "knows Ann"})).await;
    assert_eq!(noted.body["note"], "knows Ann");
    let off = change("disable", json!({"reason": "unpaid"})).await;
    assert_eq!(off.body["disabled"], true, "{off:?}");
    let refused = stack.create(&stack.order(json!({}))).await;
    assert_eq!(refused.body["code"], "app_disabled", "{refused:?}");
    for _ in 0..2 {
        // What is so already is not done again, and leaves no entry.
        let on = change("enable", json!({})).await;
        assert_eq!(on.body["disabled"], false, "{on:?}");
    }
    stack.native(json!({})).await;
    let nobody = stack.desk(&operator, "GET", "apps/nobody0000000001", &Value::Null);
    assert_eq!(code(&nobody.await), (404, "app_not_found"));

    let auditor = stack.at_work("auditor").await;
    let shown = get(&stack, &auditor, &path).await;
    let trail = trail(&stack, &auditor).await;
    assert_eq!(
        actions(&trail),
        [
            "app.create",
            "app.edit",
            "app.annotate",
            "app.disable",
            "app.enable"
        ]
    );
    assert_eq!(trail[0]["reason"], "a new customer");
    assert_eq!(trail[1]["before"]["refund_by_hand"], false);
    assert_eq!(trail[1]["after"]["refund_by_hand"], true);
    assert!(trail[1]["after"].get("name").is_none());
    assert_eq!(trail[3]["after"], json!({"disabled": true}));
    let text = format!("{shown} {}", json!(trail));
    assert!(!text.contains(&secret), "{text}");
    // hubctl tells the same.
    let listed = ["audit", "list", "--app", &stack.app.id, "--json"];
    let listed: Value = serde_json::from_str(&stack.run(&listed).await.out).unwrap();
    assert_eq!(listed[0]["id"], trail[4]["id"]);
}

#[tokio::test]
async fn apps_are_listed_page_by_page_each_once() {
    let stack = Stack::new().await;
    let auditor = stack.at_work("auditor").await;
    let (mut ids, mut path) = (Vec::new(), "apps?limit=7".to_owned());
    loop {
        let page = get(&stack, &auditor, &path).await;
        let apps = page["apps"].as_array().unwrap();
        assert!(apps.len() <= 7, "{page}");
        ids.extend(
            apps.iter()
                .map(|app| app["app_id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("apps?limit=7&cursor={next}"),
            None => break,
        }
    }
    assert!(ids.contains(&stack.app.id));
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    for bad in ["limit=0", "limit=101", "cursor=x", "colour=red"] {
        let refused = stack
            .desk(&auditor, "GET", &format!("apps?{bad}"), &Value::Null)
            .await;
        assert_eq!(code(&refused), (422, "param_invalid"), "{bad}");
    }
}

#[tokio::test]
async fn a_secret_is_rotated_and_shown_to_whoever_asked_for_it_alone() {
    let mut stack = Stack::new().await;
    let operator = stack.at_work("operator").await;
    let path = format!("apps/{}/rotate", stack.app.id);
    let rotate = |body: Value| {
        let (stack, operator, path) = (&stack, &operator, &path);
        async move { stack.desk(operator, "POST", path, &body).await }
    };
    assert_eq!(
        code(&rotate(json!({"old": "is_replaced"})).await),
        (409, "secrets_overlap")
    );
    for bad in [
        json!({}),
        json!({"old": "burns"}),
        json!({"old": "overlaps", "overlap_hours": 0}),
        json!({"old": "ends", "overlap_hours": 24}),
        json!({"old": "ends", "app_secret": "0".repeat(32)}),
    ] {
        assert_eq!(
            code(&rotate(bad.clone()).await),
            (422, "param_invalid"),
            "{bad}"
        );
    }
    let first = rotate(json!({"old": "overlaps", "overlap_hours": 72})).await;
    assert!(
        first.body["app"]["previous_secret_until"].is_string(),
        "{first:?}"
    );
    assert_eq!(
        code(&rotate(json!({"old": "overlaps"})).await),
        (409, "secrets_overlap")
    );
    let second = rotate(json!({"old": "is_replaced", "reason": "it got lost"})).await;
    let third = rotate(json!({"old": "ends", "reason": "stolen"})).await;
    let secrets = [first, second, third].map(|answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["app_secret"].as_str().unwrap().to_owned()
    });
    let [old, ..] = [stack.app.secret.clone()];
    for (secret, status) in [
        (&old, 401),
        (&secrets[0], 401),
        (&secrets[1], 401),
        (&secrets[2], 201),
    ] {
        stack.app.secret.clone_from(secret);
        assert_eq!(stack.create(&stack.order(json!({}))).await.status, status);
    }
    let auditor = stack.at_work("auditor").await;
    let trail = trail(&stack, &auditor).await;
    let expected = [
        "app.create",
        "app.rotate",
        "app.rotate.again",
        "app.rotate.now",
    ];
    assert_eq!(actions(&trail), expected);
    for secret in secrets {
        assert!(!json!(trail).to_string().contains(&secret));
    }
}

/// A paid order that the shop would not take note of, and would now.
async fn exhausted(stack: &Stack) -> Value {
    let order = stack.native(json!({})).await;
    let fails = json!({"order_no": order["order_no"], "mode": "fail"});
    stack.shop("behaviour", &fails).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "exhausted").await;
    let well = json!({"order_no": order["order_no"], "mode": "success"});
    stack.shop("behaviour", &well).await;
    order
}

#[tokio::test]
async fn what_an_app_was_told_in_vain_is_told_again_in_batches_that_go_on() {
    let stack = Stack::new().await;
    let operator = stack.at_work("operator").await;
    let orders = join_all((0..4).map(|_| exhausted(&stack))).await;
    let path = format!("apps/{}/deliveries", stack.app.id);
    let listed = eventually(|| async {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&stack, &operator, &format!("{path}?limit=3{cursor}")).await;
            all.extend(page["deliveries"].as_array().unwrap().clone());
            match page["next"].as_str() {
                Some(next) => {
                    cursor = format!("&cursor={}", next.replace('#', "%23").replace(' ', "+"))
                }
                None => break,
            }
        }
        match all.len() {
            4 => Ok(all),
            _ => Err(json!(all)),
        }
    })
    .await;
    assert!(listed.iter().all(|one| one["event"] == "payment.succeeded"));
    let since = listed[0]["exhausted_at"].clone();

    let one = json!({"order_no": listed[0]["order_no"], "event": "payment.succeeded"});
    let sent = stack
        .desk(&operator, "POST", &format!("{path}/resend"), &one)
        .await;
    assert_eq!(sent.status, 202, "{sent:?}");
    let twice = stack
        .desk(&operator, "POST", &format!("{path}/resend"), &one)
        .await;
    assert_eq!(code(&twice), (409, "delivery_not_exhausted"));

    let mut asked =
        json!({"since": since, "limit": 2, "per_second": 100, "reason": "their outage"});
    let (mut resent, mut batches) = (0, 0);
    loop {
        let batch = stack
            .desk(&operator, "POST", &format!("{path}/resend-all"), &asked)
            .await;
        assert_eq!(batch.status, 200, "{batch:?}");
        resent += batch.body["resent"].as_u64().unwrap();
        batches += 1;
        match &batch.body["next"] {
            Value::Null => break,
            next => asked["cursor"] = next.clone(),
        }
    }
    assert_eq!(resent, 3);
    assert!(batches >= 2, "{batches}");
    for order in &orders {
        let told = stack.delivered_as(&order["order_no"], "delivered").await;
        let attempts = told["deliveries"][0]["attempts"].as_array().unwrap();
        assert_eq!(attempts.last().unwrap()["step"], 13);
    }
    let auditor = stack.at_work("auditor").await;
    let trail = trail(&stack, &auditor).await;
    let resends = trail
        .iter()
        .filter(|entry| entry["action"] == "delivery.resend");
    assert_eq!(resends.count(), 4, "{trail:?}");
}
