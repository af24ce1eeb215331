//! A delivery, the hub's transactional outbox: what it owes an app until the app
//! answers `success`, written in the transaction that caused it. Here are the
//! schedule, the addresses, and the decision after each attempt.

mod circuit_breaker;
mod event;
mod webhook;

pub use circuit_breaker::CircuitBreaker;
pub use event::{Event, Occasion};
pub use webhook::{Message, News, Webhook};

use serde::{Deserialize, Serialize};

use super::UnknownAttributes;
use super::app::{App, Form};
use super::id::{AppId, OrderKey, OrderNo, Refused};
use super::signature::{Params, sign};
use super::time::Timestamp;

/// SQS delays a message by at most this long.
const DELAY_MAX_SECONDS: i64 = 900;
/// How long before its due time a far step is handed to the sweeper, which
/// rings it with the exact delay.
const LEAD_SECONDS: i64 = 600;
/// Between steps that are all late.
const CATCH_UP_SECONDS: i64 = 60;
/// SQS may deliver a delayed message slightly early.
pub const EARLY_MILLIS: i64 = 1000;
/// Claims of one step before its row is taken for one that kills its worker.
pub const CLAIMS_MAX: u8 = 5;
/// Attempts kept in the row: all fourteen, both addresses of step 0, and a few
/// redeliveries.
pub const ATTEMPTS_KEPT: usize = 24;

/// When the notifications after the first are due: offsets, not gaps, in
/// seconds after WeChat's callback.
///
/// ```
/// use shared::domain::delivery::Schedule;
/// use shared::domain::time::Timestamp;
///
/// let schedule = Schedule::parse("60,120,300")?;
/// let callback = Timestamp::from_millis(1_790_000_000_000);
/// assert_eq!(schedule.due(0, callback), Some(callback));
/// assert_eq!(schedule.due(3, callback), Some(callback.plus_seconds(300)));
/// assert_eq!(schedule.due(4, callback), None);
/// # Ok::<(), shared::domain::id::Refused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<i64>);

impl Schedule {
    /// Reads `60,120,...`: seconds, rising.
    ///
    /// # Errors
    /// When a number is malformed, falls, or lies beyond 30 days.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        const RULE: Refused =
            Refused("must be rising whole seconds separated by commas, each at most 30 days");
        let mut offsets = Vec::new();
        for part in text.split(',') {
            let offset: i64 = part.trim().parse().map_err(|_| RULE)?;
            let rises = offsets.last().is_none_or(|last| offset > *last);
            if !rises || !(1..=30 * 86_400).contains(&offset) || offsets.len() == 50 {
                return Err(RULE);
            }
            offsets.push(offset);
        }
        Ok(Self(offsets))
    }

    /// When `step` is due; step 0 is due at once. None after the last.
    #[must_use]
    pub fn due(&self, step: u8, origin: Timestamp) -> Option<Timestamp> {
        match usize::from(step).checked_sub(1) {
            None => Some(origin),
            Some(index) => self.0.get(index).map(|offset| origin.plus_seconds(*offset)),
        }
    }

    /// From the step before to this one.
    fn gap_seconds(&self, step: u8) -> i64 {
        let start = Timestamp::default();
        let due = |step| self.due(step, start).unwrap_or_default().seconds();
        due(step) - due(step.saturating_sub(1))
    }
}

/// Whether the app still has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The app has not answered `success`, and attempts are left.
    Pending,
    /// The app answered `success`.
    Delivered,
    /// Every attempt was made; kept, alarmed, can be redelivered by hand.
    Exhausted,
}

/// Which of the app's addresses was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// `return_url`, the synchronous address.
    Return,
    /// `notify_url`, the asynchronous address.
    Notify,
}

/// One call of an app, as it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The step it belongs to, 0 to 13.
    pub step: u8,
    /// Which of the two was called.
    pub address: Address,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub latency_ms: u32,
    /// The HTTP status, when there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The first bytes of the answer, or why there was none.
    pub answer: String,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// What an app must be told of one event, and how telling it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The app to tell.
    pub app_id: AppId,
    /// The order it is about.
    pub order_no: OrderNo,
    /// What it is told of.
    pub event: Event,
    /// To which part of the order, when it can happen to several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Stable over all attempts, so that the app can recognise a repeat.
    pub event_id: String,
    /// The callback's parameters, but for those made for each attempt.
    pub payload: Params,
    /// Called at every step.
    pub notify_url: String,
    /// Called first, at step 0 of a payment.
    pub return_url: String,
    /// Whether the app still has to be told.
    pub status: Status,
    /// The next step, 0 to 13.
    pub step: u8,
    /// WeChat's callback, from which the schedule counts.
    pub origin: Timestamp,
    /// When the step is due.
    pub due: Timestamp,
    /// When the sweeper looks at the row, while something is owed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<Timestamp>,
    /// How often this step was claimed.
    #[serde(default)]
    pub claims: u8,
    /// The calls made so far.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// When it came into the app's feed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fed_at: Option<Timestamp>,
}

/// What follows a failed step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The given step is due then; look at the row at `wake` at the latest;
    /// ring now with this delay when SQS can hold it.
    Retry {
        /// The step to take.
        step: u8,
        /// When it is due.
        due: Timestamp,
        /// When the sweeper looks.
        wake: Timestamp,
        /// Seconds for SQS, when it can hold the message that long.
        delay: Option<i32>,
    },
    /// There is no further step.
    Exhausted,
}

impl Delivery {
    /// The ledger's partition of this delivery.
    #[must_use]
    pub fn key(&self) -> OrderKey {
        OrderKey {
            app_id: self.app_id.clone(),
            order_no: self.order_no.clone(),
        }
    }

    /// The callback's parameters before signing. `attempt` counts from 1.
    #[must_use]
    pub fn params(&self, now: Timestamp, nonce: String) -> Params {
        let mut params = self.payload.clone();
        params.insert("event".into(), self.event.as_str().into());
        params.insert("event_id".into(), self.event_id.clone());
        params.insert("attempt".into(), (u32::from(self.step) + 1).to_string());
        params.insert("timestamp".into(), now.seconds().to_string());
        params.insert("nonce".into(), nonce);
        params
    }

    /// What is sent to the app at this attempt, signed.
    #[must_use]
    pub fn message(&self, app: &App, now: Timestamp, nonce: String) -> Message {
        match app.form {
            Form::Query => {
                let mut params = self.params(now, nonce);
                params.insert("sign".to_owned(), sign(&params, &app.app_secret));
                Message::Query(params)
            }
            Form::StandardWebhooks => Message::Webhook(Webhook::new(app, self.into(), now)),
        }
    }

    /// The addresses this step calls, in order: the second only when the
    /// first did not answer `success`. The synchronous address is told of
    /// payments only, and by GET only: it is a page.
    #[must_use]
    pub fn addresses<'a>(&'a self, app: &'a App) -> Vec<(Address, &'a str)> {
        let own = app.notify_urls.get(self.event.as_str());
        let notify = (Address::Notify, own.unwrap_or(&self.notify_url).as_str());
        let paid = self.event == Event::PaymentSucceeded && app.form == Form::Query;
        if self.step == 0 && paid && !app.skip_return_call {
            vec![(Address::Return, self.return_url.as_str()), notify]
        } else {
            vec![notify]
        }
    }

    /// The same step a day later, because its app is paused. Not before is it due: it
    /// is neither rung nor overdue. Due and woken at one moment, it is known for
    /// parked.
    #[must_use]
    pub fn park(&self, now: Timestamp) -> Next {
        let later = now.plus_seconds(PARKED_SECONDS);
        Next::Retry {
            step: self.step,
            due: later,
            wake: later,
            delay: None,
        }
    }

    /// What follows when this step failed at `now`. Steps are never skipped;
    /// one whose time passed during an outage is due a little later, so that
    /// the remaining chances do not burn within seconds.
    #[must_use]
    pub fn after_failure(&self, schedule: &Schedule, now: Timestamp, grace_seconds: i64) -> Next {
        let Some(step) = self.step.checked_add(1) else {
            return Next::Exhausted;
        };
        match schedule.due(step, self.origin) {
            None => Next::Exhausted,
            Some(due) => {
                let late = now.plus_seconds(schedule.gap_seconds(step).min(CATCH_UP_SECONDS));
                let due = if due < now { late } else { due };
                let (wake, delay) = doorbell(due, now, grace_seconds);
                Next::Retry {
                    step,
                    due,
                    wake,
                    delay,
                }
            }
        }
    }
}

/// How long a delivery to a paused app is left alone. Then it is looked at again, so
/// that none is forgotten whose app was resumed and that nobody woke.
const PARKED_SECONDS: i64 = 86_400;

/// When the sweeper looks at a row due then, and the delay to ring it with now
/// if SQS can hold it.
#[must_use]
pub fn doorbell(due: Timestamp, now: Timestamp, grace_seconds: i64) -> (Timestamp, Option<i32>) {
    match delay_seconds(due, now) {
        Some(delay) => (due.max(now).plus_seconds(grace_seconds), Some(delay)),
        None => (due.plus_seconds(-LEAD_SECONDS), None),
    }
}

/// Whole seconds from now until `due`, rounded up, if SQS can wait that long.
#[must_use]
pub fn delay_seconds(due: Timestamp, now: Timestamp) -> Option<i32> {
    let millis = due.millis().saturating_sub(now.millis()).max(0);
    let seconds = millis.saturating_add(999) / 1000;
    (seconds <= DELAY_MAX_SECONDS)
        .then_some(seconds)
        .and_then(|seconds| i32::try_from(seconds).ok())
}

/// How long the sweeper leaves a row alone after ringing it for the n-th time:
/// the grace, doubling, at most 30 minutes, so that a backlog is not doubled.
#[must_use]
pub fn ring_backoff_seconds(rings: u8, grace_seconds: i64) -> i64 {
    grace_seconds
        .saturating_mul(1_i64 << rings.min(10))
        .min(1800)
}

/// The 13 offsets that are deployed unless the template is told others: 1m 2m 3m 4m 5m 10m 20m 30m 1h 2h 5h 12h 24h.
pub const STANDARD_SCHEDULE: &str = "60,120,180,240,300,600,1200,1800,3600,7200,18000,43200,86400";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{self, params};

    pub(super) const ORIGIN: Timestamp = fixtures::NOW;

    pub(super) fn delivery() -> Delivery {
        Delivery {
            app_id: AppId::parse("demo000000000001").unwrap(),
            order_no: OrderNo::parse("A000000001").unwrap(),
            event: Event::PaymentSucceeded,
            subject: None,
            event_id: "evt".into(),
            payload: Params::new(),
            notify_url: "https://shop.example/notify".into(),
            return_url: "https://shop.example/return".into(),
            status: Status::Pending,
            step: 0,
            origin: ORIGIN,
            due: ORIGIN,
            wake: None,
            claims: 0,
            attempts: Vec::new(),
            fed_at: None,
        }
    }

    #[test]
    fn a_parked_step_is_the_same_one_a_day_later_and_rings_nobody() {
        let mut row = delivery();
        row.step = 3;
        let later = ORIGIN.plus_seconds(86_400);
        let parked = Next::Retry {
            step: 3,
            due: later,
            wake: later,
            delay: None,
        };
        assert_eq!(row.park(ORIGIN), parked);
    }

    #[test]
    fn the_thirteen_due_times_are_offsets_from_the_callback() {
        let schedule = Schedule::parse(STANDARD_SCHEDULE).unwrap();
        let minutes = [1, 2, 3, 4, 5, 10, 20, 30, 60, 120, 300, 720, 1440];
        assert_eq!(schedule.due(0, ORIGIN), Some(ORIGIN));
        for (index, minute) in minutes.into_iter().enumerate() {
            let step = u8::try_from(index + 1).unwrap();
            let due = schedule.due(step, ORIGIN);
            assert_eq!(due, Some(ORIGIN.plus_seconds(minute * 60)), "step {step}");
        }
        assert_eq!(schedule.due(14, ORIGIN), None);
    }

    #[test]
    fn a_failing_app_is_called_fourteen_times_at_the_due_times_and_then_given_up() {
        let schedule = Schedule::parse(STANDARD_SCHEDULE).unwrap();
        let mut row = delivery();
        let mut steps = vec![0];
        loop {
            // Each call takes nine seconds to fail; due times do not drift.
            let now = row.due.plus_seconds(9);
            match row.after_failure(&schedule, now, 60) {
                Next::Exhausted => break,
                Next::Retry {
                    step,
                    due,
                    wake,
                    delay,
                } => {
                    assert_eq!(Some(due), schedule.due(step, ORIGIN));
                    let wait = now.until(due).as_secs();
                    match delay {
                        Some(delay) => {
                            assert!(wait <= 900 && i64::from(delay) >= wait.cast_signed());
                            assert_eq!(wake, due.plus_seconds(60));
                        }
                        None => {
                            assert!(wait >= 900);
                            assert_eq!(wake, due.plus_seconds(-600));
                        }
                    }
                    steps.push(step);
                    (row.step, row.due) = (step, due);
                }
            }
        }
        assert_eq!(steps, (0..=13).collect::<Vec<u8>>());
    }

    #[test]
    fn steps_missed_during_an_outage_are_caught_up_a_minute_apart() {
        let schedule = Schedule::parse(STANDARD_SCHEDULE).unwrap();
        let now = ORIGIN.plus_seconds(3 * 3600);
        let next = delivery().after_failure(&schedule, now, 60);
        let due = now.plus_seconds(60);
        let wake = due.plus_seconds(60);
        assert_eq!(
            next,
            Next::Retry {
                step: 1,
                due,
                wake,
                delay: Some(60)
            }
        );
    }

    #[test]
    fn only_step_0_calls_the_synchronous_address() {
        let mut app = fixtures::app();
        let mut row = delivery();
        let kinds = |row: &Delivery, app: &App| -> Vec<Address> {
            row.addresses(app).iter().map(|(kind, _)| *kind).collect()
        };
        assert_eq!(kinds(&row, &app), [Address::Return, Address::Notify]);
        row.step = 1;
        assert_eq!(kinds(&row, &app), [Address::Notify]);
        row.step = 0;
        row.event = Event::RefundSucceeded;
        assert_eq!(kinds(&row, &app), [Address::Notify]);
        row.event = Event::PaymentSucceeded;
        app.skip_return_call = true;
        assert_eq!(kinds(&row, &app), [Address::Notify]);
    }

    #[test]
    fn an_app_may_have_an_address_for_an_event_and_a_webhook_never_goes_to_a_page() {
        let mut app = fixtures::app();
        let mut row = delivery();
        let called = |row: &Delivery, app: &App| -> Vec<String> {
            let addresses = row.addresses(app).into_iter();
            addresses.map(|(_, url)| url.to_owned()).collect()
        };
        let (page, notify) = ("https://shop.example/return", "https://shop.example/notify");
        assert_eq!(called(&row, &app), [page, notify]);
        app.notify_urls = params(&[("payment.succeeded", "https://shop.example/paid")]);
        assert_eq!(called(&row, &app), [page, "https://shop.example/paid"]);
        app.form = Form::StandardWebhooks;
        assert_eq!(called(&row, &app), ["https://shop.example/paid"]);
        row.event = Event::OrderClosed;
        assert_eq!(called(&row, &app), [notify]);
    }

    #[test]
    fn schedules_must_rise() {
        for text in ["", "0", "-1", "2,1", "1,1", "1,,2", "x", "1.5", "2592001"] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
        assert!(Schedule::parse("1, 2,3").is_ok());
        assert!(Schedule::parse("2592000").is_ok(), "30 days");
        let steps = |count: u8| {
            let offsets: Vec<String> = (1..=count).map(|offset| offset.to_string()).collect();
            Schedule::parse(&offsets.join(","))
        };
        assert!(steps(50).is_ok());
        assert!(steps(51).is_err());
    }

    #[test]
    fn a_step_that_failed_late_is_followed_after_its_own_gap_or_a_minute() {
        // The schedule, the step that failed, how long after the callback, and
        // how long after that the next one is due.
        for (schedule, failed, at, wait) in [
            ("60,120", 0, 59, 1),
            ("60,120", 0, 60, 0),
            ("60,120", 0, 61, 60),
            ("60,120", 1, 300, 60),
            ("1,2,4", 0, 9, 1),
            ("1,2,4", 1, 9, 1),
            ("1,2,4", 2, 9, 2),
            ("1,90,7200", 1, 9000, 60),
        ] {
            let schedule = Schedule::parse(schedule).unwrap();
            let mut row = delivery();
            row.step = failed;
            let now = ORIGIN.plus_seconds(at);
            let expected = now.plus_seconds(wait);
            match row.after_failure(&schedule, now, 60) {
                Next::Retry { step, due, .. } => {
                    assert_eq!((step, due), (failed + 1, expected), "{failed} at {at}");
                }
                Next::Exhausted => panic!("step {failed} at {at} was the last"),
            }
        }
    }

    #[test]
    fn sqs_is_given_whole_seconds_rounded_up_and_at_most_a_quarter_of_an_hour() {
        for (millis, delay) in [
            (-5000, Some(0)),
            (0, Some(0)),
            (1, Some(1)),
            (1000, Some(1)),
            (1001, Some(2)),
            (900_000, Some(900)),
            (900_001, None),
        ] {
            let due = Timestamp::from_millis(ORIGIN.millis() + millis);
            assert_eq!(delay_seconds(due, ORIGIN), delay, "{millis} ms");
        }
    }

    #[test]
    fn a_call_carries_the_payload_and_what_is_its_own() {
        let mut row = delivery();
        row.payload = params(&[("total_fee", "100")]);
        row.step = 3;
        let given = row.params(ORIGIN.plus_seconds(300), "n1".into());
        let expected = params(&[
            ("total_fee", "100"),
            ("event", "payment.succeeded"),
            ("event_id", "evt"),
            ("attempt", "4"),
            ("timestamp", "1790000300"),
            ("nonce", "n1"),
        ]);
        assert_eq!(given, expected);
    }

    #[test]
    fn ringing_backs_off_from_a_minute_to_half_an_hour() {
        let waits: Vec<i64> = (0..8)
            .map(|rings| ring_backoff_seconds(rings, 60))
            .collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1800, 1800, 1800]);
        assert_eq!(ring_backoff_seconds(255, 60), 1800);
    }
}
