//! A merchant's certificate and its private key, from WeChat's apiclient_cert.p12 or
//! from the two PEM files beside it: opened, checked and turned into the PEM that the
//! functions read. A key whose certificate is another's or has expired is not kept;
//! neither the key nor the password is ever shown.

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as KeystoreError;
use pem::Pem;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use shared::domain::time::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a file is not imported, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// It does not open.
    #[error(
        "the password does not open the file: WeChat makes it the mch_id; if it was changed since, \
         give it with --password or CERTIFICATE_PASSWORD"
    )]
    Password,
    /// It is something else.
    #[error(
        "the file cannot be read as PKCS#12 ({0}): take apiclient_cert.p12 from WeChat's archive, \
         not one of the .pem files"
    )]
    File(KeystoreError),
    /// A text is no PEM.
    #[error("{0} is not PEM: take it from WeChat's archive as it came")]
    Pem(&'static str),
    /// It has certificates only.
    #[error("the file has no private key of a known kind: take apiclient_cert.p12 as it came")]
    NoKey,
    /// The key is another's.
    #[error("no certificate in the file belongs to its private key: download it from WeChat again")]
    NoMatch,
    /// A certificate that WeChat will refuse.
    #[error(
        "the certificate is valid from {0} to {1}: renew it in the merchant platform (account \
         centre, API security) and import the new one"
    )]
    OutOfDate(String, String),
}

/// A key with its certificate, checked. The key cannot be printed.
pub(crate) struct Certificate {
    /// The private key and the chain, PEM.
    pub(crate) pem: String,
    /// The private key alone, PEM.
    pub(crate) key: String,
    /// Whose it is.
    pub(crate) subject: String,
    /// Its number, in hex, as the merchant platform shows it.
    pub(crate) serial: String,
    /// Until when WeChat takes it.
    pub(crate) ends_at: Timestamp,
}

impl Certificate {
    /// Opens a .p12 and checks what is in it.
    ///
    /// # Errors
    /// The check that failed.
    pub(crate) fn open(file: &[u8], password: &str, now: Timestamp) -> Result<Self, Unusable> {
        let archive = Pkcs12Archive::from_pkcs12(file, password).map_err(|error| match error {
            KeystoreError::MacError(_) | KeystoreError::UnpadError => Unusable::Password,
            other => Unusable::File(other),
        })?;
        let key = archive.keys.first().ok_or(Unusable::NoKey)?.key.as_der();
        let certificates = archive.certs.iter().map(|bag| bag.cert.as_der());
        Self::of(key, certificates, now)
    }

    /// The same of the two files that WeChat gives besides.
    ///
    /// # Errors
    /// The check that failed.
    pub(crate) fn of_pem(key: &str, certificate: &str, now: Timestamp) -> Result<Self, Unusable> {
        let key = pem::parse(key).map_err(|_| Unusable::Pem("the private key"))?;
        let certificates = pem::parse_many(certificate);
        let certificates = certificates.map_err(|_| Unusable::Pem("the certificate"))?;
        Self::of(key.contents(), certificates.iter().map(Pem::contents), now)
    }

    fn of<'a>(
        key: &[u8],
        certificates: impl Iterator<Item = &'a [u8]>,
        now: Timestamp,
    ) -> Result<Self, Unusable> {
        let signer =
            any_supported_type(&PrivateKeyDer::Pkcs8(key.into())).map_err(|_| Unusable::NoKey)?;
        let (own, others): (Vec<_>, Vec<_>) = certificates.partition(|der| {
            let der = CertificateDer::from(der.to_vec());
            CertifiedKey::new(vec![der], signer.clone())
                .keys_match()
                .is_ok()
        });
        let own = *own.first().ok_or(Unusable::NoMatch)?;
        let (_, read) = X509Certificate::from_der(own).map_err(|_| Unusable::NoMatch)?;
        let validity = read.validity();
        let (from, to) = (validity.not_before, validity.not_after);
        if !(from.timestamp()..=to.timestamp()).contains(&now.seconds()) {
            return Err(Unusable::OutOfDate(from.to_string(), to.to_string()));
        }
        // The key first, then its own certificate, then who vouches for it.
        let key = Pem::new("PRIVATE KEY", key);
        let mut parts = vec![key.clone(), Pem::new("CERTIFICATE", own)];
        parts.extend(others.iter().map(|der| Pem::new("CERTIFICATE", *der)));
        Ok(Self {
            pem: pem::encode_many(&parts),
            key: pem::encode(&key),
            subject: read.subject().to_string(),
            serial: hex::encode_upper(read.raw_serial()),
            ends_at: Timestamp::from_millis(to.timestamp().saturating_mul(1000)),
        })
    }
}

#[cfg(test)]
mod tests {
    use p12_keystore::{Certificate as X509, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
    use shared::domain::merchant::{MchId, Merchant};
    use shared::domain::order::ApiVersion;
    use shared::wechat::v2::{Client, PaymentKeys};
    use shared::wechat::{Hosts, Http, Identity};

    use super::*;

    /// Made by `openssl pkcs12 -export -legacy`, so with RC2-40 and 3DES like
    /// WeChat's own; valid for a hundred years, for a merchant that is none.
    const LEGACY: &[u8] = include_bytes!("../tests/apiclient_cert.p12");
    const PASSWORD: &str = "1900000109";
    /// A day in 2027.
    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn pair() -> (Vec<u8>, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed([]).unwrap();
        (made.signing_key.serialize_der(), made.cert.der().to_vec())
    }

    fn p12(key: &[u8], certificates: &[&[u8]]) -> Vec<u8> {
        let chain = PrivateKeyChain::new(
            "1",
            PrivateKey::from_der(key).unwrap(),
            certificates.iter().map(|der| X509::from_der(der).unwrap()),
        );
        let mut store = KeyStore::new();
        store.add_entry("Tenpay", KeyStoreEntry::PrivateKeyChain(chain));
        store.writer(PASSWORD).write().unwrap()
    }

    #[test]
    fn wechats_old_ciphers_are_read_and_the_functions_take_what_comes_out() {
        let opened = Certificate::open(LEGACY, PASSWORD, NOW).unwrap();
        assert!(
            opened.subject.contains("CN=1900000109"),
            "{}",
            opened.subject
        );
        assert!(!opened.serial.is_empty() && opened.ends_at.rfc3339().starts_with("2126"));
        let merchant = Merchant::new(MchId::parse(PASSWORD).unwrap(), ApiVersion::V2);
        let identity = Identity::new(&merchant, &Hosts::default());
        let secrets = r#"{"api_key":"0123456789abcdef0123456789abcdef"}"#;
        let keys = PaymentKeys::parse(secrets).unwrap();
        let mut wechat = Client::new(identity, keys, Http::new().unwrap());
        wechat.certify(&opened.pem).unwrap();
        assert!(wechat.is_certified());
    }

    #[test]
    fn a_key_comes_with_its_own_certificate_first() {
        let (key, own) = pair();
        let (_, issuer) = pair();
        let file = p12(&key, &[&issuer, &own]);
        let opened = Certificate::open(&file, PASSWORD, NOW).unwrap();
        let labels: Vec<Pem> = pem::parse_many(&opened.pem).unwrap();
        assert_eq!(labels[0].tag(), "PRIVATE KEY");
        assert_eq!(labels[1].contents(), own);
        assert_eq!(labels.len(), 3);
    }

    #[test]
    fn the_two_files_are_as_good_as_the_archive() {
        let opened = Certificate::open(LEGACY, PASSWORD, NOW).unwrap();
        let parts = pem::parse_many(&opened.pem).unwrap();
        let own = pem::encode(&parts[1]);
        let read = Certificate::of_pem(&opened.key, &own, NOW).unwrap();
        assert_eq!((&read.serial, &read.key), (&opened.serial, &opened.key));
        let (_, other) = pair();
        let others = pem::encode(&Pem::new("CERTIFICATE", other));
        let why = |key: &str, certificate: &str| {
            Certificate::of_pem(key, certificate, NOW)
                .err()
                .unwrap()
                .to_string()
        };
        assert!(why(&opened.key, &others).contains("no certificate"));
        assert!(why("key", &own).contains("the private key is not PEM"));
        assert!(why(&own, &own).contains("no private key"));
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let late = Timestamp::from_millis(9_000_000_000_000);
        let (key, _) = pair();
        let (_, other) = pair();
        let why = |file: &[u8], password, now| {
            Certificate::open(file, password, now)
                .err()
                .unwrap()
                .to_string()
        };
        for (text, part) in [
            (why(LEGACY, "wrong", NOW), "the password does not open"),
            (
                why(b"-----BEGIN", PASSWORD, NOW),
                "cannot be read as PKCS#12",
            ),
            (why(LEGACY, PASSWORD, late), "renew it"),
            (why(&p12(&key, &[&other]), PASSWORD, NOW), "no certificate"),
        ] {
            assert!(text.contains(part), "{text}");
            assert!(!text.contains(PASSWORD), "{text}");
        }
    }
}
