//! Tells an app: one doorbell wakes one delivery. Claim the row, call the app,
//! record how it went, plan and ring the next step. Dying between any two of
//! these costs a repeat, never a loss: the row stays owed until it is recorded.

use std::sync::{Arc, Mutex, PoisonError};

use shared::ambient::{Clock, random_hex};
use shared::aws::Failure;
use shared::aws::feed::{Appended, Feed};
use shared::aws::ledger::{Claim, Ledger};
use shared::aws::queue::{Doorbell, Queue};
use shared::aws::registry::Registry;
use shared::callback::{Caller, Outcome};
use shared::domain::UnknownAttributes;
use shared::domain::app::{App, check_address};
use shared::domain::delivery::{Address, Attempt, CLAIMS_MAX, CircuitBreaker, Next, Schedule};
use shared::domain::time::Timestamp;
use shared::flows::race::Race;

/// What the function works with.
#[derive(Debug)]
pub struct Deliver {
    /// Where the time comes from; tests move it by hand.
    pub clock: Clock,
    /// With which secret a callback is signed, and what an app may name.
    pub registry: Registry,
    /// What is owed to apps.
    pub ledger: Ledger,
    /// Where apps read what they are told.
    pub feed: Feed,
    /// Where later steps are rung.
    pub deliver_retry: Queue,
    /// How apps are called.
    pub caller: Caller,
    /// The hosts that just timed out in this process.
    pub breaker: Mutex<CircuitBreaker>,
    /// When later steps are due.
    pub schedule: Schedule,
    /// How long the sweeper leaves a step to its doorbell.
    pub grace_seconds: i64,
}

/// Handles one doorbell. SQS and the sweeper both repeat one that fails.
pub async fn deliver(state: Arc<Deliver>, doorbell: Doorbell) -> Result<(), Failure> {
    let row = &doorbell.sk;
    let Some(claim) = state.ledger.claim(&doorbell, state.clock.now()).await? else {
        return Ok(());
    };
    let tried = attempt(&state, &claim).await?;
    let now = state.clock.now();
    let (attempts, next) = match tried {
        Tried::Delivered(attempts) => return state.ledger.record_success(&claim, &attempts).await,
        Tried::Failed(attempts) => {
            let delivery = &claim.delivery;
            let next = delivery.after_failure(&state.schedule, now, state.grace_seconds);
            (attempts, next)
        }
        Tried::PutOff(next) => (Vec::new(), next),
    };
    if next == Next::Exhausted {
        // Before the write: a second alarm is better than none.
        tracing::error!(alarm = "delivery_exhausted", order = %claim.delivery.key(), row,
            event_id = claim.delivery.event_id, "the app never answered success; hubctl delivery resend");
    }
    if state
        .ledger
        .record_failure(&claim, &attempts, &next, now)
        .await?
    {
        ring(&state, &claim, &next).await;
    }
    Ok(())
}

/// What became of a step.
enum Tried {
    /// The last of these calls was answered `success`, or the app wants none.
    Delivered(Vec<Attempt>),
    /// None of these was.
    Failed(Vec<Attempt>),
    /// Its hosts just timed out, its app is paused, or its feed is crowded: nobody was
    /// called, and this comes next.
    PutOff(Next),
}

/// Calls the addresses of this step until one answers `success`.
async fn attempt(state: &Deliver, claim: &Claim) -> Result<Tried, Failure> {
    let delivery = &claim.delivery;
    let not_called = |answer: &str| {
        let attempt = Attempt {
            step: delivery.step,
            address: Address::Notify,
            at: state.clock.now(),
            latency_ms: 0,
            http_status: None,
            answer: answer.to_owned(),
            unknown: UnknownAttributes::new(),
        };
        vec![attempt]
    };
    let refusal = |answer: &str| Tried::Failed(not_called(answer));
    if delivery.claims > CLAIMS_MAX {
        tracing::error!(alarm = "delivery_crashes", order = %delivery.key(), step = delivery.step,
            "a delivery keeps killing its worker; this step counts as failed");
        return Ok(refusal("the hub's worker died while calling"));
    }
    let Some(app) = state.registry.app(&delivery.app_id).await? else {
        return Ok(refusal("the app is no longer registered"));
    };
    if app.paused {
        tracing::info!(order = %delivery.key(), step = delivery.step, "parked, the app is paused");
        return Ok(Tried::PutOff(delivery.park(state.clock.now())));
    }
    if app.feed
        && delivery.fed_at.is_none()
        && let Err(failure) = feed(state, claim).await
    {
        tracing::warn!(order = %delivery.key(), step = delivery.step, %failure,
            "an event did not get into its app's feed");
        return Ok(match failure.is_contended() {
            true => Tried::PutOff(delivery.postpone(
                state.clock.now(),
                pause_seconds(),
                state.grace_seconds,
            )),
            false => refusal("it did not get into the app's feed"),
        });
    }
    if app.skip_callbacks {
        return Ok(Tried::Delivered(not_called(
            "not called: the app reads its feed",
        )));
    }
    if app.muted.contains(&delivery.event) {
        return Ok(Tried::Delivered(not_called(
            "not called: the app does not want to be told of this",
        )));
    }
    let mut addresses = delivery.addresses(&app);
    let callable = callable(state, claim, &addresses);
    if !callable.is_empty() {
        addresses = callable;
    } else if let Some(next) = put_off(state, claim) {
        return Ok(Tried::PutOff(next));
    }
    let mut attempts = Vec::new();
    for (address, url) in addresses {
        let (at, outcome) = call(state, claim, &app, url).await;
        tracing::info!(order = %delivery.key(), step = delivery.step, delivered = outcome.delivered,
            http_status = outcome.http_status, "app called");
        attempts.push(Attempt {
            step: delivery.step,
            address,
            at,
            latency_ms: u32::try_from(outcome.latency.as_millis()).unwrap_or(u32::MAX),
            http_status: outcome.http_status,
            answer: outcome.answer,
            unknown: UnknownAttributes::new(),
        });
        if outcome.delivered {
            return Ok(Tried::Delivered(attempts));
        }
    }
    Ok(Tried::Failed(attempts))
}

/// Puts the event into the app's feed, after what is there.
async fn feed(state: &Deliver, claim: &Claim) -> Result<(), Failure> {
    let mut race = Race::new("append to a feed");
    loop {
        let appended = state
            .feed
            .append(&state.ledger, claim, state.clock.now())
            .await?;
        match appended {
            Appended::Done => return Ok(()),
            Appended::Lost => race.lost().await?,
        }
    }
}

/// The addresses whose hosts did not time out lately.
fn callable<'a>(
    state: &Deliver,
    claim: &Claim,
    addresses: &[(Address, &'a str)],
) -> Vec<(Address, &'a str)> {
    let now = state.clock.now();
    let breaker = state.breaker.lock().unwrap_or_else(PoisonError::into_inner);
    let app_id = &claim.delivery.app_id;
    let callable = addresses
        .iter()
        .filter(|(_, url)| !breaker.is_open(app_id, url, now));
    callable.copied().collect()
}

/// Half a minute to a minute, at random: what was put off together need not come
/// back together.
fn pause_seconds() -> i64 {
    let random = random_hex();
    let random = random.get(..2).map(|hex| u8::from_str_radix(hex, 16));
    30 + i64::from(random.and_then(Result::ok).unwrap_or_default() % 31)
}

/// The same step a little later.
fn put_off(state: &Deliver, claim: &Claim) -> Option<Next> {
    let delivery = &claim.delivery;
    let next = delivery.put_off(
        &state.schedule,
        state.clock.now(),
        pause_seconds(),
        state.grace_seconds,
    )?;
    tracing::info!(order = %delivery.key(), step = delivery.step, "put off, the host just timed out");
    Some(next)
}

/// One call, freshly signed.
async fn call(state: &Deliver, claim: &Claim, app: &App, url: &str) -> (Timestamp, Outcome) {
    let at = state.clock.now();
    let message = claim.delivery.message(app, at, random_hex());
    // The operator may have changed what this app may name.
    let outcome = match check_address(url, app.allow_http) {
        Ok(()) => state.caller.tell(url, &message).await,
        Err(rule) => Outcome::not_called(&format!("the address {rule}")),
    };
    let mut breaker = state.breaker.lock().unwrap_or_else(PoisonError::into_inner);
    match outcome.timed_out {
        true => breaker.timed_out(&app.app_id, url, state.clock.now()),
        false => breaker.answered(&app.app_id, url),
    }
    (at, outcome)
}

/// The next step is committed: ringing only makes it punctual.
async fn ring(state: &Deliver, claim: &Claim, next: &Next) {
    let Next::Retry {
        step,
        delay: Some(delay),
        ..
    } = next
    else {
        return;
    };
    let mut doorbell = claim.delivery.doorbell();
    doorbell.step = *step;
    state.deliver_retry.ring_or_leave(&doorbell, *delay).await;
}
