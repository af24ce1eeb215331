//! Who operates the hub: the rows of operators. What each may do, sessions, keys
//! and links, passwords, codes and the pauses between log-ins have files of their
//! own.

pub mod confirmation;
mod pass;
pub mod password;
mod role;
mod session;
pub mod throttle;
pub mod totp;

pub use pass::{NewPass, Pass, PassKind, ShownPass};
pub use role::{Action, Role};
pub use session::{Holder, SESSION_SECONDS, Session};

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
    /// When they last logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_in_at: Option<Timestamp>,
    /// The way in for somebody who has no password or no codes (any more).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<Enrolment>,
    /// Rises with each change but log-ins. A session is good under the one that it
    /// began under, so that every change ends all sessions. It begins with the time: a
    /// session does not survive its operator's removal to find another of the name.
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
    signed_in_at: Option<String>,
    enrolment_until: Option<String>,
    revision: u64,
}

impl Operator {
    /// Somebody who has not been here yet.
    #[must_use]
    pub fn new(name: OperatorName, role: Role, token: &str, now: Timestamp) -> Self {
        Self {
            name,
            role,
            disabled: false,
            password: None,
            totp: None,
            totp_step: 0,
            signed_in_at: None,
            enrolment: Some(Enrolment::new(token, now)),
            revision: now.seconds().unsigned_abs(),
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
            signed_in_at: self.signed_in_at.map(Timestamp::rfc3339),
            enrolment_until: open.map(|enrolment| enrolment.ends_at.rfc3339()),
            revision: self.revision,
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_123);
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn ann() -> Operator {
        let name = OperatorName::parse("ann").unwrap();
        Operator::new(name, Role::Operator, TOKEN, NOW)
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
