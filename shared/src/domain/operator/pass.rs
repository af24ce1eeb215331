//! What gets in without a password: the keys of machines, and the links of apps'
//! owners.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Role, digest};
use crate::domain::id::{AppId, Refused};
use crate::domain::signature::same;
use crate::domain::time::Timestamp;

/// For what a pass is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassKind {
    /// A machine sends it with each request.
    ApiKey,
    /// An app's owner opens a session with it in a browser.
    OwnerLink,
}

impl PassKind {
    /// As rows, entries of the trail and their subjects begin.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "apikey",
            Self::OwnerLink => "link",
        }
    }

    /// As its text begins. One is never taken for the other.
    const fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "hub_",
            Self::OwnerLink => "link_",
        }
    }

    const fn days_max(self) -> u16 {
        match self {
            Self::ApiKey => 366,
            Self::OwnerLink => 31,
        }
    }
}

/// What somebody gets in with who has no password: a machine's key, or the link of
/// an app's owner. It cannot be an owner of the hub: whoever holds it could make
/// others that outlive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Its public half, 16 hex digits.
    pub id: String,
    /// [`digest`] of its secret half.
    pub hash: String,
    /// What it is for, in words.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// With the role [`Role::AppOwner`], and no other, the only apps that it reaches.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub apps: BTreeSet<AppId>,
    /// From when on it is no good.
    pub ends_at: Timestamp,
    /// Somebody has ended it before.
    #[serde(default)]
    pub revoked: bool,
}

/// What is asked for when a pass is made.
#[derive(Debug, Clone)]
pub struct NewPass {
    /// For what.
    pub kind: PassKind,
    /// What it is for, in words.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// See [`Pass::apps`].
    pub apps: BTreeSet<AppId>,
    /// How long.
    pub days: u16,
}

/// What people may see of a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownPass<'a> {
    id: &'a str,
    name: &'a str,
    role: Role,
    apps: &'a BTreeSet<AppId>,
    ends_at: String,
    revoked: bool,
}

/// Each app is looked up when the pass is made and when its apps are listed.
const APPS_MAX: usize = 20;

impl Pass {
    /// A pass, and the text that is shown once. `id` has 16 hex digits at least, of
    /// which the first are taken.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(
        asked: NewPass,
        id: &str,
        secret: &str,
        now: Timestamp,
    ) -> Result<(Self, String), Refused> {
        if asked.role == Role::Owner {
            return Err(Refused("must not be owner: it could make others"));
        }
        if (asked.role == Role::AppOwner) == asked.apps.is_empty() {
            return Err(Refused("must name apps as app_owner, and only then"));
        }
        if asked.kind == PassKind::OwnerLink && asked.role != Role::AppOwner {
            return Err(Refused("must be app_owner"));
        }
        if asked.apps.len() > APPS_MAX {
            return Err(Refused("must name at most 20 apps"));
        }
        if asked.name.is_empty()
            || asked.name.len() > 64
            || asked.name.chars().any(char::is_control)
        {
            return Err(Refused("must have a name of 1 to 64 bytes"));
        }
        if !(1..=asked.kind.days_max()).contains(&asked.days) {
            return Err(Refused("must last 1 to 366 days, a link to 31"));
        }
        let id = id.get(..16).unwrap_or(id).to_owned();
        let text = format!("{}{id}_{secret}", asked.kind.prefix());
        let pass = Self {
            id,
            hash: digest(secret),
            name: asked.name,
            role: asked.role,
            apps: asked.apps,
            ends_at: now.plus_seconds(i64::from(asked.days) * 86_400),
            revoked: false,
        };
        Ok((pass, text))
    }

    /// The two halves of a pass's text.
    #[must_use]
    pub fn split(kind: PassKind, text: &str) -> Option<(&str, &str)> {
        let (id, secret) = text.strip_prefix(kind.prefix())?.split_once('_')?;
        let is_hex = |half: &str| half.bytes().all(|byte| byte.is_ascii_hexdigit());
        (id.len() == 16 && is_hex(id) && is_hex(secret)).then_some((id, secret))
    }

    /// Whether it gets in with this secret half.
    #[must_use]
    pub fn admits(&self, secret: &str, now: Timestamp) -> bool {
        same(&self.hash, &digest(secret)) && self.is_good(now)
    }

    /// Whether it has neither ended nor been revoked.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        !self.revoked && now < self.ends_at
    }

    /// What people may see of it.
    #[must_use]
    pub fn shown(&self) -> ShownPass<'_> {
        ShownPass {
            id: &self.id,
            name: &self.name,
            role: self.role,
            apps: &self.apps,
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

    fn new_key(role: Role, days: u16) -> NewPass {
        NewPass {
            kind: PassKind::ApiKey,
            name: "deploys".into(),
            role,
            apps: BTreeSet::new(),
            days,
        }
    }

    fn new_link(days: u16) -> NewPass {
        NewPass {
            kind: PassKind::OwnerLink,
            apps: BTreeSet::from([AppId::parse("demo000000000001").unwrap()]),
            ..new_key(Role::AppOwner, days)
        }
    }

    #[test]
    fn a_key_admits_its_secret_until_it_ends_or_is_revoked() {
        let asked = new_key(Role::Operator, 1);
        let (mut key, text) = Pass::new(asked, &"a1".repeat(16), TOKEN, NOW).unwrap();
        let (id, secret) = Pass::split(PassKind::ApiKey, &text).unwrap();
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
            assert!(Pass::split(PassKind::ApiKey, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_no_owner_has_a_name_and_an_end() {
        let make = |asked| Pass::new(asked, &"a1".repeat(16), TOKEN, NOW).is_ok();
        assert!(make(new_key(Role::Finance, 366)));
        assert!(!make(new_key(Role::Owner, 1)));
        assert!(!make(new_key(Role::Auditor, 0)) && !make(new_key(Role::Auditor, 367)));
        for name in ["", "a\nb", &"x".repeat(65)] {
            let name = name.to_owned();
            assert!(!make(NewPass {
                name,
                ..new_key(Role::Auditor, 1)
            }));
        }
    }

    #[test]
    fn a_link_is_an_app_owners_and_no_key_and_ends_within_a_month() {
        let make = |asked| Pass::new(asked, &"a1".repeat(16), TOKEN, NOW);
        let (link, text) = make(new_link(31)).unwrap();
        assert!(Pass::split(PassKind::OwnerLink, &text).is_some());
        assert!(Pass::split(PassKind::ApiKey, &text).is_none());
        assert!(link.is_good(NOW) && !link.is_good(NOW.plus_seconds(31 * 86_400)));
        assert!(make(new_link(32)).is_err());
        let apps = (0..21).map(|n| AppId::parse(&format!("demo0000000000{n:02}")).unwrap());
        let many = NewPass {
            apps: apps.collect(),
            ..new_link(1)
        };
        assert!(make(many).is_err());
        // Whoever reaches some apps only is an app's owner, and the reverse.
        for role in [Role::Owner, Role::Operator, Role::Finance, Role::Auditor] {
            assert!(
                make(NewPass {
                    role,
                    ..new_link(1)
                })
                .is_err(),
                "{role}"
            );
            let key = NewPass {
                kind: PassKind::ApiKey,
                role,
                ..new_link(1)
            };
            assert!(make(key).is_err(), "{role}");
        }
        assert!(make(new_key(Role::AppOwner, 1)).is_err());
        let key = NewPass {
            kind: PassKind::ApiKey,
            ..new_link(1)
        };
        assert!(make(key).is_ok());
    }
}
