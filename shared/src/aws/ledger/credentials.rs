//! The rows `hub`, `credential#<name>`: when a person must be warned that a
//! credential ends. They belong to no order; whoever stores a credential writes
//! its row.

use aws_sdk_dynamodb::operation::put_item::PutItemError;

use super::{Item, Ledger, row, row_key};
use crate::aws::{Failure, item};
use crate::domain::credential::Credential;
use crate::domain::time::Timestamp;

/// No app's: their partitions have an order number behind a `#`.
const PARTITION: &str = "hub";
const PREFIX: &str = "credential#";

/// The credential that a doorbell names.
#[must_use]
pub fn of_row<'row>(pk: &str, sk: &'row str) -> Option<&'row str> {
    sk.strip_prefix(PREFIX).filter(|_| pk == PARTITION)
}

pub(super) fn write(credential: &Credential) -> Result<Item, Failure> {
    row(
        PARTITION,
        &format!("{PREFIX}{}", credential.name),
        credential,
    )
}

pub(super) fn read(item: Item) -> Result<Credential, Failure> {
    item::read(item, "understand a credential's row")
}

impl Ledger {
    /// The credential of this name, read consistently.
    pub async fn credential(&self, name: &str) -> Result<Option<Credential>, Failure> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(row_key(PARTITION, &format!("{PREFIX}{name}"))))
            .consistent_read(true)
            .send()
            .await
            .map_err(Failure::of("read a credential's end"))?;
        answer.item.map(read).transpose()
    }

    /// Keeps the end of a credential that was just stored, over that of the one
    /// before. Repeating it is harmless.
    pub async fn keep_credential(&self, credential: &Credential) -> Result<(), Failure> {
        let put = self.client.put_item().table_name(&self.table);
        put.set_item(Some(write(credential)?))
            .send()
            .await
            .map_err(Failure::of("keep a credential's end"))?;
        Ok(())
    }

    /// Writes the next warning, unless somebody else has, or another credential
    /// has come: `due` was this when it was read.
    pub async fn plan_warning(
        &self,
        credential: &Credential,
        due: Timestamp,
    ) -> Result<(), Failure> {
        let put = self.client.put_item().table_name(&self.table);
        let result = put
            .set_item(Some(write(credential)?))
            .condition_expression("due = :due")
            .expression_attribute_values(":due", item::millis(due))
            .send()
            .await;
        match result {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(Failure::of("plan a warning")(error)),
        }
    }
}
