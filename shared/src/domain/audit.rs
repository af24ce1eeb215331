//! What is remembered of each change that a person makes: who, when, from where,
//! what, before and after. Secrets are in no entry.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::Refused;
use super::time::Timestamp;

/// One change. It is written with the change and never touched again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in time, and its name: see [`Entry::id_at`].
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// Who did it: an operator, a machine's key, an identity of AWS, or an account of
    /// a computer.
    pub who: String,
    /// With which tool.
    pub through: String,
    /// From which address, where that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// What was done, `app.disable` say.
    pub action: String,
    /// To what: an app's identifier, or `app_id#order_no`.
    pub subject: String,
    /// Why, in the words of who did it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it was before, as far as it changed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub before: Map<String, Value>,
    /// And after.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub after: Map<String, Value>,
}

/// Somebody at work: what the entries of all they do have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// See [`Entry::who`].
    pub who: String,
    /// See [`Entry::through`].
    pub through: String,
    /// See [`Entry::from`].
    pub from: String,
    /// Why they do it, in their words.
    pub reason: String,
}

impl Actor {
    /// The entry of what they do now, without what changes. `mark` is random: of two
    /// entries of one moment each has its own name.
    #[must_use]
    pub fn entry(&self, action: &str, subject: String, at: Timestamp, mark: &str) -> Entry {
        Entry {
            id: format!("{}-{mark}", Entry::id_at(at)),
            at,
            who: self.who.clone(),
            through: self.through.clone(),
            from: self.from.clone(),
            action: action.to_owned(),
            subject,
            reason: self.reason.clone(),
            before: Map::new(),
            after: Map::new(),
        }
    }
}

impl Entry {
    /// The first part of an entry's name. Names sort by time.
    #[must_use]
    pub fn id_at(at: Timestamp) -> String {
        format!("{:015}", at.millis().max(0))
    }

    /// What is after every entry that there can be by now. Clocks differ: what another
    /// computer has just written is before it, too.
    #[must_use]
    pub fn id_ahead_of(now: Timestamp) -> String {
        Self::id_at(now.plus_seconds(3600))
    }

    /// Fills in what differs between the two.
    #[must_use]
    pub fn between(mut self, before: &impl Serialize, after: &impl Serialize) -> Self {
        (self.before, self.after) = (object(before), object(after));
        let (old, new) = (self.before.clone(), self.after.clone());
        self.before
            .retain(|name, value| new.get(name) != Some(value));
        self.after
            .retain(|name, value| old.get(name) != Some(value));
        self
    }

    /// The app that it is about.
    #[must_use]
    pub fn app_id(&self) -> &str {
        self.subject.split('#').next().unwrap_or_default()
    }
}

/// A month, as the trail's partitions are named. It sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    year: u16,
    month: u8,
}

impl Month {
    /// As the partition is named.
    #[must_use]
    pub fn written(self) -> String {
        format!("{:04}-{:02}", self.year, self.month)
    }

    /// The one before.
    #[must_use]
    pub fn before(self) -> Self {
        match self.month {
            1 => Self {
                year: self.year.saturating_sub(1),
                month: 12,
            },
            month => Self {
                year: self.year,
                month: month - 1,
            },
        }
    }

    /// What is before every entry of this month but after all of the one before.
    #[must_use]
    pub fn first_id(self) -> String {
        let at = Timestamp::parse_rfc3339(&format!("{}-01T00:00:00Z", self.written()));
        Entry::id_at(at.unwrap_or_default())
    }

    /// The month of an entry with this name.
    ///
    /// # Errors
    /// When no entry can have it.
    pub fn of_entry(id: &str) -> Result<Self, Refused> {
        const RULE: Refused = Refused("must be the id of an entry");
        let millis = id.get(..15).and_then(|digits| digits.parse().ok());
        let at = Timestamp::from_millis(millis.ok_or(RULE)?).rfc3339();
        let part = |range| {
            at.get(range)
                .and_then(|text: &str| text.parse::<u16>().ok())
        };
        let month = part(5..7).and_then(|month| u8::try_from(month).ok());
        match (part(0..4), month) {
            (Some(year), Some(month)) => Ok(Self { year, month }),
            _ => Err(RULE),
        }
    }
}

fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_has_what_changed_and_nothing_else() {
        let ann = Actor {
            who: "ann".into(),
            through: "test".into(),
            from: "203.0.113.7".into(),
            reason: "why not".into(),
        };
        let subject = "demo000000000001#A000000001".to_owned();
        let now = Timestamp::from_millis(1_790_000_000_123);
        let entry = ann.entry("app.edit", subject, now, "c0ffee");
        let said = (&*entry.who, &*entry.through, &*entry.from, &*entry.reason);
        assert_eq!(said, ("ann", "test", "203.0.113.7", "why not"));
        assert_eq!(entry.id, "001790000000123-c0ffee");
        assert_eq!(entry.app_id(), "demo000000000001");
        let before = json!({"name": "a", "disabled": false, "gone": 1});
        let after = json!({"name": "b", "disabled": false, "new": 2});
        let entry = entry.between(&before, &after);
        assert_eq!(json!(entry.before), json!({"name": "a", "gone": 1}));
        assert_eq!(json!(entry.after), json!({"name": "b", "new": 2}));
    }

    #[test]
    fn names_sort_by_time() {
        let at = |millis| Entry::id_at(Timestamp::from_millis(millis));
        let names = [at(-1), at(1), at(999_999_999_999), at(1_790_000_000_123)];
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn months_are_walked_back_over_the_new_year() {
        let id = Entry::id_at(Timestamp::parse_rfc3339("2027-02-28T23:59:59Z").unwrap());
        let february = Month::of_entry(&id).unwrap();
        let written = |month: Month| month.written();
        assert_eq!(written(february), "2027-02");
        assert_eq!(written(february.before().before()), "2026-12");
        assert!(february.before() > february.before().before());
        for bad in ["", "1", "x01790000000123"] {
            assert!(Month::of_entry(bad).is_err(), "{bad}");
        }
    }
}
