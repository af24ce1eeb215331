//! The merchant's credentials of version 3, as JSON in Secrets Manager, checked
//! when they are read: a wrong one is named before anybody pays.

use std::collections::BTreeMap;
use std::fmt;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use rustls::server::ParsedCertificate;
use serde::Deserialize;

use super::certificates::Certificate;
use super::sign::Signer;
use super::verify::PublicKeys;

/// How the id of a WeChat Pay public key begins.
const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_";

/// The secret's text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    api_v3_key: String,
    serial_no: String,
    private_key: String,
    #[serde(default)]
    public_key_id: Option<String>,
    #[serde(default)]
    public_key: Option<String>,
    /// Platform certificates, PEM, by their serials.
    #[serde(default)]
    certificates: BTreeMap<String, String>,
}

/// The credentials. They cannot be printed.
#[derive(Clone)]
pub struct Keys {
    /// Opens what WeChat seals.
    pub(super) api_v3_key: String,
    /// Signs what this merchant says.
    pub(super) signer: Signer,
    /// Verify what WeChat says.
    pub(super) wechat: PublicKeys,
    /// The one of them that WeChat is asked to sign answers with: the public key,
    /// where there is one.
    pub(super) wanted_serial: Option<String>,
}

impl Keys {
    /// Reads the secret's JSON text. None when nobody has filled it in.
    ///
    /// # Errors
    /// What is wrong with it. No part of it is in the error.
    pub fn parse(json: &str) -> Result<Option<Self>, &'static str> {
        if !json.trim_start().starts_with('{') || !json.contains("api_v3_key") {
            return Ok(None);
        }
        let secret: Secret = serde_json::from_str(json).map_err(|_| {
            "the APIv3 secret must be JSON with api_v3_key, serial_no, private_key, public_key_id \
             and public_key, or certificates"
        })?;
        if secret.api_v3_key.len() != 32 || !secret.api_v3_key.is_ascii() {
            return Err("api_v3_key must have 32 characters");
        }
        let is_serial = |serial: &str| {
            (1..=64).contains(&serial.len()) && serial.bytes().all(|b| b.is_ascii_hexdigit())
        };
        if !is_serial(&secret.serial_no) {
            return Err("serial_no must be the certificate's serial in hex, without colons");
        }
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(secret.private_key.as_bytes());
        let pkcs8 = pkcs8.map_err(|_| "private_key must be PEM, BEGIN PRIVATE KEY")?;
        let signer = Signer::new(pkcs8.secret_pkcs8_der(), secret.serial_no)?;
        let mut wechat = PublicKeys::default();
        for (serial, pem) in &secret.certificates {
            if !is_serial(serial) {
                return Err("certificates must be named by their serials");
            }
            wechat.insert(serial.to_ascii_uppercase(), rsa_of_certificate(pem)?);
        }
        // The newest cannot be told by its serial; WeChat takes any of them.
        let mut wanted_serial = wechat.last_serial().cloned();
        match (secret.public_key_id, secret.public_key) {
            (Some(id), Some(pem)) if is_public_key_id(&id) => {
                wechat.insert(id.clone(), rsa_of_pem(&pem)?);
                wanted_serial = Some(id);
            }
            // Older merchants': WeChat gives its certificates to who has the APIv3 key.
            (None, None) => {}
            _ => {
                return Err(
                    "public_key_id must be PUB_KEY_ID_ and letters or digits, and belong to public_key",
                );
            }
        }
        Ok(Some(Self {
            api_v3_key: secret.api_v3_key,
            signer,
            wanted_serial,
            wechat,
        }))
    }

    /// With these of WeChat's certificates beside its own.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn beside(mut self, certificates: &[Certificate]) -> Result<Self, &'static str> {
        for certificate in certificates {
            let Certificate { serial, pem, .. } = certificate;
            let rsa = rsa_of_certificate(pem)?;
            let ends_at = certificate.expires_at;
            self.wechat.insert_until(serial.clone(), rsa, ends_at);
        }
        let newest = certificates.iter().max_by_key(|one| one.effective_at);
        let wanted = self.wanted_serial.as_deref().unwrap_or_default();
        if let Some(newest) = newest.filter(|_| !wanted.starts_with(PUBLIC_KEY_ID)) {
            self.wanted_serial = Some(newest.serial.clone());
        }
        Ok(self)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// It is sent in a header, where a line's end cannot be.
fn is_public_key_id(id: &str) -> bool {
    id.strip_prefix(PUBLIC_KEY_ID).is_some_and(|rest| {
        (1..=64).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

/// WeChat's public key in PEM, as RSA alone writes it.
pub(super) fn rsa_of_pem(pem: &str) -> Result<Vec<u8>, &'static str> {
    let info = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "public_key must be PEM, BEGIN PUBLIC KEY")?;
    rsa_of(info.as_ref()).ok_or("public_key must be an RSA key of 2048 bits or more")
}

/// The key in a platform certificate, PEM.
pub(super) fn rsa_of_certificate(pem: &str) -> Result<Vec<u8>, &'static str> {
    const RULE: &str = "certificates must be PEM, BEGIN CERTIFICATE, with RSA keys";
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| RULE)?;
    let certificate = ParsedCertificate::try_from(&der).map_err(|_| RULE)?;
    rsa_of(certificate.subject_public_key_info().as_ref()).ok_or(RULE)
}

/// The RSA key in a `SubjectPublicKeyInfo`, which ring wants without its wrapping:
/// a sequence of the algorithm, always the same for RSA, and a string of bits, all
/// of them used. A key of 2048 bits or more needs lengths of two bytes.
fn rsa_of(info: &[u8]) -> Option<Vec<u8>> {
    const RSA: [u8; 15] = [
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    let (content, after) = long(info, 0x30)?;
    let (bits, rest) = long(content.strip_prefix(&RSA)?, 0x03)?;
    let (unused, key) = bits.split_first()?;
    (after.is_empty() && rest.is_empty() && *unused == 0).then(|| key.to_vec())
}

/// What a value with this tag and two bytes of length holds, and what follows it.
fn long(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[first, lengths, high, low], rest) = der.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    (first == tag && lengths == 0x82)
        .then(|| rest.split_at_checked(length))
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::time::Timestamp;
    use crate::wechat::v3::fixtures::{CERTIFICATE, PRIVATE_KEY, SAMPLE_KEY};

    fn secret(changes: Value) -> String {
        let mut secret = json!({
            "api_v3_key": "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb", "serial_no": "5157F09EFDC096DE",
            "private_key": PRIVATE_KEY, "public_key_id": "PUB_KEY_ID_01", "public_key": SAMPLE_KEY,
        });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(secret.as_object_mut().unwrap().remove(name)),
                value => secret[name] = value.clone(),
            }
        }
        secret.to_string()
    }

    #[test]
    fn a_secret_that_nobody_has_filled_in_is_none() {
        for placeholder in ["", "fLxg4hW1oX", "{}", "{\"fill\":\"in\"}"] {
            assert!(Keys::parse(placeholder).unwrap().is_none(), "{placeholder}");
        }
        let keys = Keys::parse(&secret(json!({}))).unwrap().unwrap();
        assert_eq!(format!("{keys:?}"), "Keys(..)");
        assert_eq!(keys.wanted_serial.as_deref(), Some("PUB_KEY_ID_01"));
    }

    #[test]
    fn public_key_and_certificates_stand_side_by_side_and_either_is_enough() {
        let certificates = json!({"3775b6a45acd588826d15e583a95f5dd": CERTIFICATE});
        let both = secret(json!({ "certificates": certificates }));
        let keys = Keys::parse(&both).unwrap().unwrap();
        assert_eq!(keys.wanted_serial.as_deref(), Some("PUB_KEY_ID_01"));
        let names = "{\"3775B6A45ACD588826D15E583A95F5DD\", \"PUB_KEY_ID_01\"}";
        assert_eq!(format!("{:?}", keys.wechat), names);
        let alone =
            json!({"certificates": certificates, "public_key": null, "public_key_id": null});
        let keys = Keys::parse(&secret(alone)).unwrap().unwrap();
        let wanted = keys.wanted_serial.as_deref();
        assert_eq!(wanted, Some("3775B6A45ACD588826D15E583A95F5DD"));
    }

    #[test]
    fn fetched_certificates_stand_beside_the_secrets_and_the_newest_is_wanted() {
        let fetched = |serial: &str, effective_at: i64| Certificate {
            serial: serial.to_owned(),
            pem: CERTIFICATE.to_owned(),
            effective_at: Timestamp::from_millis(effective_at),
            expires_at: Timestamp::from_millis(9),
        };
        let two = [fetched("0B", 1), fetched("0A", 2)];
        let keys = |changes| Keys::parse(&secret(changes)).unwrap().unwrap();
        // With a public key this one is wanted, whatever else there is.
        let both = keys(json!({})).beside(&two).unwrap();
        assert_eq!(both.wanted_serial.as_deref(), Some("PUB_KEY_ID_01"));
        let nothing = keys(json!({"public_key": null, "public_key_id": null}));
        assert!(nothing.wanted_serial.is_none());
        let certified = nothing.beside(&two).unwrap();
        assert_eq!(certified.wanted_serial.as_deref(), Some("0A"));
        assert_eq!(format!("{:?}", certified.wechat), "{\"0A\", \"0B\"}");
        let mut broken = two;
        broken[0].pem = SAMPLE_KEY.to_owned();
        assert!(keys(json!({})).beside(&broken).is_err());
    }

    #[test]
    fn what_is_wrong_is_named_and_never_shown() {
        let truncated = SAMPLE_KEY.replace("MIIBIjANBgkq", "MIIBIjANBgkr");
        for (changes, named) in [
            (json!({"api_v3_key": "short"}), "api_v3_key"),
            (json!({"serial_no": "51:57"}), "serial_no"),
            (json!({"private_key": SAMPLE_KEY}), "private_key"),
            (
                json!({"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}),
                "private_key",
            ),
            (json!({"public_key": PRIVATE_KEY}), "public_key"),
            (json!({"public_key": truncated}), "public_key"),
            (json!({"public_key": null}), "public_key_id"),
            (
                json!({"public_key_id": "5157F09EFDC096DE"}),
                "public_key_id",
            ),
            (json!({"public_key_id": "PUB_KEY_ID_"}), "public_key_id"),
            (json!({"public_key_id": "PUB_KEY_ID_01\n"}), "public_key_id"),
            (json!({"certificates": {"51": SAMPLE_KEY}}), "certificates"),
            (json!({"certificates": {"x": CERTIFICATE}}), "serials"),
            (json!({"colour": "red"}), "must be JSON"),
        ] {
            let error = Keys::parse(&secret(changes)).unwrap_err();
            assert!(error.contains(named), "{error}");
            assert!(!error.contains("a7cde1"), "{error}");
        }
        assert!(Keys::parse("{\"api_v3_key\":").is_err());
    }
}
