//! A moment in milliseconds since 1970, and the ways it is written: RFC 3339 for
//! apps and version 3 of WeChat Pay, `yyyyMMddHHmmss` in Beijing time for version
//! 2, seconds in signatures. The clock is not read here: handlers pass `now`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use super::id::Refused;

const BEIJING: UtcOffset = offset!(+8);
const SPACED: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const COMPACT: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day][hour][minute][second]");

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Reads whole seconds since 1970, decimal digits and nothing else: no sign,
    /// no space, so that one moment is written in one way.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse_seconds(text: &str) -> Result<Self, Refused> {
        const RULE: Refused = Refused("must be seconds since 1970");
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RULE);
        }
        let seconds: i64 = text.parse().map_err(|_| RULE)?;
        seconds.checked_mul(1000).map(Self::from_millis).ok_or(RULE)
    }

    /// How far apart two moments are, in seconds.
    #[must_use]
    pub const fn seconds_apart(self, other: Self) -> u64 {
        self.seconds().abs_diff(other.seconds())
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment so many seconds later.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// The moment so much later.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long until `later`; zero when it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC, as apps receive it.
    #[must_use]
    pub fn rfc3339(self) -> String {
        self.utc().format(&Rfc3339).unwrap_or_default()
    }

    /// RFC 3339 in Beijing time and whole seconds, as version 3 of WeChat Pay
    /// writes it.
    #[must_use]
    pub fn rfc3339_beijing(self) -> String {
        let seconds = Self::from_millis(self.seconds().saturating_mul(1000));
        let local = seconds.utc().to_offset(BEIJING);
        local.format(&Rfc3339).unwrap_or_default()
    }

    /// Reads RFC 3339, of whatever offset.
    ///
    /// # Errors
    /// When it is not such a time.
    pub fn parse_rfc3339(text: &str) -> Result<Self, Refused> {
        let at = OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| Refused("must be a time like 2026-01-31T12:00:00Z"))?;
        let millis = at.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis)
            .map(Self)
            .map_err(|_| Refused("must be a time like 2026-01-31T12:00:00Z"))
    }

    /// `yyyyMMddHHmmss` in Beijing time, as WeChat writes it.
    #[must_use]
    pub fn beijing(self) -> String {
        self.utc()
            .to_offset(BEIJING)
            .format(COMPACT)
            .unwrap_or_default()
    }

    /// Reads WeChat's `yyyyMMddHHmmss` in Beijing time.
    ///
    /// # Errors
    /// When it is not such a time.
    pub fn parse_beijing(text: &str) -> Result<Self, Refused> {
        let local = PrimitiveDateTime::parse(text, COMPACT);
        local
            .map(Self::of_beijing)
            .map_err(|_| Refused("must be yyyyMMddHHmmss"))
    }

    /// Reads `yyyy-MM-dd HH:mm:ss` in Beijing time, as WeChat writes the times
    /// of refunds.
    ///
    /// # Errors
    /// When it is not such a time.
    pub fn parse_beijing_spaced(text: &str) -> Result<Self, Refused> {
        let local = PrimitiveDateTime::parse(text, SPACED);
        local
            .map(Self::of_beijing)
            .map_err(|_| Refused("must be yyyy-MM-dd HH:mm:ss"))
    }

    fn of_beijing(local: PrimitiveDateTime) -> Self {
        let seconds = local.assume_offset(BEIJING).unix_timestamp();
        Self(seconds.saturating_mul(1000))
    }

    fn utc(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_3_writes_beijings_time_with_its_offset() {
        let moment = Timestamp::from_millis(1_795_140_000_999);
        assert_eq!(moment.rfc3339_beijing(), "2026-11-20T10:00:00+08:00");
        let read = |text| Timestamp::parse_rfc3339(text).map(Timestamp::millis);
        for text in ["2026-11-20T10:00:00+08:00", "2026-11-20T02:00:00Z"] {
            assert_eq!(read(text), Ok(1_795_140_000_000), "{text}");
        }
        for text in [
            "",
            "20261120100000",
            "2026-11-20 10:00:00",
            "2026-11-20T10:00:00",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_are_written_in_digits_only() {
        let moment = Timestamp::parse_seconds("1795500341").unwrap();
        assert_eq!(moment.millis(), 1_795_500_341_000);
        assert_eq!(moment.seconds_apart(moment.plus_seconds(-300)), 300);
        for text in [
            "",
            "+1795500341",
            "-1",
            " 1795500341",
            "1795500341 ",
            "1.5",
            "1e9",
            "0x1",
            "１",
            "9223372036854775807",
            "99999999999999999999",
        ] {
            assert!(Timestamp::parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wechats_times_are_beijing_times() {
        let moment = Timestamp::parse_beijing("20141030133525").unwrap();
        assert_eq!(moment.rfc3339(), "2014-10-30T05:35:25Z");
        assert_eq!(moment.beijing(), "20141030133525");
        let spaced = Timestamp::parse_beijing_spaced("2014-10-30 13:35:25");
        assert_eq!(spaced, Ok(moment));
        let later = Timestamp::from_millis(moment.millis() + 7);
        assert_eq!(later.rfc3339(), "2014-10-30T05:35:25.007Z");
        for text in ["", "2014103013352", "20141330133525", "20141030 133525"] {
            assert!(Timestamp::parse_beijing(text).is_err(), "{text}");
        }
        for text in [
            "",
            "20141030133525",
            "2014-10-30T13:35:25",
            "2014-10-30 13:35",
        ] {
            assert!(Timestamp::parse_beijing_spaced(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_counted_in_milliseconds_and_signed_in_whole_seconds() {
        let moment = Timestamp::from_millis(1_790_000_000_999);
        assert_eq!(
            (moment.millis(), moment.seconds()),
            (1_790_000_000_999, 1_790_000_000)
        );
        assert_eq!(moment.plus_seconds(2).millis(), 1_790_000_002_999);
        assert_eq!(moment.plus_seconds(-1).seconds(), 1_789_999_999);
        let later = moment.plus(Duration::from_millis(1500));
        assert_eq!(later.millis(), 1_790_000_002_499);
        assert_eq!(moment.until(later), Duration::from_millis(1500));
        assert_eq!(later.until(moment), Duration::ZERO);
    }
}
