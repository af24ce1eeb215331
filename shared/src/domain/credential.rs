//! A credential that ends: when a person is warned of it. Whose it is, and where
//! it is kept, is none of this row's business; the client certificate is the only
//! one that has an end today.

use serde::{Deserialize, Serialize};

use super::UnknownAttributes;
use super::time::Timestamp;

/// The merchant's client certificate, which refunds need.
pub const CLIENT_CERTIFICATE: &str = "client-certificate";

const DAY_SECONDS: i64 = 86_400;
/// The warnings, in days before the end. From the end on there is one each day.
const DAYS_BEFORE: [i64; 4] = [30, 7, 1, 0];

/// A credential's end, and the warning that is next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// What it is, for the operator.
    pub name: String,
    /// From when on nobody takes it.
    pub ends_at: Timestamp,
    /// How many warnings there have been.
    pub step: u8,
    /// When the next one is due.
    pub due: Timestamp,
    /// When the sweeper looks: then, because nobody else rings.
    pub wake: Timestamp,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

impl Credential {
    /// One that has just been put in force. The first warning is at once if it is
    /// in the last thirty days of its life.
    #[must_use]
    pub fn new(name: String, ends_at: Timestamp, now: Timestamp) -> Self {
        let [first, ..] = DAYS_BEFORE;
        let due = ends_at.plus_seconds(-first * DAY_SECONDS).max(now);
        Self {
            name,
            ends_at,
            step: 0,
            due,
            wake: due,
            unknown: UnknownAttributes::new(),
        }
    }

    /// If a warning is due, the days that are left, begun ones too and none after
    /// the end; the next one is planned. Warnings that nobody gave in time are
    /// one.
    pub fn warn(&mut self, now: Timestamp) -> Option<i64> {
        if now < self.due {
            return None;
        }
        let planned = DAYS_BEFORE.map(|days| self.ends_at.plus_seconds(-days * DAY_SECONDS));
        let next = planned.into_iter().find(|moment| *moment > now);
        self.due = next.unwrap_or(now.plus_seconds(DAY_SECONDS));
        self.wake = self.due;
        self.step = self.step.saturating_add(1);
        let left = self.ends_at.seconds().saturating_sub(now.seconds());
        Some(left.max(0).saturating_add(DAY_SECONDS - 1) / DAY_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn days(days: i64) -> Timestamp {
        START.plus_seconds(days * DAY_SECONDS)
    }

    fn ending_after(days_left: i64) -> Credential {
        Credential::new("certificate".to_owned(), days(days_left), START)
    }

    #[test]
    fn a_person_is_warned_30_7_and_1_days_before_and_daily_from_the_end() {
        let mut credential = ending_after(100);
        let mut told = Vec::new();
        for hour in 0..103 * 24 {
            let now = START.plus_seconds(hour * 3600);
            told.extend(credential.warn(now).map(|left| (hour / 24, left)));
        }
        let expected = [(70, 30), (93, 7), (99, 1), (100, 0), (101, 0), (102, 0)];
        assert_eq!(told, expected);
        assert_eq!(credential.step, 6);
    }

    #[test]
    fn who_stores_one_that_ends_soon_is_told_at_once_and_then_as_planned() {
        for (life, first, left, next) in [
            (31, 1, 30, 24),
            (30, 0, 30, 23),
            (29, 0, 29, 22),
            (7, 0, 7, 6),
            (5, 0, 5, 4),
            (1, 0, 1, 1),
            (0, 0, 0, 1),
            (-3, 0, 0, 1),
        ] {
            let mut credential = ending_after(life);
            assert_eq!(credential.due, days(first), "{life}");
            assert_eq!(credential.warn(days(first)), Some(left), "{life}");
            assert_eq!((credential.due, credential.wake), (days(next), days(next)));
            assert_eq!(credential.warn(days(first)), None, "{life}");
        }
    }

    #[test]
    fn warnings_that_an_outage_swallowed_are_one() {
        let mut credential = ending_after(100);
        assert_eq!(credential.warn(days(96)), Some(4));
        assert_eq!(credential.due, days(99));
    }
}
