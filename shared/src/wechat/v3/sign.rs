//! SHA256-RSA2048 with the merchant's own key, over lines that each end in a
//! newline: of requests, and of what a client opens WeChat with. PKCS#1 v1.5, so
//! that the same message always has the same signature.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

use crate::ambient::random_hex;
use crate::domain::time::Timestamp;
use crate::wechat::Error;

/// WeChat's name of the algorithm.
const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";

/// The merchant's private key, and the serial of its certificate. It cannot be
/// printed.
#[derive(Clone)]
pub(super) struct Signer {
    key: Arc<RsaKeyPair>,
    serial: String,
}

/// What is called, and what with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    /// With the query, exactly as it is sent.
    pub(super) path: &'a str,
    /// Empty where there is none.
    pub(super) body: &'a str,
}

impl Signer {
    /// From a private key in PKCS#8 and the certificate's serial.
    pub(super) fn new(pkcs8: &[u8], serial: String) -> Result<Self, &'static str> {
        let key = RsaKeyPair::from_pkcs8(pkcs8)
            .map_err(|_| "private_key must be an RSA key of at least 2048 bits, in PKCS#8")?;
        Ok(Self {
            key: Arc::new(key),
            serial,
        })
    }

    /// The signature of these lines, in base64.
    pub(super) fn sign(&self, lines: &[&str]) -> Result<String, Error> {
        const CANNOT: Error = Error::NoKeys("the private key cannot sign");
        let message = message(lines);
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .map_err(|_| CANNOT)?;
        Ok(BASE64_STANDARD.encode(signature))
    }

    /// The header `Authorization` of a request.
    pub(super) fn authorization(
        &self,
        mch_id: &str,
        call: Call<'_>,
        now: Timestamp,
    ) -> Result<String, Error> {
        let (timestamp, nonce) = (now.seconds().to_string(), random_hex());
        let signature = self.sign(&[call.method, call.path, &timestamp, &nonce, call.body])?;
        Ok(format!(
            "{SCHEME} mchid=\"{mch_id}\",nonce_str=\"{nonce}\",signature=\"{signature}\",\
             timestamp=\"{timestamp}\",serial_no=\"{}\"",
            self.serial
        ))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(..)")
    }
}

/// What is signed: each line, the last one too, ends in a newline.
pub(super) fn message(lines: &[&str]) -> String {
    let ended = lines.iter().flat_map(|line| [*line, "\n"]);
    ended.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::v3::fixtures::{MERCHANT_SERIAL, signer};

    /// Made by `openssl dgst -sha256 -sign` with the test's key.
    #[test]
    fn the_signature_is_the_one_that_openssl_makes() {
        let lines = [
            "GET",
            "/v3/refund/domestic/refunds/123123123123",
            "1554208460",
            "593BEC0C930BF1AFEB40B4A08C8FB242",
            "",
        ];
        assert_eq!(
            message(&lines),
            "GET\n/v3/refund/domestic/refunds/123123123123\n1554208460\n\
             593BEC0C930BF1AFEB40B4A08C8FB242\n\n"
        );
        assert_eq!(
            signer().sign(&lines).unwrap(),
            include_str!("fixtures/openssl.txt")
        );
    }

    #[test]
    fn a_request_says_who_signs_it_what_and_when() {
        let now = Timestamp::from_millis(1_554_208_460_999);
        let call = Call {
            method: "POST",
            path: "/v3/pay/transactions/jsapi",
            body: "{}",
        };
        let header = signer().authorization("1900000109", call, now).unwrap();
        let fields = header.strip_prefix("WECHATPAY2-SHA256-RSA2048 ").unwrap();
        let field = |name: &str| {
            let mut pairs = fields.split(',').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(named, _)| *named == name).unwrap();
            value.trim_matches('"').to_owned()
        };
        assert_eq!(field("mchid"), "1900000109");
        assert_eq!(field("serial_no"), MERCHANT_SERIAL);
        assert_eq!(field("timestamp"), "1554208460");
        let nonce = field("nonce_str");
        assert_eq!(nonce.len(), 32);
        let lines = ["POST", call.path, "1554208460", &nonce, "{}"];
        assert!(header.contains(&format!("signature=\"{}\"", signer().sign(&lines).unwrap())));
        assert_eq!(fields.split(',').count(), 5);
        assert_eq!(format!("{:?}", signer()), "Signer(..)");
    }
}
