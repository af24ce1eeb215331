//! AES-256-GCM under the APIv3 key: notifications and platform certificates come
//! sealed with it. What can be opened was written by a holder of the key.

use base64::prelude::{BASE64_STANDARD, Engine};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::Deserialize;

/// The only algorithm.
const ALGORITHM: &str = "AEAD_AES_256_GCM";

/// Something sealed, as WeChat writes it.
#[derive(Debug, Deserialize)]
pub(super) struct Sealed {
    algorithm: String,
    ciphertext: String,
    /// WeChat may leave it out, or empty.
    #[serde(default)]
    associated_data: Option<String>,
    nonce: String,
}

/// Opens it. None for whatever is not sealed with this key.
pub(super) fn open(sealed: &Sealed, api_v3_key: &str) -> Option<Vec<u8>> {
    if sealed.algorithm != ALGORITHM {
        return None;
    }
    // Before the cipher is touched: another length is no nonce.
    let nonce: [u8; NONCE_LEN] = sealed.nonce.as_bytes().try_into().ok()?;
    let mut text = BASE64_STANDARD.decode(&sealed.ciphertext).ok()?;
    let key = UnboundKey::new(&AES_256_GCM, api_v3_key.as_bytes()).ok()?;
    let aad = Aad::from(sealed.associated_data.as_deref().unwrap_or_default());
    let opened =
        LessSafeKey::new(key).open_in_place(Nonce::assume_unique_for_key(nonce), aad, &mut text);
    let length = opened.ok()?.len();
    text.truncate(length);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";

    fn sealed(nonce: &str, aad: Option<&str>, ciphertext: &str) -> Sealed {
        Sealed {
            algorithm: ALGORITHM.to_owned(),
            ciphertext: ciphertext.to_owned(),
            associated_data: aad.map(str::to_owned),
            nonce: nonce.to_owned(),
        }
    }

    /// The first one is of WeChat's own library.
    #[test]
    fn what_was_sealed_with_the_key_is_opened() {
        let first = "ulwSiIajGClcvcOYvOQ7+l+0PAbzzwI=";
        let message = sealed("uluk4a9R25RW", Some("associatedData"), first);
        assert_eq!(open(&message, KEY).unwrap(), b"message");
        for nothing in [None, Some("")] {
            let message = sealed("fdasflkja484", nothing, "Y6nM5aUjTfFZDguXLTQNwagZ");
            assert_eq!(open(&message, KEY).unwrap(), b"{}");
        }
    }

    #[test]
    fn nothing_else_is_opened_and_nothing_panics() {
        let (nonce, aad) = ("uluk4a9R25RW", Some("associatedData"));
        let good = "ulwSiIajGClcvcOYvOQ7+l+0PAbzzwI=";
        for other in ["", "u", "uluk4a", "uluk4a9R25RWx", "uluk4a9R25Rw"] {
            assert!(open(&sealed(other, aad, good), KEY).is_none(), "{other}");
        }
        for other in [
            "",
            "!!!not-base64!!!",
            "AAAA",
            "ulwSiIajGClcvcOYvOQ7+l+0PAbzzwI",
            "ulwSiIajGClcvcOYvOQ7+l+0PAbzzwI=\n",
            "ulwSiIajGClcvcOYvOQ7+l+0PAbzzwJ=",
            "vlwSiIajGClcvcOYvOQ7+l+0PAbzzwI=",
        ] {
            assert!(open(&sealed(nonce, aad, other), KEY).is_none(), "{other}");
        }
        for other in [None, Some(""), Some("associateddata")] {
            assert!(open(&sealed(nonce, other, good), KEY).is_none());
        }
        for other in ["", "short", "A7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb"] {
            assert!(open(&sealed(nonce, aad, good), other).is_none(), "{other}");
        }
        let mut other = sealed(nonce, aad, good);
        other.algorithm = "AEAD_SM4_GCM".to_owned();
        assert!(open(&other, KEY).is_none());
    }
}
