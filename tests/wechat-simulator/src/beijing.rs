//! WeChat's ways to write a time: Beijing's, UTC+8.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

const BEIJING: UtcOffset = offset!(+8);
const COMPACT: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day][hour][minute][second]");
const SPACED: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// `yyyyMMddHHmmss`, as in `time_end`.
pub(crate) fn compact(ms: i64) -> String {
    write(ms, COMPACT)
}

/// `yyyy-MM-dd HH:mm:ss`, as in `refund_success_time_0`.
pub(crate) fn spaced(ms: i64) -> String {
    write(ms, SPACED)
}

/// RFC 3339 with Beijing's offset, as everywhere in APIv3.
pub(crate) fn rfc3339(ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000))
        .ok()
        .and_then(|moment| moment.to_offset(BEIJING).format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// Reads RFC 3339 of any offset.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    moment.unix_timestamp().checked_mul(1000)
}

/// Reads `yyyyMMddHHmmss`; `None` when it is no such time.
pub(crate) fn parse_compact(text: &str) -> Option<i64> {
    let moment = PrimitiveDateTime::parse(text, COMPACT)
        .ok()?
        .assume_offset(BEIJING);
    moment.unix_timestamp().checked_mul(1000)
}

fn write(ms: i64, format: &[BorrowedFormatItem<'static>]) -> String {
    OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000))
        .ok()
        .and_then(|moment| moment.to_offset(BEIJING).format(format).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_in_beijing() {
        assert_eq!(compact(0), "19700101080000");
        assert_eq!(spaced(1_414_587_457_000), "2014-10-29 20:57:37");
        assert_eq!(parse_compact("20141029205737"), Some(1_414_587_457_000));
        assert_eq!(parse_compact("20141329205737"), None);
        assert_eq!(parse_compact("2014-10-29"), None);
        let text = "2014-10-29T20:57:37+08:00";
        assert_eq!(rfc3339(1_414_587_457_000), text);
        assert_eq!(parse_rfc3339(text), Some(1_414_587_457_000));
        assert_eq!(
            parse_rfc3339("2014-10-29T12:57:37Z"),
            Some(1_414_587_457_000)
        );
        assert_eq!(parse_rfc3339("20141029205737"), None);
    }
}
