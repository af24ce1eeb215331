//! The `registry` table: apps, and short-lived entries that may be taken once
//! (OAuth states, codes and tickets).

pub mod tokens;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::ReturnValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failure;
use super::item::{self, number, string};
use crate::domain::app::App;
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// The table, by what is kept in it.
#[derive(Debug, Clone)]
pub struct Registry {
    client: aws_sdk_dynamodb::Client,
    table: String,
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
            .key("pk", string(format!("app#{app_id}")))
            .send()
            .await
            .map_err(Failure::of("read an app"))?;
        answer
            .item
            .map(|item| item::read(item, "read an app"))
            .transpose()
    }

    /// Registers an app. False when the identifier is taken.
    pub async fn add_app(&self, app: &App) -> Result<bool, Failure> {
        const OPERATION: &str = "register an app";
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::write(app, OPERATION)?))
            .item("pk", string(format!("app#{}", app.app_id)))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match result {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_conditional_check_failed_exception()) =>
            {
                // The SDK repeats a call whose answer was lost: is it ours?
                Ok(self.app(&app.app_id).await?.as_ref() == Some(app))
            }
            Err(error) => Err(Failure::of(OPERATION)(error)),
        }
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
