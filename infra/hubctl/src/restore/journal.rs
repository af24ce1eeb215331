//! How far a restore has come, in a small file: whoever is interrupted goes on
//! from there. Beginning again does no harm, it only takes longer.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::rule::{Outcome, Overwrite, Row, text};
use super::tables::Result;

/// How many rows became what.
pub(super) type Counts = BTreeMap<Outcome, u64>;

/// What is copied where, and how: the file of another restore is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Errand {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) overwrite: Option<Overwrite>,
    pub(super) app_id: Option<String>,
    pub(super) parts: usize,
}

/// Where one of the scans is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    Start,
    After { pk: String, sk: Option<String> },
    End,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    errand: Errand,
    places: Vec<Place>,
    counts: Counts,
}

/// The record, and where it is kept, if it is.
#[derive(Debug)]
pub(super) struct Journal {
    path: Option<PathBuf>,
    record: Record,
    resumed: bool,
}

impl Journal {
    /// The one at this path, or a new one. None is kept without a path.
    pub(super) fn open(path: Option<PathBuf>, errand: Errand) -> Result<Self> {
        let fresh = |errand: Errand| Record {
            places: vec![Place::Start; errand.parts],
            errand,
            counts: Counts::new(),
        };
        let Some(path) = path else {
            return Ok(Self {
                path: None,
                record: fresh(errand),
                resumed: false,
            });
        };
        let shown = path.display().to_string();
        let (record, resumed) = match fs::read_to_string(&path) {
            Ok(text) => {
                let known: Record = serde_json::from_str(&text)
                    .map_err(|error| format!("{shown} is not a restore's: {error}"))?;
                if known.errand != errand {
                    return Err(format!(
                        "{shown} belongs to another restore, {} to {}: finish that one with the \
                         same options, name another file with --state, or delete it",
                        known.errand.from, known.errand.to
                    )
                    .into());
                }
                (known, true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => (fresh(errand), false),
            Err(error) => return Err(format!("{shown} cannot be read: {error}").into()),
        };
        Ok(Self {
            path: Some(path),
            record,
            resumed,
        })
    }

    /// Whether a run before this one left it.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.record.counts
    }

    /// All rows that were looked at.
    pub(super) fn read(&self) -> u64 {
        self.record.counts.values().sum()
    }

    /// Where this part is, as a key; None when it is done.
    pub(super) fn place(&self, part: usize) -> Option<Option<Row>> {
        let string = |text: &String| AttributeValue::S(text.clone());
        match self.record.places.get(part)? {
            Place::Start => Some(None),
            Place::End => None,
            Place::After { pk, sk } => {
                let mut key = Row::from([("pk".to_owned(), string(pk))]);
                key.extend(sk.iter().map(|sk| ("sk".to_owned(), string(sk))));
                Some(Some(key))
            }
        }
    }

    /// Notes what became of a page's rows, and that the next one follows `last`.
    /// Written beside and then renamed: dying in between leaves the old one.
    pub(super) fn advance(
        &mut self,
        part: usize,
        outcomes: &[Outcome],
        last: Option<&Row>,
    ) -> Result<()> {
        for outcome in outcomes {
            *self.record.counts.entry(*outcome).or_default() += 1;
        }
        let place = last.map_or(Place::End, |last| Place::After {
            pk: text(last, "pk").to_owned(),
            sk: last.contains_key("sk").then(|| text(last, "sk").to_owned()),
        });
        if let Some(known) = self.record.places.get_mut(part) {
            *known = place;
        }
        let Some(path) = &self.path else {
            return Ok(());
        };
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&self.record)?)
            .and_then(|()| fs::rename(&beside, path))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        Ok(())
    }

    /// Everything is copied.
    pub(super) fn close(&self) -> Result<()> {
        match &self.path {
            Some(path) => Ok(fs::remove_file(path)?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(from: &str) -> Errand {
        Errand {
            from: from.to_owned(),
            to: "ledger".to_owned(),
            overwrite: None,
            app_id: None,
            parts: 2,
        }
    }

    #[test]
    fn an_interrupted_restore_goes_on_where_it_was_and_no_other_does() {
        let folder = std::env::temp_dir().join(format!("hubctl-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = Some(folder.join("state.json"));
        let mut first = Journal::open(path.clone(), errand("a")).unwrap();
        assert!(!first.is_resumed());
        let last = Row::from([
            ("pk".to_owned(), AttributeValue::S("p".to_owned())),
            ("sk".to_owned(), AttributeValue::S("order".to_owned())),
        ]);
        let outcomes = [Outcome::Copied, Outcome::Same];
        first.advance(0, &outcomes, Some(&last)).unwrap();
        first.advance(1, &[Outcome::Same], None).unwrap();

        let second = Journal::open(path.clone(), errand("a")).unwrap();
        assert!(second.is_resumed());
        assert_eq!(second.place(0), Some(Some(last)));
        assert_eq!(second.place(1), None);
        assert_eq!(second.read(), 3);
        let other = Journal::open(path.clone(), errand("b")).unwrap_err();
        assert!(other.to_string().contains("another restore"), "{other}");
        second.close().unwrap();
        let third = Journal::open(path, errand("b")).unwrap();
        assert_eq!((third.is_resumed(), third.place(0)), (false, Some(None)));
        fs::remove_dir_all(folder).unwrap();
    }
}
