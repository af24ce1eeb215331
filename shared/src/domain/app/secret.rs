//! What an app signs with, and how it gets another one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::App;
use crate::domain::UnknownAttributes;
use crate::domain::id::{Refused, checked_text};
use crate::domain::signature::{Params, verify};
use crate::domain::time::Timestamp;

/// An app's signing key: 32 characters `[0-9A-Za-z]`. It cannot be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppSecret(String);

impl AppSecret {
    /// Parses a secret.
    ///
    /// # Errors
    /// When it is not exactly 32 letters and digits.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        if value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self(value.to_owned()))
        } else {
            Err(Refused("must be 32 characters of 0-9, A-Z, a-z"))
        }
    }

    /// The secret itself, for signing and for showing it once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same secret in the form that the libraries of Standard Webhooks take.
    #[must_use]
    pub fn webhook_form(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for AppSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppSecret(..)")
    }
}

checked_text!(AppSecret);

/// The secret before the current one, while the app changes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// What the app may still sign with. The hub does not.
    pub app_secret: AppSecret,
    /// From when on it may not.
    pub until: Timestamp,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// What becomes of the secret that a new one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The app may use it until then.
    Overlap(Timestamp),
    /// Nobody has it, because it was lost before the app had it. The one before
    /// stays for as long as it had.
    Again,
    /// It was stolen: neither it nor the one before may be used any more.
    Now,
}

impl App {
    /// Whether the app has signed these parameters, with either of its secrets.
    #[must_use]
    pub fn has_signed(&self, params: &Params, now: Timestamp) -> bool {
        let previous = self.previous_secret(now);
        verify(params, &self.app_secret)
            || previous.is_some_and(|previous| verify(params, &previous.app_secret))
    }

    /// The secret before the current one, if it may still be used.
    #[must_use]
    pub fn previous_secret(&self, now: Timestamp) -> Option<&PreviousSecret> {
        let previous = self.previous_secret.as_ref();
        previous.filter(|previous| now < previous.until)
    }

    /// Gives the app a new secret. There are never more than two.
    ///
    /// # Errors
    /// When a secret that may still be used would end before its time, or there is
    /// none that could go on.
    pub fn rotate(
        &mut self,
        new: AppSecret,
        rotation: Rotation,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let overlaps = self.previous_secret(now).is_some();
        match rotation {
            Rotation::Overlap(_) if overlaps => {
                return Err(Refused("has two secrets already, until the older one ends"));
            }
            Rotation::Again if !overlaps => {
                return Err(Refused("has only the one secret"));
            }
            Rotation::Again => {}
            Rotation::Now => self.previous_secret = None,
            Rotation::Overlap(until) => {
                self.previous_secret = Some(PreviousSecret {
                    app_secret: self.app_secret.clone(),
                    until,
                    unknown: UnknownAttributes::new(),
                });
            }
        }
        self.app_secret = new;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures;
    use crate::domain::signature::sign;

    #[test]
    fn a_secret_is_32_letters_and_digits() {
        let secret = "0123456789abcdefghijKLMNOPQRSTUV";
        assert_eq!(AppSecret::parse(secret).unwrap().expose(), secret);
        for text in [
            "",
            "0123456789abcdefghijKLMNOPQRSTU",
            "0123456789abcdefghijKLMNOPQRSTUVW",
            "0123456789abcdef-hijKLMNOPQRSTUV",
            "0123456789abcdefghijKLMNOPQRSTU ",
            "0123456789abcdefghijKLMNOPQRSTé",
        ] {
            assert!(AppSecret::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_cannot_be_printed() {
        let secret = fixtures::app().app_secret;
        assert_eq!(format!("{secret:?}"), "AppSecret(..)");
        let mut app = fixtures::app();
        let until = Rotation::Overlap(fixtures::NOW);
        app.rotate(secret_of('n'), until, fixtures::NOW).unwrap();
        let printed = format!("{app:?}");
        assert!(!printed.contains("0123456789abcdef0123456789abcdef"));
        assert!(!printed.contains("nnnnnnnn"), "{printed}");
    }

    fn secret_of(letter: char) -> AppSecret {
        AppSecret::parse(&letter.to_string().repeat(32)).unwrap()
    }

    fn signed_with(letter: char) -> Params {
        let mut params = fixtures::params(&[("order_no", "A000000001")]);
        params.insert("sign".to_owned(), sign(&params, &secret_of(letter)));
        params
    }

    /// Which of the secrets a, b and c the app may use, before the old one ends
    /// and from then on, after it had a and was given b and then c in these ways.
    #[test]
    fn a_new_secret_joins_the_one_before_replaces_the_lost_one_or_ends_all() {
        let now = fixtures::NOW;
        let end = now.plus_seconds(3600);
        let overlap = Rotation::Overlap(end);
        let two = "has two secrets already, until the older one ends";
        for (first, second, expected, before, after) in [
            (None, None, Ok(()), "a", "a"),
            (Some(overlap), None, Ok(()), "ab", "b"),
            (Some(Rotation::Now), None, Ok(()), "b", "b"),
            (Some(overlap), Some(Rotation::Again), Ok(()), "ac", "c"),
            (Some(overlap), Some(Rotation::Now), Ok(()), "c", "c"),
            (Some(Rotation::Now), Some(overlap), Ok(()), "bc", "c"),
            (Some(overlap), Some(overlap), Err(Refused(two)), "ab", "b"),
            (
                Some(Rotation::Now),
                Some(Rotation::Again),
                Err(Refused("has only the one secret")),
                "b",
                "b",
            ),
        ] {
            let mut app = App::new(fixtures::app().app_id, secret_of('a'));
            if let Some(first) = first {
                app.rotate(secret_of('b'), first, now).unwrap();
            }
            if let Some(second) = second {
                let rotated = app.rotate(secret_of('c'), second, now);
                assert_eq!(rotated, expected, "{first:?} {second:?}");
            }
            let at = |moment: Timestamp| -> String {
                let known = |letter: &char| app.has_signed(&signed_with(*letter), moment);
                "abc".chars().filter(known).collect()
            };
            let last = Timestamp::from_millis(end.millis() - 1);
            for (moment, may) in [(now, before), (last, before), (end, after)] {
                assert_eq!(at(moment), may, "{first:?} {second:?}");
            }
        }
    }

    #[test]
    fn an_old_secret_that_has_ended_does_not_hinder_the_next_change() {
        let now = fixtures::NOW;
        let mut app = App::new(fixtures::app().app_id, secret_of('a'));
        let until = |hours: i64| Rotation::Overlap(now.plus_seconds(hours * 3600));
        app.rotate(secret_of('b'), until(1), now).unwrap();
        let later = now.plus_seconds(3600);
        app.rotate(secret_of('c'), until(2), later).unwrap();
        let may = |letter| app.has_signed(&signed_with(letter), later);
        assert_eq!([may('a'), may('b'), may('c')], [false, true, true]);
    }

    /// Rows of before have one secret, and those of today must be readable by
    /// yesterday's code, which takes `app_secret` for the only one.
    #[test]
    fn a_row_has_the_current_secret_where_it_always_was() {
        let mut app = fixtures::app();
        assert!(
            serde_json::to_value(&app)
                .unwrap()
                .get("previous_secret")
                .is_none()
        );
        let end = fixtures::NOW.plus_seconds(60);
        app.rotate(secret_of('n'), Rotation::Overlap(end), fixtures::NOW)
            .unwrap();
        let mut row = serde_json::to_value(&app).unwrap();
        assert_eq!(row["app_secret"], "n".repeat(32));
        assert_eq!(row["previous_secret"]["until"], end.millis());
        row["previous_secret"]["reason"] = "of tomorrow".into();
        let read: App = serde_json::from_value(row.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), row);
    }
}
