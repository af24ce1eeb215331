//! Passwords, kept as argon2id. The parameters are OWASP's first choice for it,
//! 19 MiB and two passes: they fit beside a function in 128 MB, and what is stored
//! says which they were, so that they can be raised.

use std::fmt;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use crate::domain::id::Refused;

const MIN_CHARS: usize = 12;
/// argon2id takes longer ones, but nobody types them.
const MAX_BYTES: usize = 256;

/// A password as it is stored: algorithm, parameters, salt and hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// 19 MiB, two passes, one lane.
fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

impl PasswordHash {
    /// Hashes a new password under a random salt.
    ///
    /// # Errors
    /// When the password is too short or too long.
    pub fn new(password: &str, salt: &[u8; 16]) -> Result<Self, Refused> {
        if password.chars().count() < MIN_CHARS || password.len() > MAX_BYTES {
            return Err(Refused(
                "must have 12 characters at least and 256 bytes at most",
            ));
        }
        let hashed = argon2id().hash_password_with_salt(password.as_bytes(), salt);
        let hashed = hashed.map_err(|_| Refused("cannot be hashed"))?;
        Ok(Self(hashed.to_string()))
    }

    fn admits(&self, password: &str) -> bool {
        let checked = argon2id().verify_password(password.as_bytes(), self.0.as_str());
        checked.is_ok()
    }
}

/// Of nothing that anybody knows; as dear to compare with as any other.
const STAND_IN: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether this is the password. It takes the same time when there is none, so
/// that nobody learns by a clock which names exist.
#[must_use]
pub fn is_right(stored: Option<&PasswordHash>, given: &str) -> bool {
    match stored {
        Some(stored) => stored.admits(given),
        None => PasswordHash(STAND_IN.to_owned()).admits(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with argon2-cffi 25.1: `PasswordHasher(time_cost=2,
    /// memory_cost=19456, parallelism=1).hash(b"correct horse", salt=b"0123456789abcdef")`.
    const VECTOR: &str = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk";

    #[test]
    fn a_hash_is_what_another_implementation_computes() {
        let hash = PasswordHash::new("correct horse", b"0123456789abcdef").unwrap();
        assert_eq!(hash.0, VECTOR);
        assert!(is_right(Some(&hash), "correct horse"));
        for wrong in ["correct horsf", "", "correct horse ", &"x".repeat(9999)] {
            assert!(!is_right(Some(&hash), wrong), "{wrong}");
        }
    }

    #[test]
    fn nobody_gets_in_without_a_stored_password_or_with_a_damaged_one() {
        assert!(!is_right(None, "") && !is_right(None, "correct horse"));
        let damaged = PasswordHash("$argon2id$".to_owned());
        assert!(!is_right(Some(&damaged), "correct horse"));
    }

    #[test]
    fn the_stand_in_is_compared_with_like_a_password() {
        let hash = PasswordHash::new("correct horse", b"0123456789abcdef").unwrap();
        let cost = |text: &str| text.rsplitn(3, '$').last().unwrap().to_owned();
        assert_eq!(cost(STAND_IN), cost(&hash.0));
        let compared = argon2id().verify_password(b"correct horse", STAND_IN);
        assert_eq!(compared, Err(argon2::password_hash::Error::PasswordInvalid));
    }

    #[test]
    fn a_password_has_twelve_characters_at_least() {
        let salt = b"0123456789abcdef";
        assert!(PasswordHash::new("elevenchars", salt).is_err());
        assert!(PasswordHash::new("twelve chars", salt).is_ok());
        assert!(PasswordHash::new("茶茶茶茶茶茶茶茶茶茶茶茶", salt).is_ok());
        assert!(PasswordHash::new(&"x".repeat(257), salt).is_err());
    }
}
