//! WeChat's accounts: which of them an app's payers and users meet, and the clients
//! with their keys, in the functions that may read these.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;

use super::Failure;
use super::registry::Registry;
use super::secrets::{Kind, Known, Secrets};
use crate::config;
use crate::domain::app::App;
use crate::domain::merchant::{Account, AccountId, MchId, Need, choose};
use crate::wechat::official_account::{Client, Keys};
use crate::wechat::{Hosts, Http};

const OPERATION: &str = "read an account's keys";

/// The accounts. Clones share what was read.
#[derive(Debug, Clone)]
pub struct Accounts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    secrets: Secrets,
    registry: Registry,
    settings: config::Accounts,
    http: Http,
    /// None: it has no row.
    rows: Mutex<BTreeMap<AccountId, Arc<Known<Option<Account>>>>>,
    clients: Mutex<BTreeMap<AccountId, Arc<Known<Loaded>>>>,
}

/// What an account is to the app that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// It serves.
    Serves,
    /// It is the app's, and of another kind than is needed.
    Unsuited,
    /// It is not the app's, or disabled.
    Foreign,
}

#[derive(Debug)]
struct Loaded {
    text: Text,
    client: Arc<Client>,
}

/// A secret as it was read.
#[derive(PartialEq, Eq)]
struct Text(String);

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Text(..)")
    }
}

impl Accounts {
    /// The accounts, read when they are needed.
    #[must_use]
    pub fn new(
        config: &SdkConfig,
        registry: Registry,
        settings: config::Accounts,
        http: Http,
    ) -> Self {
        Self(Arc::new(Inner {
            secrets: Secrets::new(config),
            registry,
            settings,
            http,
            rows: Mutex::default(),
            clients: Mutex::default(),
        }))
    }

    /// WeChat's hosts.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.0.settings.hosts
    }

    /// The installation's first account.
    #[must_use]
    pub fn first(&self) -> Option<&AccountId> {
        self.0.settings.first.as_ref()
    }

    /// Of an app's accounts the one that serves, and is bound to this merchant if one
    /// is given; for an app that names none, the installation's first serves for
    /// everything.
    pub async fn choose(
        &self,
        app: &App,
        need: Need,
        merchant: Option<&MchId>,
    ) -> Result<Option<AccountId>, Failure> {
        if app.accounts.is_empty() {
            return match self.first() {
                Some(first) if self.is_enabled(first).await? => Ok(Some(first.clone())),
                _ => Ok(None),
            };
        }
        let mut rows = Vec::new();
        for account in &app.accounts {
            rows.extend(self.row(account).await?);
        }
        rows.retain(|row| merchant.is_none_or(|merchant| row.merchants.contains(merchant)));
        Ok(choose(&rows, need).map(|account| account.account.clone()))
    }

    /// Whether an account that an app's request names will do.
    pub async fn check(
        &self,
        app: &App,
        account: &AccountId,
        need: Need,
    ) -> Result<Named, Failure> {
        if app.accounts.is_empty() && self.first() == Some(account) {
            return Ok(match self.is_enabled(account).await? {
                true => Named::Serves,
                false => Named::Foreign,
            });
        }
        let row = match app.accounts.contains(account) {
            true => self.row(account).await?,
            false => None,
        };
        Ok(match row.filter(|row| !row.disabled) {
            Some(row) if need.is_met(row.kind) => Named::Serves,
            Some(_) => Named::Unsuited,
            None => Named::Foreign,
        })
    }

    /// Whether anybody may log in or pay through it. The installation's first needs no
    /// row.
    pub async fn is_enabled(&self, account: &AccountId) -> Result<bool, Failure> {
        let row = self.row(account).await?;
        Ok(row.map_or(self.first() == Some(account), |row| !row.disabled))
    }

    /// Whether payments of this type go through an account, as far as is known.
    pub async fn serves(&self, account: &AccountId, need: Need) -> Result<bool, Failure> {
        let row = self.row(account).await?;
        Ok(row.is_none_or(|row| need.is_met(row.kind)))
    }

    async fn row(&self, account: &AccountId) -> Result<Option<Account>, Failure> {
        let known = entry(&self.0.rows, account);
        let read = |_| {
            let (of, account) = (Arc::clone(&self.0), account.clone());
            async move {
                let row = of.registry.account(&account).await?;
                Ok(Some(Arc::new(row)))
            }
        };
        let row = known.get(self.0.settings.fresh, read).await?;
        Ok(row.and_then(|row| Option::clone(&row)))
    }

    /// The client for an account.
    ///
    /// # Errors
    /// When its secret has never been read and cannot be, or has not been filled in.
    pub async fn client(&self, account: &AccountId) -> Result<Arc<Client>, Failure> {
        let known = entry(&self.0.clients, account);
        let load = |old| load(Arc::clone(&self.0), account.clone(), old);
        let loaded = known.get(self.0.settings.fresh, load).await?;
        let client = loaded.map(|loaded| Arc::clone(&loaded.client));
        client.ok_or_else(|| Failure {
            operation: OPERATION,
            cause: "the account has no keys".into(),
        })
    }

    /// Begins to read the first account's keys, so that the first request need not
    /// wait for all of it and the function's start for none.
    pub fn warm_up(&self) {
        let (accounts, first) = (self.clone(), self.first().cloned());
        tokio::spawn(async move {
            if let Some(first) = first
                && let Err(failure) = accounts.client(&first).await
            {
                tracing::warn!(%failure, "the account's keys could not be read at start");
            }
        });
    }
}

/// Only names of registered rows, or of the stack, get here: there are few.
fn entry<T: Send + Sync + 'static>(
    known: &Mutex<BTreeMap<AccountId, Arc<Known<T>>>>,
    account: &AccountId,
) -> Arc<Known<T>> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(known.entry(account.clone()).or_default())
}

async fn load(
    of: Arc<Inner>,
    account: AccountId,
    old: Option<Arc<Loaded>>,
) -> Result<Option<Arc<Loaded>>, Failure> {
    let settings = &of.settings;
    let first = settings.secret_id.clone();
    let first = first.filter(|_| settings.first.as_ref() == Some(&account));
    let id =
        first.unwrap_or_else(|| Kind::Account.name(&settings.secrets_prefix, account.as_str()));
    let text = of.secrets.read(&id).await;
    let text = Text(text.map_err(Failure::of(OPERATION))?);
    if let Some(old) = old.filter(|old| old.text == text) {
        return Ok(Some(old));
    }
    let keys = Keys::parse(&text.0).map_err(|rule| {
        // A stack that was updated to two secrets has this one empty.
        tracing::error!(
            alarm = "configuration",
            rule,
            %account,
            "the account's secret has not been filled in: log-ins are out of order"
        );
        Failure {
            operation: OPERATION,
            cause: rule.into(),
        }
    })?;
    let client = Client::new(account, settings.hosts.api.clone(), keys, of.http.clone());
    Ok(Some(Arc::new(Loaded {
        text,
        client: Arc::new(client),
    })))
}
