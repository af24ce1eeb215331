//! How an input becomes a signed document that is then changed: the first byte
//! chooses where, the second into what, the rest are names and values. It
//! refuses to know who signs and how.

use std::collections::BTreeMap;

/// What is to be changed in a document, and the fields it is made of.
#[derive(Debug)]
pub struct Forgery {
    at: usize,
    into: u8,
    /// Names and values; no name twice.
    pub fields: BTreeMap<String, String>,
}

impl Forgery {
    /// Reads an input; none if it is too short or no text.
    #[must_use]
    pub fn read(input: &[u8]) -> Option<Self> {
        let (&[high, low, into], rest) = input.split_first_chunk()?;
        let lines = std::str::from_utf8(rest).ok()?.split('\n');
        let fields = lines.filter_map(|line| line.split_once('='));
        Some(Self {
            at: usize::from(u16::from_be_bytes([high, low])),
            into,
            fields: fields.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        })
    }

    /// Changes one byte of the document: to another, away, or twice.
    pub fn change(&self, document: &mut Vec<u8>) {
        let Some(at) = self.at.checked_rem(document.len()) else {
            return;
        };
        match self.into {
            0 => drop(document.remove(at)),
            1 => document.insert(at, document[at]),
            other => document[at] = other,
        }
    }
}
