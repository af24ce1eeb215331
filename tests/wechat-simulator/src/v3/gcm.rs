//! AES-256-GCM of notifications and platform certificates, of the crate
//! `aes-gcm`: the key is the APIv3 key's 32 bytes, the nonce 12 characters.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The ciphertext with its tag, in base64; nothing for a key or a nonce of
/// another length.
pub(crate) fn seal(key: &str, nonce: &str, associated_data: &str, plain: &str) -> Option<String> {
    let cipher = Aes256Gcm::new_from_slice(key.as_bytes()).ok()?;
    let nonce = Nonce::try_from(nonce.as_bytes()).ok()?;
    let payload = Payload {
        msg: plain.as_bytes(),
        aad: associated_data.as_bytes(),
    };
    let sealed = cipher.encrypt(&nonce, payload).ok()?;
    Some(STANDARD.encode(sealed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";

    fn open(nonce: &str, associated_data: &str, sealed: &str) -> Option<String> {
        let cipher = Aes256Gcm::new_from_slice(KEY.as_bytes()).ok()?;
        let nonce = Nonce::try_from(nonce.as_bytes()).ok()?;
        let sealed = STANDARD.decode(sealed).ok()?;
        let payload = Payload {
            msg: &sealed,
            aad: associated_data.as_bytes(),
        };
        String::from_utf8(cipher.decrypt(&nonce, payload).ok()?).ok()
    }

    #[test]
    fn published_ciphertexts_are_made_and_opened() {
        for (nonce, aad, plain, sealed) in [
            (
                "uluk4a9R25RW",
                "associatedData",
                "message",
                "ulwSiIajGClcvcOYvOQ7+l+0PAbzzwI=",
            ),
            ("fdasflkja484", "", "{}", "Y6nM5aUjTfFZDguXLTQNwagZ"),
        ] {
            assert_eq!(seal(KEY, nonce, aad, plain).as_deref(), Some(sealed));
            assert_eq!(open(nonce, aad, sealed).as_deref(), Some(plain));
            assert_eq!(open(nonce, "other", sealed), None);
        }
        for nonce in ["", "1", "123456", "1234567890123"] {
            assert_eq!(seal(KEY, nonce, "", "{}"), None);
            assert_eq!(open(nonce, "", "Y6nM5aUjTfFZDguXLTQNwagZ"), None);
        }
        for sealed in ["", "!!!not-base64!!!", "AAAA"] {
            assert_eq!(open("fdasflkja484", "", sealed), None);
        }
        assert_eq!(seal("short", "fdasflkja484", "", "{}"), None);
    }

    #[test]
    fn the_whole_notification_of_the_vectors_opens() {
        let body: serde_json::Value =
            serde_json::from_str(include_str!("vectors/notification.json")).unwrap();
        let text = |name: &str| body["resource"][name].as_str().unwrap();
        let plain = open(text("nonce"), text("associated_data"), text("ciphertext")).unwrap();
        let paid: serde_json::Value = serde_json::from_str(&plain).unwrap();
        assert_eq!(plain.len(), 431);
        assert_eq!(
            (&paid["amount"]["total"], &paid["amount"]["payer_total"]),
            (&100.into(), &90.into())
        );
        let again = seal(KEY, text("nonce"), text("associated_data"), &plain);
        assert_eq!(again.as_deref(), Some(text("ciphertext")));
    }
}
