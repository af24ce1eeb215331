//! Money in integer fen (1/100 yuan). There is no other unit and no float.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::Refused;

/// An amount in fen.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Fen(u32);

impl Fen {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The largest amount of one order: what fits WeChat's signed 32-bit field.
    pub const MAX: u32 = 0x7fff_ffff;

    /// An amount that somebody is asked to pay or is paid back.
    ///
    /// # Errors
    /// When it is zero, negative or beyond WeChat's field.
    pub fn positive(value: i64) -> Result<Self, Refused> {
        match u32::try_from(value) {
            Ok(fen) if (1..=Self::MAX).contains(&fen) => Ok(Self(fen)),
            _ => Err(Refused("must be an integer amount in fen, 1 to 2147483647")),
        }
    }

    /// Reads an amount as WeChat writes it: decimal digits, zero allowed.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>() {
            Ok(fen) if plain && fen <= Self::MAX => Ok(Self(fen)),
            _ => Err(Refused("must be decimal digits, an amount in fen")),
        }
    }

    /// The amount as a number of fen.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// The sum, or nothing beyond the field's range.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let sum = self.0.checked_add(other.0)?;
        (sum <= Self::MAX).then_some(Self(sum))
    }

    /// The difference, or nothing below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The amount in yuan with two decimals, for people.
    #[must_use]
    pub fn yuan(self) -> String {
        format!("{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl fmt::Display for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_positive_integers_of_fen() {
        assert_eq!(Fen::positive(1999).unwrap().get(), 1999);
        for value in [0, -1, i64::from(Fen::MAX) + 1, i64::MAX, i64::MIN] {
            assert!(Fen::positive(value).is_err(), "{value}");
        }
        for text in [
            "",
            "+1",
            "-1",
            "1.0",
            " 1",
            "1e2",
            "4294967297",
            "2147483648",
        ] {
            assert!(Fen::parse(text).is_err(), "{text}");
        }
        assert_eq!(Fen::parse("0").unwrap(), Fen::ZERO);
        assert_eq!(Fen::parse("1999").unwrap().yuan(), "19.99");
        assert_eq!(Fen::parse("5").unwrap().yuan(), "0.05");
        assert_eq!(Fen::parse("1999").unwrap().to_string(), "1999");
    }

    #[test]
    fn amounts_end_where_wechats_field_ends() {
        let most = Fen::positive(2_147_483_647).unwrap();
        assert_eq!(Fen::parse("2147483647"), Ok(most));
        let one = Fen::positive(1).unwrap();
        let nearly = most.checked_sub(one).unwrap();
        assert_eq!(nearly.get(), 2_147_483_646);
        assert_eq!(nearly.checked_add(one), Some(most));
        assert_eq!(most.checked_add(one), None);
        assert_eq!(Fen::ZERO.checked_sub(one), None);
        assert!(Fen::ZERO.is_zero() && !one.is_zero());
    }
}
