//! APIv3's signatures: SHA256-RSA2048 over lines that each end in a newline,
//! and the header in which a merchant sends its own. Of the crate `rsa`, which
//! the hub does not use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::sha2::Sha256;
use rsa::{PrivateKey, PublicKey};

/// The only algorithm, in `Authorization` and in `Wechatpay-Signature-Type`.
pub(crate) const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";

/// What is signed: each line, and a newline after each.
pub(crate) fn lines(lines: &[&[u8]]) -> Vec<u8> {
    let ended = lines.iter().flat_map(|line| [*line, b"\n"]);
    ended.flatten().copied().collect()
}

/// The signature in base64; empty for a key that cannot sign, as none is.
pub(crate) fn sign(key: &PrivateKey, message: &[u8]) -> String {
    let signature = key.pkcs1v15_sign::<Sha256>(message);
    signature.map_or_else(|_| String::new(), |bytes| STANDARD.encode(bytes))
}

/// Whether this is the key's signature, in strict base64.
pub(crate) fn holds(key: &PublicKey, message: &[u8], signature: &str) -> bool {
    let signature = STANDARD.decode(signature);
    signature.is_ok_and(|bytes| key.pkcs1v15_verify::<Sha256>(message, &bytes).is_ok())
}

/// The header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub(crate) mchid: String,
    pub(crate) nonce_str: String,
    pub(crate) signature: String,
    pub(crate) timestamp: String,
    pub(crate) serial_no: String,
}

impl Authorization {
    /// Reads the five, in any order, each once and none beside them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let pairs = text.strip_prefix(SCHEME)?.strip_prefix(' ')?;
        let mut found: [Option<String>; 5] = [None, None, None, None, None];
        let names = ["mchid", "nonce_str", "signature", "timestamp", "serial_no"];
        for pair in pairs.split(',') {
            let (name, value) = pair.trim().split_once('=')?;
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            let place = names.iter().position(|known| *known == name)?;
            if found.get_mut(place)?.replace(value.to_owned()).is_some() {
                return None;
            }
        }
        let [mchid, nonce_str, signature, timestamp, serial_no] = found;
        Some(Self {
            mchid: mchid?,
            nonce_str: nonce_str?,
            signature: signature?,
            timestamp: timestamp?,
            serial_no: serial_no?,
        })
    }
}

#[cfg(test)]
mod tests {
    use rsa::pkcs8::DecodePublicKey as _;

    use super::*;

    /// A sample key that WeChat has published, and the vectors made with it.
    const SAMPLE: &str = include_str!("vectors/sample.pem");
    const VECTORS: &str = include_str!("vectors/signatures.json");
    /// The key behind an answer that WeChat itself has signed.
    const WECHAT: &str = include_str!("vectors/wechat.pem");

    fn vectors() -> Vec<(String, String, String)> {
        let list: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        list.as_array()
            .unwrap()
            .iter()
            .map(|case| {
                (
                    text(&case["key"]),
                    text(&case["message"]),
                    text(&case["signature"]),
                )
            })
            .collect()
    }

    #[test]
    fn published_signatures_hold_and_break_with_any_byte() {
        for (name, message, signature) in vectors() {
            let pem = if name == "sample" { SAMPLE } else { WECHAT };
            let key = PublicKey::from_public_key_pem(pem).unwrap();
            assert!(holds(&key, message.as_bytes(), &signature), "{message}");
            for place in [0, message.len() / 2, message.len() - 1] {
                let mut broken = message.clone().into_bytes();
                broken[place] ^= 1;
                assert!(!holds(&key, &broken, &signature), "{place} of {message}");
            }
            let odd = [
                String::new(),
                format!("{signature}="),
                format!("WECHATPAY/SIGNTEST/{signature}"),
                signature.replace("==", ""),
                format!("{signature}\n"),
            ];
            assert!(odd.iter().all(|odd| !holds(&key, message.as_bytes(), odd)));
        }
        assert_eq!(vectors().len(), 7);
    }

    #[test]
    fn the_header_has_its_five_once_each() {
        let good = "WECHATPAY2-SHA256-RSA2048 timestamp=\"1\",mchid=\"2\",\
                    nonce_str=\"3\",serial_no=\"4\",signature=\"5+/==\"";
        let read = Authorization::parse(good).unwrap();
        assert_eq!(
            (read.mchid.as_str(), read.signature.as_str()),
            ("2", "5+/==")
        );
        for odd in [
            good.replace("RSA2048", "RSA4096"),
            good.replace("mchid=\"2\",", ""),
            good.replace("mchid=\"2\"", "mchid=2"),
            format!("{good},mchid=\"2\""),
            format!("{good},more=\"2\""),
            good.replace("RSA2048 ", "RSA2048"),
            String::new(),
        ] {
            assert_eq!(Authorization::parse(&odd), None, "{odd}");
        }
    }
}
