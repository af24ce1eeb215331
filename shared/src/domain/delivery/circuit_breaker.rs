//! The circuit breaker: a memory of hosts that just timed out, so that one dead
//! app does not hold up the others. What is owed to it waits a little instead of
//! occupying a worker for ten or twenty seconds.

use std::collections::HashMap;

use url::Url;

use super::{Delivery, Next, Schedule, doorbell};
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// How long the circuit of a host stays open after a time-out. The first delivery after that
/// tries it again, with all patience.
const OPEN_SECONDS: i64 = 60;
/// How far a step may be put off in all, so that no app is told much later
/// than the schedule promises.
const PUT_OFF_MAX_SECONDS: i64 = 15 * 60;

/// The open circuits of one process, by app and host: no app can have another's
/// deliveries put off by naming its host.
#[derive(Debug, Default)]
pub struct CircuitBreaker(HashMap<(AppId, String), Timestamp>);

impl CircuitBreaker {
    /// The host of this app's address did not answer in time.
    pub fn timed_out(&mut self, app: &AppId, address: &str, now: Timestamp) {
        self.0.retain(|_, until| *until > now);
        let until = now.plus_seconds(OPEN_SECONDS);
        self.0.insert((app.clone(), host(address)), until);
    }

    /// The host of this app's address answered, whatever it said.
    pub fn answered(&mut self, app: &AppId, address: &str) {
        self.0.remove(&(app.clone(), host(address)));
    }

    /// Whether the host of this app's address must not be called now.
    #[must_use]
    pub fn is_open(&self, app: &AppId, address: &str, now: Timestamp) -> bool {
        let until = self.0.get(&(app.clone(), host(address)));
        until.is_some_and(|until| *until > now)
    }
}

fn host(address: &str) -> String {
    Url::parse(address).map_or_else(
        |_| address.to_owned(),
        |url| url.origin().ascii_serialization(),
    )
}

impl Delivery {
    /// The same step `pause_seconds` later: it is not used up. None when it
    /// has been put off for as long as it may be.
    #[must_use]
    pub fn put_off(
        &self,
        schedule: &Schedule,
        now: Timestamp,
        pause_seconds: i64,
        grace_seconds: i64,
    ) -> Option<Next> {
        let planned = schedule.due(self.step, self.origin)?;
        let due = now.plus_seconds(pause_seconds);
        (due <= planned.plus_seconds(PUT_OFF_MAX_SECONDS))
            .then(|| self.postpone(now, pause_seconds, grace_seconds))
    }

    /// The same, however often: what it waits for is the hub's own, and comes.
    #[must_use]
    pub fn postpone(&self, now: Timestamp, pause_seconds: i64, grace_seconds: i64) -> Next {
        let due = now.plus_seconds(pause_seconds);
        let (wake, delay) = doorbell(due, now, grace_seconds);
        Next::Retry {
            step: self.step,
            due,
            wake,
            delay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::STANDARD_SCHEDULE;
    use crate::domain::delivery::tests::{ORIGIN, delivery};

    #[test]
    fn a_hosts_circuit_is_open_for_a_minute_for_one_app_only_and_until_it_answers() {
        let mut breaker = CircuitBreaker::default();
        let app = AppId::parse("demo000000000001").unwrap();
        let other = AppId::parse("demo000000000002").unwrap();
        breaker.timed_out(&app, "https://slow.example/return", ORIGIN);
        let now = ORIGIN.plus_seconds(59);
        assert!(breaker.is_open(&app, "https://slow.example/notify", now));
        assert!(breaker.is_open(&app, "https://SLOW.example:443/", now));
        assert!(!breaker.is_open(&app, "https://slow.example:8443/", now));
        assert!(!breaker.is_open(&other, "https://slow.example/notify", now));
        assert!(!breaker.is_open(&app, "https://slow.example/", ORIGIN.plus_seconds(60)));
        breaker.answered(&app, "https://slow.example/notify");
        assert!(!breaker.is_open(&app, "https://slow.example/return", now));
    }

    #[test]
    fn several_hosts_are_suspect_side_by_side() {
        let mut breaker = CircuitBreaker::default();
        let app = AppId::parse("demo000000000001").unwrap();
        let hosts = ["https://one.example/", "https://two.example/"];
        for (seconds, address) in (0..).zip(hosts) {
            breaker.timed_out(&app, address, ORIGIN.plus_seconds(seconds));
        }
        let now = ORIGIN.plus_seconds(59);
        assert!(
            hosts
                .iter()
                .all(|address| breaker.is_open(&app, address, now))
        );
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut breaker = CircuitBreaker::default();
        let app = AppId::parse("demo000000000001").unwrap();
        for number in 0..1000 {
            let address = format!("https://{number}.example/");
            breaker.timed_out(&app, &address, ORIGIN.plus_seconds(number * 60));
        }
        assert_eq!(breaker.0.len(), 1);
    }

    #[test]
    fn every_step_is_put_off_for_at_most_a_quarter_of_an_hour() {
        let schedule = Schedule::parse(STANDARD_SCHEDULE).unwrap();
        let mut row = delivery();
        for step in 0..=13 {
            row.step = step;
            let planned = schedule.due(step, ORIGIN).unwrap();
            let late = planned.plus_seconds(15 * 60);
            let now = late.plus_seconds(-45);
            let next = row.put_off(&schedule, now, 45, 60);
            let (due, wake) = (late, late.plus_seconds(60));
            let delay = Some(45);
            assert_eq!(
                next,
                Some(Next::Retry {
                    step,
                    due,
                    wake,
                    delay
                })
            );
            assert_eq!(row.put_off(&schedule, now, 46, 60), None);
            // For what the hub itself is late with there is no end.
            let due = now.plus_seconds(46);
            let (wake, delay) = (due.plus_seconds(60), Some(46));
            assert_eq!(
                row.postpone(now, 46, 60),
                Next::Retry {
                    step,
                    due,
                    wake,
                    delay
                }
            );
        }
    }
}
