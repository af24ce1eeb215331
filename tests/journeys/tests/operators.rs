//! What an operator does with hubctl: apps, their secrets, what they are told, and
//! the trail that every change leaves.

use aws_sdk_dynamodb::types::AttributeValue;
use journeys::{DESKTOP, Ran, Stack, eventually, unix_seconds};
use serde_json::{Value, json};

/// Runs a command that must succeed; what it answers.
async fn done(stack: &Stack, arguments: &[&str]) -> String {
    let ran = stack.run(arguments).await;
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    ran.out
}

async fn answered(stack: &Stack, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(stack, arguments).await).unwrap()
}

/// The app's entries, the oldest first.
async fn trail(stack: &Stack) -> Vec<Value> {
    let listed = ["audit", "list", "--app", &stack.app.id, "--json"];
    let mut entries = answered(stack, &listed).await.as_array().unwrap().clone();
    entries.reverse();
    entries
}

fn actions(trail: &[Value]) -> Vec<&str> {
    let actions = trail.iter().map(|entry| entry["action"].as_str().unwrap());
    actions.collect()
}

/// The app with the secret that hubctl printed.
fn printed(stack: &Stack, out: &str) -> demo_shop::App {
    let line = |name: &str| {
        let mut lines = out.lines().filter_map(|line| line.split_once('='));
        let (_, value) = lines.find(|(known, _)| *known == name).unwrap();
        value.to_owned()
    };
    assert_eq!(line("app_id"), stack.app.id);
    demo_shop::App {
        id: line("app_id"),
        secret: line("app_secret"),
    }
}

async fn teach_the_shop(stack: &Stack) {
    let known = json!({"app_id": stack.app.id, "app_secret": stack.app.secret});
    stack.shop("apps", &known).await;
}

/// Makes the old secret end now: nobody waits for a day.
async fn end_the_overlap(stack: &Stack) {
    aws_sdk_dynamodb::Client::new(&stack.aws)
        .update_item()
        .table_name(stack.setting("REGISTRY_TABLE"))
        .key("pk", AttributeValue::S(format!("app#{}", stack.app.id)))
        .update_expression("SET previous_secret.#until = :now")
        .expression_attribute_names("#until", "until")
        .expression_attribute_values(
            ":now",
            AttributeValue::N((unix_seconds() * 1000).to_string()),
        )
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn an_app_changes_its_secret_while_it_sells_and_nothing_is_refused() {
    let mut stack = Stack::new().await;
    let app_id = stack.app.id.clone();
    let before = stack.native(json!({})).await;
    let open = stack.native(json!({})).await;
    let pay_url = open["pay_url"].as_str().unwrap();

    let rotated = done(&stack, &["app", "rotate", &app_id, "--yes"]).await;
    let old = stack.app.clone();
    let new = printed(&stack, &rotated);
    assert_ne!(old.secret, new.secret);

    // The shop has not changed over yet: it orders as before, and its payer's
    // address from before still opens.
    let meanwhile = stack.native(json!({})).await;
    assert_eq!(stack.page(pay_url, DESKTOP, "en").await.status, 200);
    stack.pay(&before["trade_no"], json!({})).await;
    stack.pay(&meanwhile["trade_no"], json!({})).await;

    // Then it does, a server at a time.
    stack.app = new.clone();
    teach_the_shop(&stack).await;
    for order in [&before, &meanwhile] {
        let told = stack.delivered_as(&order["order_no"], "delivered").await;
        assert_eq!(told["status"], "paid");
    }
    let after = stack.native(json!({})).await;
    stack.app = old.clone();
    let late = stack.native(json!({})).await;
    stack.app = new.clone();
    for order in [&after, &late] {
        stack.pay(&order["trade_no"], json!({})).await;
        stack.delivered_as(&order["order_no"], "delivered").await;
    }

    // There are two at most, and whoever gave away a second new one is told so.
    let again: Ran = stack.run(&["app", "rotate", &app_id, "--yes"]).await;
    assert_eq!((again.code, again.out.as_str()), (4, ""), "{again:?}");
    assert!(again.err.contains("--again"), "{again:?}");

    // The end of the old one.
    end_the_overlap(&stack).await;
    stack.app = old.clone();
    let refused = stack.create(&stack.order(json!({}))).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(refused.body["code"], "sign_invalid");
    assert_eq!(stack.page(pay_url, DESKTOP, "en").await.status, 401);
    stack.app = new.clone();
    let shown = stack.show(&open["order_no"]).await;
    let fresh = shown.body["pay_url"].as_str().unwrap();
    assert_ne!(fresh, pay_url);
    assert_eq!(stack.page(fresh, DESKTOP, "en").await.status, 200);

    // A stolen one ends at once, without an overlap.
    let stolen = ["app", "rotate", &app_id, "--now", "--reason", "stolen"];
    let asked = stack.run(&stolen).await;
    assert_eq!((asked.code, asked.out.as_str()), (5, ""), "{asked:?}");
    let rotated = done(&stack, &[&stolen[..], &["--yes"]].concat()).await;
    assert_eq!(stack.create(&stack.order(json!({}))).await.status, 401);
    stack.app = printed(&stack, &rotated);
    assert_eq!(stack.create(&stack.order(json!({}))).await.status, 201);

    let trail = trail(&stack).await;
    assert_eq!(
        actions(&trail),
        ["app.create", "app.rotate", "app.rotate.now"]
    );
    assert_eq!(trail[2]["reason"], "stolen");
    for secret in [&old.secret, &new.secret, &stack.app.secret] {
        assert!(!json!(trail).to_string().contains(secret.as_str()));
    }
}

#[tokio::test]
async fn a_secret_that_got_lost_is_replaced_and_the_one_before_goes_on() {
    let mut stack = Stack::new().await;
    let app_id = stack.app.id.clone();
    let lonely = stack
        .run(&["app", "rotate", &app_id, "--again", "--yes"])
        .await;
    assert_eq!(lonely.code, 4, "{lonely:?}");
    let lost = done(&stack, &["app", "rotate", &app_id, "--yes"]).await;
    let lost = printed(&stack, &lost);
    let second = done(&stack, &["app", "rotate", &app_id, "--again", "--yes"]).await;
    let second = printed(&stack, &second);
    let old = stack.app.clone();
    for (app, status) in [(old, 201), (second, 201), (lost, 401)] {
        stack.app = app;
        assert_eq!(stack.create(&stack.order(json!({}))).await.status, status);
    }
}

#[tokio::test]
async fn an_app_is_created_listed_shown_edited_disabled_and_enabled_with_a_trail() {
    let stack = Stack::new().await;
    let app_id = stack.app.id.as_str();
    let site = "https://shop.example/wechat";
    let edit = ["app", "edit", app_id, "--name", "Tea", "--add-site", site];
    done(&stack, &[&edit[..], &["--refund-by-hand", "true"]].concat()).await;
    done(&stack, &["app", "annotate", app_id, "knows Ann\u{1b}[2J"]).await;
    let shown = answered(&stack, &["app", "show", app_id, "--json"]).await;
    assert_eq!(shown["name"], "Tea");
    assert_eq!(shown["sites"], json!([site]));
    assert_eq!(shown["refund_by_hand"], true);
    assert_eq!(shown["allow_http"], true, "what is not named stays");

    let list = answered(&stack, &["app", "list", "--json"]).await;
    let ours = |app: &&Value| app["app_id"] == app_id;
    assert_eq!(list.as_array().unwrap().iter().find(ours), Some(&shown));
    for text in [
        done(&stack, &["app", "list"]).await,
        done(&stack, &["app", "show", app_id]).await,
        list.to_string(),
    ] {
        assert!(text.contains(app_id), "{text}");
        assert!(!text.contains(&stack.app.secret) && !text.contains('\u{1b}'));
    }

    done(&stack, &["app", "disable", app_id, "--reason", "unpaid"]).await;
    let refused = stack.create(&stack.order(json!({}))).await;
    assert_eq!(refused.body["code"], "app_disabled", "{refused:?}");
    done(&stack, &["app", "enable", app_id]).await;
    assert_eq!(stack.create(&stack.order(json!({}))).await.status, 201);
    // What is so already is not done again, and leaves no entry.
    done(&stack, &["app", "enable", app_id]).await;

    for (wrong, code) in [
        (&["app", "edit", app_id, "--add-site", "http://x"][..], 4),
        (&["app", "edit", app_id, "--remove-site", "https://x/"], 4),
        (&["app", "show", "nobody0000000001"], 3),
        (&["app", "disable", "nobody0000000001"], 3),
        (&["app", "show", "short"], 2),
        (&["app", "create", "--app-id", app_id], 4),
    ] {
        let ran = stack.run(wrong).await;
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{ran:?}");
    }

    let trail = trail(&stack).await;
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
    assert_eq!(trail[1]["before"]["name"], "journey");
    assert_eq!(trail[1]["after"]["sites"], json!([site]));
    assert!(trail[1]["after"].get("allow_http").is_none());
    assert_eq!(trail[3]["after"], json!({"disabled": true}));
    assert_eq!(trail[3]["reason"], "unpaid");
    for entry in &trail[1..] {
        let who = entry["who"].as_str().unwrap();
        assert!(who.starts_with("arn:aws:"), "{entry}");
    }
    // By page.
    let newest = ["audit", "list", "--app", app_id, "--limit", "2", "--json"];
    let first = answered(&stack, &newest).await;
    let last = first[1]["id"].as_str().unwrap();
    let next = answered(&stack, &[&newest[..], &["--before", last]].concat()).await;
    assert_eq!(first[0], trail[4]);
    assert_eq!(next, json!([trail[2], trail[1]]));
}

#[tokio::test]
async fn of_eight_changes_at_once_each_is_made_or_refused_and_none_is_lost() {
    let stack = Stack::new().await;
    let runs = (0..8).map(|number| {
        let name = format!("https://shop.example/{number}");
        let stack = &stack;
        async move {
            let edit = ["app", "edit", &stack.app.id, "--add-site", &name];
            stack.run(&edit).await.code
        }
    });
    let codes = futures_util::future::join_all(runs).await;
    assert!(codes.iter().all(|code| matches!(code, 0 | 4)), "{codes:?}");
    let made = codes.iter().filter(|code| **code == 0).count();
    assert!(made >= 1, "{codes:?}");
    let shown = answered(&stack, &["app", "show", &stack.app.id, "--json"]).await;
    assert_eq!(shown["sites"].as_array().unwrap().len(), made);
    assert_eq!(trail(&stack).await.len(), 1 + made);
}

#[tokio::test]
async fn what_an_app_is_still_to_be_told_is_listed() {
    let stack = Stack::new().await;
    let order = stack.native(json!({})).await;
    let fails = json!({"order_no": order["order_no"], "mode": "fail"});
    stack.shop("behaviour", &fails).await;
    let list = ["delivery", "list", &stack.app.id, "--state", "pending"];
    let none = answered(&stack, &[&list[..], &["--json"]].concat()).await;
    assert_eq!(none, json!([]), "an open order is no delivery");
    stack.pay(&order["trade_no"], json!({})).await;
    let listed = eventually(|| async {
        let listed = answered(&stack, &[&list[..], &["--json"]].concat()).await;
        match listed[0]["order_no"] == order["order_no"] {
            true => Ok(listed),
            false => Err(listed),
        }
    })
    .await;
    assert_eq!(listed[0]["event"], "payment.succeeded");
    assert!(listed[0]["due"].is_string() && listed.as_array().unwrap().len() == 1);
    let text = done(&stack, &list).await;
    assert!(text.starts_with("ORDER_NO"), "{text}");
}

/// A paid order that the shop would not take note of.
async fn exhausted(stack: &Stack) -> Value {
    let order = stack.native(json!({})).await;
    let fails = json!({"order_no": order["order_no"], "mode": "fail"});
    stack.shop("behaviour", &fails).await;
    stack.pay(&order["trade_no"], json!({})).await;
    stack.delivered_as(&order["order_no"], "exhausted").await;
    order
}

async fn called_again(stack: &Stack, order: &Value, event_id: &Value) {
    let told = stack.delivered_as(&order["order_no"], "delivered").await;
    assert_eq!(told["deliveries"][0]["event_id"], *event_id);
    let attempts = told["deliveries"][0]["attempts"].as_array().unwrap();
    let last = attempts.last().unwrap();
    assert_eq!(last["step"], 13, "{last}");
}

#[tokio::test]
async fn what_an_app_was_told_in_vain_is_told_again_one_by_one_or_all_of_it() {
    let stack = Stack::new().await;
    let app_id = stack.app.id.as_str();
    let orders = futures_util::future::join_all((0..3).map(|_| exhausted(&stack))).await;
    let mut event_ids = Vec::new();
    for order in &orders {
        let shown = stack.show(&order["order_no"]).await;
        event_ids.push(shown.body["deliveries"][0]["event_id"].clone());
        let well = json!({"order_no": order["order_no"], "mode": "success"});
        stack.shop("behaviour", &well).await;
    }
    let list = ["delivery", "list", app_id, "--json"];
    let listed = eventually(|| async {
        let listed = answered(&stack, &list).await;
        match listed.as_array().unwrap().len() {
            3 => Ok(listed),
            _ => Err(listed),
        }
    })
    .await;
    assert_eq!(listed[0]["event"], "payment.succeeded");
    let since = listed[0]["exhausted_at"].as_str().unwrap();
    // The times of the list are whole seconds, cut off.
    let order_no = orders[0]["order_no"].as_str().unwrap();
    let one = ["delivery", "resend", app_id, order_no, "payment.succeeded"];
    done(&stack, &one).await;
    let twice = stack.run(&one).await;
    assert_eq!(twice.code, 4, "it is pending or delivered: {twice:?}");
    let all = ["delivery", "resend-all", app_id, "--since", since];
    let asked = stack.run(&all).await;
    assert_eq!(asked.code, 5, "{asked:?}");
    let ran = stack.run(&[&all[..], &["--yes"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("2 are due again"), "{ran:?}");
    for (order, event_id) in orders.iter().zip(&event_ids) {
        called_again(&stack, order, event_id).await;
    }
    assert_eq!(answered(&stack, &list).await, json!([]));
    let trail = trail(&stack).await;
    let resent = actions(&trail)
        .iter()
        .filter(|action| **action == "delivery.resend")
        .count();
    assert_eq!(resent, 3, "{trail:?}");
}
