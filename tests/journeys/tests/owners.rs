//! Apps' owners with a link: what is theirs, and nothing else, until it ends; and the
//! lists of everybody who gets in.

use aws_sdk_dynamodb::types::AttributeValue;
use journeys::desk::{Proof, header, printed};
use journeys::{Answer, Stack, unix_seconds};
use serde_json::{Value, json};

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or("-"))
}

async fn get(stack: &Stack, proof: &Proof, path: &str) -> Value {
    let answer = stack.desk(proof, "GET", path, &Value::Null).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

/// Who did what, of this person, the oldest first.
async fn trail(stack: &Stack, who: &str) -> Vec<(String, String)> {
    let listed = ["audit", "list", "--json", "--limit", "5000"];
    let all: Vec<Value> = serde_json::from_str(&stack.run(&listed).await.out).unwrap();
    let of = all.iter().filter(|entry| entry["who"] == who);
    let said = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    let mut of: Vec<_> = of
        .map(|entry| (said(entry, "action"), said(entry, "subject")))
        .collect();
    of.reverse();
    of
}

fn id_of(token: &str) -> &str {
    token.split('_').nth(1).unwrap()
}

async fn ends_at(stack: &Stack, row: &str, seconds: i64) {
    let millis = (unix_seconds() + seconds) * 1000;
    aws_sdk_dynamodb::Client::new(&stack.aws)
        .update_item()
        .table_name(stack.setting("REGISTRY_TABLE"))
        .key("pk", AttributeValue::S(row.to_owned()))
        .update_expression("SET ends_at = :at")
        .condition_expression("attribute_exists(pk)")
        .expression_attribute_values(":at", AttributeValue::N(millis.to_string()))
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn an_apps_owner_reaches_its_own_apps_and_no_other() {
    let (stack, other) = (Stack::new().await, Stack::new().await);
    let (own, foreign) = (stack.app.id.as_str(), other.app.id.as_str());
    let order = stack.native(json!({})).await;
    let order_no = order["order_no"].as_str().unwrap();
    let others = other.native(json!({})).await;
    let others_no = others["order_no"].as_str().unwrap();
    stack.run(&["app", "annotate", own, "pays late"]).await;

    let operator = stack.at_work("operator").await;
    let asked = json!({"name": "Tea shop", "apps": [own], "days": 7, "reason": "asked for it"});
    let made = stack.desk(&operator, "POST", "owner-links", &asked).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.body["token"].as_str().unwrap();
    let owner = stack.opens(token).await;
    let me = format!("link:{}", id_of(token));
    let session = get(&stack, &owner, "session").await;
    assert_eq!(
        [&session["who"], &session["role"], &session["apps"]],
        [&json!(me), &json!("app_owner"), &json!([own])]
    );

    // What is its own.
    let apps = get(&stack, &owner, "apps").await;
    assert_eq!(apps["apps"].as_array().unwrap().len(), 1, "{apps}");
    assert_eq!(apps["apps"][0]["app_id"], own);
    assert_eq!(apps["apps"][0]["note"], "", "it is the operators'");
    assert_eq!(
        get(&stack, &owner, &format!("apps/{own}")).await["note"],
        ""
    );
    let found = format!("orders?trade_no={}", order["trade_no"].as_str().unwrap());
    for path in [&format!("orders/{own}/{order_no}"), &found] {
        assert_eq!(get(&stack, &owner, path).await["order_no"], order_no);
    }
    let rotate = json!({"old": "overlaps"});
    let path = format!("apps/{own}/rotate");
    let rotated = stack.desk(&owner, "POST", &path, &rotate).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    assert_eq!(rotated.body["app"]["note"], "");
    let since = json!({"since": "2026-01-01T00:00:00Z"});
    let path = format!("apps/{own}/deliveries/resend-all");
    assert_eq!(stack.desk(&owner, "POST", &path, &since).await.status, 200);
    // Another's place in the list is a place in its own, where there is nothing.
    let cursor = format!("1790000000000%20{others_no}%20delivery%23payment.succeeded");
    let path = format!("apps/{own}/deliveries?cursor={cursor}");
    assert_eq!(get(&stack, &owner, &path).await["deliveries"], json!([]));

    // What is another's, or nobody's: the same answer, and an entry each.
    let resend = json!({"order_no": others_no, "event": "payment.succeeded"});
    let address = json!({"address": "https://shop.example/notify"});
    let none = json!({});
    let nobody = "nobody0000000001";
    let others_trade = format!("orders?trade_no={}", others["trade_no"].as_str().unwrap());
    let tries = [
        ("GET", format!("apps/{foreign}"), &Value::Null),
        ("GET", format!("apps/{nobody}"), &Value::Null),
        ("GET", format!("apps/{foreign}/deliveries"), &Value::Null),
        (
            "GET",
            format!("apps/{foreign}/deliveries?cursor={cursor}"),
            &Value::Null,
        ),
        ("POST", format!("apps/{foreign}/deliveries/resend"), &resend),
        (
            "POST",
            format!("apps/{foreign}/deliveries/resend-all"),
            &since,
        ),
        ("POST", format!("apps/{foreign}/test-event"), &address),
        ("POST", format!("apps/{foreign}/rotate"), &rotate),
        ("GET", format!("orders/{foreign}/{others_no}"), &Value::Null),
        // The right number, and a letter of the path as a browser may write it.
        ("GET", format!("apps/%6e{}", &nobody[1..]), &Value::Null),
        ("GET", others_trade, &Value::Null),
        // What its role does not do to its own either.
        ("POST", format!("apps/{own}/disable"), &none),
        ("POST", format!("apps/{own}/deliveries/wake"), &none),
        ("POST", format!("orders/{own}/{order_no}/close"), &none),
        ("POST", format!("orders/{own}/{order_no}/query"), &none),
        ("GET", "audit".to_owned(), &Value::Null),
        ("GET", "owner-links".to_owned(), &Value::Null),
        ("POST", "owner-links".to_owned(), &asked),
    ];
    for (method, path, body) in &tries {
        let answer = stack.desk(&owner, method, path, body).await;
        assert_eq!(code(&answer), (403, "forbidden"), "{method} {path}");
    }
    let done = trail(&stack, &me).await;
    let forbidden: Vec<&str> = done
        .iter()
        .filter(|(action, _)| action == "forbidden")
        .map(|(_, subject)| subject.as_str())
        .collect();
    assert_eq!(forbidden.len(), tries.len(), "{forbidden:?}");
    let reached = format!("GET /v1/operator/orders/{foreign}/{others_no}");
    assert!(forbidden.contains(&reached.as_str()), "{forbidden:?}");
    let rotated = ("app.rotate".to_owned(), own.to_owned());
    assert!(done.contains(&rotated), "{done:?}");

    // A machine of the owner's is as narrow.
    let made = [
        "apikey",
        "create",
        "--name",
        "j",
        "--days",
        "1",
        "--role",
        "app_owner",
    ];
    let made = stack.run(&[&made[..], &["--app", own]].concat()).await;
    let machine = Proof::of_key(&printed(&made, "key"));
    assert_eq!(
        get(&stack, &machine, "apps").await["apps"][0]["app_id"],
        own
    );
    let path = format!("apps/{foreign}");
    let answer = stack.desk(&machine, "GET", &path, &Value::Null).await;
    assert_eq!(code(&answer), (403, "forbidden"));
}

#[tokio::test]
async fn a_link_is_shown_once_kept_as_a_hash_and_ends_with_its_sessions() {
    let stack = Stack::new().await;
    let own = stack.app.id.as_str();
    let made = ["owner-link", "create", own, "--name", "Tea", "--days", "7"];
    let made = stack.run(&made).await;
    let token = printed(&made, "token");
    let id = id_of(&token);
    let secret = token.split('_').nth(2).unwrap();
    let row = format!("link#{id}");
    let stored = aws_sdk_dynamodb::Client::new(&stack.aws)
        .get_item()
        .table_name(stack.setting("REGISTRY_TABLE"))
        .key("pk", AttributeValue::S(row.clone()))
        .send()
        .await
        .unwrap();
    let stored = format!("{:?}", stored.item.unwrap());
    assert!(
        stored.contains("app_owner") && !stored.contains(secret),
        "{stored}"
    );
    let operator = stack.at_work("operator").await;
    let path = format!("owner-links/{id}");
    let shown = get(&stack, &operator, &path).await;
    assert_eq!(shown["apps"], json!([own]));
    assert!(!shown.to_string().contains(secret));

    // Neither without a part, nor for another purpose.
    let from = Proof::from_somewhere();
    let key = [
        "apikey", "create", "--name", "j", "--days", "1", "--role", "auditor",
    ];
    let key = printed(&stack.run(&key).await, "key");
    for wrong in ["", "link_", secret, &token[..token.len() - 1], &key] {
        let asked = json!({"token": wrong});
        let answer = stack.desk(&from, "POST", "link-session", &asked).await;
        assert_eq!(code(&answer), (400, "link_invalid"), "{wrong}");
    }
    let more = json!({"token": token, "role": "owner"});
    let answer = stack.desk(&from, "POST", "link-session", &more).await;
    assert_eq!(code(&answer), (422, "param_invalid"));
    let bearer = Proof::of_key(&token);
    let answer = stack.desk(&bearer, "GET", "apps", &Value::Null).await;
    assert_eq!(code(&answer), (401, "login_required"));

    // A cookie that somebody planted is replaced; a change needs the token beside it.
    let planted = Proof {
        cookie: Some("__Host-hub_operator=00000000000000000000000000000000".into()),
        ..Proof::from_somewhere()
    };
    let asked = json!({"token": token});
    let received = stack
        .at_desk(&planted, "POST", "link-session", &asked)
        .await;
    let cookie = header(&received, "set-cookie").unwrap();
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=28800"));
    assert!(!cookie.starts_with(planted.cookie.as_ref().unwrap().as_str()));
    let owner = stack.opens(&token).await;
    let rotate = json!({"old": "overlaps"});
    let path_of_rotation = format!("apps/{own}/rotate");
    for csrf_token in [None, Some("0".repeat(64)), operator.csrf_token.clone()] {
        let forged = Proof {
            csrf_token,
            ..owner.clone()
        };
        let answer = stack
            .desk(&forged, "POST", &path_of_rotation, &rotate)
            .await;
        assert_eq!(code(&answer), (403, "csrf_invalid"));
    }

    // It ends by itself, and by a person.
    ends_at(&stack, &row, -1).await;
    let tries = || async { stack.desk(&owner, "GET", "apps", &Value::Null).await.status };
    assert_eq!(tries().await, 401, "its sessions end with it");
    let answer = stack.desk(&from, "POST", "link-session", &asked).await;
    assert_eq!(code(&answer), (400, "link_invalid"));
    ends_at(&stack, &row, 600).await;
    assert_eq!(tries().await, 200);
    let gone = stack.desk(&operator, "DELETE", &path, &Value::Null).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(tries().await, 401);
    let answer = stack.desk(&from, "POST", "link-session", &asked).await;
    assert_eq!(code(&answer), (400, "link_invalid"));
    let twice = stack.desk(&operator, "DELETE", &path, &Value::Null).await;
    assert_eq!(code(&twice), (404, "owner_link_not_found"));

    for bad in [
        json!({"name": "x", "apps": [own], "days": 32}),
        json!({"name": "x", "apps": [own], "days": 0}),
        json!({"name": "x", "apps": [], "days": 1}),
        json!({"name": "", "apps": [own], "days": 1}),
        json!({"name": "x", "apps": ["nobody0000000001"], "days": 1}),
        json!({"name": "x", "apps": [own], "days": 1, "role": "owner"}),
        json!({"name": "x", "apps": [own], "days": 1, "hash": "0"}),
    ] {
        let refused = stack.desk(&operator, "POST", "owner-links", &bad).await;
        assert_eq!(code(&refused), (422, "param_invalid"), "{bad}");
    }
    let who = ["operator", "create", "j-owner", "--role", "app_owner"];
    assert_eq!(
        stack.run(&who).await.code,
        4,
        "nobody with a password is one"
    );
}

#[tokio::test]
async fn who_guesses_links_waits() {
    let stack = Stack::new().await;
    let from = Proof::from_somewhere();
    let guess = json!({"token": format!("link_{}_{}", "0".repeat(16), "0".repeat(32))});
    let mut statuses = Vec::new();
    for _ in 0..23 {
        statuses.push(
            stack
                .desk(&from, "POST", "link-session", &guess)
                .await
                .status,
        );
    }
    assert_eq!(statuses[..20], [400; 20], "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
}

/// All that a list has, two at a time, by this field.
async fn listed(stack: &Stack, proof: &Proof, path: &str, field: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(stack, proof, &format!("{path}?limit=2{cursor}")).await;
        let rows = page[field].as_array().unwrap();
        assert!(rows.len() <= 2, "{page}");
        found.extend(rows.clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn everybody_who_gets_in_is_listed_switched_off_and_removed() {
    let stack = Stack::new().await;
    let owner = stack.at_work("owner").await;
    let person = stack.enrolled("finance").await;
    let name = person.name.as_str();
    let path = format!("operators/{name}");
    let before = get(&stack, &owner, &path).await;
    assert_eq!(before["signed_in_at"], Value::Null);
    let session = stack.logs_in(&person).await;
    let known = get(&stack, &owner, &path).await;
    assert!(known["signed_in_at"].is_string(), "{known}");

    let all = listed(&stack, &owner, "operators", "operators").await;
    let mut names: Vec<&str> = all
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(all.contains(&known), "{all:?}");
    assert!(names.is_sorted(), "{names:?}");
    let listed_names = names.len();
    names.dedup();
    assert_eq!(names.len(), listed_names, "each once");
    let ran = stack.run(&["operator", "list", "--json"]).await;
    let by_hubctl: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    assert!(by_hubctl.contains(&known));
    let text = stack.run(&["operator", "list"]).await.out;
    assert!(text.contains(name) && !text.contains("argon2"), "{text}");

    let off = stack
        .desk(&owner, "POST", &format!("{path}/disable"), &json!({}))
        .await;
    assert_eq!(
        (off.status, &off.body["disabled"]),
        (200, &json!(true)),
        "{off:?}"
    );
    let me = |proof: Proof| {
        let stack = &stack;
        async move {
            stack
                .desk(&proof, "GET", "session", &Value::Null)
                .await
                .status
        }
    };
    assert_eq!(me(session.clone()).await, 401);
    let on = stack
        .desk(&owner, "POST", &format!("{path}/enable"), &json!({}))
        .await;
    assert_eq!(on.status, 200, "{on:?}");
    assert_eq!(me(session.clone()).await, 401, "it stays ended");

    // Removed, and another one of the name: the old session is not theirs.
    let again = stack.run(&["operator", "enrol", name]).await;
    let person = stack.enrols(name, &again).await;
    let session = stack.logs_in(&person).await;
    assert_eq!(me(session.clone()).await, 200);
    let gone = stack.desk(&owner, "DELETE", &path, &Value::Null).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(me(session.clone()).await, 401);
    let twice = stack.desk(&owner, "DELETE", &path, &Value::Null).await;
    assert_eq!(code(&twice), (404, "operator_not_found"));
    let anew = stack
        .run(&["operator", "create", name, "--role", "owner"])
        .await;
    stack.enrols(name, &anew).await;
    assert_eq!(me(session).await, 401);
    let ran = stack.run(&["operator", "remove", name]).await;
    assert_eq!(ran.code, 5, "it asks: {ran:?}");
    assert_eq!(
        stack.run(&["operator", "remove", name, "--yes"]).await.code,
        0
    );

    // Keys and links.
    let own = stack.app.id.as_str();
    let mut made = Vec::new();
    for _ in 0..3 {
        let key = [
            "apikey", "create", "--name", "j", "--days", "1", "--role", "auditor",
        ];
        made.push((
            "api-keys",
            "api_keys",
            printed(&stack.run(&key).await, "id"),
        ));
        let link = ["owner-link", "create", own, "--name", "j", "--days", "1"];
        made.push((
            "owner-links",
            "owner_links",
            printed(&stack.run(&link).await, "id"),
        ));
    }
    for (path, field, id) in &made {
        let all = listed(&stack, &owner, path, field).await;
        let one = all.iter().find(|one| one["id"] == **id);
        assert!(one.is_some(), "{path} {id}");
        let alone = get(&stack, &owner, &format!("{path}/{id}")).await;
        assert_eq!(one, Some(&alone));
        assert!(alone.get("hash").is_none());
    }
    for list in ["apikey", "owner-link"] {
        let ran = stack.run(&[list, "list", "--json"]).await;
        let all: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
        assert!(
            all.iter()
                .any(|one| made.iter().any(|(_, _, id)| one["id"] == **id))
        );
        assert_eq!(stack.run(&[list, "list"]).await.code, 0);
    }
    for bad in ["limit=0", "limit=101", "limit=2&limit=2", "name=x"] {
        let path = format!("operators?{bad}");
        let refused = stack.desk(&owner, "GET", &path, &Value::Null).await;
        assert_eq!(code(&refused), (422, "param_invalid"), "{bad}");
    }
}

/// What a page or a spreadsheet would run stays a text: JSON by name, in quotes.
#[tokio::test]
async fn html_and_formulas_are_texts_and_nothing_else() {
    let stack = Stack::new().await;
    let owner = stack.at_work("owner").await;
    let own = stack.app.id.as_str();
    for text in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "=HYPERLINK(\"http://x/\",\"y\")",
        "+1+cmd|' /C calc'!A0",
        "@SUM(1)",
    ] {
        let link = json!({"name": text, "apps": [own], "days": 1, "reason": text});
        let key = json!({"name": text, "role": "auditor", "days": 1, "reason": text});
        let note = json!({"note": text, "reason": text});
        let edit = json!({"changes": {"name": text}, "reason": text});
        for (method, path, body) in [
            ("POST", "owner-links".to_owned(), &link),
            ("POST", "api-keys".to_owned(), &key),
            ("POST", format!("apps/{own}/annotate"), &note),
            ("PATCH", format!("apps/{own}"), &edit),
        ] {
            let received = stack.at_desk(&owner, method, &path, body).await;
            assert!(matches!(received.status, 200 | 201), "{path}: {received:?}");
            let kind = header(&received, "content-type").unwrap();
            assert_eq!(kind, "application/json");
            let sniffed = header(&received, "x-content-type-options");
            assert_eq!(sniffed.as_deref(), Some("nosniff"));
            let answer: Value = serde_json::from_str(&received.text).unwrap();
            let kept = [&answer["name"], &answer["note"]];
            assert!(kept.contains(&&json!(text)), "{answer}");
        }
        let page = get(&stack, &owner, &format!("audit?app_id={own}")).await;
        assert_eq!(page["entries"][0]["reason"], text);
    }
    // What moves a terminal's cursor or ends a line is refused.
    for text in ["a\nb", "\u{1b}[2J", "a\u{0}b"] {
        let note = json!({"note": text});
        let path = format!("apps/{own}/annotate");
        let refused = stack.desk(&owner, "POST", &path, &note).await;
        assert_eq!(code(&refused), (422, "param_invalid"));
    }
}
