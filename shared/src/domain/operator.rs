//! Who operates the hub, and what each of them may do: the roles, and the rows of
//! operators, their sessions and the keys of machines. Passwords, codes and the
//! pauses between log-ins have files of their own.

pub mod confirmation;
pub mod password;
pub mod throttle;
pub mod totp;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::UnknownAttributes;
use super::id::{Refused, checked_text, text_id};
use super::signature::same;
use super::time::Timestamp;
use password::PasswordHash;
use totp::TotpSecret;

/// The name that an operator logs in by: 2 to 32 small letters, digits and
/// `.`, `_`, `-`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperatorName(String);

impl OperatorName {
    /// Parses a name.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        };
        let begins = value.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        match begins && (2..=32).contains(&value.len()) && value.bytes().all(plain) {
            true => Ok(Self(value.to_owned())),
            false => Err(Refused(
                "must be 2 to 32 characters of a-z, 0-9, ., _ and -, beginning with a letter",
            )),
        }
    }
}

text_id!(OperatorName);

/// What somebody is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May do everything.
    Owner,
    /// Looks after apps, what they are told, and their orders.
    Operator,
    /// Gives money back.
    Finance,
    /// Reads everything but secrets.
    Auditor,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Operator, Self::Finance, Self::Auditor];

    /// Its name, as it is stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Finance => "finance",
            Self::Auditor => "auditor",
        }
    }

    /// Parses a role's name.
    ///
    /// # Errors
    /// When there is no such role.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        let mut roles = Self::ALL.into_iter();
        roles
            .find(|role| role.as_str() == value)
            .ok_or(Refused("must be owner, operator, finance or auditor"))
    }

    /// The one table of who may do what.
    #[must_use]
    pub fn may(self, action: Action) -> bool {
        let allowed: &[Self] = match action {
            Action::OwnAccount => &Self::ALL,
            Action::ManageKeys => &[Self::Owner],
            Action::ReadApps | Action::ReadDeliveries | Action::ReadOrders => &Self::ALL,
            Action::ChangeApps | Action::IssueSecrets | Action::Resend | Action::CloseOrders => {
                &[Self::Owner, Self::Operator]
            }
            Action::QueryOrders | Action::Refund => &[Self::Owner, Self::Operator, Self::Finance],
            Action::ConfirmRefunds => &[Self::Owner, Self::Finance],
            Action::ReadTrail => &[Self::Owner, Self::Auditor],
        };
        allowed.contains(&self)
    }
}

/// What can be done through the operators' API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// See who one is, log out, change one's own password.
    OwnAccount,
    /// Make and end the keys of machines.
    ManageKeys,
    /// See apps, without their secrets.
    ReadApps,
    /// Edit apps, switch them off and on, pause their deliveries, and annotate them.
    ChangeApps,
    /// Register apps, give them secrets, and see each once.
    IssueSecrets,
    /// See what apps were told in vain.
    ReadDeliveries,
    /// Tell it again, wake what was kept for them, and send test events.
    Resend,
    /// See who changed what.
    ReadTrail,
    /// See orders with all that belongs to them.
    ReadOrders,
    /// Have WeChat asked about an order.
    QueryOrders,
    /// Give an order up.
    CloseOrders,
    /// Give money back, up to the limit alone.
    Refund,
    /// Let go what another has asked for above the limit.
    ConfirmRefunds,
}

impl Action {
    /// Whether a machine's key never allows it.
    #[must_use]
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::OwnAccount | Self::ConfirmRefunds)
    }
}

/// Somebody who operates the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// What they log in by.
    pub name: OperatorName,
    /// What they may do.
    pub role: Role,
    /// Nobody gets in under this name.
    #[serde(default)]
    pub disabled: bool,
    /// None until the first enrolment ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordHash>,
    /// What their codes are made from; with the password, or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<TotpSecret>,
    /// The step of the last code that was taken: neither it nor an earlier one is
    /// taken again.
    #[serde(default)]
    pub totp_step: u64,
    /// The way in for somebody who has no password or no codes (any more).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<Enrolment>,
    /// Rises with each change but log-ins. A session is good under the one that it
    /// began under, so that every change ends all sessions.
    #[serde(default)]
    pub revision: u64,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// What an operator may set a password and codes with, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// [`digest`] of the token.
    pub hash: String,
    /// From when on it is no good.
    pub ends_at: Timestamp,
    /// What was handed out last for their codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<TotpSecret>,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// How long an enrolment may be used.
const ENROLMENT_SECONDS: i64 = 86_400;

impl Enrolment {
    /// One for this token, which ends after a day.
    #[must_use]
    pub fn new(token: &str, now: Timestamp) -> Self {
        Self {
            hash: digest(token),
            ends_at: now.plus_seconds(ENROLMENT_SECONDS),
            totp: None,
            unknown: UnknownAttributes::new(),
        }
    }

    fn is_for(&self, token: &str, now: Timestamp) -> bool {
        now < self.ends_at && same(&self.hash, &digest(token))
    }
}

/// What people may see of an operator, and the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownOperator<'a> {
    name: &'a OperatorName,
    role: Role,
    disabled: bool,
    enrolled: bool,
    enrolment_until: Option<String>,
    revision: u64,
}

impl Operator {
    /// Somebody who has not been here yet.
    #[must_use]
    pub fn new(name: OperatorName, role: Role, enrolment: Enrolment) -> Self {
        Self {
            name,
            role,
            disabled: false,
            password: None,
            totp: None,
            totp_step: 0,
            enrolment: Some(enrolment),
            revision: 0,
            unknown: UnknownAttributes::new(),
        }
    }

    /// The enrolment that this token is for.
    #[must_use]
    pub fn enrolment(&self, token: &str, now: Timestamp) -> Option<&Enrolment> {
        let enrolment = self.enrolment.as_ref().filter(|_| !self.disabled);
        enrolment.filter(|enrolment| enrolment.is_for(token, now))
    }

    /// What people may see of it.
    #[must_use]
    pub fn shown(&self, now: Timestamp) -> ShownOperator<'_> {
        let open = self.enrolment.as_ref();
        let open = open.filter(|enrolment| now < enrolment.ends_at);
        ShownOperator {
            name: &self.name,
            role: self.role,
            disabled: self.disabled,
            enrolled: self.password.is_some(),
            enrolment_until: open.map(|enrolment| enrolment.ends_at.rfc3339()),
            revision: self.revision,
        }
    }
}

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

/// What is stored of a random token of 128 bits: nobody guesses it back.
#[must_use]
pub fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

/// What a change must carry beside the session's cookie. A page of another site
/// can make a browser send the cookie, but can neither read it nor this.
#[must_use]
pub fn csrf_token(cookie: &str) -> String {
    digest(&format!("csrf {cookie}"))
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_123);
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn ann() -> Operator {
        let name = OperatorName::parse("ann").unwrap();
        Operator::new(name, Role::Operator, Enrolment::new(TOKEN, NOW))
    }

    /// Who may do it: owner, operator, finance, auditor.
    #[test]
    fn each_role_may_do_what_the_table_says_and_nothing_else() {
        use Action::*;
        for (action, may) in [
            (OwnAccount, "oofa"),
            (ManageKeys, "o..."),
            (ReadApps, "oofa"),
            (ChangeApps, "oo.."),
            (IssueSecrets, "oo.."),
            (ReadDeliveries, "oofa"),
            (Resend, "oo.."),
            (ReadTrail, "o..a"),
            (ReadOrders, "oofa"),
            (QueryOrders, "oof."),
            (CloseOrders, "oo.."),
            (Refund, "oof."),
            (ConfirmRefunds, "o.f."),
        ] {
            let allowed = Role::ALL.map(|role| role.may(action));
            let expected: Vec<bool> = may.chars().map(|letter| letter != '.').collect();
            assert_eq!(allowed.to_vec(), expected, "{action:?}");
        }
    }

    #[test]
    fn a_name_is_plain() {
        for good in ["ann", "li.wei-2", "a_", &"x".repeat(32)] {
            assert_eq!(OperatorName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a",
            "Ann",
            "1ann",
            ".ann",
            "a b",
            "a#b",
            "李",
            &"x".repeat(33),
        ] {
            assert!(OperatorName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_reads_back_from_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.to_string());
        }
        assert!(Role::parse("root").is_err());
    }

    #[test]
    fn an_enrolment_is_for_its_token_and_one_day() {
        let mut ann = ann();
        let last = Timestamp::from_millis(NOW.plus_seconds(86_400).millis() - 1);
        assert!(ann.enrolment(TOKEN, last).is_some());
        assert!(ann.enrolment(TOKEN, NOW.plus_seconds(86_400)).is_none());
        assert!(ann.enrolment("another", NOW).is_none());
        assert!(ann.enrolment(&digest(TOKEN), NOW).is_none());
        ann.disabled = true;
        assert!(ann.enrolment(TOKEN, NOW).is_none());
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

    #[test]
    fn what_is_stored_and_what_a_page_holds_are_not_the_cookie() {
        // sha256 of "abc", FIPS 180-2.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest("abc"), abc);
        assert_ne!(csrf_token("abc"), abc);
        assert_ne!(csrf_token("abc"), csrf_token("abd"));
    }

    #[test]
    fn what_people_see_of_an_operator_has_no_secret() {
        let mut ann = ann();
        ann.password = Some(PasswordHash::new("correct horse", b"0123456789abcdef").unwrap());
        ann.totp = Some(TotpSecret::of([7; 20]));
        let shown = serde_json::to_string(&ann.shown(NOW)).unwrap();
        let secret = ann.totp.as_ref().unwrap().base32().to_owned();
        for hidden in ["argon2", &secret, &digest(TOKEN)] {
            assert!(!shown.contains(hidden), "{shown}");
        }
        let printed = format!("{ann:?}");
        assert!(
            !printed.contains("argon2") && !printed.contains(&secret),
            "{printed}"
        );
        let row = serde_json::to_value(&ann).unwrap();
        assert_eq!(serde_json::from_value::<Operator>(row).unwrap(), ann);
    }
}
