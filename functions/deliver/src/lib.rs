//! Tells an app: one doorbell wakes one delivery. Claim the row, call the app,
//! record how it went, plan and ring the next step. Dying between any two of
//! these costs a repeat, never a loss: the row stays owed until it is recorded.
//! It refuses to know why something is owed.

use std::sync::{Arc, Mutex, PoisonError};

use shared::ambient::{Clock, random_hex};
use shared::aws::Failure;
use shared::aws::ledger::{Claim, Ledger};
use shared::aws::queue::{Doorbell, Queue};
use shared::aws::registry::Registry;
use shared::callback::{Caller, Outcome};
use shared::domain::app::{App, check_address};
use shared::domain::delivery::{Address, Attempt, CLAIMS_MAX, Next, Schedule, Suspects};
use shared::domain::signature::sign;
use shared::domain::time::Timestamp;

/// What the function works with.
#[derive(Debug)]
pub struct Hub {
    /// The time.
    pub clock: Clock,
    /// The apps.
    pub registry: Registry,
    /// The deliveries.
    pub ledger: Ledger,
    /// Where later steps are rung.
    pub retry: Queue,
    /// How apps are called.
    pub caller: Caller,
    /// The hosts that this process suspects.
    pub suspects: Mutex<Suspects>,
    /// When later steps are due.
    pub schedule: Schedule,
    /// How long the sweeper leaves a step to its doorbell.
    pub grace_seconds: i64,
}

/// Handles one doorbell.
///
/// # Errors
/// When AWS does not answer; SQS and the sweeper both repeat.
pub async fn deliver(hub: Arc<Hub>, doorbell: Doorbell) -> Result<(), Failure> {
    let row = &doorbell.sk;
    let Some(claim) = hub.ledger.claim(&doorbell, hub.clock.now()).await? else {
        return Ok(());
    };
    let (attempts, next) = match attempt(&hub, &claim).await? {
        Tried::Delivered(attempts) => return hub.ledger.record_success(&claim, &attempts).await,
        Tried::Failed(attempts) => {
            let now = hub.clock.now();
            let delivery = &claim.delivery;
            let next = delivery.after_failure(&hub.schedule, now, hub.grace_seconds);
            (attempts, next)
        }
        Tried::PutOff(next) => (Vec::new(), next),
    };
    if next == Next::Exhausted {
        // Before the write: a second alarm is better than none.
        tracing::error!(alarm = "delivery_exhausted", order = %claim.delivery.key(), row,
            event_id = claim.delivery.event_id, "the app never answered success; redeliver by hand");
    }
    if hub.ledger.record_failure(&claim, &attempts, &next).await? {
        ring(&hub, &claim, &next).await;
    }
    Ok(())
}

/// What became of a step.
enum Tried {
    /// The last of these calls was answered `success`.
    Delivered(Vec<Attempt>),
    /// None was.
    Failed(Vec<Attempt>),
    /// Its hosts just timed out: nobody was called, and this comes next.
    PutOff(Next),
}

/// Calls the addresses of this step until one answers `success`.
async fn attempt(hub: &Hub, claim: &Claim) -> Result<Tried, Failure> {
    let delivery = &claim.delivery;
    let refusal = |answer: &str| {
        let attempt = Attempt {
            step: delivery.step,
            address: Address::Notify,
            at: hub.clock.now(),
            latency_ms: 0,
            http_status: None,
            answer: answer.to_owned(),
        };
        Tried::Failed(vec![attempt])
    };
    if delivery.claims > CLAIMS_MAX {
        tracing::error!(alarm = "delivery_crashes", order = %delivery.key(), step = delivery.step,
            "a delivery keeps killing its worker; this step counts as failed");
        return Ok(refusal("the hub's worker died while calling"));
    }
    let Some(app) = hub.registry.app(&delivery.app_id).await? else {
        return Ok(refusal("the app is no longer registered"));
    };
    let mut addresses = delivery.addresses(&app);
    let trusted = trusted(hub, claim, &addresses);
    if !trusted.is_empty() {
        addresses = trusted;
    } else if let Some(next) = put_off(hub, claim) {
        return Ok(Tried::PutOff(next));
    }
    let mut attempts = Vec::new();
    for (address, url) in addresses {
        let (at, outcome) = call(hub, claim, (&app, url)).await;
        tracing::info!(order = %delivery.key(), step = delivery.step, delivered = outcome.delivered,
            http_status = outcome.http_status, "app called");
        attempts.push(Attempt {
            step: delivery.step,
            address,
            at,
            latency_ms: u32::try_from(outcome.latency.as_millis()).unwrap_or(u32::MAX),
            http_status: outcome.http_status,
            answer: outcome.answer,
        });
        if outcome.delivered {
            return Ok(Tried::Delivered(attempts));
        }
    }
    Ok(Tried::Failed(attempts))
}

/// The addresses whose hosts did not time out lately.
fn trusted<'a>(
    hub: &Hub,
    claim: &Claim,
    addresses: &[(Address, &'a str)],
) -> Vec<(Address, &'a str)> {
    let now = hub.clock.now();
    let suspects = hub.suspects.lock().unwrap_or_else(PoisonError::into_inner);
    let app = &claim.delivery.app_id;
    let trusted = addresses
        .iter()
        .filter(|(_, url)| !suspects.contains((app, *url), now));
    trusted.copied().collect()
}

/// The same step half a minute to a minute later, at random: what was put off
/// together need not come back together.
fn put_off(hub: &Hub, claim: &Claim) -> Option<Next> {
    let random = u8::from_str_radix(random_hex().get(..2)?, 16).ok()?;
    let pause = 30 + i64::from(random % 31);
    let delivery = &claim.delivery;
    let next = delivery.put_off(&hub.schedule, (hub.clock.now(), pause), hub.grace_seconds)?;
    tracing::info!(order = %delivery.key(), step = delivery.step, "put off, the host just timed out");
    Some(next)
}

/// One call, freshly signed.
async fn call(hub: &Hub, claim: &Claim, (app, url): (&App, &str)) -> (Timestamp, Outcome) {
    let at = hub.clock.now();
    let mut params = claim.delivery.params(at, random_hex());
    params.insert("sign".to_owned(), sign(&params, &app.app_secret));
    // The operator may have changed what this app may name.
    let outcome = match check_address(url, app.allow_http) {
        Ok(()) => hub.caller.call(url, &params).await,
        Err(rule) => Outcome::not_called(&format!("the address {rule}")),
    };
    let mut suspects = hub.suspects.lock().unwrap_or_else(PoisonError::into_inner);
    let host = (&app.app_id, url);
    match outcome.timed_out {
        true => suspects.timed_out(host, hub.clock.now()),
        false => suspects.answered(host),
    }
    (at, outcome)
}

/// The next step is committed: ringing only makes it punctual.
async fn ring(hub: &Hub, claim: &Claim, next: &Next) {
    let Next::Retry {
        step,
        delay: Some(delay),
        ..
    } = next
    else {
        return;
    };
    let delivery = &claim.delivery;
    let mut doorbell = delivery.doorbell();
    doorbell.step = *step;
    if let Err(failure) = hub.retry.ring(&doorbell, *delay).await {
        tracing::warn!(order = %delivery.key(), %failure,
            "the doorbell did not ring, the sweeper will");
    }
}
