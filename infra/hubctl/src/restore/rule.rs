//! What becomes of one row: the backup's is put back, replaces the live one, or
//! is left where it is. Rows stay as they are in the table, so that nothing
//! that a version does not know gets lost.
//!
//! Three attributes are made anew. A writer of the hub names the `revision` it
//! read and nothing else: if one went back, a writer who had read the same
//! number of the row's other life could overwrite it. So it only ever rises.
//! `restored_from` and `restored_at` tell people, and the next run, what
//! happened; the hub keeps them as it keeps whatever it does not know.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use shared::domain::time::Timestamp;

/// A row as it lies in the table.
pub(super) type Row = HashMap<String, AttributeValue>;

/// A row that was lost may have been written more often than the backup knows,
/// and whoever read it then may still be about to write.
const LEAP: u64 = 1000;

/// The attributes that change without anything happening to an order: the
/// optimistic lock, what the sweeper counts, and our own.
const INCIDENTAL: [&str; 6] = [
    "revision",
    "token",
    "rings",
    "wake",
    "restored_from",
    "restored_at",
];

/// Which rows that are there are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Overwrite {
    /// Rows that differ although the hub has not written them since the backup:
    /// they were changed by hand, or set back.
    Older,
    /// Also rows that the hub has written since: they go back to the backup's
    /// state, and the hub finds out anew what happened.
    All,
}

/// What became of a row of the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It was lost, and is back.
    Copied,
    /// It is the backup's again.
    Replaced,
    /// The live one says the same.
    Same,
    /// An earlier run put it back, and the hub has gone on with it.
    RestoredBefore,
    /// The live one differs, and the hub has not written it since. Left.
    Older,
    /// The live one differs, and is or may be newer. Left.
    Newer,
    /// Somebody kept changing the live one. Left.
    Contended,
}

impl Outcome {
    /// In the order in which they are told.
    pub(super) const ALL: [Self; 7] = [
        Self::Copied,
        Self::Replaced,
        Self::Same,
        Self::RestoredBefore,
        Self::Older,
        Self::Newer,
        Self::Contended,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::Replaced => "replaced",
            Self::Same => "same",
            Self::RestoredBefore => "restored_before",
            Self::Older => "older",
            Self::Newer => "newer",
            Self::Contended => "contended",
        }
    }
}

/// Of which restore a row is the work.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// The backup: a table's name can be used again, with the time of its
    /// creation it is one table.
    pub(super) from: String,
    /// Now.
    pub(super) at: Timestamp,
    /// The last writer's mark, which every writer of the hub leaves too.
    pub(super) token: String,
}

/// What to do about a row of the backup.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Leave(Outcome),
    /// Write this, if the live row is still what was looked at.
    Put(Row, Outcome),
}

/// Decides about a row of the backup beside the live one, if there is one.
pub(super) fn decide(
    backup: &Row,
    live: Option<&Row>,
    overwrite: Option<Overwrite>,
    mark: &Mark,
) -> Verdict {
    let Some(live) = live else {
        return Verdict::Put(restored(backup, None, mark), Outcome::Copied);
    };
    if is_same(backup, live) {
        return Verdict::Leave(Outcome::Same);
    }
    let age = match (revision(backup), revision(live)) {
        (Some(then), Some(now)) if now > then => Outcome::Newer,
        (Some(_), _) => Outcome::Older,
        // Deliveries are not counted: the hub may have gone on with it.
        (None, _) => Outcome::Newer,
    };
    // Each run would set back what the hub has done since the last one.
    let is_ours = live.get("restored_from") == Some(&AttributeValue::S(mark.from.clone()));
    match (overwrite, age) {
        (_, Outcome::Newer) if is_ours => Verdict::Leave(Outcome::RestoredBefore),
        (Some(Overwrite::All), _) | (Some(Overwrite::Older), Outcome::Older) => {
            Verdict::Put(restored(backup, Some(live), mark), Outcome::Replaced)
        }
        _ => Verdict::Leave(age),
    }
}

/// Whether the hub would do the same with both. When the sweeper looks may
/// differ, but not whether it does.
fn is_same(backup: &Row, live: &Row) -> bool {
    let content = |row: &Row| {
        let mut row = row.clone();
        row.retain(|name, _| !INCIDENTAL.contains(&name.as_str()));
        row
    };
    backup.contains_key("wake") == live.contains_key("wake") && content(backup) == content(live)
}

fn restored(backup: &Row, live: Option<&Row>, mark: &Mark) -> Row {
    let mut row = backup.clone();
    let mut put = |name: &str, value| row.insert(name.to_owned(), value);
    if let Some(revision) = revision(backup).max(live.and_then(revision)) {
        let above = revision.saturating_add(LEAP);
        put("revision", AttributeValue::N(above.to_string()));
        put("token", AttributeValue::S(mark.token.clone()));
    }
    put("restored_from", AttributeValue::S(mark.from.clone()));
    let at = mark.at.millis().to_string();
    put("restored_at", AttributeValue::N(at));
    row
}

fn revision(row: &Row) -> Option<u64> {
    row.get("revision")?.as_n().ok()?.parse().ok()
}

/// What the registry keeps for minutes must not come back: a code that was used
/// could be used again.
pub(super) fn is_kept(row: &Row) -> bool {
    row.contains_key("sk") || text(row, "pk").starts_with("app#")
}

/// A key's text.
pub(super) fn text<'row>(row: &'row Row, name: &str) -> &'row str {
    let text = row.get(name).and_then(|value| value.as_s().ok());
    text.map_or("", String::as_str)
}

/// The row's key and nothing else.
pub(super) fn key(row: &Row) -> Row {
    let mut key = row.clone();
    key.retain(|name, _| matches!(name.as_str(), "pk" | "sk"));
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLDER: Option<Overwrite> = Some(Overwrite::Older);
    const ALL: Option<Overwrite> = Some(Overwrite::All);

    fn mark() -> Mark {
        Mark {
            from: "ledger-restored of 2026-01-31T12:00:00Z".to_owned(),
            at: Timestamp::from_millis(1_790_000_000_000),
            token: "ours".to_owned(),
        }
    }

    fn string(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    fn number(value: u64) -> AttributeValue {
        AttributeValue::N(value.to_string())
    }

    fn row(changes: &[(&str, AttributeValue)]) -> Row {
        let mut row = Row::from([
            ("pk".to_owned(), string("demo000000000001#A000000001")),
            ("sk".to_owned(), string("order")),
            ("status".to_owned(), string("paying")),
            ("shard".to_owned(), string("3")),
            ("wake".to_owned(), number(5)),
            ("revision".to_owned(), number(7)),
            ("token".to_owned(), string("another's")),
            // What no version of the hub reads back as it was.
            ("newer".to_owned(), AttributeValue::Ss(vec!["a".to_owned()])),
        ]);
        for (name, value) in changes {
            row.insert((*name).to_owned(), value.clone());
        }
        row
    }

    fn without(mut row: Row, name: &str) -> Row {
        row.remove(name);
        row
    }

    fn put(verdict: Verdict) -> (Row, Outcome) {
        match verdict {
            Verdict::Put(row, outcome) => (row, outcome),
            Verdict::Leave(outcome) => panic!("left: {outcome:?}"),
        }
    }

    #[test]
    fn a_lost_row_comes_back_as_it_was_above_every_writer() {
        let (back, outcome) = put(decide(&row(&[]), None, None, &mark()));
        assert_eq!(outcome, Outcome::Copied);
        let expected = row(&[
            ("revision", number(1007)),
            ("token", string("ours")),
            ("restored_from", string(&mark().from)),
            ("restored_at", number(1_790_000_000_000)),
        ]);
        assert_eq!(back, expected);
    }

    #[test]
    fn a_row_without_a_revision_is_given_none() {
        let delivery = without(without(row(&[]), "revision"), "token");
        let (back, _) = put(decide(&delivery, None, None, &mark()));
        assert!(!back.contains_key("revision") && !back.contains_key("token"));
    }

    #[test]
    fn what_is_there_is_judged_by_its_revision() {
        let changed = ("status", string("closed"));
        let live = |revision| row(&[changed.clone(), ("revision", number(revision))]);
        let lost_count = without(live(7), "revision");
        for (live, age) in [
            (live(6), Outcome::Older),
            (live(7), Outcome::Older),
            (live(8), Outcome::Newer),
            (lost_count, Outcome::Older),
        ] {
            let left = decide(&row(&[]), Some(&live), None, &mark());
            assert_eq!(left, Verdict::Leave(age));
            let older = decide(&row(&[]), Some(&live), OLDER, &mark());
            assert_eq!(older == Verdict::Leave(age), age == Outcome::Newer);
            let (back, outcome) = put(decide(&row(&[]), Some(&live), ALL, &mark()));
            assert_eq!(outcome, Outcome::Replaced);
            let above = revision(&live).unwrap_or_default().max(7) + 1000;
            assert_eq!(revision(&back), Some(above), "above both");
            assert_eq!(back.get("status"), Some(&string("paying")));
        }
    }

    #[test]
    fn a_row_that_is_not_counted_may_always_be_newer() {
        let delivery = |status| without(row(&[("status", string(status))]), "revision");
        let (backup, live) = (delivery("pending"), delivery("delivered"));
        for overwrite in [None, OLDER] {
            let left = decide(&backup, Some(&live), overwrite, &mark());
            assert_eq!(left, Verdict::Leave(Outcome::Newer));
        }
        let (back, _) = put(decide(&backup, Some(&live), ALL, &mark()));
        assert_eq!(back.get("status"), Some(&string("pending")));
    }

    #[test]
    fn what_says_the_same_stays_in_every_mode() {
        let put_off = row(&[
            ("wake", number(9)),
            ("rings", number(2)),
            ("revision", number(8)),
            ("token", string("third")),
        ]);
        let (back, _) = put(decide(&row(&[]), None, None, &mark()));
        for live in [row(&[]), put_off, back] {
            for overwrite in [None, OLDER, ALL] {
                let left = decide(&row(&[]), Some(&live), overwrite, &mark());
                assert_eq!(left, Verdict::Leave(Outcome::Same));
            }
        }
        // Something is owed, and nobody would look.
        let asleep = without(row(&[]), "wake");
        let (_, outcome) = put(decide(&row(&[]), Some(&asleep), OLDER, &mark()));
        assert_eq!(outcome, Outcome::Replaced);
    }

    #[test]
    fn what_the_hub_did_after_a_restore_is_not_undone_by_the_next_run() {
        let (mut live, _) = put(decide(&row(&[]), None, None, &mark()));
        live.insert("status".to_owned(), string("paid"));
        for overwrite in [None, OLDER, ALL] {
            let left = decide(&row(&[]), Some(&live), overwrite, &mark());
            assert_eq!(left, Verdict::Leave(Outcome::RestoredBefore));
        }
        // Another backup is another matter, and so is damage done since.
        let other = Mark {
            from: "ledger-restored of 2026-02-01T12:00:00Z".to_owned(),
            ..mark()
        };
        put(decide(&row(&[]), Some(&live), ALL, &other));
        live.insert("revision".to_owned(), number(7));
        put(decide(&row(&[]), Some(&live), OLDER, &mark()));
    }

    #[test]
    fn of_the_registry_only_apps_come_back() {
        let named = |pk| without(row(&[("pk", string(pk))]), "sk");
        assert!(is_kept(&row(&[])) && is_kept(&named("app#demo000000000001")));
        for pk in ["login#x", "ticket#x", "code#x", "token#access#wx1"] {
            assert!(!is_kept(&named(pk)), "{pk}");
        }
    }
}
