//! WeChat's platform certificates, which it gives to whoever holds the APIv3 key:
//! older merchants' answers and notifications are signed with them, and a new one
//! comes before the old one ends. When they are asked for, and where they are kept,
//! is for the merchants of `aws` to say.
//! <https://pay.weixin.qq.com/doc/v3/merchant/4012551764>

use serde::{Deserialize, Serialize};

use super::aead::{self, Sealed};
use super::keys::rsa_of_certificate;
use super::verify::is_certificates;
use super::{Client, Error, Exchange, NOT_JSON};
use crate::domain::time::Timestamp;

const PATH: &str = "/v3/certificates";

/// A platform certificate. Nothing of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// What `Wechatpay-Serial` names it by.
    pub serial: String,
    /// The certificate.
    pub pem: String,
    /// From when on WeChat may sign with it.
    pub effective_at: Timestamp,
    /// From when on it does not.
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    serial_no: String,
    effective_time: String,
    expire_time: String,
    encrypt_certificate: Sealed,
}

impl Client {
    /// All that WeChat signs with for this merchant, without what has ended. None:
    /// WeChat has none for it, as for every merchant that began with the public key.
    /// Nobody signs that.
    ///
    /// The seal proves each certificate, and the first ones have no other proof; the
    /// signature proves the answer, under a key that was known or that it brings.
    ///
    /// # Errors
    /// When WeChat's answer is unusable or unknown.
    pub(in crate::wechat) async fn certificates(
        &self,
        now: Timestamp,
    ) -> Result<Option<Vec<Certificate>>, Error> {
        let answer = match self.send(&Exchange::get(PATH), now).await {
            Err(Error::Business { code, .. })
                if matches!(code.as_str(), "NOT_FOUND" | "RESOURCE_NOT_EXISTS") =>
            {
                return Ok(None);
            }
            answer => answer?,
        };
        let certificates = self.opened(&answer.body, now)?;
        let keys = self.keys.clone().beside(&certificates);
        let keys = keys.map_err(Error::Forged)?;
        keys.verify(&answer, now)?;
        Ok(Some(certificates))
    }

    fn opened(&self, body: &[u8], now: Timestamp) -> Result<Vec<Certificate>, Error> {
        let answer: Answer = serde_json::from_slice(body).map_err(|_| NOT_JSON)?;
        let opened = answer.data.into_iter().map(|listed| {
            let plain = aead::open(&listed.encrypt_certificate, &self.keys.api_v3_key);
            let plain = plain.ok_or(Error::NoKeys(
                "the APIv3 key does not open what WeChat seals",
            ))?;
            let pem = String::from_utf8(plain).map_err(|_| NOT_JSON)?;
            rsa_of_certificate(&pem).map_err(Error::Forged)?;
            let at = |text: &str| Timestamp::parse_rfc3339(text).map_err(|_| NOT_JSON);
            let serial = listed.serial_no.to_ascii_uppercase();
            if !is_certificates(&serial) {
                return Err(NOT_JSON);
            }
            Ok(Certificate {
                serial,
                pem,
                effective_at: at(&listed.effective_time)?,
                expires_at: at(&listed.expire_time)?,
            })
        });
        let mut opened: Vec<Certificate> = opened.collect::<Result<_, Error>>()?;
        opened.retain(|certificate| certificate.expires_at > now);
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine};
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::wechat::v3::fixtures::{API_V3_KEY, CERTIFICATE, NOTICE_AT, SAMPLE_KEY, client};

    fn sealed(pem: &str, api_v3_key: &str) -> Value {
        let key = UnboundKey::new(&AES_256_GCM, api_v3_key.as_bytes()).unwrap();
        let mut text = pem.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key(*b"fdasflkja484");
        LessSafeKey::new(key)
            .seal_in_place_append_tag(nonce, Aad::from("certificate"), &mut text)
            .unwrap();
        json!({
            "algorithm": "AEAD_AES_256_GCM", "nonce": "fdasflkja484",
            "associated_data": "certificate", "ciphertext": BASE64_STANDARD.encode(text),
        })
    }

    fn listed() -> Value {
        json!({
            "serial_no": "5157f09e", "effective_time": "2026-11-20T09:59:00+08:00",
            "expire_time": "2026-11-20T10:00:01+08:00",
            "encrypt_certificate": sealed(CERTIFICATE, API_V3_KEY),
        })
    }

    fn opened(changes: Value, now: Timestamp) -> Result<Vec<Certificate>, Error> {
        let mut one = listed();
        for (name, value) in changes.as_object().unwrap() {
            one[name] = value.clone();
        }
        let answer = json!({"data": [one, listed()]});
        client().opened(answer.to_string().as_bytes(), now)
    }

    #[test]
    fn each_certificate_is_opened_and_one_that_has_ended_is_dropped() {
        let two = opened(json!({"serial_no": "0A"}), NOTICE_AT).unwrap();
        let serials: Vec<&str> = two.iter().map(|one| one.serial.as_str()).collect();
        assert_eq!(serials, ["0A", "5157F09E"]);
        assert_eq!(two[1].pem, CERTIFICATE);
        assert_eq!(two[1].effective_at, NOTICE_AT.plus_seconds(-60));
        assert_eq!(two[1].expires_at, NOTICE_AT.plus_seconds(1));
        let later = json!({"expire_time": "2026-11-20T10:00:02+08:00", "serial_no": "0A"});
        let one = opened(later, NOTICE_AT.plus_seconds(1)).unwrap();
        assert_eq!((one.len(), &*one[0].serial), (1, "0A"));
    }

    #[test]
    fn an_answer_with_one_odd_certificate_is_none() {
        for changes in [
            json!({"serial_no": "PUB_KEY_ID_01"}),
            json!({"expire_time": "tomorrow"}),
            json!({"encrypt_certificate": sealed(SAMPLE_KEY, API_V3_KEY)}),
        ] {
            let refused = opened(changes.clone(), NOTICE_AT);
            assert!(matches!(refused, Err(Error::Forged(_))), "{changes}");
        }
        let foreign = sealed(CERTIFICATE, "A7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb");
        let refused = opened(json!({"encrypt_certificate": foreign}), NOTICE_AT);
        assert!(matches!(refused, Err(Error::NoKeys(_))));
        for body in ["", "[]", "{}", r#"{"data":[{}]}"#] {
            assert!(
                client().opened(body.as_bytes(), NOTICE_AT).is_err(),
                "{body}"
            );
        }
        let none = client().opened(br#"{"data":[]}"#, NOTICE_AT);
        assert_eq!(none.unwrap(), []);
    }
}
