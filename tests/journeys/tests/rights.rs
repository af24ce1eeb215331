//! What each role may do in the operators' API: every route, by every role, of a
//! person and of a machine.

use std::collections::BTreeMap;

use journeys::Stack;
use journeys::desk::{Proof, printed};
use serde_json::{Value, json};

use crate::staff::code;

/// Each route behind the door, and which roles it lets pass: owner, operator,
/// finance, auditor, app owner; in capitals, if no machine's key does.
const ROUTES: [(&str, &str, &str); 40] = [
    ("GET", "session", "OOFAA"),
    ("POST", "password", "OOFA."),
    ("POST", "api-keys", "O...."),
    ("GET", "api-keys/{id}", "o..a."),
    ("DELETE", "api-keys/{id}", "O...."),
    ("GET", "apps", "oofaa"),
    ("POST", "apps", "oo..."),
    ("GET", "apps/{app_id}", "oofaa"),
    ("PATCH", "apps/{app_id}", "oo..."),
    ("POST", "apps/{app_id}/disable", "oo..."),
    ("POST", "apps/{app_id}/enable", "oo..."),
    ("POST", "apps/{app_id}/annotate", "oo..."),
    ("POST", "apps/{app_id}/rotate", "oo..a"),
    ("POST", "apps/{app_id}/pause", "oo..."),
    ("POST", "apps/{app_id}/resume", "oo..."),
    ("POST", "apps/{app_id}/test-event", "oo..a"),
    ("POST", "apps/{app_id}/deliveries/wake", "oo..."),
    ("GET", "apps/{app_id}/deliveries", "oofaa"),
    ("POST", "apps/{app_id}/deliveries/resend", "oo..a"),
    ("POST", "apps/{app_id}/deliveries/resend-all", "oo..a"),
    ("GET", "orders", "oofaa"),
    ("GET", "orders/{app_id}/{order_no}", "oofaa"),
    ("POST", "orders/{app_id}/{order_no}/query", "oof.."),
    ("POST", "orders/{app_id}/{order_no}/close", "oo..."),
    ("POST", "orders/{app_id}/{order_no}/refunds", "oof.."),
    ("GET", "confirmations/{id}", "oofa."),
    ("DELETE", "confirmations/{id}", "oof.."),
    ("POST", "confirmations/{id}/confirm", "O.F.."),
    ("GET", "audit", "o..a."),
    ("GET", "operators", "o..a."),
    ("GET", "operators/{name}", "o..a."),
    ("DELETE", "operators/{name}", "O...."),
    ("POST", "operators/{name}/disable", "O...."),
    ("POST", "operators/{name}/enable", "O...."),
    ("GET", "api-keys", "o..a."),
    ("GET", "owner-links", "oo.a."),
    ("POST", "owner-links", "OO..."),
    ("GET", "owner-links/{id}", "oo.a."),
    ("DELETE", "owner-links/{id}", "OO..."),
    // The last one, because it ends the session.
    ("DELETE", "session", "OOFAA"),
];
/// Those before it.
const OPEN: [&str; 4] = [
    "POST /v1/operator/session",
    "POST /v1/operator/link-session",
    "POST /v1/operator/enrolment",
    "POST /v1/operator/enrolment/codes",
];
const ROLES: [&str; 5] = ["owner", "operator", "finance", "auditor", "app_owner"];

#[tokio::test]
async fn each_route_lets_the_roles_pass_that_the_table_says() {
    let stack = Stack::new().await;
    let operations = contract::Contract::get().operations();
    let documented = operations.iter().filter(|operation| {
        operation.contains(" /v1/operator/") && !OPEN.contains(&operation.as_str())
    });
    let documented: Vec<&str> = documented.map(String::as_str).collect();
    let mut tried: Vec<String> = ROUTES
        .iter()
        .map(|(method, path, _)| format!("{method} /v1/operator/{path}"))
        .collect();
    tried.sort();
    assert_eq!(tried, documented, "each is in the table");

    let mut proofs = BTreeMap::new();
    for role in ROLES {
        let person = match role {
            "app_owner" => stack.with_link(&[&stack.app.id]).await,
            role => stack.at_work(role).await,
        };
        proofs.insert((role, "person"), person);
        if role != "owner" {
            let mut made = vec![
                "apikey", "create", "--name", "j", "--days", "1", "--role", role,
            ];
            if role == "app_owner" {
                made.extend(["--app", &stack.app.id]);
            }
            let key = printed(&stack.run(&made).await, "key");
            proofs.insert((role, "machine"), Proof::of_key(&key));
        }
    }
    let mut forbidden = 0;
    for (method, path, may) in ROUTES {
        let path = path.replace("{id}", "0000000000000000");
        let path = path.replace("{name}", "j-nobody-at-all");
        let path = path.replace("{app_id}", &stack.app.id);
        let path = path.replace("{order_no}", "A000000001");
        let body = match method {
            // An app would be registered by an empty body.
            "POST" | "PATCH" => json!({"nobody": "asks for this"}),
            _ => Value::Null,
        };
        let nobody = stack.desk(&Proof::default(), method, &path, &body).await;
        assert_eq!(code(&nobody), (401, "login_required"), "{method} {path}");
        for ((role, kind), proof) in &proofs {
            let letter = may
                .chars()
                .nth(ROLES.iter().position(|one| one == role).unwrap());
            let letter = letter.unwrap();
            let passes = letter != '.' && (*kind == "person" || letter.is_lowercase());
            let answer = stack.desk(proof, method, &path, &body).await;
            let is_forbidden = code(&answer) == (403, "forbidden");
            assert_eq!(
                is_forbidden, !passes,
                "{method} {path} {role} {kind}: {answer:?}"
            );
            assert!(is_forbidden || answer.status != 401, "{answer:?}");
            forbidden += usize::from(is_forbidden);
        }
    }
    assert!(forbidden > 50, "{forbidden}");
}
