//! The official account's side of WeChat: JSON, an access token, and SHA-1
//! signatures. Its token and ticket are in [`token`], its users in [`oauth`], its
//! pages in [`jssdk`], its messages in [`server`].

pub mod jssdk;
pub mod oauth;
pub mod server;
pub mod token;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha1::{Digest, Sha1};
use url::Url;

use super::{Error, Wechat, transport};
use crate::domain::signature::Params;

/// What every answer of this side may be instead.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

impl Error {
    /// Raises an alarm when WeChat names a mistake of the account's settings,
    /// which ends every call of this side until a person mends it.
    pub fn alarm_if_ours(&self) {
        // Unknown appid, wrong secret, address not on the list, no permission.
        if let Some("40013" | "40125" | "40164" | "48001") = self.business_code() {
            tracing::error!(alarm = "configuration", error = %self,
                "WeChat refuses the official account's calls");
        }
    }
}

impl Wechat {
    /// An address of the official account's API.
    pub(super) fn api(&self, path: &str) -> Result<Url, Error> {
        Url::parse(&format!("{}{path}", self.account.api_base))
            .map_err(|_| Error::Refused("the API base is no URL".to_owned()))
    }
}

/// Calls the official account's API and reads its JSON. A refusal comes with
/// status 200 and an `errcode`.
pub(super) async fn call<T: DeserializeOwned>(
    request: reqwest::RequestBuilder,
) -> Result<T, Error> {
    const NOT_JSON: Error = Error::Forged("not WeChat's JSON");
    let body = transport::send(request).await?;
    let refusal: Refusal = serde_json::from_slice(&body).map_err(|_| NOT_JSON)?;
    match refusal.errcode {
        0 => serde_json::from_slice(&body).map_err(|_| NOT_JSON),
        // "The system is busy": WeChat itself does not know.
        -1 => Err(Error::Unknown(None)),
        code => Err(Error::Business {
            code: code.to_string(),
            text: refusal.errmsg,
        }),
    }
}

/// The signature of everything that is older than version 2 or beside it:
/// lower-case SHA-1 over all fields, sorted, without a key of its own.
#[must_use]
pub(super) fn sha1_signature(fields: &Params) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{name}={value}"));
    hex::encode(Sha1::digest(pairs.collect::<Vec<_>>().join("&")))
}
