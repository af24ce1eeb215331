//! The headers with which WeChat signs an answer or a notification, and the ways
//! in which a test may have them spoilt.

use serde::{Deserialize, Serialize};

use super::Now;
use super::keys::Signer;
use super::signature::{SCHEME, lines, sign};
use crate::merchants::{Credentials, Merchant, Signs};
use crate::pay::Moment;

/// What is wrong with a stamp, or with what it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spoilt {
    /// Signed with nobody's key, under the right serial.
    ForgedSign,
    /// WeChat's own trial: `WECHATPAY/SIGNTEST/` and no signature.
    SignTest,
    /// No base64 at all.
    BadBase64,
    /// `Wechatpay-Signature` is missing.
    NoSign,
    /// It is there twice.
    TwoSigns,
    /// Rightly signed, under the serial of another of WeChat's keys.
    WrongSerial,
    /// Rightly signed, under a serial that nobody has heard of.
    UnknownSerial,
    /// Rightly signed, ten minutes ago.
    Old,
    /// Rightly signed, ten minutes ahead.
    Ahead,
    /// Another body than was signed.
    ChangedBody,
}

/// Ten minutes: twice what anybody allows.
const SHIFT_SECONDS: i64 = 600;

/// Names and values, of which one may stand there twice.
pub type Headers = Vec<(&'static str, String)>;

/// Who chooses the key while there are two.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key<'r> {
    /// The request that is answered, by its `Wechatpay-Serial`, if it has one.
    Asked(Option<&'r str>),
    /// WeChat, for a notification.
    Wechat,
}

/// The key of a stamp, and all that a wrong one may be made with.
pub(super) struct Stamp<'k> {
    signer: &'k Signer,
    /// Another one of the merchant's keys at WeChat.
    other: &'k Signer,
    forger: &'k Signer,
}

impl Key<'_> {
    pub(super) fn choose<'k>(
        self,
        merchant: &Merchant,
        credentials: &'k Credentials,
        moment: Moment,
    ) -> Stamp<'k> {
        let keys = &credentials.keys;
        let [older, newer] = &keys.platform;
        let platform = match merchant.platform_certificates {
            0 | 1 => &older.signer,
            _ => &newer.signer,
        };
        let public = match (merchant.signs, self) {
            (Signs::PublicKey, _) => true,
            (Signs::Certificate, _) => false,
            (Signs::Both, Self::Asked(named)) => named == Some(keys.public.serial.as_str()),
            (Signs::Both, Self::Wechat) => {
                moment.unique % 100 < u128::from(merchant.public_key_percent)
            }
        };
        let (signer, other) = match public {
            true => (&keys.public, platform),
            false => (platform, &keys.public),
        };
        Stamp {
            signer,
            other,
            forger: &keys.forger,
        }
    }
}

impl Stamp<'_> {
    /// The headers of this body.
    pub(super) fn stamp(&self, body: &str, now: Now, spoilt: Option<Spoilt>) -> Headers {
        let clock = match spoilt {
            Some(Spoilt::Old) => now.clock - SHIFT_SECONDS,
            Some(Spoilt::Ahead) => now.clock + SHIFT_SECONDS,
            _ => now.clock,
        };
        let (timestamp, nonce) = (clock.to_string(), now.moment.nonce());
        let message = lines(&[timestamp.as_bytes(), nonce.as_bytes(), body.as_bytes()]);
        let signature = match spoilt {
            Some(Spoilt::ForgedSign) => sign(&self.forger.key, &message),
            Some(Spoilt::SignTest) => format!("WECHATPAY/SIGNTEST/{nonce}"),
            Some(Spoilt::BadBase64) => "!!!not-base64!!!".to_owned(),
            _ => sign(&self.signer.key, &message),
        };
        let serial = match spoilt {
            Some(Spoilt::WrongSerial) => self.other.serial.clone(),
            Some(Spoilt::UnknownSerial) => format!("PUB_KEY_ID_{}", "9".repeat(32)),
            _ => self.signer.serial.clone(),
        };
        let times = match spoilt {
            Some(Spoilt::NoSign) => 0,
            Some(Spoilt::TwoSigns) => 2,
            _ => 1,
        };
        let mut headers = vec![
            ("wechatpay-timestamp", timestamp),
            ("wechatpay-nonce", nonce),
            ("wechatpay-serial", serial),
            ("wechatpay-signature-type", SCHEME.to_owned()),
        ];
        headers.extend(vec![("wechatpay-signature", signature); times]);
        headers
    }
}

/// The body that is sent instead of the signed one.
pub(super) fn sent(body: String, spoilt: Option<Spoilt>) -> String {
    match spoilt {
        // Still JSON: only the signature shows it.
        Some(Spoilt::ChangedBody) => format!("{body} "),
        _ => body,
    }
}
