//! The official account's credentials as the registry caches them: one row
//! each, and in it the lease of whoever is fetching a new one. It refuses to
//! know where credentials come from and how long they serve.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use serde::Deserialize;

use super::Registry;
use crate::aws::Failure;
use crate::domain::time::Timestamp;
use crate::wechat::account::Token;

/// A row: perhaps a credential, perhaps a lease.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TokenRow {
    /// The credential.
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

/// Whether a lease was granted.
#[derive(Debug)]
pub enum Leased {
    /// To the caller.
    Ours,
    /// To another, or the row has changed: this is the row now.
    Theirs(TokenRow),
}

impl Registry {
    /// The row of this name; empty when there is none.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn token(&self, name: &str) -> Result<TokenRow, Failure> {
        const OPERATION: &str = "read a cached token";
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(name.to_owned()))
            // Whoever waits for another's fetch must not read around it.
            .consistent_read(true)
            .send()
            .await
            .map_err(Failure::of(OPERATION))?;
        match answer.item {
            Some(item) => serde_dynamo::from_item(item).map_err(Failure::of(OPERATION)),
            None => Ok(TokenRow::default()),
        }
    }

    /// Leases the fetching of a credential, if nobody else holds it and the row
    /// still has the credential that was seen.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn lease_token(
        &self,
        name: &str,
        (lease, seen): (&str, Option<&Token>),
        (now, until): (Timestamp, Timestamp),
    ) -> Result<Leased, Failure> {
        const OPERATION: &str = "lease a token";
        let seen = seen.map_or("", Token::expose);
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(name.to_owned()))
            .update_expression("SET lease = :lease, lease_until = :until")
            .condition_expression(
                "(attribute_not_exists(lease_until) OR lease_until <= :now) \
                 AND (attribute_not_exists(credential) OR credential = :seen)",
            )
            .expression_attribute_values(":lease", AttributeValue::S(lease.to_owned()))
            .expression_attribute_values(":until", number(until.millis()))
            .expression_attribute_values(":now", number(now.millis()))
            .expression_attribute_values(":seen", AttributeValue::S(seen.to_owned()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let row: TokenRow = match result {
            Ok(_) => return Ok(Leased::Ours),
            Err(error) => match refused(error, OPERATION)? {
                Some(item) => serde_dynamo::from_item(item).map_err(Failure::of(OPERATION))?,
                None => TokenRow::default(),
            },
        };
        // The SDK repeats a call whose answer was lost: is the winner us?
        if row.lease == lease {
            Ok(Leased::Ours)
        } else {
            Ok(Leased::Theirs(row))
        }
    }

    /// Keeps a fetched credential and ends the lease it was fetched under.
    /// Under a lease that has passed to another nothing is written: the other's
    /// credential is the newer one.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn keep_token(
        &self,
        (name, lease): (&str, &str),
        token: &Token,
        (fresh_until, ends_at): (Timestamp, Timestamp),
    ) -> Result<(), Failure> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(name.to_owned()))
            .update_expression(
                "SET credential = :token, fresh_until = :fresh, ends_at = :ends, \
                 expires_at = :expires REMOVE lease, lease_until",
            )
            .condition_expression("lease = :lease")
            .expression_attribute_values(":lease", AttributeValue::S(lease.to_owned()))
            .expression_attribute_values(":token", AttributeValue::S(token.expose().to_owned()))
            .expression_attribute_values(":fresh", number(fresh_until.millis()))
            .expression_attribute_values(":ends", number(ends_at.millis()))
            .expression_attribute_values(":expires", number(ends_at.seconds()))
            .send()
            .await;
        match result {
            Ok(_) => Ok(()),
            Err(error) => refused(error, "keep a token").map(|_| ()),
        }
    }
}

impl Registry {
    /// Says that the fetching under this lease has failed. The lease goes on, so
    /// that WeChat is asked once in its time.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn give_up_token(&self, (name, lease): (&str, &str)) -> Result<(), Failure> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(name.to_owned()))
            .update_expression("REMOVE lease")
            .condition_expression("lease = :lease")
            .expression_attribute_values(":lease", AttributeValue::S(lease.to_owned()))
            .send()
            .await;
        match result {
            Ok(_) => Ok(()),
            Err(error) => refused(error, "give up a token's lease").map(|_| ()),
        }
    }
}

type Item = std::collections::HashMap<String, AttributeValue>;

/// The row that a condition failed on, or the failure.
fn refused(
    error: SdkError<UpdateItemError>,
    operation: &'static str,
) -> Result<Option<Item>, Failure> {
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(failed)) => Ok(failed.item.clone()),
        _ => Err(Failure::of(operation)(error)),
    }
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
