//! The official account's side of WeChat: JSON, an access token, and SHA-1
//! signatures. Its token and ticket are in [`token`], its users in [`oauth`], its
//! pages in [`jssdk`], its messages in [`server`]; a mini program's users in
//! [`mini_program`].

pub mod jssdk;
pub mod mini_program;
pub mod oauth;
pub mod server;
pub mod token;

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha1::{Digest, Sha1};
use url::Url;

use super::{Error, Http, address, transport};
use crate::domain::merchant::AccountId;
use crate::domain::signature::Params;

/// The official account's keys, as JSON in Secrets Manager, apart from the keys
/// of payments: who faces strangers' log-ins has no business with money. They
/// cannot be printed.
#[derive(Clone, Deserialize)]
pub struct Keys {
    /// For OAuth and the access token.
    app_secret: String,
    /// The token of the account's server address; without one that address
    /// believes nobody.
    #[serde(default)]
    server_token: Option<String>,
}

impl Keys {
    /// Reads the secret's JSON text.
    ///
    /// # Errors
    /// When it has not been filled in. The text is not part of the error.
    pub fn parse(json: &str) -> Result<Self, &'static str> {
        let keys: Self = serde_json::from_str(json)
            .map_err(|_| "the account's secret must be JSON with app_secret")?;
        if keys.app_secret.is_empty() {
            return Err("app_secret in the account's secret must not be empty");
        }
        // An empty one would be known to everybody.
        if keys.server_token.as_ref().is_some_and(String::is_empty) {
            return Err("server_token in the account's secret must not be empty");
        }
        Ok(keys)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// A client for an account: an official one, or any other for what it has in common
/// with them.
#[derive(Debug, Clone)]
pub struct Client {
    account: AccountId,
    api_base: String,
    keys: Keys,
    http: Http,
}

impl Client {
    /// A client; nothing is dialled yet.
    #[must_use]
    pub const fn new(account: AccountId, api_base: String, keys: Keys, http: Http) -> Self {
        Self {
            account,
            api_base,
            keys,
            http,
        }
    }

    fn address(&self, path: &str) -> Result<Url, Error> {
        address(&self.api_base, path)
    }
}

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
    pub fn alarm_if_ours(&self, account: &AccountId) {
        // Unknown appid, wrong secret, address not on the list, no permission.
        if let Some("40013" | "40125" | "40164" | "48001") = self.business_code() {
            tracing::error!(alarm = "configuration", %account, error = %self,
                "WeChat refuses the account's calls");
        }
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

#[cfg(test)]
mod tests {
    use super::Keys;

    #[test]
    fn a_secret_that_nobody_has_filled_in_is_none() {
        for placeholder in ["", "fLxg4hW1oX", "{}", r#"{"app_secret":""}"#] {
            assert!(Keys::parse(placeholder).is_err(), "{placeholder}");
        }
        assert!(Keys::parse(r#"{"app_secret":"s","server_token":""}"#).is_err());
        let keys = Keys::parse(r#"{"app_secret":"shy"}"#).unwrap();
        assert_eq!(format!("{keys:?}"), "Keys(..)");
    }
}
