//! The only place that talks to WeChat: the client for one merchant's payments,
//! and why a call may fail. WeChat's wire names live below here and nowhere else:
//! version 2 of its payments in [`v2`], the official account's side, which has a
//! client and keys of its own, in [`official_account`], how both are called in
//! `transport`.

#[cfg(test)]
mod fixtures;
pub mod official_account;
mod transport;
pub mod v2;

use std::fmt;

use serde::Deserialize;
use url::Url;

use v2::sign::SignType;

/// The merchant's account at WeChat, without its keys.
#[derive(Debug, Clone)]
pub struct Account {
    /// The official account's appid.
    pub app_id: String,
    /// The merchant number, 8 to 10 digits.
    pub mch_id: String,
    /// Pinned per merchant: a notification signed otherwise is refused.
    pub sign_type: SignType,
    /// Where payments are asked for, without a trailing slash.
    pub pay_base: String,
    /// Where the official account's API is.
    pub api_base: String,
    /// Where users are sent to be asked.
    pub open_base: String,
}

impl Account {
    /// At WeChat's own hosts, signing with HMAC-SHA256.
    #[must_use]
    pub fn new(app_id: String, mch_id: String) -> Self {
        Self {
            app_id,
            mch_id,
            sign_type: SignType::HmacSha256,
            pay_base: "https://api.mch.weixin.qq.com".to_owned(),
            api_base: "https://api.weixin.qq.com".to_owned(),
            open_base: "https://open.weixin.qq.com".to_owned(),
        }
    }

    /// An address of the official account's API.
    fn api(&self, path: &str) -> Result<Url, Error> {
        Url::parse(&format!("{}{path}", self.api_base))
            .map_err(|_| Error::Refused("the API base is no URL".to_owned()))
    }
}

/// The keys of the merchant's payments, as JSON in Secrets Manager. They cannot
/// be printed.
#[derive(Clone, Deserialize)]
pub struct PaymentKeys {
    /// The 32-character API key that signs payments.
    api_key: String,
    /// What signed APP payments in 2014; without it that flow is off.
    #[serde(default)]
    app_key: Option<String>,
}

impl PaymentKeys {
    /// Reads the secret's JSON text.
    ///
    /// # Errors
    /// When a key is missing or the API key has not WeChat's form. The text
    /// is not part of the error.
    pub fn parse(json: &str) -> Result<Self, &'static str> {
        let keys: Self = serde_json::from_str(json)
            .map_err(|_| "the WeChat secret must be JSON with api_key")?;
        if keys.api_key.len() != 32 || !keys.api_key.is_ascii() {
            return Err("api_key in the WeChat secret must have 32 characters");
        }
        // An empty one would be known to everybody.
        if keys.app_key.as_ref().is_some_and(String::is_empty) {
            return Err("app_key in the WeChat secret must not be empty");
        }
        Ok(keys)
    }
}

impl fmt::Debug for PaymentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentKeys(..)")
    }
}

/// Why WeChat gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection: WeChat has not seen the request.
    #[error("WeChat cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Unknown is not failed: WeChat may have done it.
    #[error("WeChat did not answer in time, or its answer was lost")]
    Unknown(#[source] Option<reqwest::Error>),
    /// WeChat refused the request as such (`return_code` FAIL).
    #[error("WeChat refused the request: {0}")]
    Refused(String),
    /// WeChat's business error (`result_code` FAIL).
    #[error("WeChat answered {code}: {text}")]
    Business {
        /// `err_code`, what to act on.
        code: String,
        /// `err_code_des`, for people.
        text: String,
    },
    /// The answer is not WeChat's: wrong signature, ids or form.
    #[error("the answer is not WeChat's: {0}")]
    Forged(&'static str),
    /// The call needs it, and nothing was sent.
    #[error("the merchant's client certificate has not been imported")]
    NoCertificate,
    /// The same for the APP flow of 2014.
    #[error("the WeChat secret has no app_key")]
    NoAppKey,
}

impl Error {
    /// WeChat's `err_code`, when it gave one.
    #[must_use]
    pub fn business_code(&self) -> Option<&str> {
        match self {
            Self::Business { code, .. } => Some(code),
            Self::Unreachable(_)
            | Self::Unknown(_)
            | Self::Refused(_)
            | Self::Forged(_)
            | Self::NoCertificate
            | Self::NoAppKey => None,
        }
    }

    /// In a word, for a line in the log.
    fn in_short(&self) -> &str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Unknown(_) => "no answer",
            Self::Refused(_) => "FAIL",
            Self::Business { code, .. } => code,
            Self::Forged(_) => "not WeChat's",
            Self::NoCertificate | Self::NoAppKey => "not asked",
        }
    }
}

/// A client for one merchant's payments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wechat {
    account: Account,
    keys: PaymentKeys,
    http: reqwest::Client,
    /// Shows the merchant's certificate; apart from `http`, so that only the
    /// calls that need the certificate can show it.
    certified: Option<reqwest::Client>,
}

impl Wechat {
    /// A client; nothing is dialled yet.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(account: Account, keys: PaymentKeys) -> Result<Self, reqwest::Error> {
        Ok(Self {
            account,
            keys,
            http: transport::client().build()?,
            certified: None,
        })
    }

    /// Takes the merchant's client certificate: its private key and chain, PEM.
    ///
    /// # Errors
    /// When it is no such text, or key and certificate do not belong together.
    /// The one before, if any, stays.
    pub fn certify(&mut self, pem: &str) -> Result<(), reqwest::Error> {
        let identity = reqwest::Identity::from_pem(pem.as_bytes())?;
        self.certified = Some(transport::client().identity(identity).build()?);
        Ok(())
    }

    /// Whether there is a client certificate.
    #[must_use]
    pub fn is_certified(&self) -> bool {
        self.certified.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::wechat;

    #[test]
    fn what_is_no_certificate_is_refused_and_leaves_none() {
        let mut wechat = wechat("");
        for text in ["", "placeholder", "-----BEGIN CERTIFICATE-----"] {
            assert!(wechat.certify(text).is_err(), "{text}");
        }
        assert!(!wechat.is_certified());
    }
}
