//! The two tables: the restored one is read in parts, the live one is read and
//! written under the condition that its row is still what was read.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure, TableStatus,
};
use shared::domain::time::Timestamp;
use shared::error::causes;

use super::rule::{Row, key, text};

/// Rows read at a time, the most that DynamoDB looks up in one call.
const PAGE: i32 = 100;
const PAUSE: Duration = Duration::from_millis(200);

pub(super) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Both tables, reached as the operator.
#[derive(Debug)]
pub(super) struct Tables {
    client: Client,
    /// The restored one.
    pub(super) from: String,
    /// The live one.
    pub(super) to: String,
}

/// What is known of the restored table.
#[derive(Debug)]
pub(super) struct Backup {
    /// Its name and the time of its creation.
    pub(super) identity: String,
    /// About how many rows it has, if AWS has counted them already.
    pub(super) rows: u64,
}

/// Which rows are read.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// One of several scans at once.
    Segment {
        /// Which, from 0.
        number: i32,
        /// Of how many.
        of: i32,
    },
    /// One partition.
    Partition(String),
}

/// Some rows, and the key after which the others come.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    pub(super) last: Option<Row>,
}

/// How a conditional write went.
#[derive(Debug)]
pub(super) enum Wrote {
    /// It is written.
    Done,
    /// The row was not what was read; it is this now, if it is there.
    Refused(Option<Row>),
    /// A transaction on it is under way.
    Busy,
}

impl Tables {
    pub(super) fn new(config: &SdkConfig, from: String, to: String) -> Self {
        // The hub comes first: when DynamoDB throttles, these calls slow down.
        let config = aws_sdk_dynamodb::config::Builder::from(config)
            .retry_config(RetryConfig::adaptive().with_max_attempts(10))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(3))
                    .operation_attempt_timeout(Duration::from_secs(15))
                    .build(),
            );
        Self {
            client: Client::from_conf(config.build()),
            from,
            to,
        }
    }

    /// Looks at the restored table before anything is done.
    pub(super) async fn backup(&self) -> Result<Backup> {
        let from = &self.from;
        let described = self.client.describe_table().table_name(from).send().await;
        let described = described.map_err(|error| plain(&format!("look at {from}"), &error))?;
        let table = described.table.ok_or("DynamoDB describes no table")?;
        if table.table_status != Some(TableStatus::Active) {
            return Err(format!("{from} is not ready: aws dynamodb wait table-exists").into());
        }
        let created = table.creation_date_time.ok_or("a table without an age")?;
        let created = Timestamp::default().plus_seconds(created.secs());
        Ok(Backup {
            identity: format!("{from} of {}", created.rfc3339()),
            rows: table
                .item_count
                .and_then(|count| count.try_into().ok())
                .unwrap_or_default(),
        })
    }

    /// The next rows of the backup.
    pub(super) async fn page(&self, part: &Part, after: Option<Row>) -> Result<Page> {
        let operation = format!("read {}", self.from);
        match part {
            Part::Segment { number, of } => {
                let scan = self.client.scan().table_name(&self.from).limit(PAGE);
                let scan = scan.segment(*number).total_segments(*of);
                let read = scan.set_exclusive_start_key(after).send().await;
                let read = read.map_err(|error| plain(&operation, &error))?;
                Ok(Page {
                    rows: read.items.unwrap_or_default(),
                    last: read.last_evaluated_key,
                })
            }
            Part::Partition(pk) => {
                let query = self.client.query().table_name(&self.from).limit(PAGE);
                let query = query
                    .key_condition_expression("pk = :pk")
                    .expression_attribute_values(":pk", AttributeValue::S(pk.clone()));
                let read = query.set_exclusive_start_key(after).send().await;
                let read = read.map_err(|error| plain(&operation, &error))?;
                Ok(Page {
                    rows: read.items.unwrap_or_default(),
                    last: read.last_evaluated_key,
                })
            }
        }
    }

    /// The live rows with the keys of these, by those keys. Rows that are there
    /// as they should be cost half a read this way, instead of a refused write.
    pub(super) async fn live(&self, rows: &[Row]) -> Result<HashMap<Key, Row>> {
        let mut found = HashMap::new();
        let mut keys: Vec<Row> = rows.iter().map(key).collect();
        while !keys.is_empty() {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .build()?;
            let read = self.client.batch_get_item();
            let read = read.request_items(&self.to, wanted).send().await;
            let read = read.map_err(|error| plain(&format!("read {}", self.to), &error))?;
            let rows = read
                .responses
                .into_iter()
                .flatten()
                .flat_map(|(_, row)| row);
            found.extend(rows.map(|row| (Key::of(&row), row)));
            let rest = read.unprocessed_keys.unwrap_or_default();
            keys = rest.into_values().flat_map(|rest| rest.keys).collect();
            if !keys.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(found)
    }

    /// Writes a row, if the live one is still this one, attribute for attribute,
    /// or still missing. That holds for every kind of row: not all of them count
    /// their writes.
    pub(super) async fn put(&self, row: &Row, live: Option<&Row>) -> Result<Wrote> {
        let mut put = self
            .client
            .put_item()
            .table_name(&self.to)
            .set_item(Some(row.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut terms = Vec::new();
        for (index, (name, value)) in live.into_iter().flatten().enumerate() {
            terms.push(format!("#name{index} = :value{index}"));
            put = put
                .expression_attribute_names(format!("#name{index}"), name)
                .expression_attribute_values(format!(":value{index}"), value.clone());
        }
        let condition = match terms.is_empty() {
            true => "attribute_not_exists(pk)".to_owned(),
            false => terms.join(" AND "),
        };
        let Err(error) = put.condition_expression(condition).send().await else {
            return Ok(Wrote::Done);
        };
        match error.as_service_error() {
            // The SDK repeats a call whose answer was lost: it may be our own.
            Some(PutItemError::ConditionalCheckFailedException(failed)) => match failed.item() {
                Some(now) if now == row => Ok(Wrote::Done),
                now => Ok(Wrote::Refused(now.cloned())),
            },
            Some(PutItemError::TransactionConflictException(_)) => {
                tokio::time::sleep(PAUSE).await;
                Ok(Wrote::Busy)
            }
            _ => Err(plain(&format!("write {}", self.to), &error)),
        }
    }
}

/// A row's key, to find it by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pk: String,
    sk: String,
}

impl Key {
    pub(super) fn of(row: &Row) -> Self {
        Self {
            pk: text(row, "pk").to_owned(),
            sk: text(row, "sk").to_owned(),
        }
    }
}

fn plain(operation: &str, error: &(dyn Error + 'static)) -> Box<dyn Error> {
    format!("{operation}: {}", causes(error)).into()
}
