//! The `registry` table: apps, short-lived entries that may be taken once (OAuth
//! states, codes and tickets), cached tokens and certificates, and who operates the hub.

pub mod certificates;
pub mod leases;
pub mod merchants;
pub mod operators;
pub mod tokens;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{KeysAndAttributes, Put, ReturnValue, TransactWriteItem};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failure;
use super::audit::Audit;
use super::item::{self, Item, number, string};
use crate::domain::app::App;
use crate::domain::audit::Entry;
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// The table, by what is kept in it.
#[derive(Debug, Clone)]
pub struct Registry {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

/// A page of apps.
#[derive(Debug)]
pub struct Apps {
    /// The apps, in no order.
    pub apps: Vec<App>,
    /// After which the next page begins, if there may be one.
    pub next: Option<AppId>,
}

const WRITE_APP: &str = "write an app";
/// As many as DynamoDB looks up in one call.
const KEYS_READ: i32 = 100;

fn app_key(app_id: &AppId) -> String {
    format!("app#{app_id}")
}

fn built(put: PutBuilder) -> Result<TransactWriteItem, Failure> {
    let put = put.build().map_err(Failure::of("build a write"))?;
    Ok(TransactWriteItem::builder().put(put).build())
}

impl Registry {
    /// The registry in this table.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self {
            client: aws_sdk_dynamodb::Client::new(config),
            table,
        }
    }

    /// The app with this identifier.
    pub async fn app(&self, app_id: &AppId) -> Result<Option<App>, Failure> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", string(app_key(app_id)))
            .send()
            .await
            .map_err(Failure::of("read an app"))?;
        answer
            .item
            .map(|item| item::read(item, "read an app"))
            .transpose()
    }

    /// The app as it is at this moment, for whoever is about to change it.
    pub async fn app_to_change(&self, app_id: &AppId) -> Result<Option<App>, Failure> {
        self.row(app_key(app_id), "read an app to change it").await
    }

    /// A row as it is at this moment.
    async fn row<T: DeserializeOwned>(
        &self,
        pk: String,
        operation: &'static str,
    ) -> Result<Option<T>, Failure> {
        let read = self.client.get_item().table_name(&self.table);
        let read = read.key("pk", string(pk)).consistent_read(true);
        let read = read.send().await.map_err(Failure::of(operation))?;
        read.item
            .map(|item| item::read(item, operation))
            .transpose()
    }

    /// A whole row, to be written under a condition of the caller's.
    fn put_row<T: Serialize>(
        &self,
        pk: String,
        row: &T,
        operation: &'static str,
    ) -> Result<PutBuilder, Failure> {
        let put = Put::builder().table_name(&self.table);
        let put = put.set_item(Some(item::write(row, operation)?));
        Ok(put.item("pk", string(pk)))
    }

    /// Registers an app. False when the identifier is taken.
    pub async fn add_app(&self, app: &App, audit: &Audit, entry: &Entry) -> Result<bool, Failure> {
        let put = self.put_row(app_key(&app.app_id), app, WRITE_APP)?;
        let put = put.condition_expression("attribute_not_exists(pk)");
        audit.commit(vec![built(put)?], entry).await
    }

    /// Writes an app that was read at `app.revision`. False when it has been
    /// changed meanwhile.
    pub async fn change_app(
        &self,
        mut app: App,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let read = app.revision;
        app.revision += 1;
        let put = self.put_row(app_key(&app.app_id), &app, WRITE_APP)?;
        // Rows of before have none, and neither has a row that is not there.
        let put = match read {
            0 => put.condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(revision) OR revision = :read)",
            ),
            _ => put.condition_expression("revision = :read"),
        };
        let put = put.expression_attribute_values(":read", number(read));
        audit.commit(vec![built(put)?], entry).await
    }

    /// All apps, in no order.
    pub async fn apps(&self) -> Result<Vec<App>, Failure> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.apps_after(after.as_ref(), KEYS_READ).await?;
            all.extend(page.apps);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Apps in the order of the index `apps`, which is none, from the one after this
    /// on, at most as many. The index has one entry for each app and nothing else, so
    /// that this reads what it returns and no log-ins.
    pub async fn apps_after(&self, after: Option<&AppId>, limit: i32) -> Result<Apps, Failure> {
        const OPERATION: &str = "list the apps";
        let start = after.map(|app_id| {
            Item::from([
                ("pk".to_owned(), string(app_key(app_id))),
                ("app_id".to_owned(), string(app_id.as_str())),
            ])
        });
        let index = self.client.scan().table_name(&self.table);
        let index = index.index_name("apps").limit(limit.min(KEYS_READ));
        let index = index.set_exclusive_start_key(start).send().await;
        let index = index.map_err(Failure::of(OPERATION))?;
        let next = index.last_evaluated_key.as_ref();
        let next = next.and_then(|key| AppId::parse(item::text(key, "app_id")?).ok());
        let apps = self.rows(index.items.unwrap_or_default(), OPERATION);
        let apps = apps.await?;
        Ok(Apps { apps, next })
    }

    /// The rows that an index has named, in no order.
    async fn rows<T: DeserializeOwned>(
        &self,
        mut keys: Vec<Item>,
        operation: &'static str,
    ) -> Result<Vec<T>, Failure> {
        keys.iter_mut()
            .for_each(|key| key.retain(|name, _| name == "pk"));
        let mut rows = Vec::new();
        while !keys.is_empty() {
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).build();
            let wanted = wanted.map_err(Failure::of(operation))?;
            let read = self.client.batch_get_item();
            let read = read.request_items(&self.table, wanted).send().await;
            let read = read.map_err(Failure::of(operation))?;
            for item in read
                .responses
                .into_iter()
                .flatten()
                .flat_map(|(_, rows)| rows)
            {
                rows.push(item::read(item, operation)?);
            }
            // What DynamoDB had no time for is asked for again.
            let left = read
                .unprocessed_keys
                .and_then(|mut left| left.remove(&self.table));
            keys = left.map(|left| left.keys).unwrap_or_default();
        }
        Ok(rows)
    }

    /// The rows of these keys, in no order.
    async fn rows_of<T: DeserializeOwned>(
        &self,
        keys: Vec<String>,
        operation: &'static str,
    ) -> Result<Vec<T>, Failure> {
        let keys = keys.into_iter();
        let keys = keys.map(|pk| Item::from([("pk".to_owned(), string(pk))]));
        self.rows(keys.collect(), operation).await
    }

    /// Keeps an entry until it is taken or expires.
    pub async fn keep<T: Serialize>(
        &self,
        name: &str,
        entry: &T,
        expires_at: Timestamp,
    ) -> Result<(), Failure> {
        const OPERATION: &str = "keep an entry";
        let value = item::value(entry, OPERATION)?;
        self.client
            .put_item()
            .table_name(&self.table)
            .item("pk", string(name))
            .item("entry", value)
            .item("expires_at", number(expires_at.seconds()))
            .send()
            .await
            .map_err(Failure::of(OPERATION))?;
        Ok(())
    }

    /// Takes an entry: of many callers at once, one gets it. DynamoDB removes
    /// expired entries late, so the time is compared here.
    ///
    /// A take whose answer is lost gives nothing when the SDK repeats it: the
    /// user starts again, nobody gets in twice.
    pub async fn take<T: DeserializeOwned>(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<T>, Failure> {
        const OPERATION: &str = "take an entry";
        let answer = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("pk", string(name))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .map_err(Failure::of(OPERATION))?;
        let Some(mut item) = answer.attributes else {
            return Ok(None);
        };
        let expires_at = item
            .get("expires_at")
            .and_then(|value| value.as_n().ok())
            .and_then(|text| text.parse::<i64>().ok())
            .unwrap_or_default();
        if expires_at <= now.seconds() {
            return Ok(None);
        }
        item.remove("entry")
            .map(|value| serde_dynamo::from_attribute_value(value).map_err(Failure::of(OPERATION)))
            .transpose()
    }
}
