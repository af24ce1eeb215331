//! An app's feed: its events one after the other, for it to read instead of being
//! called, or besides. Each has a position, one more than the one before. Here are
//! what an event looks like, the cursors, and how much of a page may be seen.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::UnknownAttributes;
use super::delivery::{Delivery, News};
use super::id::{AppId, Refused};
use super::signature::{Params, same};
use super::time::Timestamp;

/// How long events are kept.
pub const KEPT_SECONDS: i64 = 30 * 86_400;
/// How long the store may take to show everybody what it has committed: seconds at
/// worst.
const SETTLING_SECONDS: i64 = 60;

/// An event in a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedEvent {
    /// Its place: 1 is the app's first.
    pub position: u64,
    /// The same as in its callbacks.
    pub event_id: String,
    /// What happened.
    pub event: String,
    /// When the hub knew.
    pub at: Timestamp,
    /// When it came into the feed.
    pub fed_at: Timestamp,
    /// To whom and to what.
    pub payload: Params,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

impl FeedEvent {
    /// What a delivery tells, at this place.
    #[must_use]
    pub fn of(delivery: &Delivery, position: u64, now: Timestamp) -> Self {
        Self {
            position,
            event_id: delivery.event_id.clone(),
            event: delivery.event.as_str().to_owned(),
            at: delivery.origin,
            fed_at: now,
            payload: delivery.payload.clone(),
            unknown: UnknownAttributes::new(),
        }
    }

    /// As an app is told.
    #[must_use]
    pub fn news(&self) -> News<'_> {
        News {
            event_id: &self.event_id,
            event: &self.event,
            at: self.at,
            payload: &self.payload,
        }
    }

    /// From when on it is gone, whether the store has removed it or not.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.fed_at.plus_seconds(KEPT_SECONDS)
    }
}

/// A part of a feed.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub events: Vec<FeedEvent>,
    /// After which position to go on.
    pub next: u64,
    /// Whether there is more now.
    pub has_more: bool,
}

impl Page {
    /// Leaves what may be seen of events that were read, which are those after this
    /// position in order. Each was committed after the one before; should a read meet
    /// one and miss the one before all the same, the page ends there, or the reader
    /// would go on after an event that he never saw. Only what has ended leaves gaps
    /// for good.
    #[must_use]
    pub fn of(after: u64, mut read: Vec<FeedEvent>, has_more: bool, now: Timestamp) -> Self {
        let mut next = after;
        let mut visible = 0;
        for event in &read {
            let is_settling = event.fed_at.plus_seconds(SETTLING_SECONDS) > now;
            if event.position > next.saturating_add(1) && is_settling {
                break;
            }
            next = event.position;
            visible += 1;
        }
        let has_more = has_more && visible == read.len();
        read.truncate(visible);
        read.retain(|event| now < event.ends_at());
        Self {
            events: read,
            next,
            has_more,
        }
    }
}

/// A text that says after which of the app's events to go on. It is no secret: it
/// leads nowhere but into the app's own feed, and its mark keeps out mistakes, such as
/// another app's.
#[must_use]
pub fn cursor(app_id: &AppId, position: u64) -> String {
    let digest = Sha256::digest(format!("feed {app_id} {position}"));
    let mark = digest.get(..8).unwrap_or_default();
    format!("{position}-{}", hex::encode(mark))
}

/// The position that a cursor says.
///
/// # Errors
/// When it is not one that this app was given.
pub fn position(app_id: &AppId, text: &str) -> Result<u64, Refused> {
    const RULE: Refused = Refused("must be what `next` of an earlier page said");
    let (position, _) = text.split_once('-').ok_or(RULE)?;
    let position = position.parse::<u64>().map_err(|_| RULE)?;
    match same(&cursor(app_id, position), text) {
        true => Ok(position),
        false => Err(RULE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::NOW;

    fn event(position: u64, age_seconds: i64) -> FeedEvent {
        FeedEvent {
            position,
            event_id: format!("evt{position}"),
            event: "payment.succeeded".into(),
            at: NOW,
            fed_at: NOW.plus_seconds(-age_seconds),
            payload: Params::new(),
            unknown: UnknownAttributes::new(),
        }
    }

    #[test]
    fn a_page_ends_before_an_event_whose_predecessor_may_yet_appear() {
        const OLD: i64 = KEPT_SECONDS;
        for (after, read, expected, next) in [
            (0, vec![], vec![], 0),
            (0, vec![(1, 0), (2, 0)], vec![1, 2], 2),
            (7, vec![(8, 0), (9, 0)], vec![8, 9], 9),
            // One that is missing may come.
            (0, vec![(2, 0)], vec![], 0),
            (7, vec![(8, 0), (10, 59)], vec![8], 8),
            (7, vec![(8, 0), (10, 0), (11, 0)], vec![8], 8),
            // It would have come by now.
            (7, vec![(8, 61), (10, 60), (11, 0)], vec![8, 10, 11], 11),
            (7, vec![(9, 60), (10, 0), (12, 0)], vec![9, 10], 10),
            // What has ended is not shown, removed or not, and passed over.
            (
                0,
                vec![(1, OLD), (3, OLD), (4, OLD - 1), (5, 0)],
                vec![4, 5],
                5,
            ),
            (0, vec![(1, OLD), (3, OLD)], vec![], 3),
        ] {
            let events = read.iter().map(|&(position, age)| event(position, age));
            let page = Page::of(after, events.collect(), true, NOW);
            let shown: Vec<u64> = page.events.iter().map(|event| event.position).collect();
            assert_eq!((shown, page.next), (expected, next), "{read:?}");
            let last = read.last().map_or(after, |&(position, _)| position);
            assert_eq!(page.has_more, page.next == last, "{read:?}");
        }
    }

    #[test]
    fn a_cursor_is_its_apps_own_and_nothing_else_is_one() {
        let app = AppId::parse("demo000000000001").unwrap();
        let other = AppId::parse("demo000000000002").unwrap();
        for at in [0, 1, 4_000_000_000] {
            let text = cursor(&app, at);
            assert_eq!(position(&app, &text), Ok(at));
            assert!(position(&other, &text).is_err(), "{text}");
        }
        let good = cursor(&app, 5);
        let mark = good.strip_prefix("5-").unwrap();
        for bad in [
            "",
            "5",
            "5-",
            "-",
            "+5-",
            &format!("+5-{mark}"),
            &format!("05-{mark}"),
            &format!("6-{mark}"),
            &format!("{good} "),
            "99999999999999999999-00",
        ] {
            assert!(position(&app, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rows_keep_what_newer_versions_wrote() {
        let mut row = serde_json::to_value(event(3, 0)).unwrap();
        row["newer"] = 1.into();
        let read: FeedEvent = serde_json::from_value(row.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), row);
    }
}
