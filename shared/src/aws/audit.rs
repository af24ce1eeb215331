//! The `audit` table: an entry for each change that a person or a machine made,
//! committed with the change. Entries are only ever added.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};

use super::Failure;
use super::item::{self, Item, string};
use crate::domain::audit::{Entry, Month};
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// The table: a partition for each month, in it the entries by time.
#[derive(Debug, Clone)]
pub struct Audit {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

/// Which entries are read.
#[derive(Debug, Clone)]
pub struct Period {
    /// None before this time.
    pub since: Timestamp,
    /// Only those whose names are smaller: of a time, or of the last entry read.
    pub before: String,
}

/// An entry that a change elsewhere is committed with.
#[derive(Debug, Clone, Copy)]
pub struct Audited<'a> {
    /// Where it goes.
    pub audit: &'a Audit,
    /// What it says.
    pub entry: &'a Entry,
}

/// A page of the trail.
#[derive(Debug)]
pub struct Page {
    /// The newest first.
    pub entries: Vec<Entry>,
    /// Before which entry the next page is, if there may be one.
    pub next: Option<String>,
}

impl Audit {
    /// The audit trail in this table.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self {
            client: aws_sdk_dynamodb::Client::new(config),
            table,
        }
    }

    /// Makes changes and writes their entry: all, or nothing. False when a row was
    /// not as its change expects it, or another change was under way on it.
    pub(super) async fn commit(
        &self,
        changes: Vec<TransactWriteItem>,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        const OPERATION: &str = "commit a change with its audit entry";
        let done = item::transaction(&self.client)
            .set_transact_items(Some(changes))
            .transact_items(self.adding(entry)?)
            .send()
            .await;
        let Err(error) = done else { return Ok(true) };
        let lost = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                cancelled.cancellation_reasons().iter().any(|reason| {
                    let codes = ["ConditionalCheckFailed", "TransactionConflict"];
                    reason.code().is_some_and(|code| codes.contains(&code))
                })
            }
            _ => false,
        };
        // The SDK repeats a call whose answer was lost: is the entry ours?
        match lost {
            true => self.has(entry).await,
            false => Err(Failure::of(OPERATION)(error)),
        }
    }

    /// The part of a transaction that adds an entry.
    pub(super) fn adding(&self, entry: &Entry) -> Result<TransactWriteItem, Failure> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(row(entry)?))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(Failure::of("add an audit entry"))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Writes an entry before something that cannot be in one transaction with it:
    /// what is missing then is the change, and not its entry.
    pub async fn announce(&self, entry: &Entry) -> Result<(), Failure> {
        const OPERATION: &str = "write an audit entry";
        let put = self.client.put_item().table_name(&self.table);
        let put = put.set_item(Some(row(entry)?));
        let put = put.condition_expression("attribute_not_exists(pk)");
        match put.send().await {
            Ok(_) => Ok(()),
            // The SDK repeats a call whose answer was lost, and the name is ours.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(Failure::of(OPERATION)(error)),
        }
    }

    async fn has(&self, entry: &Entry) -> Result<bool, Failure> {
        let read = self.client.get_item().table_name(&self.table);
        let read = read.set_key(Some(key(entry))).consistent_read(true);
        let read = read.send().await;
        let read = read.map_err(Failure::of("look for an audit entry"))?;
        Ok(read.item.is_some())
    }

    /// The newest entries of this period, of an app or of all. So many are looked at
    /// and no more, of at most a year: fewer come back where many are about others, or
    /// where little was done.
    ///
    /// `period.before` must be the name of an entry, or one that could be.
    pub async fn page(
        &self,
        period: &Period,
        app_id: Option<&AppId>,
        looked_at: usize,
    ) -> Result<Page, Failure> {
        const OPERATION: &str = "read audit entries";
        let month_of = |id: &str| Month::of_entry(id).map_err(Failure::of(OPERATION));
        let (first, mut month) = (
            month_of(&Entry::id_at(period.since))?,
            month_of(&period.before)?,
        );
        let mut seen: Vec<Entry> = Vec::new();
        // DynamoDB refuses a range whose end is before its beginning.
        let is_empty = period.before < Entry::id_at(period.since);
        let (mut read, mut months) = (month, 0);
        while month >= first && seen.len() < looked_at && months < MONTHS && !is_empty {
            self.read_month(month, period, looked_at, &mut seen).await?;
            (read, month, months) = (month, month.before(), months + 1);
        }
        let next = match seen.last() {
            Some(last) if seen.len() >= looked_at => Some(last.id.clone()),
            _ if month >= first && !is_empty => Some(read.first_id()),
            _ => None,
        };
        seen.retain(|entry| app_id.is_none_or(|app_id| entry.app_id() == app_id.as_str()));
        Ok(Page {
            entries: seen,
            next,
        })
    }

    async fn read_month(
        &self,
        month: Month,
        period: &Period,
        limit: usize,
        seen: &mut Vec<Entry>,
    ) -> Result<(), Failure> {
        const OPERATION: &str = "read audit entries";
        let pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :month AND sk BETWEEN :since AND :before")
            .expression_attribute_values(":month", string(month.written()))
            .expression_attribute_values(":since", string(Entry::id_at(period.since)))
            .expression_attribute_values(":before", string(&period.before))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(PAGE);
        let mut items = pages.into_paginator().items().send();
        while seen.len() < limit
            && let Some(item) = items.next().await
        {
            let item = item.map_err(Failure::of(OPERATION))?;
            let entry: Entry = item::read(item, OPERATION)?;
            // The upper end is among what is read.
            if entry.id < period.before {
                seen.push(entry);
            }
        }
        Ok(())
    }
}

/// Months read for a page: each is a call.
const MONTHS: u8 = 12;
/// Entries read at a time.
const PAGE: i32 = 200;

fn row(entry: &Entry) -> Result<Item, Failure> {
    let mut item = item::write(entry, "write an audit entry")?;
    item.extend(key(entry));
    Ok(item)
}

fn key(entry: &Entry) -> Item {
    let at = entry.at.rfc3339();
    let month = at.get(..7).unwrap_or_default();
    Item::from([
        ("pk".to_owned(), string(month)),
        ("sk".to_owned(), string(&entry.id)),
    ])
}
