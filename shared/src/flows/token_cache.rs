//! The official account's access token and JS-SDK ticket, for every caller of
//! every function: a single-flight cache. They are fetched by one caller at a
//! time, kept in the registry and in memory, renewed before they end, and at
//! once when WeChat refuses one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::accounts::Accounts;
use crate::aws::registry::Registry;
use crate::aws::registry::leases::{Lease, Leased};
use crate::aws::registry::tokens::{TokenLife, TokenRow};
use crate::domain::merchant::AccountId;
use crate::domain::time::Timestamp;
use crate::wechat;
use crate::wechat::official_account::token::{Issued, Renewal, Token};

/// How long others leave the fetching to whoever began it: two calls of WeChat
/// at their limit. A fetch that failed keeps its lease, so that an account that
/// WeChat refuses is asked about once in this time and not by everybody.
const LEASE_SECONDS: i64 = 10;
/// How often, and how many times, the others look whether it is done.
const POLL: Duration = Duration::from_millis(250);
const POLLS: i64 = 24;
/// WeChat renews a token in the last 300 of its 7200 seconds, with both valid:
/// the same part of whatever life it states.
const LAST_PART: i64 = 24;

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry or the secret.
    #[error(transparent)]
    Aws(#[from] Failure),
    /// WeChat did not give one.
    #[error(transparent)]
    Wechat(#[from] wechat::Error),
    /// Another caller is fetching it and has not finished.
    #[error(
        "the credential is being fetched and did not come in time, or could not be fetched just now"
    )]
    Busy,
}

/// The accounts' credentials. Clones share what is in memory.
#[derive(Debug, Clone)]
pub struct TokenCache {
    registry: Registry,
    accounts: Accounts,
    known: Arc<Mutex<BTreeMap<Credential, Known>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Access,
    Ticket,
}

/// Which credential of which account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Credential {
    kind: Kind,
    account: AccountId,
}

#[derive(Debug, Clone)]
struct Known {
    token: Token,
    fresh_until: Timestamp,
}

enum Lookup {
    /// A fresh one is there, or an old one that serves while another fetches.
    Cached(Token),
    /// The caller has the lease and fetches it.
    Fetch(Flight),
}

/// The one fetch under way.
struct Flight {
    credential: Credential,
    lease: Lease,
    /// Still good, if the fetch fails.
    old: Option<Token>,
}

impl TokenCache {
    /// The credentials of these accounts.
    #[must_use]
    pub fn new(registry: Registry, accounts: Accounts) -> Self {
        Self {
            registry,
            accounts,
            known: Arc::default(),
        }
    }

    /// The access token. When WeChat refuses it ([`wechat::Error::refuses_token`]),
    /// ask [`TokenCache::refused`] for another, once.
    pub async fn access_token(&self, account: &AccountId, now: Timestamp) -> Result<Token, Error> {
        self.access(account, None, now).await
    }

    /// An access token other than this one, which WeChat refuses: one that
    /// another caller has fetched meanwhile, or a new one.
    pub async fn refused(
        &self,
        account: &AccountId,
        token: &Token,
        now: Timestamp,
    ) -> Result<Token, Error> {
        self.access(account, Some(token), now).await
    }

    /// The ticket that signs pages for the JS-SDK.
    pub async fn ticket(&self, account: &AccountId, now: Timestamp) -> Result<Token, Error> {
        let credential = Kind::Ticket.of(account);
        match self.look_up(credential, None, now).await? {
            Lookup::Cached(ticket) => Ok(ticket),
            Lookup::Fetch(flight) => {
                let fetched = self.fetch_ticket(account, now).await;
                self.finish(flight, fetched, now).await
            }
        }
    }

    async fn access(
        &self,
        account: &AccountId,
        refused: Option<&Token>,
        now: Timestamp,
    ) -> Result<Token, Error> {
        let credential = Kind::Access.of(account);
        match self.look_up(credential, refused, now).await? {
            Lookup::Cached(token) => Ok(token),
            Lookup::Fetch(flight) => {
                let fetched = self.fetch_access(account, refused).await;
                self.finish(flight, fetched, now).await
            }
        }
    }

    /// Asks for the token in circulation, and forces a new one only if that is
    /// the refused one: forcing ends the tokens of everybody else.
    async fn fetch_access(
        &self,
        account: &AccountId,
        refused: Option<&Token>,
    ) -> Result<Issued, Error> {
        let wechat = self.accounts.client(account).await?;
        let issued = wechat.stable_token(Renewal::Plain).await?;
        if Some(&issued.token) == refused {
            tracing::warn!("WeChat refuses the token that it hands out: forcing a new one");
            return Ok(wechat.stable_token(Renewal::Force).await?);
        }
        Ok(issued)
    }

    async fn fetch_ticket(&self, account: &AccountId, now: Timestamp) -> Result<Issued, Error> {
        let wechat = self.accounts.client(account).await?;
        let token = self.access_token(account, now).await?;
        match wechat.ticket(&token).await {
            Err(error) if error.refuses_token() => {
                let token = self.refused(account, &token, now).await?;
                Ok(wechat.ticket(&token).await?)
            }
            other => Ok(other?),
        }
    }

    /// Finds out who fetches: nobody if there is a fresh one, the one caller
    /// who gets the lease, and the others use the old one or wait.
    async fn look_up(
        &self,
        credential: Credential,
        refused: Option<&Token>,
        now: Timestamp,
    ) -> Result<Lookup, Error> {
        if let Some(known) = self.known.lock().await.get(&credential)
            && known.fresh_until > now
            && Some(&known.token) != refused
        {
            return Ok(Lookup::Cached(known.token.clone()));
        }
        let lease = Lease {
            name: credential.row(),
            mark: random_hex(),
        };
        for poll in 0..POLLS {
            let now = now.plus(POLL.saturating_mul(u32::try_from(poll).unwrap_or(u32::MAX)));
            let row = self.registry.token(&lease.name).await?;
            let old = usable(&row, refused, now);
            if let Some(token) = &old
                && row.fresh_until > now
            {
                self.remember(credential, token, row.fresh_until).await;
                return Ok(Lookup::Cached(token.clone()));
            }
            if row.lease_until <= now {
                let seen = row.credential.as_ref();
                let leased = self.registry.lease_token(&lease, seen, now, LEASE_SECONDS);
                if matches!(leased.await?, Leased::Ours) {
                    return Ok(Lookup::Fetch(Flight {
                        credential,
                        lease,
                        old,
                    }));
                }
            }
            if let Some(token) = old {
                return Ok(Lookup::Cached(token));
            }
            if row.is_given_up(now) {
                return Err(Error::Busy);
            }
            tokio::time::sleep(POLL).await;
        }
        Err(Error::Busy)
    }

    /// Keeps what was fetched. It serves even if it could not be kept: the
    /// lease ends, and WeChat hands the same one to the next caller.
    async fn finish(
        &self,
        flight: Flight,
        fetched: Result<Issued, Error>,
        now: Timestamp,
    ) -> Result<Token, Error> {
        let Issued { token, expires_in } = match (fetched, flight.old) {
            (Ok(issued), _) => issued,
            (Err(error), old) => {
                let Credential { kind, account } = &flight.credential;
                tracing::warn!(%error, ?kind, %account, "a credential could not be fetched");
                if let Error::Wechat(error) = &error {
                    error.alarm_if_ours(&flight.credential.account);
                }
                // Whoever waits for it need not.
                if let Err(failure) = self.registry.give_up_token(&flight.lease).await {
                    tracing::warn!(%failure, "a lease could not be given up");
                }
                return old.ok_or(error);
            }
        };
        let life = TokenLife {
            // At least a second, or a credential at its end would be asked for
            // by every caller.
            fresh_until: now.plus_seconds((expires_in - expires_in / LAST_PART).max(1)),
            ends_at: now.plus_seconds(expires_in),
        };
        let kept = self.registry.keep_token(&flight.lease, &token, life);
        match kept.await {
            Ok(()) => {
                tracing::info!(kind = ?flight.credential.kind, expires_in, "a credential was fetched")
            }
            Err(failure) => tracing::warn!(%failure, "a credential could not be kept"),
        }
        self.remember(flight.credential, &token, life.fresh_until)
            .await;
        Ok(token)
    }

    async fn remember(&self, credential: Credential, token: &Token, fresh_until: Timestamp) {
        let known = Known {
            token: token.clone(),
            fresh_until,
        };
        self.known.lock().await.insert(credential, known);
    }
}

impl Kind {
    fn of(self, account: &AccountId) -> Credential {
        Credential {
            kind: self,
            account: account.clone(),
        }
    }
}

impl Credential {
    /// The row's name.
    fn row(&self) -> String {
        let kind = match self.kind {
            Kind::Access => "access",
            Kind::Ticket => "ticket",
        };
        format!("token#{kind}#{}", self.account)
    }
}

fn usable(row: &TokenRow, refused: Option<&Token>, now: Timestamp) -> Option<Token> {
    let credential = row.credential.as_ref()?;
    (row.ends_at > now && Some(credential) != refused).then(|| credential.clone())
}
