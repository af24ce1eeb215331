//! Who is known at WeChat: merchants with their keys, and the accounts (appids)
//! bound to them. Given at the start, and by `/_control/merchants` and
//! `/_control/accounts`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rsa::PublicKey;
use rsa::pkcs8::DecodePublicKey as _;
use serde::{Deserialize, Serialize};
use x509_parser::pem::parse_x509_pem;

use crate::config::Config;
use crate::pay::TradeType;
use crate::v3::keys::Keys;

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
    /// The APIv3 key of 32 bytes, without which no APIv3 notification is sent.
    #[serde(default)]
    pub api_v3_key: Option<String>,
    /// The merchant's certificate in PEM; who has none cannot call APIv3.
    #[serde(default)]
    pub certificate: Option<String>,
    /// With which keys WeChat signs for this merchant.
    #[serde(default)]
    pub signs: Signs,
    /// How many in a hundred notifications are signed with the public key while
    /// `signs` is `both`.
    #[serde(default = "half")]
    pub public_key_percent: u8,
    /// How many platform certificates there are, 1 or 2; the newest signs.
    #[serde(default = "one")]
    pub platform_certificates: usize,
    /// The console's address for refunds that name none, told in v2's form.
    #[serde(default)]
    pub refund_notify_url: Option<String>,
}

fn half() -> u8 {
    50
}

fn one() -> usize {
    1
}

impl Merchant {
    /// A merchant of v2 alone.
    fn of_v2(mch_id: &str, api_key: &str) -> Self {
        Self {
            mch_id: mch_id.to_owned(),
            api_key: Some(api_key.to_owned()),
            api_v3_key: None,
            certificate: None,
            signs: Signs::PublicKey,
            public_key_percent: half(),
            platform_certificates: one(),
            refund_notify_url: None,
        }
    }
}

/// With which keys WeChat signs for a merchant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Signs {
    /// The WeChat Pay public key: merchants since 2024-10, who have no platform
    /// certificates.
    #[default]
    PublicKey,
    /// Platform certificates, whatever a request asks for: older merchants.
    Certificate,
    /// The days of the switch-over. Answers are signed as the request asks,
    /// notifications as WeChat likes.
    Both,
}

/// What APIv3 needs of a merchant, and WeChat's keys for it.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// The number of the merchant's certificate, in upper-case hexadecimal.
    pub(crate) serial: String,
    pub(crate) key: PublicKey,
    pub(crate) keys: Arc<Keys>,
}

/// WeChat's keys for a merchant, as its console shows them.
#[derive(Clone, Debug)]
pub struct Console {
    /// The number of the WeChat Pay public key.
    pub public_key_id: String,
    /// That key in PEM.
    pub public_key: String,
    /// Platform certificates in PEM, by their numbers.
    pub certificates: BTreeMap<String, String>,
}

/// Everybody who is known.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    merchants: BTreeMap<String, Merchant>,
    credentials: BTreeMap<String, Credentials>,
    /// Where WeChat's own keys are kept.
    keys_folder: Option<PathBuf>,
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
    File(PathBuf, std::io::Error),
    /// A file is not what it should be.
    #[error("{0}: {1}")]
    Listed(PathBuf, serde_json::Error),
    /// A number or id is empty.
    #[error("a merchant has a mch_id, an account an app_id")]
    Nameless,
    /// A figure is out of bounds.
    #[error("an APIv3 key has 32 bytes, per cents are up to 100, platform certificates 1 or 2")]
    Figures,
    /// The merchant's certificate is none.
    #[error("the certificate is no PEM of an RSA key's X.509 certificate")]
    Certificate,
    /// WeChat's own keys cannot be made or read.
    #[error("WeChat's own keys cannot be made or read")]
    Keys,
}

/// The number of a certificate, and the key that it is about.
fn opened(pem: &str) -> Option<(String, PublicKey)> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let serial = certificate.raw_serial();
    let serial = serial.strip_prefix(&[0]).unwrap_or(serial);
    let key = PublicKey::from_public_key_der(certificate.public_key().raw).ok()?;
    Some((hex::encode_upper(serial), key))
}

impl Directory {
    /// The first merchant with its account of kind `any`.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let merchant = Merchant::of_v2(&config.mch_id, &config.api_key);
        let account = Account {
            app_id: config.app_id.clone(),
            kind: Kind::Any,
            secret: config.app_secret.clone(),
            merchants: vec![config.mch_id.clone()],
        };
        Self {
            merchants: BTreeMap::from([(merchant.mch_id.clone(), merchant)]),
            credentials: BTreeMap::new(),
            keys_folder: config.keys_dir.clone(),
            accounts: BTreeMap::from([(account.app_id.clone(), account)]),
        }
    }

    /// The first merchant and its account, and whom a file adds.
    ///
    /// # Errors
    /// When a file is missing or wrong.
    pub fn read(config: &Config) -> Result<Self, Unfit> {
        let mut known = Self::of(config);
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| Unfit::File(path.clone(), error))
        };
        let certificate = config.mch_certificate.as_ref().map(read);
        known.put_merchant(Merchant {
            api_v3_key: config.api_v3_key.clone(),
            certificate: certificate.transpose()?,
            signs: config.signs,
            ..Merchant::of_v2(&config.mch_id, &config.api_key)
        })?;
        if let Some(path) = &config.accounts {
            let text = read(path)?;
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
    ///
    /// # Errors
    /// When it is not told rightly; nothing has changed.
    pub fn put_merchant(&mut self, merchant: Merchant) -> Result<(), Unfit> {
        if merchant.mch_id.is_empty() {
            return Err(Unfit::Nameless);
        }
        let key = merchant.api_v3_key.as_deref();
        if key.is_some_and(|key| key.len() != 32)
            || merchant.public_key_percent > 100
            || !(1..=2).contains(&merchant.platform_certificates)
        {
            return Err(Unfit::Figures);
        }
        let mch_id = merchant.mch_id.clone();
        match &merchant.certificate {
            None => self.credentials.remove(&mch_id),
            Some(pem) => {
                let (serial, key) = opened(pem).ok_or(Unfit::Certificate)?;
                let keys = Keys::of(&mch_id, self.keys_folder.as_deref())?;
                let credentials = Credentials { serial, key, keys };
                self.credentials.insert(mch_id.clone(), credentials)
            }
        };
        self.merchants.insert(mch_id, merchant);
        Ok(())
    }

    /// Adds an account, or replaces it.
    ///
    /// # Errors
    /// When it has no id; nothing has changed.
    pub fn put_account(&mut self, account: Account) -> Result<(), Unfit> {
        if account.app_id.is_empty() {
            return Err(Unfit::Nameless);
        }
        self.accounts.insert(account.app_id.clone(), account);
        Ok(())
    }

    /// What WeChat shows a merchant of APIv3 in its console: the public key's id,
    /// the public key, and the platform certificates by their numbers, all in PEM.
    #[must_use]
    pub fn console(&self, mch_id: &str) -> Option<Console> {
        let keys = &self.credentials(mch_id)?.keys;
        let certificates = keys.platform.iter();
        let certificates = certificates.map(|own| (own.signer.serial.clone(), own.pem.clone()));
        Some(Console {
            public_key_id: keys.public.serial.clone(),
            public_key: keys.public_pem.clone(),
            certificates: certificates.collect(),
        })
    }

    pub(crate) fn merchant(&self, mch_id: &str) -> Option<&Merchant> {
        self.merchants.get(mch_id)
    }

    pub(crate) fn merchants(&self) -> impl Iterator<Item = &Merchant> {
        self.merchants.values()
    }

    /// What APIv3 knows of a merchant.
    pub(crate) fn credentials(&self, mch_id: &str) -> Option<&Credentials> {
        self.credentials.get(mch_id)
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
