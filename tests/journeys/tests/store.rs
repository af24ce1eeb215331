//! The ledger's conditions and transactions against the emulator, with answers
//! lost on the wire: the SDK repeats the call, and the store must recognise
//! its own first success. And the registry's entries, which end at their time
//! though DynamoDB removes them late.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::config::Credentials;
use futures_util::future::join_all;
use journeys::cut::Wire;
use journeys::{Stack, operator, random_order_no};
use serde_json::json;
use shared::ambient::{Clock, random_hex};
use shared::aws::feed::{Appended, Feed};
use shared::aws::ledger::{Created, Ledger, Saved};
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::domain::delivery::{Attempt, Delivery, Next, Occasion, STANDARD_SCHEDULE, Schedule};
use shared::domain::id::{AppId, OrderKey, OrderNo};
use shared::domain::order::{
    ApiVersion, Channel, Closure, Order, Payer, Payment, Settlement, Status, TradeType,
};
use shared::domain::time::Timestamp;
use shared::flows::login::{self, Entrance, Purpose, Started};
use shared::flows::settle::Settler;
use shared::wechat::official_account::oauth::User;

fn now() -> Timestamp {
    Clock::System.now()
}

/// Five events, each by two who both think that they must, all at once.
#[tokio::test]
async fn an_event_is_in_the_feed_once_whoever_appends_it() {
    let stack = Stack::new().await;
    let (ledger, _) = ledger(&stack).await;
    let feed = Feed::new(&stack.aws, stack.setting("FEED_TABLE").to_owned());
    let mut ids = BTreeSet::new();
    let mut claims = Vec::new();
    for _ in 0..5 {
        let delivery = owed(&stack, &ledger).await;
        let claimed = ledger.claim(&delivery.doorbell(), now()).await.unwrap();
        claims.push(claimed.unwrap());
        ids.insert(delivery.event_id);
    }
    let appending = claims.iter().chain(&claims).map(|claim| {
        let (feed, ledger) = (&feed, &ledger);
        async move { while feed.append(ledger, claim, now()).await.unwrap() == Appended::Lost {} }
    });
    join_all(appending).await;
    let app_id = AppId::parse(&stack.app.id).unwrap();
    let page = feed.read(&app_id, 0, 10, now()).await.unwrap();
    let positions: Vec<u64> = page.events.iter().map(|event| event.position).collect();
    assert_eq!((positions, page.next), ((1..=5).collect(), 5));
    let fed: BTreeSet<String> = page
        .events
        .into_iter()
        .map(|event| event.event_id)
        .collect();
    assert_eq!(fed, ids);
    let order_no = json!(claims[0].delivery.order_no.as_str());
    let row = stack.row(&order_no, "delivery#payment.succeeded").await;
    assert!(row.contains_key("fed_at"), "{row:?}");

    let later = now().plus_seconds(30 * 86_400);
    let page = feed.read(&app_id, 0, 10, later).await.unwrap();
    assert_eq!((page.events.len(), page.next), (0, 5), "they have ended");
}

/// A ledger behind a wire that can lose answers.
async fn ledger(stack: &Stack) -> (Ledger, Wire) {
    let wire = Wire::to(stack.setting("AWS_ENDPOINT_URL")).await;
    let credentials = Credentials::new("test", "test", None, None, "tests");
    let aws = operator(&wire.url, credentials);
    (
        Ledger::new(&aws, stack.setting("LEDGER_TABLE").to_owned()),
        wire,
    )
}

fn order(stack: &Stack) -> Order {
    let key = OrderKey {
        app_id: AppId::parse(&stack.app.id).unwrap(),
        order_no: OrderNo::parse(&random_order_no()).unwrap(),
    };
    let shop = stack.setting("SHOP_URL");
    let request = serde_json::from_value(json!({
        "total_fee": 100, "body": "test", "notify_url": format!("{shop}/notify"),
        "return_url": format!("{shop}/return"), "trade_type": "NATIVE", "version": "2.0",
        "expires_in": 7200,
    }));
    let mut order = Order::new(key, request.unwrap(), random_hex(), now());
    let payer = Payer {
        openid: None,
        ip: "127.0.0.1".parse().unwrap(),
    };
    let channel = Channel {
        account: stack.first_account(),
        api_version: ApiVersion::V2,
    };
    order
        .open_attempt(TradeType::Native, payer, channel, now())
        .unwrap();
    order
}

fn payment() -> Payment {
    serde_json::from_value(json!({
        "transaction_id": random_hex(), "attempt": 1, "trade_type": "NATIVE",
        "total_fee": 100, "cash_fee": 100, "paid_at": now(),
    }))
    .unwrap()
}

/// The sweeper must leave what is told to the test.
fn occasion() -> Occasion {
    Occasion {
        event_id: random_hex(),
        now: now(),
        grace_seconds: 600,
    }
}

/// A committed payment whose delivery nobody has rung for.
async fn owed(stack: &Stack, ledger: &Ledger) -> Delivery {
    let mut order = order(stack);
    assert!(matches!(ledger.create(&order).await.unwrap(), Created::New));
    let payment = payment();
    assert_eq!(order.pay(&payment.clone().into(), now()), Settlement::Paid);
    let delivery = Delivery::of_payment(&order, &payment, occasion());
    let saved = ledger
        .commit(&mut order, std::slice::from_ref(&delivery), &mut [], now())
        .await;
    assert!(matches!(saved.unwrap(), Saved::Done));
    delivery
}

#[tokio::test]
async fn an_order_created_with_its_answer_lost_is_new_and_not_a_conflict_with_itself() {
    let stack = Stack::new().await;
    let (ledger, wire) = ledger(&stack).await;
    let order = order(&stack);
    wire.cut_next(1);
    assert!(matches!(ledger.create(&order).await.unwrap(), Created::New));
    assert_eq!(wire.lost(), 1);
    assert!(matches!(
        ledger.create(&order).await.unwrap(),
        Created::Exists(_)
    ));
}

#[tokio::test]
async fn a_save_with_its_answer_lost_is_done_and_a_stale_one_is_not() {
    let stack = Stack::new().await;
    let (ledger, wire) = ledger(&stack).await;
    let mut order = order(&stack);
    ledger.create(&order).await.unwrap();
    let mut stale = order.clone();
    assert_eq!(order.close(), Ok(Closure::Closed));
    wire.cut_next(1);
    assert!(matches!(
        ledger.save(&mut order).await.unwrap(),
        Saved::Done
    ));
    assert_eq!(wire.lost(), 1);
    match ledger.save(&mut stale).await.unwrap() {
        Saved::Changed(row) => assert_eq!(row.status, Status::Closed),
        Saved::Done => panic!("a stale order was written"),
    }
}

#[tokio::test]
async fn a_payment_committed_with_its_answer_lost_is_committed_once() {
    let stack = Stack::new().await;
    let (ledger, wire) = ledger(&stack).await;
    let mut order = order(&stack);
    ledger.create(&order).await.unwrap();
    let payment = payment();
    order.pay(&payment.clone().into(), now());
    let delivery = Delivery::of_payment(&order, &payment, occasion());
    wire.cut_next(1);
    let saved = ledger
        .commit(&mut order, std::slice::from_ref(&delivery), &mut [], now())
        .await;
    assert!(matches!(saved.unwrap(), Saved::Done));
    assert_eq!(wire.lost(), 1);
    let stored = ledger.partition(&order.key()).await.unwrap().unwrap();
    let (stored, deliveries) = (stored.order, stored.deliveries);
    assert_eq!(stored.status, Status::Paid);
    assert_eq!(deliveries.len(), 1);
}

#[tokio::test]
async fn a_claim_with_its_answer_lost_is_held_and_nobody_else_gets_one() {
    let stack = Stack::new().await;
    let (ledger, wire) = ledger(&stack).await;
    let delivery = owed(&stack, &ledger).await;
    wire.cut_next(1);
    let claim = ledger.claim(&delivery.doorbell(), now()).await.unwrap();
    assert_eq!(wire.lost(), 1);
    assert!(claim.is_some());
    assert!(
        ledger
            .claim(&delivery.doorbell(), now())
            .await
            .unwrap()
            .is_none()
    );
    // Only a lease that has ended lets another in.
    let later = now().plus_seconds(60);
    assert!(
        ledger
            .claim(&delivery.doorbell(), later)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn of_twenty_claims_at_once_one_wins() {
    let stack = Stack::new().await;
    let (ledger, _wire) = ledger(&stack).await;
    let delivery = owed(&stack, &ledger).await;
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (ledger, doorbell) = (ledger.clone(), delivery.doorbell());
        claims.spawn(async move { ledger.claim(&doorbell, now()).await.unwrap().is_some() });
    }
    let won = claims
        .join_all()
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn results_recorded_with_their_answers_lost_are_recorded_once() {
    let stack = Stack::new().await;
    let (ledger, wire) = ledger(&stack).await;
    let delivery = owed(&stack, &ledger).await;
    let attempt = |step: u8| -> Attempt {
        serde_json::from_value(json!({
            "step": step, "address": "notify", "at": now(), "latency_ms": 5,
            "http_status": 500, "answer": "no",
        }))
        .unwrap()
    };
    let claim = ledger
        .claim(&delivery.doorbell(), now())
        .await
        .unwrap()
        .unwrap();
    let schedule = Schedule::parse(STANDARD_SCHEDULE).unwrap();
    let next = claim.delivery.after_failure(&schedule, now(), 60);
    wire.cut_next(1);
    assert!(
        ledger
            .record_failure(&claim, &[attempt(0)], &next, now())
            .await
            .unwrap()
    );
    assert_eq!(wire.lost(), 1);
    // Recording the same again changes nothing, and the old step's doorbell
    // wakes nobody.
    assert!(
        ledger
            .record_failure(&claim, &[attempt(0)], &next, now())
            .await
            .unwrap()
    );
    assert!(
        ledger
            .claim(&delivery.doorbell(), now())
            .await
            .unwrap()
            .is_none()
    );

    let mut doorbell = delivery.doorbell();
    doorbell.step = 1;
    let due = delivery.origin.plus_seconds(61);
    let claim = ledger.claim(&doorbell, due).await.unwrap().unwrap();
    assert_eq!(claim.delivery.claims, 1, "claims count within a step");
    wire.cut_next(1);
    ledger.record_success(&claim, &[attempt(1)]).await.unwrap();
    assert_eq!(wire.lost(), 2);
    let rows = ledger
        .partition(&delivery.key())
        .await
        .unwrap()
        .unwrap()
        .deliveries;
    assert_eq!(rows[0].attempts.len(), 2);
    assert_eq!(rows[0].wake, None);
    assert_eq!(rows[0].status, shared::domain::delivery::Status::Delivered);
}

#[tokio::test]
async fn a_success_counts_even_after_its_lease_was_lost_and_a_failure_does_not() {
    let stack = Stack::new().await;
    let (ledger, _wire) = ledger(&stack).await;
    let delivery = owed(&stack, &ledger).await;
    let slow = ledger
        .claim(&delivery.doorbell(), now())
        .await
        .unwrap()
        .unwrap();
    let later = now().plus_seconds(60);
    let second = ledger
        .claim(&delivery.doorbell(), later)
        .await
        .unwrap()
        .unwrap();
    assert!(
        !ledger
            .record_failure(&slow, &[], &Next::Exhausted, now())
            .await
            .unwrap()
    );
    ledger.record_success(&slow, &[]).await.unwrap();
    assert!(
        !ledger
            .record_failure(&second, &[], &Next::Exhausted, now())
            .await
            .unwrap()
    );
    let rows = ledger
        .partition(&delivery.key())
        .await
        .unwrap()
        .unwrap()
        .deliveries;
    assert_eq!(rows[0].status, shared::domain::delivery::Status::Delivered);
}

#[tokio::test]
async fn the_same_payment_settled_twenty_times_at_once_is_settled_once() {
    let stack = Stack::new().await;
    let (ledger, _wire) = ledger(&stack).await;
    let order = order(&stack);
    ledger.create(&order).await.unwrap();
    let settler = Settler {
        ledger: ledger.clone(),
        registry: Registry::new(&stack.aws, stack.setting("REGISTRY_TABLE").to_owned()),
        deliver_first: Queue::new(
            &stack.aws,
            stack.setting("DELIVER_FIRST_QUEUE_URL").to_owned(),
        ),
        grace_seconds: 60,
    };
    let payment = payment();
    let mut settlements = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (settler, order, payment) = (settler.clone(), order.clone(), payment.clone());
        settlements.spawn(async move {
            settler
                .settle(order, &payment.into(), now())
                .await
                .unwrap()
                .1
        });
    }
    let results = settlements.join_all().await;
    let paid = results
        .iter()
        .filter(|one| **one == Settlement::Paid)
        .count();
    assert_eq!(paid, 1, "{results:?}");
    let stored = ledger.partition(&order.key()).await.unwrap().unwrap();
    let (stored, rows) = (stored.order, stored.deliveries);
    assert_eq!(stored.status, Status::Paid);
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn states_and_codes_end_with_their_time() {
    let stack = Stack::new().await;
    let registry = stack.registry();
    let app_id = AppId::parse(&stack.app.id).unwrap();
    let now = now();

    let entrance = Entrance {
        open_base: stack.setting("SIMULATOR_URL"),
        account: &stack.first_account(),
        public_url: stack.setting("HUB_URL"),
    };
    for (seconds, good) in [(599, true), (600, false)] {
        let purpose = Purpose::PayQuery("the order's".to_owned());
        let started = login::start(&registry, entrance, purpose.clone(), now).await;
        let Started {
            authorize_url,
            cookie,
        } = started.unwrap();
        let mut pairs = authorize_url.query_pairs();
        let state = pairs.find(|(name, _)| name == "state").unwrap().1;
        let browser = cookie.split(['=', ';']).nth(1).unwrap();
        let later = now.plus_seconds(seconds);
        let resumed = login::resume(&registry, &state, browser, later).await;
        let resumed = resumed.ok();
        let account = resumed.as_ref().and_then(|login| login.account.as_ref());
        assert_eq!(account, good.then_some(entrance.account), "{seconds}");
        let resumed = resumed.map(|login| login.purpose);
        assert_eq!(resumed, good.then_some(purpose), "{seconds}");
    }

    let user = User {
        openid: "oSimulatedPayerAlice00000001".to_owned(),
        unionid: None,
        is_snapshot: false,
        profile: None,
    };
    for (seconds, good) in [(299, true), (300, false)] {
        let code = login::issue_code(&registry, &app_id, user.clone(), now).await;
        let later = now.plus_seconds(seconds);
        let exchanged = login::exchange_code(&registry, &app_id, &code.unwrap(), later).await;
        assert_eq!(exchanged.ok(), good.then(|| user.clone()), "{seconds}");
    }
}
