//! The headers with which WeChat signs an answer or a notification, and the ways
//! in which a test may have them spoilt.

use serde::{Deserialize, Serialize};

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

/// Signs a body. `named` is the `Wechatpay-Serial` that the request has shown,
/// if this answers one.
pub(super) fn stamp(
    merchant: &Merchant,
    credentials: &Credentials,
    body: &str,
    named: Option<Option<&str>>,
    spoilt: Option<Spoilt>,
    (moment, clock): (Moment, i64),
) -> Headers {
    let keys = &credentials.keys;
    let newest = merchant.platform_certificates.clamp(1, 2) - 1;
    let platform = keys.platform.get(newest).unwrap_or(&keys.platform[0]);
    let by_public_key = match (merchant.signs, named) {
        (Signs::PublicKey, _) => true,
        (Signs::Certificate, _) => false,
        (Signs::Both, Some(named)) => named == Some(keys.public.serial.as_str()),
        (Signs::Both, None) => moment.unique % 100 < u128::from(merchant.public_key_percent),
    };
    let (signer, other) = match by_public_key {
        true => (&keys.public, &platform.signer),
        false => (&platform.signer, &keys.public),
    };
    let clock = match spoilt {
        Some(Spoilt::Old) => clock - SHIFT_SECONDS,
        Some(Spoilt::Ahead) => clock + SHIFT_SECONDS,
        _ => clock,
    };
    let (timestamp, nonce) = (clock.to_string(), moment.nonce());
    let message = lines(&[timestamp.as_bytes(), nonce.as_bytes(), body.as_bytes()]);
    let signature = match spoilt {
        Some(Spoilt::ForgedSign) => sign(&keys.forger.key, &message),
        Some(Spoilt::SignTest) => format!("WECHATPAY/SIGNTEST/{}", moment.nonce()),
        Some(Spoilt::BadBase64) => "!!!not-base64!!!".to_owned(),
        _ => sign(&signer.key, &message),
    };
    let serial = match spoilt {
        Some(Spoilt::WrongSerial) => other.serial.clone(),
        Some(Spoilt::UnknownSerial) => format!("PUB_KEY_ID_{}", "9".repeat(32)),
        _ => signer.serial.clone(),
    };
    let mut headers = vec![
        ("wechatpay-timestamp", timestamp),
        ("wechatpay-nonce", nonce),
        ("wechatpay-serial", serial),
        ("wechatpay-signature-type", SCHEME.to_owned()),
    ];
    let times = match spoilt {
        Some(Spoilt::NoSign) => 0,
        Some(Spoilt::TwoSigns) => 2,
        _ => 1,
    };
    headers.extend(vec![("wechatpay-signature", signature); times]);
    headers
}

/// The body that is sent instead of the signed one.
pub(super) fn sent(body: String, spoilt: Option<Spoilt>) -> String {
    match spoilt {
        // Still JSON: only the signature shows it.
        Some(Spoilt::ChangedBody) => format!("{body} "),
        _ => body,
    }
}
