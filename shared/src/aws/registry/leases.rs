//! Leases of rows: of many callers in many processes, one asks WeChat, and the row
//! says who.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use serde::de::DeserializeOwned;

use super::Registry;
use crate::aws::Failure;
use crate::aws::item::{self, refused, string};

/// A single flight: who asks, and in which row.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The row's name.
    pub name: String,
    /// Random, the asker's own.
    pub mark: String,
}

/// Whether a lease was granted.
#[derive(Debug)]
pub enum Leased<R> {
    /// To the caller.
    Ours,
    /// To another, or the row has changed: this is the row now.
    Theirs(R),
}

impl Registry {
    /// A change of the lease's row, in which `:lease` is the asker's mark.
    pub(super) fn update_leased(&self, lease: &Lease) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("pk", string(&lease.name))
            .expression_attribute_values(":lease", string(&lease.mark))
    }
}

/// Takes a lease by an update that sets `lease`.
pub(super) async fn take<R: DeserializeOwned>(
    update: UpdateItemFluentBuilder,
    lease: &Lease,
    operation: &'static str,
) -> Result<Leased<R>, Failure> {
    let old = ReturnValuesOnConditionCheckFailure::AllOld;
    let update = update.return_values_on_condition_check_failure(old);
    let row = match update.send().await {
        Ok(_) => return Ok(Leased::Ours),
        Err(error) => refused(error, operation)?.unwrap_or_default(),
    };
    // The SDK repeats a call whose answer was lost: is the winner us?
    match item::text(&row, "lease") == Some(&lease.mark) {
        true => Ok(Leased::Ours),
        false => Ok(Leased::Theirs(item::read(row, operation)?)),
    }
}

/// Writes while the lease is ours, else nothing.
pub(super) async fn under_lease(
    update: UpdateItemFluentBuilder,
    operation: &'static str,
) -> Result<(), Failure> {
    match update.condition_expression("lease = :lease").send().await {
        Ok(_) => Ok(()),
        Err(error) => refused(error, operation).map(drop),
    }
}
