//! WeChat's ways to write a time: Beijing's, UTC+8.

use time::format_description::BorrowedFormatItem;
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
    }
}
