//! Who is known at WeChat: merchants with their keys, and the accounts (appids)
//! bound to them. Given at the start, and by `/_control/merchants` and
//! `/_control/accounts`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::pay::TradeType;

/// What an account is: the ids look alike and are not interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Pays inside WeChat, and logs people in.
    OfficialAccount,
    /// Pays inside WeChat, with a log-in of its own.
    MiniProgram,
    /// Pays in a merchant's app.
    MobileApp,
    /// Only names the merchant: NATIVE and MWEB.
    Website,
    /// There is no such account at WeChat: good for everything, for whoever
    /// knows one account only.
    Any,
}

impl Kind {
    /// Whether orders of this type may name such an account.
    #[must_use]
    pub(crate) fn takes(self, trade_type: TradeType) -> bool {
        match trade_type {
            TradeType::Jsapi => {
                matches!(self, Self::OfficialAccount | Self::MiniProgram | Self::Any)
            }
            TradeType::App | TradeType::App2014 => matches!(self, Self::MobileApp | Self::Any),
            TradeType::Native | TradeType::Mweb | TradeType::Micropay => true,
        }
    }

    /// Whether it sends people through OAuth.
    pub(crate) fn logs_in(self) -> bool {
        matches!(self, Self::OfficialAccount | Self::Any)
    }

    /// Whether it is opened inside WeChat and asks for a session.
    pub(crate) fn has_sessions(self) -> bool {
        matches!(self, Self::MiniProgram | Self::Any)
    }
}

/// An official account, a mini program, an app or a website.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// `appid`.
    pub app_id: String,
    /// What it is.
    pub kind: Kind,
    /// `secret`, for OAuth, sessions and tokens.
    pub secret: String,
    /// The `mch_id`s that it is bound to.
    #[serde(default)]
    pub merchants: Vec<String>,
}

/// A merchant as it is told to the simulator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merchant {
    /// `mch_id`, `mchid`.
    pub mch_id: String,
    /// The v2 key; who has none cannot call v2.
    #[serde(default)]
    pub api_key: Option<String>,
}

/// Everybody who is known.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    merchants: BTreeMap<String, Merchant>,
    accounts: BTreeMap<String, Account>,
}

/// What a file of merchants and accounts holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    #[serde(default)]
    pub(crate) merchants: Vec<Merchant>,
    #[serde(default)]
    pub(crate) accounts: Vec<Account>,
}

/// Why somebody cannot be known.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(std::path::PathBuf, std::io::Error),
    /// A file is not what it should be.
    #[error("{0}: {1}")]
    Listed(std::path::PathBuf, serde_json::Error),
    /// A number or id is empty.
    #[error("a merchant has a mch_id, an account an app_id")]
    Nameless,
}

impl Directory {
    /// The first merchant with its account of kind `any`.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let merchant = Merchant {
            mch_id: config.mch_id.clone(),
            api_key: Some(config.api_key.clone()),
        };
        let account = Account {
            app_id: config.app_id.clone(),
            kind: Kind::Any,
            secret: config.app_secret.clone(),
            merchants: vec![config.mch_id.clone()],
        };
        Self {
            merchants: BTreeMap::from([(merchant.mch_id.clone(), merchant)]),
            accounts: BTreeMap::from([(account.app_id.clone(), account)]),
        }
    }

    /// The first merchant and its account, and whom a file adds.
    ///
    /// # Errors
    /// When a file is missing or wrong.
    pub fn read(config: &Config) -> Result<Self, Unfit> {
        let mut known = Self::of(config);
        if let Some(path) = &config.accounts {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| Unfit::File(path.clone(), error))?;
            let listed: Listed =
                serde_json::from_str(&text).map_err(|error| Unfit::Listed(path.clone(), error))?;
            for merchant in listed.merchants {
                known.put_merchant(merchant)?;
            }
            for account in listed.accounts {
                known.put_account(account)?;
            }
        }
        Ok(known)
    }

    /// Adds a merchant, or replaces it.
    pub(crate) fn put_merchant(&mut self, merchant: Merchant) -> Result<(), Unfit> {
        if merchant.mch_id.is_empty() {
            return Err(Unfit::Nameless);
        }
        self.merchants.insert(merchant.mch_id.clone(), merchant);
        Ok(())
    }

    /// Adds an account, or replaces it.
    pub(crate) fn put_account(&mut self, account: Account) -> Result<(), Unfit> {
        if account.app_id.is_empty() {
            return Err(Unfit::Nameless);
        }
        self.accounts.insert(account.app_id.clone(), account);
        Ok(())
    }

    pub(crate) fn merchant(&self, mch_id: &str) -> Option<&Merchant> {
        self.merchants.get(mch_id)
    }

    pub(crate) fn merchants(&self) -> impl Iterator<Item = &Merchant> {
        self.merchants.values()
    }

    pub(crate) fn account(&self, app_id: &str) -> Option<&Account> {
        self.accounts.get(app_id)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// The account, if this merchant may name it.
    pub(crate) fn bound(&self, app_id: &str, mch_id: &str) -> Option<&Account> {
        let account = self.account(app_id);
        account.filter(|account| account.merchants.iter().any(|bound| bound == mch_id))
    }

    /// The v2 key; empty, and so no signature's, when there is none.
    pub(crate) fn api_key(&self, mch_id: &str) -> &str {
        let merchant = self.merchant(mch_id);
        merchant.map_or("", |merchant| {
            merchant.api_key.as_deref().unwrap_or_default()
        })
    }
}
