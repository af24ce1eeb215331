//! What an app asks for.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::domain::UnknownAttributes;
use crate::domain::merchant::AccountId;
use crate::domain::money::Fen;

/// How the payer pays, in WeChat's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TradeType {
    /// A QR code that the payer scans.
    Native,
    /// A page inside WeChat; needs the payer's openid.
    Jsapi,
    /// The merchant's own app opens WeChat.
    App,
    /// The same in the flow of 2014, for old clients.
    Genprepay,
    /// A phone's browser outside WeChat opens WeChat.
    Mweb,
    /// The shop's till scans the code on the payer's phone.
    Micropay,
}

impl TradeType {
    /// What apps may ask for.
    pub const ALL: [Self; 5] = [
        Self::Native,
        Self::Jsapi,
        Self::App,
        Self::Mweb,
        Self::Micropay,
    ];

    /// Reads the name in our API.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }

    /// The name on WeChat's wire and in our API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "NATIVE",
            Self::Jsapi => "JSAPI",
            Self::App | Self::Genprepay => "APP",
            Self::Mweb => "MWEB",
            Self::Micropay => "MICROPAY",
        }
    }
}

/// Who tells the app about the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// WeChat calls the app itself; the hub only reconciles.
    #[serde(rename = "1.0")]
    Direct,
    /// WeChat calls the hub, and the hub tells the app.
    #[serde(rename = "2.0")]
    Relayed,
}

impl Version {
    /// The name in our API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "1.0",
            Self::Relayed => "2.0",
        }
    }
}

/// What the payer may not pay with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitPay {
    /// Credit cards: WeChat's only limit.
    NoCredit,
}

impl LimitPay {
    /// The name on WeChat's wire and in our API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredit => "no_credit",
        }
    }
}

/// What the app asked for. An order repeated with the same request is the same
/// order; with another request it is a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The price, in fen.
    pub total_fee: Fen,
    /// What the payer reads on the phone.
    pub body: String,
    /// The app's own note, given back to it in callbacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<String>,
    /// The app's number of its till or store, given back by WeChat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_info: Option<String>,
    /// What is sold: a text for WeChat's discounts, see [`super::check_detail`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Which of WeChat's discounts the order takes part in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goods_tag: Option<String>,
    /// What the payer may not pay with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_pay: Option<LimitPay>,
    /// The app's number of its store; the others are of no use without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
    /// How the store is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_name: Option<String>,
    /// The code of its district.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_area_code: Option<String>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_address: Option<String>,
    /// The asynchronous address, for callbacks.
    pub notify_url: String,
    /// The synchronous address, to which the payer's browser also returns.
    pub return_url: String,
    /// Fixed by the app, or decided by the cashier page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trade_type: Option<TradeType>,
    /// Through which of the app's accounts; otherwise the trade type decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// Who tells the app.
    pub version: Version,
    /// The payer, when the app knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// The payer's address, when the app knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
    /// Seconds from creation until the order expires.
    pub expires_in: u32,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

impl Request {
    /// Whether the app asks for the same order again, as far as this version
    /// knows what was asked. The payer may have moved to another network.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let known = Self {
            client_ip: other.client_ip,
            unknown: other.unknown.clone(),
            ..self.clone()
        };
        known == *other
    }
}
