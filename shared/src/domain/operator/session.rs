//! A browser in which somebody is logged in, and for how long.

use serde::{Deserialize, Serialize};

use super::{Operator, OperatorName};
use crate::domain::time::Timestamp;

/// The longest a session lasts.
pub const SESSION_SECONDS: i64 = 8 * 3600;
const IDLE_SECONDS: i64 = 30 * 60;
/// How often its use is written down.
const SEEN_SECONDS: i64 = 60;

/// A browser in which an operator is logged in. Its row is named by the
/// [`digest`] of the cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who.
    pub operator: OperatorName,
    /// What the operator's row was then: see [`Operator::revision`].
    pub revision: u64,
    /// When it ends however busy it is.
    pub ends_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
}

impl Session {
    /// One that begins now.
    #[must_use]
    pub fn new(operator: &Operator, now: Timestamp) -> Self {
        Self {
            operator: operator.name.clone(),
            revision: operator.revision,
            ends_at: now.plus_seconds(SESSION_SECONDS),
            seen_at: now,
        }
    }

    /// Whether it is good for this operator, now.
    #[must_use]
    pub fn is_of(&self, operator: &Operator, now: Timestamp) -> bool {
        let idle_until = self.seen_at.plus_seconds(IDLE_SECONDS);
        self.operator == operator.name
            && self.revision == operator.revision
            && !operator.disabled
            && now < self.ends_at.min(idle_until)
    }

    /// Whether it is time to write down that it is used.
    #[must_use]
    pub fn is_unseen(&self, now: Timestamp) -> bool {
        now >= self.seen_at.plus_seconds(SEEN_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Enrolment, Role};
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_123);

    fn ann() -> Operator {
        let name = OperatorName::parse("ann").unwrap();
        Operator::new(
            name,
            Role::Operator,
            Enrolment::new("0123456789abcdef", NOW),
        )
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
}
