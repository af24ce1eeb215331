//! A browser in which somebody is logged in, and for how long.

use serde::{Deserialize, Serialize};

use super::{Operator, OperatorName, Pass};
use crate::domain::time::Timestamp;

/// The longest a session lasts.
pub const SESSION_SECONDS: i64 = 8 * 3600;
const IDLE_SECONDS: i64 = 30 * 60;
/// How often its use is written down.
const SEEN_SECONDS: i64 = 60;

/// A browser in which somebody is logged in. Its row is named by the [`super::digest`]
/// of the cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who.
    #[serde(flatten)]
    pub holder: Holder,
    /// When it ends however busy it is.
    pub ends_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Holder {
    /// An operator's.
    Operator {
        /// Who.
        operator: OperatorName,
        /// What the operator's row was then: see [`Operator::revision`].
        revision: u64,
    },
    /// An app owner's.
    Link {
        /// The public half of the link that it was opened with.
        link: String,
    },
}

impl Session {
    /// One of an operator that begins now.
    #[must_use]
    pub fn new(operator: &Operator, now: Timestamp) -> Self {
        Self {
            holder: Holder::Operator {
                operator: operator.name.clone(),
                revision: operator.revision,
            },
            ends_at: now.plus_seconds(SESSION_SECONDS),
            seen_at: now,
        }
    }

    /// One that begins now with a link, and does not outlive it.
    #[must_use]
    pub fn of_link(link: &Pass, now: Timestamp) -> Self {
        Self {
            holder: Holder::Link {
                link: link.id.clone(),
            },
            ends_at: now.plus_seconds(SESSION_SECONDS).min(link.ends_at),
            seen_at: now,
        }
    }

    /// Whether it is good for this operator, now.
    #[must_use]
    pub fn is_of(&self, known: &Operator, now: Timestamp) -> bool {
        let Holder::Operator { operator, revision } = &self.holder else {
            return false;
        };
        *operator == known.name
            && *revision == known.revision
            && !known.disabled
            && self.is_awake(now)
    }

    /// Whether it is good for whoever holds this link, now.
    #[must_use]
    pub fn is_of_link(&self, known: &Pass, now: Timestamp) -> bool {
        matches!(&self.holder, Holder::Link { link } if *link == known.id)
            && known.is_good(now)
            && self.is_awake(now)
    }

    fn is_awake(&self, now: Timestamp) -> bool {
        now < self.ends_at.min(self.seen_at.plus_seconds(IDLE_SECONDS))
    }

    /// Whether it is time to write down that it is used.
    #[must_use]
    pub fn is_unseen(&self, now: Timestamp) -> bool {
        now >= self.seen_at.plus_seconds(SEEN_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_123);

    fn ann() -> Operator {
        let name = OperatorName::parse("ann").unwrap();
        Operator::new(name, Role::Operator, "0123456789abcdef", NOW)
    }

    #[test]
    fn a_session_ends_when_idle_or_old_or_when_its_operator_is_changed() {
        let ann = ann();
        let session = Session::new(&ann, NOW);
        let idle = NOW.plus_seconds(30 * 60);
        let last = Timestamp::from_millis(idle.millis() - 1);
        assert!(session.is_of(&ann, last) && !session.is_of(&ann, idle));
        let mut busy = session.clone();
        let end = NOW.plus_seconds(8 * 3600);
        busy.seen_at = end;
        let last = Timestamp::from_millis(end.millis() - 1);
        assert!(busy.is_of(&ann, last) && !busy.is_of(&ann, end));
        for change in [
            |ann: &mut Operator| ann.disabled = true,
            |ann: &mut Operator| ann.revision += 1,
            |ann: &mut Operator| ann.name = OperatorName::parse("bob").unwrap(),
        ] {
            let mut other = ann.clone();
            change(&mut other);
            assert!(!session.is_of(&other, NOW));
        }
        assert!(!session.is_unseen(NOW.plus_seconds(59)));
        assert!(session.is_unseen(NOW.plus_seconds(60)));
    }

    #[test]
    fn a_links_session_ends_with_the_link_and_is_nobody_elses() {
        let link: Pass = serde_json::from_value(serde_json::json!({
            "id": "a1a1a1a1a1a1a1a1", "hash": "", "name": "tea", "role": "app_owner",
            "apps": ["demo000000000001"], "ends_at": NOW.plus_seconds(3600),
        }))
        .unwrap();
        let mut session = Session::of_link(&link, NOW);
        assert_eq!(session.ends_at, link.ends_at);
        assert!(session.is_of_link(&link, NOW) && !session.is_of(&ann(), NOW));
        assert!(!session.is_of_link(&link, NOW.plus_seconds(1800)), "idle");
        session.seen_at = NOW.plus_seconds(3599);
        assert!(session.is_of_link(&link, NOW.plus_seconds(3599)));
        assert!(!session.is_of_link(&link, NOW.plus_seconds(3600)));
        for change in [
            |link: &mut Pass| link.revoked = true,
            |link: &mut Pass| link.ends_at = NOW,
            |link: &mut Pass| link.id = "b1".to_owned(),
        ] {
            let mut other = link.clone();
            change(&mut other);
            assert!(!session.is_of_link(&other, NOW));
        }
        assert!(!Session::new(&ann(), NOW).is_of_link(&link, NOW));
    }

    #[test]
    fn a_session_is_read_back_as_it_was_stored_before_there_were_links() {
        let row = serde_json::json!({
            "operator": "ann", "revision": 3, "ends_at": NOW, "seen_at": NOW,
        });
        let session: Session = serde_json::from_value(row.clone()).unwrap();
        assert!(matches!(
            &session.holder,
            Holder::Operator { revision: 3, .. }
        ));
        assert_eq!(serde_json::to_value(&session).unwrap(), row);
    }
}
