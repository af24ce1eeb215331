//! Who gets into the operators' API, with what, and until when.

use aws_sdk_dynamodb::types::AttributeValue;
use journeys::desk::{Person, Proof, header, printed};
use journeys::{Answer, Stack, unix_seconds};
use serde_json::{Value, json};

pub(crate) fn code(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or("-"))
}

/// Sets attributes of a row of the registry: nobody waits for hours.
async fn set(stack: &Stack, pk: &str, attribute: &str, value: i64) {
    let path: Vec<String> = attribute
        .split('.')
        .map(|name| format!("#{name}"))
        .collect();
    let mut update = aws_sdk_dynamodb::Client::new(&stack.aws)
        .update_item()
        .table_name(stack.setting("REGISTRY_TABLE"))
        .key("pk", AttributeValue::S(pk.to_owned()))
        .update_expression(format!("SET {} = :value", path.join(".")))
        .condition_expression("attribute_exists(pk)")
        .expression_attribute_values(":value", AttributeValue::N(value.to_string()));
    for name in attribute.split('.') {
        update = update.expression_attribute_names(format!("#{name}"), name);
    }
    update.send().await.unwrap();
}

fn session_row(proof: &Proof) -> String {
    let cookie = proof.cookie.as_ref().unwrap();
    let (_, value) = cookie.split_once('=').unwrap();
    format!("session#{}", shared::domain::operator::digest(value))
}

fn millis_ago(seconds: i64) -> i64 {
    (unix_seconds() - seconds) * 1000
}

async fn who(stack: &Stack, proof: &Proof) -> Answer {
    stack.desk(proof, "GET", "session", &Value::Null).await
}

async fn tries(stack: &Stack, person: &Person, login: &Value) -> Answer {
    let proof = Proof {
        from: Some(person.from.clone()),
        ..Proof::default()
    };
    stack.desk(&proof, "POST", "session", login).await
}

/// What the trail says of this subject or by this person, the oldest first.
async fn trail(stack: &Stack, of: &str) -> Vec<Value> {
    let ran = stack
        .run(&["audit", "list", "--json", "--limit", "5000"])
        .await;
    let all: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    let mut found: Vec<Value> = all
        .into_iter()
        .filter(|entry| entry["subject"] == of || entry["who"] == of)
        .collect();
    found.reverse();
    found
}

#[tokio::test]
async fn an_operator_enrols_logs_in_and_out_and_the_trail_says_so() {
    let stack = Stack::new().await;
    let person = stack.enrolled("operator").await;
    let login = person.login(&person.code(1));
    let proof = Proof {
        from: Some(person.from.clone()),
        // As somebody else could have planted it.
        cookie: Some("__Host-hub_operator=00000000000000000000000000000000".into()),
        ..Proof::default()
    };
    let received = stack.at_desk(&proof, "POST", "session", &login).await;
    let cookie = header(&received, "set-cookie").unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=28800"
    );
    assert_ne!(Some(pair), proof.cookie.as_deref(), "a new one, always");
    assert_eq!(code(&who(&stack, &proof).await), (401, "login_required"));

    let session: Value = serde_json::from_str(&received.text).unwrap();
    let me = format!("operator:{}", person.name);
    assert_eq!(
        (&session["who"], &session["role"]),
        (&json!(me), &json!("operator"))
    );
    let mut own = Proof {
        cookie: Some(pair.to_owned()),
        ..proof
    };
    assert_eq!(who(&stack, &own).await.body, session);

    // A change needs what no other site's page can have.
    let end = stack.desk(&own, "DELETE", "session", &Value::Null).await;
    assert_eq!(code(&end), (403, "csrf_invalid"));
    own.csrf_token = Some("0".repeat(64));
    let end = stack.desk(&own, "DELETE", "session", &Value::Null).await;
    assert_eq!(code(&end), (403, "csrf_invalid"));
    own.csrf_token = session["csrf_token"].as_str().map(str::to_owned);
    let end = stack.desk(&own, "DELETE", "session", &Value::Null).await;
    assert_eq!(end.status, 204, "{end:?}");
    assert_eq!(code(&who(&stack, &own).await), (401, "login_required"));

    let trail = trail(&stack, &me).await;
    let actions: Vec<&str> = trail
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "operator.create",
            "operator.offer_codes",
            "operator.enrol",
            "session.begin",
            "session.end"
        ]
    );
    assert_eq!(trail[0]["after"]["role"], "operator");
    for entry in &trail[1..] {
        assert_eq!(
            (&entry["who"], &entry["from"]),
            (&json!(me), &json!(person.from))
        );
    }
    let all = json!(trail).to_string();
    for secret in [&person.password, pair.split_once('=').unwrap().1] {
        assert!(!all.contains(secret), "{all}");
    }
}

#[tokio::test]
async fn an_enrolment_is_good_once_for_a_day_and_for_its_own_name() {
    let stack = Stack::new().await;
    let ran = stack
        .run(&["operator", "create", "j-early", "--role", "owner"])
        .await;
    if ran.code != 0 {
        // Of an earlier run on the same stack.
        assert_eq!(ran.code, 4, "{ran:?}");
    }
    let ran = stack.run(&["operator", "enrol", "j-early"]).await;
    let token = printed(&ran, "token");
    let nobody = Proof::default();
    let offer = |name: &str, token: &str| {
        let asked = json!({"name": name, "token": token});
        let (stack, nobody) = (&stack, &nobody);
        async move { stack.desk(nobody, "POST", "enrolment/codes", &asked).await }
    };
    for (name, given) in [
        ("j-early", "00000000000000000000000000000000"),
        ("j-early", ""),
        ("j-nobody", &token),
        ("J-Early", &token),
    ] {
        let refused = offer(name, given).await;
        assert_eq!(code(&refused), (400, "enrolment_invalid"), "{name} {given}");
    }
    // A password without codes, a wrong code, a weak password: nothing is used up.
    let finish = |code: &str, password: &str| {
        let asked = json!({"name": "j-early", "token": token, "password": password, "code": code});
        let (stack, nobody) = (&stack, &nobody);
        async move { stack.desk(nobody, "POST", "enrolment", &asked).await }
    };
    let long = "a long password";
    assert_eq!(
        code(&finish("000000", long).await),
        (400, "enrolment_invalid")
    );
    assert_eq!(offer("j-early", &token).await.status, 200);
    assert_eq!(code(&finish("00000x", long).await), (401, "login_wrong"));

    let again = stack.run(&["operator", "enrol", "j-early"]).await;
    let before = offer("j-early", &token).await;
    assert_eq!(
        code(&before),
        (400, "enrolment_invalid"),
        "a new token ends the old one"
    );
    let person = stack.enrols("j-early", &again).await;
    let used = offer("j-early", &printed(&again, "token")).await;
    assert_eq!(code(&used), (400, "enrolment_invalid"));
    assert!(stack.logs_in(&person).await.cookie.is_some());

    let late = stack.run(&["operator", "enrol", "j-early"]).await;
    set(
        &stack,
        "operator#j-early",
        "enrolment.ends_at",
        millis_ago(1),
    )
    .await;
    let late = offer("j-early", &printed(&late, "token")).await;
    assert_eq!(code(&late), (400, "enrolment_invalid"));
}

#[tokio::test]
async fn of_twenty_with_one_code_one_gets_in_and_nobody_does_later() {
    let stack = Stack::new().await;
    let person = stack.enrolled("auditor").await;
    let login = person.login(&person.code(1));
    let all = (0..20).map(|_| tries(&stack, &person, &login));
    let answers = futures_util::future::join_all(all).await;
    let inside = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(inside, 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert!(matches!(answer.status, 401 | 429 | 503), "{answer:?}");
    }
    forget_tries(&stack, &person).await;
    assert_eq!(
        code(&tries(&stack, &person, &login).await),
        (401, "login_wrong")
    );
    // Nor an earlier one that nobody has used, though its time would do.
    let earlier = person.login(&person.code(0));
    assert_eq!(
        code(&tries(&stack, &person, &earlier).await),
        (401, "login_wrong")
    );
}

async fn forget_tries(stack: &Stack, person: &Person) {
    use shared::domain::operator::throttle::Counted;
    let from = person.from.parse().unwrap();
    for counted in [Counted::account(&person.name), Counted::address(from)] {
        aws_sdk_dynamodb::Client::new(&stack.aws)
            .delete_item()
            .table_name(stack.setting("REGISTRY_TABLE"))
            .key("pk", AttributeValue::S(counted.row))
            .send()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn who_guesses_waits_longer_each_time_whether_the_name_exists_or_not() {
    let stack = Stack::new().await;
    let known = stack.enrolled("owner").await;
    let unknown = Person {
        name: format!("{}x", known.name),
        from: known.from.replacen("10.", "11.", 1),
        ..known.clone()
    };
    for person in [&known, &unknown] {
        let mut wrong = person.login(&person.code(1));
        wrong["password"] = json!("not the password");
        let mut answers = Vec::new();
        for _ in 0..7 {
            answers.push(tries(&stack, person, &wrong).await);
        }
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses[..6], [401; 6], "{statuses:?}");
        assert_eq!(code(answers.last().unwrap()), (429, "too_many_logins"));
        // Nor with the right one, until the pause is over.
        let right = person.login(&person.code(1));
        let blocked = Proof {
            from: Some(person.from.clone()),
            ..Proof::default()
        };
        let received = stack.at_desk(&blocked, "POST", "session", &right).await;
        assert_eq!(received.status, 429, "{received:?}");
        let pause: i64 = header(&received, "retry-after").unwrap().parse().unwrap();
        assert!((1..=2).contains(&pause), "{pause}");
        // From another address neither: the account is counted, too.
        let elsewhere = Person {
            from: person.from.replacen('1', "2", 1),
            ..person.clone()
        };
        assert_eq!(tries(&stack, &elsewhere, &right).await.status, 429);
    }
    forget_tries(&stack, &known).await;
    let right = known.login(&known.code(1));
    assert_eq!(tries(&stack, &known, &right).await.status, 201);
}

#[tokio::test]
async fn a_session_ends_by_itself_and_whenever_its_operator_is_changed() {
    let stack = Stack::new().await;
    let person = stack.enrolled("operator").await;
    let name = person.name.as_str();
    let row = format!("operator#{name}");
    let mut sessions = Vec::new();
    for _ in 0..2 {
        // A code is good once: this is another one.
        set(&stack, &row, "totp_step", 0).await;
        sessions.push(stack.logs_in(&person).await);
    }
    set(
        &stack,
        &session_row(&sessions[0]),
        "seen_at",
        millis_ago(30 * 60),
    )
    .await;
    assert_eq!(who(&stack, &sessions[0]).await.status, 401, "idle");
    set(
        &stack,
        &session_row(&sessions[1]),
        "seen_at",
        millis_ago(29 * 60),
    )
    .await;
    assert_eq!(who(&stack, &sessions[1]).await.status, 200);
    set(&stack, &session_row(&sessions[1]), "ends_at", millis_ago(0)).await;
    assert_eq!(who(&stack, &sessions[1]).await.status, 401, "old");

    for (change, back) in [
        (
            &["operator", "disable", name][..],
            &["operator", "enable", name][..],
        ),
        (
            &["operator", "role", name, "--role", "auditor"],
            &["operator", "show", name],
        ),
        (&["operator", "enrol", name], &["operator", "show", name]),
    ] {
        set(&stack, &row, "totp_step", 0).await;
        let session = stack.logs_in(&person).await;
        assert_eq!(who(&stack, &session).await.status, 200);
        assert_eq!(stack.run(change).await.code, 0);
        assert_eq!(who(&stack, &session).await.status, 401, "{change:?}");
        set(&stack, &row, "totp_step", 0).await;
        let login = person.login(&person.code(1));
        let disabled = change.contains(&"disable");
        let let_in = tries(&stack, &person, &login).await.status;
        assert_eq!(let_in, if disabled { 401 } else { 201 });
        assert_eq!(stack.run(back).await.code, 0);
        assert_eq!(who(&stack, &session).await.status, 401, "it stays ended");
    }

    set(&stack, &row, "totp_step", 0).await;
    let session = stack.logs_in(&person).await;
    set(&stack, &row, "totp_step", 0).await;
    let new = "quite another password";
    let mut asked =
        json!({"password": "not it at all", "code": person.code(1), "new_password": new});
    let wrong = stack.desk(&session, "POST", "password", &asked).await;
    assert_eq!(code(&wrong), (401, "login_wrong"));
    asked["password"] = json!(person.password);
    asked["new_password"] = json!("short");
    let weak = stack.desk(&session, "POST", "password", &asked).await;
    assert_eq!(code(&weak), (422, "param_invalid"));
    asked["new_password"] = json!(new);
    let changed = stack.desk(&session, "POST", "password", &asked).await;
    assert_eq!(changed.status, 204, "{changed:?}");
    assert_eq!(who(&stack, &session).await.status, 401);
    set(&stack, &row, "totp_step", 0).await;
    let old = person.login(&person.code(1));
    assert_eq!(tries(&stack, &person, &old).await.status, 401);
    let person = Person {
        password: new.to_owned(),
        ..person
    };
    assert_eq!(who(&stack, &stack.logs_in(&person).await).await.status, 200);
}

#[tokio::test]
async fn a_cookie_that_the_hub_did_not_give_is_nobodys() {
    let stack = Stack::new().await;
    let session = stack.at_work("owner").await;
    let cookie = session.cookie.clone().unwrap();
    let (name, value) = cookie.split_once('=').unwrap();
    for forged in [
        format!("{name}="),
        format!("{name}={}", "f".repeat(32)),
        format!("{name}={}", value.to_uppercase()),
        format!("{name}={value}0"),
        // What is stored is not what gets in.
        format!("{name}={}", &session_row(&session)["session#".len()..]),
        format!("hub_operator={value}"),
        format!("{name}={}", "x".repeat(7000)),
    ] {
        let proof = Proof {
            cookie: Some(forged.clone()),
            ..session.clone()
        };
        let answer = who(&stack, &proof).await;
        assert_eq!(code(&answer), (401, "login_required"), "{forged:.60}");
    }
    // Somebody else's token does not go with it.
    let other = stack.at_work("owner").await;
    let mixed = Proof {
        csrf_token: other.csrf_token.clone(),
        ..session.clone()
    };
    let end = stack.desk(&mixed, "DELETE", "session", &Value::Null).await;
    assert_eq!(code(&end), (403, "csrf_invalid"));
    assert_eq!(who(&stack, &session).await.status, 200);
}

#[tokio::test]
async fn what_is_forbidden_is_remembered() {
    let stack = Stack::new().await;
    let person = stack.enrolled("auditor").await;
    let proof = stack.logs_in(&person).await;
    let asked = json!({"name": "mine", "role": "operator", "days": 1});
    let refused = stack.desk(&proof, "POST", "api-keys", &asked).await;
    assert_eq!(code(&refused), (403, "forbidden"));
    let trail = trail(&stack, &format!("operator:{}", person.name)).await;
    let last = trail.last().unwrap();
    assert_eq!(last["action"], "forbidden", "{last}");
    assert_eq!(last["subject"], "POST /v1/operator/api-keys");
    assert_eq!(last["from"], person.from);
}

#[tokio::test]
async fn a_machines_key_is_shown_once_and_good_until_it_ends_or_is_revoked() {
    let stack = Stack::new().await;
    let owner = stack.at_work("owner").await;
    let asked = json!({"name": "nightly", "role": "auditor", "days": 2, "reason": "reports"});
    let made = stack.desk(&owner, "POST", "api-keys", &asked).await;
    assert_eq!(made.status, 201, "{made:?}");
    let (id, key) = (
        made.body["id"].as_str().unwrap(),
        made.body["key"].as_str().unwrap(),
    );
    let secret = key.rsplit('_').next().unwrap();
    let path = format!("api-keys/{id}");
    let shown = stack.desk(&owner, "GET", &path, &Value::Null).await;
    assert_eq!(shown.body["name"], "nightly", "{shown:?}");
    assert!(!shown.body.to_string().contains(secret));

    // It gets in, though not here.
    let machine = Proof::of_key(key);
    let tries = || async { code(&who(&stack, &machine).await).0 };
    assert_eq!(tries().await, 403);
    for wrong in [
        &key[..key.len() - 1],
        &format!("hub_{id}_{}", "0".repeat(32)),
        secret,
        "",
    ] {
        let answer = who(&stack, &Proof::of_key(wrong)).await;
        assert_eq!(code(&answer), (401, "login_required"), "{wrong}");
    }
    let row = format!("apikey#{id}");
    set(&stack, &row, "ends_at", millis_ago(0)).await;
    assert_eq!(tries().await, 401, "it has ended");
    set(&stack, &row, "ends_at", millis_ago(-60)).await;
    assert_eq!(tries().await, 403);
    let gone = stack.desk(&owner, "DELETE", &path, &Value::Null).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(tries().await, 401, "it is revoked");
    let twice = stack.desk(&owner, "DELETE", &path, &Value::Null).await;
    assert_eq!(code(&twice), (404, "api_key_not_found"));

    for bad in [
        json!({"name": "x", "role": "owner", "days": 1}),
        json!({"name": "x", "role": "auditor", "days": 367}),
        json!({"name": "", "role": "auditor", "days": 1}),
        json!({"name": "x", "role": "root", "days": 1}),
        // What is not asked for is not taken either.
        json!({"name": "x", "role": "auditor", "days": 1, "hash": "0"}),
        json!({"name": "x", "role": "auditor", "days": 1, "revoked": false}),
    ] {
        let refused = stack.desk(&owner, "POST", "api-keys", &bad).await;
        assert_eq!(code(&refused), (422, "param_invalid"), "{bad}");
    }
    let trail = trail(&stack, &format!("apikey:{id}")).await;
    let actions: Vec<&str> = trail
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["apikey.create", "forbidden", "forbidden", "apikey.revoke"]
    );
    assert_eq!(trail[0]["reason"], "reports");
    assert!(!json!(trail).to_string().contains(secret));

    // The same by hubctl, where nobody needs to be logged in.
    let made = stack
        .run(&[
            "apikey", "create", "--name", "x", "--role", "auditor", "--days", "1",
        ])
        .await;
    let (id, key) = (printed(&made, "id"), printed(&made, "key"));
    assert_eq!(who(&stack, &Proof::of_key(&key)).await.status, 403);
    assert_eq!(stack.run(&["apikey", "revoke", &id]).await.code, 0);
    assert_eq!(who(&stack, &Proof::of_key(&key)).await.status, 401);
    assert_eq!(stack.run(&["apikey", "revoke", &id]).await.code, 3);
    assert_eq!(
        stack.run(&["operator", "disable", "j-nobody"]).await.code,
        3
    );
}

#[tokio::test]
async fn a_log_in_takes_no_form_and_no_field_of_its_callers() {
    let stack = Stack::new().await;
    let person = stack.enrolled("auditor").await;
    let mut login = person.login(&person.code(1));
    login["role"] = json!("owner");
    assert_eq!(
        code(&tries(&stack, &person, &login).await),
        (422, "param_invalid")
    );
    // What a form of another site could send.
    let url = format!("{}/v1/operator/session", stack.setting("HUB_URL"));
    let form = person.login(&person.code(1)).to_string();
    let sent = stack.send(|http| {
        http.post(url)
            .body(form)
            .header("content-type", "text/plain")
    });
    assert_eq!(code(&sent.await), (400, "body_invalid"));
}
