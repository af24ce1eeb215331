//! Whether WeChat has signed something: an answer, or a notification. Everything
//! is checked before a byte of the body is parsed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use base64::prelude::{BASE64_STANDARD, Engine};
use reqwest::header::HeaderMap;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use crate::domain::time::Timestamp;

/// How far WeChat's clock and this one may be apart, either way.
const SKEW_SECONDS: u64 = 300;
/// How the signatures begin with which WeChat tries out whether one looks.
const PROBE: &str = "WECHATPAY/SIGNTEST/";
/// Signatures of RSA keys of 2048 to 8192 bits.
const SIGNATURE_BYTES: RangeInclusive<usize> = 256..=1024;

/// What WeChat signs with, as its four headers say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// `Wechatpay-Timestamp`.
    pub timestamp: String,
    /// `Wechatpay-Nonce`.
    pub nonce: String,
    /// `Wechatpay-Serial`: which of WeChat's keys.
    pub serial: String,
    /// `Wechatpay-Signature`.
    pub signature: String,
}

impl Proof {
    /// The headers, each of them once.
    ///
    /// # Errors
    /// When one is missing, comes twice or is no text.
    pub fn of(headers: &HeaderMap) -> Result<Self, Unverified> {
        let once = |name: &str| {
            let mut values = headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (Some(value), None) => value.to_str().map(str::to_owned).ok(),
                _ => None,
            }
            .ok_or(Unverified::Headers)
        };
        Ok(Self {
            timestamp: once("wechatpay-timestamp")?,
            nonce: once("wechatpay-nonce")?,
            serial: once("wechatpay-serial")?,
            signature: once("wechatpay-signature")?,
        })
    }
}

/// Why something is not believed to be WeChat's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// Not what WeChat sends.
    #[error("the four headers of WeChat's signature are not there once each")]
    Headers,
    /// It may be a replay.
    #[error("WeChat's timestamp is more than five minutes off")]
    Clock,
    /// Signed with a key that this merchant does not have.
    #[error("WeChat's key of this serial is not known")]
    UnknownSerial,
    /// The same, and the serial has the form of a platform certificate's: WeChat may
    /// have a new one.
    #[error("WeChat's certificate of this serial is not known")]
    UnknownCertificate,
    /// WeChat tries out whether signatures are verified.
    #[error("WeChat's probe of the signature's verification")]
    Probe,
    /// Wrong.
    #[error("WeChat's signature is wrong")]
    Signature,
}

/// WeChat's public keys, by the serial that names each. The WeChat Pay public key
/// and platform certificates stand side by side: WeChat moves a merchant over
/// within a week, and signs with both meanwhile.
#[derive(Clone, Default)]
pub(super) struct PublicKeys(BTreeMap<String, PublicKey>);

#[derive(Clone)]
struct PublicKey {
    rsa: Vec<u8>,
    /// From then on WeChat does not sign with it.
    ends_at: Option<Timestamp>,
}

impl PublicKeys {
    /// One that serves until it is taken away.
    pub(super) fn insert(&mut self, serial: String, rsa: Vec<u8>) {
        let ends_at = None;
        self.0.insert(serial, PublicKey { rsa, ends_at });
    }

    /// One that ends; what an operator gave under the same serial stays as it is.
    pub(super) fn insert_until(&mut self, serial: String, rsa: Vec<u8>, ends_at: Timestamp) {
        let ends_at = Some(ends_at);
        self.0.entry(serial).or_insert(PublicKey { rsa, ends_at });
    }

    pub(super) fn last_serial(&self) -> Option<&String> {
        self.0.keys().next_back()
    }

    /// Whether the key that the proof names, and no other, has signed this body
    /// within five minutes of now.
    pub(super) fn verify(
        &self,
        proof: &Proof,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), Unverified> {
        let at = Timestamp::parse_seconds(&proof.timestamp).map_err(|_| Unverified::Clock)?;
        if at.seconds_apart(now) >= SKEW_SECONDS {
            return Err(Unverified::Clock);
        }
        if proof.signature.starts_with(PROBE) {
            return Err(Unverified::Probe);
        }
        // Before the key is looked for: a stranger is to learn and to cost little.
        let signature = BASE64_STANDARD
            .decode(&proof.signature)
            .ok()
            .filter(|signature| SIGNATURE_BYTES.contains(&signature.len()))
            .ok_or(Unverified::Signature)?;
        let key = self.0.get(&proof.serial);
        let key = key.filter(|key| key.ends_at.is_none_or(|end| now < end));
        let Some(PublicKey { rsa, .. }) = key else {
            return Err(match is_certificates(&proof.serial) {
                true => Unverified::UnknownCertificate,
                false => Unverified::UnknownSerial,
            });
        };
        let mut message = Vec::with_capacity(proof.timestamp.len() + 48 + body.len());
        for line in [proof.timestamp.as_bytes(), proof.nonce.as_bytes(), body] {
            message.extend_from_slice(line);
            message.push(b'\n');
        }
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rsa)
            .verify(&message, &signature)
            .map_err(|_| Unverified::Signature)
    }
}

/// Whether it has the form of a certificate's serial number: hex, as WeChat writes it.
pub(super) fn is_certificates(serial: &str) -> bool {
    let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
    (1..=64).contains(&serial.len()) && serial.bytes().all(is_hex)
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::wechat::v3::fixtures::{
        NOTICE, NOTICE_AT, NOTICE_SIGNATURE, SAMPLE_SERIAL, notice_proof, sample_keys,
    };

    const NONCE: &str = "593BEC0C930BF1AFEB40B4A08C8FB242";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// Published with the sample key, or made with it.
    #[test]
    fn published_requests_and_client_parameters_bear_the_sample_keys_signature() {
        let vectors: Vec<(String, String)> =
            serde_json::from_str(include_str!("fixtures/vectors.json")).unwrap();
        assert_eq!(vectors.len(), 4);
        for (message, signature) in vectors {
            let PublicKey { rsa: key, .. } = sample_keys().0.remove(SAMPLE_SERIAL).unwrap();
            let signature = BASE64_STANDARD.decode(signature).unwrap();
            let holds = |message: &[u8]| {
                let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key);
                key.verify(message, &signature).is_ok()
            };
            assert!(holds(message.as_bytes()), "{message}");
            assert!(!holds(&message.as_bytes()[1..]), "{message}");
        }
    }

    #[test]
    fn an_answer_that_wechat_itself_has_signed_is_verified_and_no_byte_may_change() {
        let proof = Proof {
            timestamp: "1722850421".into(),
            nonce: "d824f2e086d3c1df967785d13fcd22ef".into(),
            serial: "wechat".into(),
            signature: include_str!("fixtures/wechat.txt").into(),
        };
        let body = br#"{"code_url":"weixin://wxpay/bizpayurl?pr=JyC91EIz1"}"#;
        let now = at(1_722_850_421);
        let keys = sample_keys();
        assert_eq!(keys.verify(&proof, body, now), Ok(()));
        for place in 0..body.len() {
            let mut other = body.to_vec();
            other[place] ^= 1;
            let refused = keys.verify(&proof, &other, now);
            assert_eq!(refused, Err(Unverified::Signature), "{place}");
        }
        let refused = |change: fn(&mut Proof)| {
            let mut other = proof.clone();
            change(&mut other);
            keys.verify(&other, body, now)
        };
        let wrong = Err(Unverified::Signature);
        assert_eq!(
            refused(|proof| proof.timestamp = "1722850422".into()),
            wrong
        );
        assert_eq!(refused(|proof| proof.nonce.replace_range(..1, "e")), wrong);
        assert_eq!(refused(|proof| proof.serial = SAMPLE_SERIAL.into()), wrong);
        assert_eq!(refused(|proof| proof.signature.insert(0, ' ')), wrong);
        assert_eq!(refused(|proof| proof.signature.push('\n')), wrong);
        assert_eq!(refused(|proof| proof.signature.truncate(343)), wrong);
        assert_eq!(refused(|proof| proof.signature.clear()), wrong);
        let foreign = refused(|proof| proof.serial = "PUB_KEY_ID_0".into());
        assert_eq!(foreign, Err(Unverified::UnknownSerial));
        let rolled = refused(|proof| proof.serial = "5157F09EFDC096DE".into());
        assert_eq!(rolled, Err(Unverified::UnknownCertificate));
        // Nothing is looked for on account of what WeChat cannot have signed.
        for odd in ["", "AAAA", "!!!not-base64!!!"] {
            let odd = Proof {
                serial: "5157F09EFDC096DE".into(),
                signature: odd.into(),
                ..proof.clone()
            };
            assert_eq!(keys.verify(&odd, body, now), wrong, "{odd:?}");
        }
        let late = keys.verify(
            &Proof {
                serial: "5157F09EFDC096DE".into(),
                ..proof.clone()
            },
            body,
            now.plus_seconds(300),
        );
        assert_eq!(late, Err(Unverified::Clock));
        let probed = refused(|proof| proof.signature.insert_str(0, PROBE));
        assert_eq!(probed, Err(Unverified::Probe));
    }

    #[test]
    fn a_certificates_serial_is_hex_in_capitals() {
        for serial in ["0", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"] {
            assert!(is_certificates(serial), "{serial}");
        }
        let long = "0".repeat(65);
        for serial in ["", "5157f0", "PUB_KEY_ID_01", "51:57", "51 ", "５", &long] {
            assert!(!is_certificates(serial), "{serial}");
        }
    }

    #[test]
    fn a_certificate_that_has_ended_verifies_nothing() {
        let mut keys = PublicKeys::default();
        let PublicKey { rsa, .. } = sample_keys().0.remove(SAMPLE_SERIAL).unwrap();
        keys.insert_until("5157F0".into(), rsa, NOTICE_AT);
        let proof = Proof {
            serial: "5157F0".into(),
            ..notice_proof()
        };
        let before = NOTICE_AT.plus_seconds(-1);
        assert_eq!(keys.verify(&proof, NOTICE, before), Ok(()));
        let ended = keys.verify(&proof, NOTICE, NOTICE_AT);
        assert_eq!(ended, Err(Unverified::UnknownCertificate));
        // An operator's word stands.
        keys.insert("5157F0".into(), vec![]);
        keys.insert_until("5157F0".into(), vec![0], NOTICE_AT);
        assert!(keys.0["5157F0"].rsa.is_empty());
    }

    #[test]
    fn an_empty_body_is_signed_too() {
        let proof = Proof {
            signature: include_str!("fixtures/empty.txt").into(),
            ..notice_proof()
        };
        let keys = sample_keys();
        assert_eq!(keys.verify(&proof, b"", NOTICE_AT), Ok(()));
        let refused = keys.verify(&proof, b"\n", NOTICE_AT);
        assert_eq!(refused, Err(Unverified::Signature));
    }

    #[test]
    fn clocks_may_be_five_minutes_apart_either_way_and_no_more() {
        let keys = sample_keys();
        let proof = notice_proof();
        for (seconds, result) in [
            (-300, Err(Unverified::Clock)),
            (-299, Ok(())),
            (299, Ok(())),
            (300, Err(Unverified::Clock)),
        ] {
            let now = NOTICE_AT.plus_seconds(seconds);
            assert_eq!(keys.verify(&proof, NOTICE, now), result, "{seconds}");
        }
        for odd in ["", "now", "-1795140000", "+1795140000", " 1795140000"] {
            let proof = Proof {
                timestamp: odd.into(),
                ..notice_proof()
            };
            let refused = keys.verify(&proof, NOTICE, NOTICE_AT);
            assert_eq!(refused, Err(Unverified::Clock), "{odd}");
        }
    }

    #[test]
    fn each_header_comes_once() {
        let names = [
            ("wechatpay-timestamp", "1795140000"),
            ("wechatpay-nonce", NONCE),
            ("wechatpay-serial", SAMPLE_SERIAL),
            ("wechatpay-signature", NOTICE_SIGNATURE),
        ];
        let headers: HeaderMap = names
            .iter()
            .map(|&(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect();
        assert!(Proof::of(&headers).is_ok());
        for (name, value) in names {
            let mut without = headers.clone();
            without.remove(name);
            assert_eq!(Proof::of(&without), Err(Unverified::Headers), "{name}");
            let mut twice = headers.clone();
            twice.append(name, HeaderValue::from_static(value));
            assert_eq!(Proof::of(&twice), Err(Unverified::Headers), "{name}");
            let mut odd = headers.clone();
            odd.insert(name, HeaderValue::from_bytes(b"\xff").unwrap());
            assert_eq!(Proof::of(&odd), Err(Unverified::Headers), "{name}");
        }
    }
}
