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
mod payment_code;
mod payments;
mod transport;
pub mod v2;
pub mod v3;

pub use payment_code::{Charge, Reversal};
pub use payments::{Closing, Paid, Proven, Trade, Wechat};
pub use transport::{Gateway, Http, NoCertificate};

use url::Url;

use crate::domain::merchant::{MchId, Merchant, SignType};

/// A merchant as its payments are spoken of. Without keys.
#[derive(Debug, Clone)]
pub struct Identity {
    /// WeChat's number of it.
    pub mch_id: MchId,
    /// How version 2 signs.
    pub sign_type: SignType,
    /// Where payments are asked for.
    pub gateway: Gateway,
    /// Where its accounts' own API is.
    pub api_base: String,
}

impl Identity {
    /// At these hosts.
    #[must_use]
    pub fn new(merchant: &Merchant, hosts: &Hosts) -> Self {
        Self {
            mch_id: merchant.mch_id.clone(),
            sign_type: merchant.sign_type,
            gateway: (merchant.pay_base.as_deref()).map_or_else(|| hosts.pay.clone(), Gateway::at),
            api_base: hosts.api.clone(),
        }
    }
}

/// WeChat's hosts, without trailing slashes.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// Where payments are asked for.
    pub pay: Gateway,
    /// Where the accounts' API is.
    pub api: String,
    /// Where users are sent to be asked.
    pub open: String,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            pay: Gateway::default(),
            api: "https://api.weixin.qq.com".to_owned(),
            open: "https://open.weixin.qq.com".to_owned(),
        }
    }
}

fn address(base: &str, path: &str) -> Result<Url, Error> {
    Url::parse(&format!("{base}{path}"))
        .map_err(|_| Error::Refused("the API base is no URL".to_owned()))
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
