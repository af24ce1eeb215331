//! The keys that machines get in with.

use serde::{Deserialize, Serialize};

use super::{Role, digest};
use crate::domain::id::Refused;
use crate::domain::signature::same;
use crate::domain::time::Timestamp;

/// What a machine gets in with. It cannot be an owner: whoever holds it could
/// make others that outlive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its public half, 16 hex digits.
    pub id: String,
    /// [`digest`] of its secret half.
    pub hash: String,
    /// What it is for, in words.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// From when on it is no good.
    pub ends_at: Timestamp,
    /// Somebody has ended it before.
    #[serde(default)]
    pub revoked: bool,
}

/// What is asked for when a key is made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What it is for, in words.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// How long.
    pub days: u16,
}

/// What people may see of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownApiKey<'a> {
    id: &'a str,
    name: &'a str,
    role: Role,
    ends_at: String,
    revoked: bool,
}

/// The longest that a key may last.
const KEY_DAYS_MAX: u16 = 366;

impl ApiKey {
    /// A key, and the text that is shown once. `id` has 16 hex digits at least, of
    /// which the first are taken.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(
        asked: NewApiKey,
        id: &str,
        secret: &str,
        now: Timestamp,
    ) -> Result<(Self, String), Refused> {
        if asked.role == Role::Owner {
            return Err(Refused("must not be owner: a key could make others"));
        }
        if asked.name.is_empty()
            || asked.name.len() > 64
            || asked.name.chars().any(char::is_control)
        {
            return Err(Refused("must have a name of 1 to 64 bytes"));
        }
        if !(1..=KEY_DAYS_MAX).contains(&asked.days) {
            return Err(Refused("must last 1 to 366 days"));
        }
        let id = id.get(..16).unwrap_or(id).to_owned();
        let text = format!("hub_{id}_{secret}");
        let key = Self {
            id,
            hash: digest(secret),
            name: asked.name,
            role: asked.role,
            ends_at: now.plus_seconds(i64::from(asked.days) * 86_400),
            revoked: false,
        };
        Ok((key, text))
    }

    /// The two halves of a key's text.
    #[must_use]
    pub fn split(text: &str) -> Option<(&str, &str)> {
        let (id, secret) = text.strip_prefix("hub_")?.split_once('_')?;
        let is_hex = |half: &str| half.bytes().all(|byte| byte.is_ascii_hexdigit());
        (id.len() == 16 && is_hex(id) && is_hex(secret)).then_some((id, secret))
    }

    /// Whether it gets in with this secret half.
    #[must_use]
    pub fn admits(&self, secret: &str, now: Timestamp) -> bool {
        same(&self.hash, &digest(secret)) && !self.revoked && now < self.ends_at
    }

    /// What people may see of it.
    #[must_use]
    pub fn shown(&self) -> ShownApiKey<'_> {
        ShownApiKey {
            id: &self.id,
            name: &self.name,
            role: self.role,
            ends_at: self.ends_at.rfc3339(),
            revoked: self.revoked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_123);
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn new_key(role: Role, days: u16) -> NewApiKey {
        NewApiKey {
            name: "deploys".into(),
            role,
            days,
        }
    }

    #[test]
    fn a_key_admits_its_secret_until_it_ends_or_is_revoked() {
        let asked = new_key(Role::Operator, 1);
        let (mut key, text) = ApiKey::new(asked, &"a1".repeat(16), TOKEN, NOW).unwrap();
        let (id, secret) = ApiKey::split(&text).unwrap();
        assert_eq!((id, secret), ("a1a1a1a1a1a1a1a1", TOKEN));
        let last = Timestamp::from_millis(NOW.plus_seconds(86_400).millis() - 1);
        assert!(key.admits(TOKEN, last));
        assert!(!key.admits(TOKEN, NOW.plus_seconds(86_400)));
        assert!(!key.admits("another", NOW) && !key.admits(&key.hash, NOW));
        assert!(!serde_json::to_string(&key).unwrap().contains(TOKEN));
        key.revoked = true;
        assert!(!key.admits(TOKEN, NOW));
        for bad in [
            "",
            "hub_",
            "hub_a1_b2",
            "hub_a1a1a1a1a1a1a1a1",
            "hub_a1a1a1a1a1a1a1#1_b",
        ] {
            assert!(ApiKey::split(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_no_owner_has_a_name_and_an_end() {
        let make = |asked| ApiKey::new(asked, &"a1".repeat(16), TOKEN, NOW).is_ok();
        assert!(make(new_key(Role::Finance, 366)));
        assert!(!make(new_key(Role::Owner, 1)));
        assert!(!make(new_key(Role::Auditor, 0)) && !make(new_key(Role::Auditor, 367)));
        for name in ["", "a\nb", &"x".repeat(65)] {
            let name = name.to_owned();
            assert!(!make(NewApiKey {
                name,
                ..new_key(Role::Auditor, 1)
            }));
        }
    }
}
