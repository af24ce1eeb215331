//! What the targets share: a merchant, and how an input becomes a signed
//! document that is then changed: two bytes choose where, one into what, the
//! rest are names and values.

use std::collections::BTreeMap;

use shared::wechat::v2::sign::SignType;
use shared::wechat::{Account, PaymentKeys, Wechat};

/// The official account that notifications must be of.
pub const APP_ID: &str = "wx0000000000000000";
/// The merchant that notifications must be of.
pub const MCH_ID: &str = "1900000109";
/// No input holds what was made with it, but by finding a collision.
pub const KEY: &str = "0123456789abcdef0123456789ABCDEF";

/// The merchant's side of WeChat.
#[must_use]
pub fn wechat(sign_type: SignType) -> Wechat {
    let base = || "https://wechat.invalid".to_owned();
    let account = Account {
        app_id: APP_ID.to_owned(),
        mch_id: MCH_ID.to_owned(),
        sign_type,
        pay_base: base(),
        api_base: base(),
        open_base: base(),
    };
    let secrets = format!(r#"{{"api_key": "{KEY}"}}"#);
    let secrets = PaymentKeys::parse(&secrets).expect("the secrets are complete");
    Wechat::new(account, secrets).expect("a client can be made")
}

/// What is to be changed in a document, and the fields it is made of.
#[derive(Debug)]
pub struct Rejection {
    at: usize,
    into: u8,
    /// Names and values; no name twice.
    pub fields: BTreeMap<String, String>,
}

impl Rejection {
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
