//! The only place that talks to WeChat: the client for one merchant's payments,
//! [`Wechat`], and why a call may fail. WeChat's wire names live below here and
//! nowhere else: the two versions of its payments in [`v2`] and [`v3`], which share
//! nothing but how they are called, in `transport`; the official account's side,
//! which has a client and keys of its own, in [`official_account`].

mod asked;
#[cfg(test)]
mod fixtures;
pub mod notification;
pub mod official_account;
mod payments;
mod transport;
pub mod v2;
pub mod v3;

pub use payments::{Closing, Trade, Wechat};
pub use transport::Gateway;
pub use v2::micropay::{Charge, Reversal};

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
    /// Where payments are asked for.
    pub gateway: Gateway,
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
            gateway: Gateway::default(),
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

/// Why WeChat gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection: WeChat has not seen the request.
    #[error("WeChat cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Unknown is not failed: WeChat may have done it.
    #[error("WeChat did not answer in time, or its answer was lost")]
    Unknown(#[source] Option<reqwest::Error>),
    /// WeChat refused the request as such (`return_code` FAIL, status 401).
    #[error("WeChat refused the request: {0}")]
    Refused(String),
    /// WeChat's business error (`result_code` FAIL, or a status of 4xx). Version 3
    /// does not sign it.
    #[error("WeChat answered {code}: {text}")]
    Business {
        /// `err_code` or `code`, what to act on.
        code: String,
        /// `err_code_des` or `message`, for people.
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
    /// The same for payments as such.
    #[error("the merchant's keys do not serve: {0}")]
    NoKeys(&'static str),
    /// Some of a payment has gone back, and only version 2, whose key is not there,
    /// tells what.
    #[error("something has gone back that only version 2 of WeChat Pay can tell of")]
    Uncounted,
}

/// Why WeChat opens no payment under a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It says that it is paid.
    Paid,
    /// It is closed, on WeChat's signature.
    Closed,
    /// It says that it is used up, closed, or was used for something else: a query
    /// tells what is true.
    Used,
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
            | Self::NoAppKey
            | Self::NoKeys(_)
            | Self::Uncounted => None,
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
            Self::NoCertificate | Self::NoAppKey | Self::NoKeys(_) => "not asked",
            Self::Uncounted => "uncounted",
        }
    }

    /// What this refusal says of the number that a payment was to be opened under.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        match self.business_code()? {
            "ORDERPAID" => Some(Obstacle::Paid),
            "ORDERCLOSED" => Some(Obstacle::Closed),
            // The second is version 3's, which nobody signs.
            "ORDERREVERSED" | "ORDER_CLOSED" | "OUT_TRADE_NO_USED" | "INVALID_REQUEST" => {
                Some(Obstacle::Used)
            }
            _ => None,
        }
    }
}
