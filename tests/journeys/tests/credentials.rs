//! The hub's own credentials: a person is warned before one ends, and what
//! nobody has filled in serves nobody.

use journeys::{Stack, eventually};
use serde_json::json;
use shared::ambient::{Clock, random_hex};
use shared::aws::ledger::Ledger;
use shared::domain::credential::{CLIENT_CERTIFICATE, Credential};

const DAY_SECONDS: i64 = 86_400;

fn ledger(stack: &Stack) -> Ledger {
    Ledger::new(&stack.aws, stack.setting("LEDGER_TABLE").to_owned())
}

#[tokio::test]
async fn a_credential_that_ends_soon_alarms_and_a_new_one_in_its_place_does_not() {
    let stack = Stack::new().await;
    let ledger = ledger(&stack);
    let name = format!("journey-{}", random_hex());
    let now = Clock::System.now();
    let ends_at = now.plus_seconds(5 * DAY_SECONDS - 3600);
    let ending = Credential::new(name.clone(), ends_at, now);
    ledger.keep_credential(&ending).await.unwrap();
    stack.sweep().await;
    eventually(|| async {
        let lines = stack.lines("reconcile", &name).await;
        let told =
            |line: &serde_json::Value| line["alarm"] == "credential_ends" && line["days_left"] == 5;
        match lines.iter().any(told) {
            true => Ok(()),
            false => Err(json!(lines)),
        }
    })
    .await;
    let told = || async { ledger.credential(&name).await.unwrap().unwrap() };
    eventually(|| async {
        let row = told().await;
        match row.due == ends_at.plus_seconds(-DAY_SECONDS) {
            true => Ok(()),
            false => Err(json!(row)),
        }
    })
    .await;

    // Not twice for one warning, and not for what has been renewed.
    let later = now.plus_seconds(3650 * DAY_SECONDS);
    let renewed = Credential::new(name.clone(), later, now);
    ledger.keep_credential(&renewed).await.unwrap();
    ledger.plan_warning(&ending, ending.due).await.unwrap();
    stack.sweep().await;
    assert_eq!(told().await, renewed);
    assert_eq!(stack.lines("reconcile", &name).await.len(), 1);
}

#[tokio::test]
async fn the_imported_client_certificate_will_be_warned_of() {
    let stack = Stack::new().await;
    let kept = ledger(&stack).credential(CLIENT_CERTIFICATE).await;
    let kept = kept.unwrap().expect("hubctl has written its row");
    let first = kept.ends_at.plus_seconds(-30 * DAY_SECONDS);
    assert_eq!((kept.due, kept.wake, kept.step), (first, first, 0));
}

#[tokio::test]
async fn an_accounts_secret_that_nobody_has_filled_in_is_read_again_at_each_request() {
    let stack = Stack::new().await;
    let manager = aws_sdk_secretsmanager::Client::new(&stack.aws);
    let name = format!("journey-{}", random_hex());
    let made = manager.create_secret().name(&name);
    let made = made.secret_string("as CloudFormation makes it");
    made.send().await.unwrap();
    let (accounts, first) = (stack.accounts(&name), stack.first_account());
    let failure = accounts.client(&first).await.unwrap_err().to_string();
    assert!(failure.contains("an account's keys"), "{failure}");
    let filled = manager.put_secret_value().secret_id(&name);
    let filled = filled.secret_string(r#"{"app_secret": "of the account"}"#);
    filled.send().await.unwrap();
    accounts.client(&first).await.unwrap();
    let gone = manager.delete_secret().secret_id(&name);
    let gone = gone.force_delete_without_recovery(true);
    gone.send().await.unwrap();
}
