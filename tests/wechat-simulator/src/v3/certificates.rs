//! `/v3/certificates`: the platform certificates, each sealed under the APIv3
//! key, which is the only proof of the first ones.

use serde_json::{Value, json};

use super::gcm;
use super::refusal::Refusal;
use crate::beijing;
use crate::merchants::{Credentials, Merchant, Signs};
use crate::pay::Moment;

const ASSOCIATED: &str = "certificate";

/// `GET /v3/certificates`. A merchant of the public key has none; that this is
/// said with NOT_FOUND is what WeChat's Java SDK expects.
pub(super) fn certificates(
    merchant: &Merchant,
    credentials: &Credentials,
    moment: Moment,
) -> Result<Value, Refusal> {
    if merchant.signs == Signs::PublicKey {
        return Err(Refusal::new(
            "NOT_FOUND",
            0,
            "无可用的平台证书，请使用微信支付公钥",
        ));
    }
    let api_v3_key = merchant.api_v3_key.as_deref().unwrap_or_default();
    let nonce = moment.nonce();
    let nonce = nonce.get(20..).unwrap_or_default();
    let shown = credentials
        .keys
        .platform
        .iter()
        .take(merchant.platform_certificates);
    let data = shown.map(|platform| {
        let sealed = gcm::seal(api_v3_key, nonce, ASSOCIATED, &platform.pem);
        let sealed =
            sealed.ok_or_else(|| Refusal::new("INVALID_REQUEST", 0, "尚未设置APIv3密钥"))?;
        Ok(json!({
            "serial_no": platform.signer.serial,
            "effective_time": beijing::rfc3339(platform.effective_ms),
            "expire_time": beijing::rfc3339(platform.expire_ms),
            "encrypt_certificate": {
                "algorithm": "AEAD_AES_256_GCM",
                "nonce": nonce,
                "associated_data": ASSOCIATED,
                "ciphertext": sealed,
            },
        }))
    });
    let data: Vec<Value> = data.collect::<Result<_, Refusal>>()?;
    Ok(json!({ "data": data }))
}
