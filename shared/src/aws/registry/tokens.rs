//! The official account's credentials as the registry caches them: one row
//! each, and in it the lease of whoever is fetching a new one.

use serde::Deserialize;

use super::Registry;
use super::leases::{self, Lease, Leased};
use crate::aws::Failure;
use crate::aws::item::{self, Item, millis, number, string};
use crate::domain::time::Timestamp;
use crate::wechat::official_account::token::Token;

/// A row: perhaps a credential, perhaps a lease.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TokenRow {
    /// For WeChat's calls, or for signing pages.
    pub credential: Option<Token>,
    /// Until then nobody needs to fetch another.
    pub fresh_until: Timestamp,
    /// Until then WeChat takes it.
    pub ends_at: Timestamp,
    /// Who is fetching.
    lease: String,
    /// Until when others leave it to them.
    pub lease_until: Timestamp,
}

impl TokenRow {
    /// Whether whoever was fetching has failed: until the lease ends, nobody
    /// fetches.
    #[must_use]
    pub fn is_given_up(&self, now: Timestamp) -> bool {
        self.lease.is_empty() && self.lease_until > now
    }
}

/// How long a credential serves.
#[derive(Debug, Clone, Copy)]
pub struct TokenLife {
    /// Until then nobody needs to fetch another.
    pub fresh_until: Timestamp,
    /// Until then WeChat takes it.
    pub ends_at: Timestamp,
}

impl Registry {
    /// The row of this name; empty when there is none.
    pub async fn token(&self, name: &str) -> Result<TokenRow, Failure> {
        const OPERATION: &str = "read a cached token";
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", string(name))
            // Whoever waits for another's fetch must not read around it.
            .consistent_read(true)
            .send()
            .await
            .map_err(Failure::of(OPERATION))?;
        row(answer.item, OPERATION)
    }

    /// Leases the fetching of a credential for so many seconds, if nobody else
    /// holds it and the row still has the credential that was seen.
    pub async fn lease_token(
        &self,
        lease: &Lease,
        seen: Option<&Token>,
        now: Timestamp,
        seconds: i64,
    ) -> Result<Leased<TokenRow>, Failure> {
        const OPERATION: &str = "lease a token";
        let update = self
            .update_leased(lease)
            .update_expression("SET lease = :lease, lease_until = :until")
            .condition_expression(
                "(attribute_not_exists(lease_until) OR lease_until <= :now) \
                 AND (attribute_not_exists(credential) OR credential = :seen)",
            )
            .expression_attribute_values(":until", millis(now.plus_seconds(seconds)))
            .expression_attribute_values(":now", millis(now))
            .expression_attribute_values(":seen", string(seen.map_or("", Token::expose)));
        leases::take(update, lease, OPERATION).await
    }

    /// Keeps a fetched credential and ends the lease it was fetched under.
    /// Under a lease that has passed to another nothing is written: the other's
    /// credential is the newer one.
    pub async fn keep_token(
        &self,
        lease: &Lease,
        token: &Token,
        life: TokenLife,
    ) -> Result<(), Failure> {
        let update = self
            .update_leased(lease)
            .update_expression(
                "SET credential = :token, fresh_until = :fresh, ends_at = :ends, \
                 expires_at = :expires REMOVE lease, lease_until",
            )
            .expression_attribute_values(":token", string(token.expose()))
            .expression_attribute_values(":fresh", millis(life.fresh_until))
            .expression_attribute_values(":ends", millis(life.ends_at))
            .expression_attribute_values(":expires", number(life.ends_at.seconds()));
        leases::under_lease(update, "keep a token").await
    }

    /// Says that the fetching under this lease has failed. The lease goes on, so
    /// that WeChat is asked once in its time.
    pub async fn give_up_token(&self, lease: &Lease) -> Result<(), Failure> {
        let update = self.update_leased(lease).update_expression("REMOVE lease");
        leases::under_lease(update, "give up a token's lease").await
    }
}

fn row(item: Option<Item>, operation: &'static str) -> Result<TokenRow, Failure> {
    item.map_or_else(
        || Ok(TokenRow::default()),
        |item| item::read(item, operation),
    )
}
