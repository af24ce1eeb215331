//! The account's tokens between many cold starts, a registry that loses
//! answers, and a WeChat that refuses. It has a process of its own and goes one
//! at a time, because the account is one and its calls are counted.

#![expect(clippy::unwrap_used, reason = "a journey that cannot go on has failed")]

use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::types::AttributeValue;
use journeys::cut::Wire;
use journeys::{Stack, operator};
use serde_json::json;
use shared::ambient::{Clock, random_hex};
use shared::aws::registry::Registry;
use shared::aws::registry::leases::{Lease, Leased};
use shared::aws::registry::tokens::TokenLife;
use shared::domain::merchant::AccountId;
use shared::domain::time::Timestamp;
use shared::flows::token_cache::{self, TokenCache};
use shared::wechat::official_account::token::Token;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

const TOKEN: &str = "/cgi-bin/stable_token";
const TICKET: &str = "/cgi-bin/ticket/getticket";

fn now() -> Timestamp {
    Clock::System.now()
}

/// What a function that has just started knows of the first account.
struct Cold {
    tokens: TokenCache,
    account: AccountId,
}

impl Cold {
    async fn access_token(&self, now: Timestamp) -> Result<Token, token_cache::Error> {
        self.tokens.access_token(&self.account, now).await
    }

    async fn refused(&self, token: &Token, now: Timestamp) -> Result<Token, token_cache::Error> {
        self.tokens.refused(&self.account, token, now).await
    }

    async fn ticket(&self, now: Timestamp) -> Result<Token, token_cache::Error> {
        self.tokens.ticket(&self.account, now).await
    }
}

fn cold_start(stack: &Stack) -> Cold {
    let accounts = stack.accounts(stack.setting("WECHAT_ACCOUNT_SECRET_NAME"));
    Cold {
        tokens: TokenCache::new(stack.registry(), accounts),
        account: stack.first_account(),
    }
}

fn row(stack: &Stack, kind: &str) -> AttributeValue {
    AttributeValue::S(format!("token#{kind}#{}", stack.setting("WECHAT_APP_ID")))
}

async fn forget(stack: &Stack, kinds: &[&str]) {
    for kind in kinds {
        aws_sdk_dynamodb::Client::new(&stack.aws)
            .delete_item()
            .table_name(stack.setting("REGISTRY_TABLE"))
            .key("pk", row(stack, kind))
            .send()
            .await
            .unwrap();
    }
}

/// The stack with nothing cached, whatever a test before this one left.
async fn alone() -> (Stack, MutexGuard<'static, ()>) {
    let turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    forget(&stack, &["access", "ticket"]).await;
    (stack, turn)
}

/// Another system makes WeChat hand out a new token and take no older one.
async fn force(stack: &Stack) {
    let forced = json!({
        "grant_type": "client_credential",
        "appid": stack.setting("WECHAT_APP_ID"),
        "secret": stack.setting("WECHAT_APP_SECRET"),
        "force_refresh": true,
    });
    let url = format!("{}{TOKEN}", stack.setting("SIMULATOR_URL"));
    assert_eq!(
        stack.send(|http| http.post(url).json(&forced)).await.status,
        200
    );
}

/// Many function instances ask for a ticket at once; how often they called
/// WeChat for a token and for a ticket. All must get the same.
async fn storm(stack: &Stack, instances: usize) -> (i64, i64) {
    let before = (stack.calls(TOKEN).await, stack.calls(TICKET).await);
    let now = now();
    let mut asking = JoinSet::new();
    for _ in 0..instances {
        let tokens = cold_start(stack);
        asking.spawn(async move { tokens.ticket(now).await });
    }
    let tickets: Vec<Token> = asking
        .join_all()
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(tickets.windows(2).all(|pair| pair.first() == pair.last()));
    let after = (stack.calls(TOKEN).await, stack.calls(TICKET).await);
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test]
async fn a_hundred_cold_starts_make_one_call_to_wechat() {
    let (stack, _turn) = alone().await;
    assert_eq!(storm(&stack, 100).await, (1, 1));
    assert_eq!(storm(&stack, 100).await, (0, 0));
}

#[tokio::test]
async fn a_token_that_another_system_replaced_is_fetched_once_and_the_call_succeeds() {
    let (stack, _turn) = alone().await;
    let old = cold_start(&stack).access_token(now()).await.unwrap();
    force(&stack).await;
    // Refused, fetched, called again.
    assert_eq!(storm(&stack, 20).await, (1, 2));

    // Who comes later with the refused one gets the new one without a call.
    let before = stack.calls(TOKEN).await;
    let new = cold_start(&stack).refused(&old, now()).await.unwrap();
    assert_ne!(old, new);
    assert_eq!(stack.calls(TOKEN).await, before);
}

#[tokio::test]
async fn a_token_that_wechat_hands_out_and_refuses_is_forced_anew() {
    let (stack, _turn) = alone().await;
    let old = cold_start(&stack).access_token(now()).await.unwrap();
    for errcode in ["40001", "42001"] {
        forget(&stack, &["ticket"]).await;
        let fault = json!({"path": TICKET, "kind": "error", "err_code": errcode, "times": 1});
        assert_eq!(stack.wechat("faults", &fault).await.status, 200);
        // Asked plainly, then with force.
        assert_eq!(storm(&stack, 10).await, (2, 2), "{errcode}");
    }
    assert_ne!(cold_start(&stack).access_token(now()).await.unwrap(), old);

    // Refused for good: the error comes through after one renewal.
    forget(&stack, &["ticket"]).await;
    let fault = json!({"path": TICKET, "kind": "error", "err_code": "40001", "times": 2});
    assert_eq!(stack.wechat("faults", &fault).await.status, 200);
    assert!(cold_start(&stack).ticket(now()).await.is_err());
    forget(&stack, &["ticket"]).await;
}

#[tokio::test]
async fn a_payment_of_2014_whose_token_is_refused_goes_on_with_a_new_one() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::with_app(|app| app.genprepay = true).await;
    let order = json!({"trade_type": "APP", "client_ip": "203.0.113.7"});
    // A warm function may hold a token of an earlier test: it, too, has the
    // current one from here on.
    stack.native(order.clone()).await;
    let old = cold_start(&stack).access_token(now()).await.unwrap();
    let fault = json!({"path": "/pay/genprepay", "kind": "error", "err_code": "42001", "times": 1});
    assert_eq!(stack.wechat("faults", &fault).await.status, 200);
    let order = stack.native(order).await;
    assert!(order["app_params"]["prepayid"].is_string(), "{order}");
    assert_ne!(cold_start(&stack).access_token(now()).await.unwrap(), old);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_and_serves_on_while_wechat_fails() {
    let (stack, _turn) = alone().await;
    force(&stack).await;
    let begun = now();
    let old = cold_start(&stack).access_token(begun).await.unwrap();
    let before = stack.calls(TOKEN).await;
    let near_its_end = begun.plus_seconds(7000);
    let fault = json!({"path": TOKEN, "kind": "error", "err_code": "40164", "times": 1});
    assert_eq!(stack.wechat("faults", &fault).await.status, 200);
    for _ in 0..3 {
        let served = cold_start(&stack).access_token(near_its_end).await.unwrap();
        assert_eq!(served, old);
    }
    assert_eq!(stack.calls(TOKEN).await, before + 1, "asked once per lease");

    let ahead = json!({"clock_ahead_seconds": 7000});
    assert_eq!(stack.wechat("settings", &ahead).await.status, 200);
    let later = near_its_end.plus_seconds(11);
    let renewed = cold_start(&stack).access_token(later).await;
    stack
        .wechat("settings", &json!({"clock_ahead_seconds": 0}))
        .await;
    assert_ne!(renewed.unwrap(), old);
    assert_eq!(stack.calls(TOKEN).await, before + 2);
    forget(&stack, &["access", "ticket"]).await;
}

#[tokio::test]
async fn while_wechat_refuses_it_is_asked_once_and_nobody_waits() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let stack = Stack::new().await;
    forget(&stack, &["access"]).await;
    let fault = json!({"path": TOKEN, "kind": "error", "err_code": "40125", "times": 1});
    assert_eq!(stack.wechat("faults", &fault).await.status, 200);
    let before = stack.calls(TOKEN).await;
    assert!(cold_start(&stack).access_token(now()).await.is_err());
    let asked = std::time::Instant::now();
    for _ in 0..5 {
        assert!(cold_start(&stack).access_token(now()).await.is_err());
    }
    // Waiting for another's fetch would take six seconds each.
    assert!(asked.elapsed().as_secs() < 6);
    assert_eq!(stack.calls(TOKEN).await, before + 1);
    let later = now().plus_seconds(11);
    cold_start(&stack).access_token(later).await.unwrap();
    forget(&stack, &["access"]).await;
}

fn lease(name: &str, mark: &str) -> Lease {
    Lease {
        name: name.to_owned(),
        mark: mark.to_owned(),
    }
}

#[tokio::test]
async fn when_the_fetcher_dies_its_lease_ends_and_another_takes_over() {
    let (stack, _turn) = alone().await;
    let registry = Registry::new(&stack.aws, stack.setting("REGISTRY_TABLE").to_owned());
    let name = row(&stack, "access").as_s().unwrap().clone();
    let dead = lease(&name, "dead");
    let leased = registry.lease_token(&dead, None, now(), 1).await;
    assert!(matches!(leased.unwrap(), Leased::Ours));
    let before = stack.calls(TOKEN).await;
    cold_start(&stack).access_token(now()).await.unwrap();
    assert_eq!(stack.calls(TOKEN).await, before + 1);
}

#[tokio::test]
async fn the_registry_knows_its_own_lease_and_token_when_the_answer_was_lost() {
    let (stack, _turn) = alone().await;
    let token = cold_start(&stack).access_token(now()).await.unwrap();
    let wire = Wire::to(stack.setting("AWS_ENDPOINT_URL")).await;
    let credentials = Credentials::new("test", "test", None, None, "tests");
    let aws = operator(&wire.url, credentials);
    let registry = Registry::new(&aws, stack.setting("REGISTRY_TABLE").to_owned());
    let name = format!("token#test#{}", random_hex());
    let [ours, other, late] = ["ours", "other", "late"].map(|mark| lease(&name, mark));
    let now = now();

    wire.cut_next(1);
    let leased = registry.lease_token(&ours, None, now, 10).await;
    assert!(matches!(leased.unwrap(), Leased::Ours));
    let refused = registry.lease_token(&other, None, now, 10).await;
    assert!(matches!(refused.unwrap(), Leased::Theirs(_)));

    wire.cut_next(1);
    let life = |seconds| TokenLife {
        fresh_until: now.plus_seconds(seconds),
        ends_at: now.plus_seconds(2 * seconds),
    };
    registry.keep_token(&ours, &token, life(60)).await.unwrap();
    assert_eq!(wire.lost(), 2);
    let row = registry.token(&name).await.unwrap();
    assert_eq!(row.credential.as_ref(), Some(&token));

    // A lease that has passed to another writes nothing, and a lease is not
    // given for a credential that has changed.
    let leased = registry.lease_token(&other, Some(&token), now, 10).await;
    assert!(matches!(leased.unwrap(), Leased::Ours));
    registry.keep_token(&ours, &token, life(600)).await.unwrap();
    let row = registry.token(&name).await.unwrap();
    assert_eq!(row.fresh_until, now.plus_seconds(60));
    let outdated = registry
        .lease_token(&late, None, now.plus_seconds(11), 9)
        .await;
    assert!(matches!(outdated.unwrap(), Leased::Theirs(_)));
}
