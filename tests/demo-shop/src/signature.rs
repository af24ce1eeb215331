//! The hub's signature, written from its description alone and never from the
//! hub's implementation.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// How far a timestamp may be off, in seconds, either way.
const WINDOW_SECONDS: u64 = 300;

/// Signs the non-empty parameters except `sign`: sorted by name in byte order,
/// `k=v` joined by `&`, then `&key=<secret>`, HMAC-SHA256 keyed with the
/// secret, upper-case hexadecimal. Values are taken raw, never URL-encoded.
pub fn sign(params: &BTreeMap<String, String>, secret: &str) -> String {
    let mut text = String::new();
    for (name, value) in params {
        if name != "sign" && !value.is_empty() {
            text.push_str(name);
            text.push('=');
            text.push_str(value);
            text.push('&');
        }
    }
    text.push_str("key=");
    text.push_str(secret);

    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key length");
    mac.update(text.as_bytes());
    hex::encode_upper(mac.finalize().into_bytes())
}

/// Why the shop does not believe a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    /// A parameter came twice, so that two readers could see two values.
    RepeatedParameter,
    /// `app_id` is missing or none of the shop's.
    UnknownApp,
    /// `sign` is missing or wrong.
    BadSignature,
    /// The signature is right and `timestamp` is not within five minutes.
    Stale,
    /// The caller is the hub, and the amount is not the order's.
    WrongAmount,
}

/// Judges the signature, then the timestamp; `Stale` therefore means that the
/// signature was right.
pub(crate) fn verify(
    params: &BTreeMap<String, String>,
    secret: &str,
    now: i64,
) -> Result<(), Refusal> {
    let given = params.get("sign").map_or("", String::as_str);
    if !bool::from(sign(params, secret).as_bytes().ct_eq(given.as_bytes())) {
        return Err(Refusal::BadSignature);
    }
    let timestamp = params
        .get("timestamp")
        .and_then(|text| text.parse::<i64>().ok());
    match timestamp {
        Some(timestamp) if timestamp.abs_diff(now) <= WINDOW_SECONDS => Ok(()),
        _ => Err(Refusal::Stale),
    }
}

/// What came with a webhook, as <https://www.standardwebhooks.com> names it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Webhook {
    #[serde(rename = "webhook-id")]
    pub(crate) id: String,
    #[serde(rename = "webhook-timestamp")]
    pub(crate) timestamp: String,
    #[serde(rename = "webhook-signature")]
    pub(crate) signature: String,
    /// As it came: the signature is over its bytes.
    pub(crate) body: String,
}

/// Judges as [`verify`] does. One good signature among those that are given is enough:
/// while the secret is changed there are two.
pub(crate) fn verify_webhook(webhook: &Webhook, secret: &str, now: i64) -> Result<(), Refusal> {
    let Webhook {
        id,
        timestamp,
        signature,
        body,
    } = webhook;
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key length");
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let expected = mac.finalize().into_bytes();
    let is_right = |given: &str| {
        let given = given.strip_prefix("v1,").map(|text| STANDARD.decode(text));
        matches!(given, Some(Ok(given)) if bool::from(expected.as_slice().ct_eq(&given)))
    };
    if !signature.split(' ').any(is_right) {
        return Err(Refusal::BadSignature);
    }
    match timestamp.parse::<i64>() {
        Ok(timestamp) if timestamp.abs_diff(now) <= WINDOW_SECONDS => Ok(()),
        _ => Err(Refusal::Stale),
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Refusal, Webhook, sign, verify, verify_webhook};

    const SECRET: &str = "0123456789abcdefghijABCDEFGHIJKL";

    fn params(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// Both expected values come from Python's `hmac` and `hashlib`.
    #[test]
    fn signatures_equal_those_computed_in_python() {
        let query = params(&[
            ("app_id", "demoapp000000001"),
            ("order_no", "A000000001"),
            ("timestamp", "1700000000"),
            ("nonce", "n0nce"),
            ("attach", ""),
            ("sign", "IGNORED"),
        ]);
        assert_eq!(
            sign(&query, SECRET),
            "40FB9B58B0ECF2E855328B8F6E3AB16FD9B9D1E318766B821E5F36C405D1D9F3"
        );
        let create = params(&[
            ("app_id", "demoapp000000001"),
            ("order_no", "A000000001"),
            ("total_fee", "1"),
            ("body", "茶 & 杯=1"),
            ("Zed", "upper first"),
            ("a_b", "x"),
            ("timestamp", "1700000000"),
            ("nonce", "n0nce"),
            ("return_url", "http://127.0.0.1:9/return"),
        ]);
        assert_eq!(
            sign(&create, SECRET),
            "D4EEED25B7D1AB696E71E6558DF2A83D014AFD774CC6905573600596483A0F8E"
        );
    }

    #[test]
    fn a_changed_parameter_a_wrong_secret_and_a_missing_signature_are_refused() {
        let mut signed = params(&[("app_id", "a"), ("total_fee", "1"), ("timestamp", "1000")]);
        assert_eq!(verify(&signed, SECRET, 1000), Err(Refusal::BadSignature));
        signed.insert("sign".to_owned(), sign(&signed, SECRET));
        assert_eq!(verify(&signed, SECRET, 1000), Ok(()));
        assert_eq!(verify(&signed, "other", 1000), Err(Refusal::BadSignature));
        signed.insert("total_fee".to_owned(), "2".to_owned());
        assert_eq!(verify(&signed, SECRET, 1000), Err(Refusal::BadSignature));
    }

    /// The signature comes from Python's `hmac` and `base64`.
    #[test]
    fn a_webhook_is_believed_by_one_good_signature_over_its_bytes() {
        let right = "v1,y5ikcpwxl5A0J0Y0z3RLeloO7KxkQeuEq2iQzC9mas0=";
        let webhook = |signature: &str, body: &str| Webhook {
            id: "evt".to_owned(),
            timestamp: "1700000000".to_owned(),
            signature: signature.to_owned(),
            body: body.to_owned(),
        };
        let now = 1_700_000_000;
        let other = right.replace("v1,", "v2,");
        for (signature, body, expected) in [
            (right.to_owned(), "{}", Ok(())),
            (format!("v1,AAAA {right}"), "{}", Ok(())),
            (format!("{right} {other}"), "{}", Ok(())),
            (right.to_owned(), "{ }", Err(Refusal::BadSignature)),
            (other, "{}", Err(Refusal::BadSignature)),
            (String::new(), "{}", Err(Refusal::BadSignature)),
            ("v1,".to_owned(), "{}", Err(Refusal::BadSignature)),
        ] {
            let given = webhook(&signature, body);
            assert_eq!(verify_webhook(&given, SECRET, now), expected, "{signature}");
        }
        let given = webhook(right, "{}");
        assert_eq!(
            verify_webhook(&given, SECRET, now + 301),
            Err(Refusal::Stale)
        );
        assert_eq!(
            verify_webhook(&given, &SECRET.to_lowercase(), now),
            Err(Refusal::BadSignature)
        );
    }

    #[test]
    fn a_timestamp_may_be_five_minutes_off_and_no_more() {
        let mut signed = params(&[("timestamp", "1000")]);
        signed.insert("sign".to_owned(), sign(&signed, SECRET));
        for (now, expected) in [
            (699, Err(Refusal::Stale)),
            (700, Ok(())),
            (1300, Ok(())),
            (1301, Err(Refusal::Stale)),
        ] {
            assert_eq!(verify(&signed, SECRET, now), expected, "at {now}");
        }
        let mut undated = params(&[("app_id", "a")]);
        undated.insert("sign".to_owned(), sign(&undated, SECRET));
        assert_eq!(verify(&undated, SECRET, 0), Err(Refusal::Stale));
    }
}
