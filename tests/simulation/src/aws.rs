//! The AWS SDK's way to the network: a client that parks every request in the
//! scheduler instead of sending it. The SDK above it is the real one, with its
//! signatures, repeats and error texts; its pauses take no time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{
    Credentials, SharedAsyncSleep, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

use serde_json::{Value, json};

use crate::cast::{self, Cast, Standings};
use crate::scheduler::{Call, Reply, Scheduler};

/// How long the hub lets one attempt take, from `shared::aws::sdk_config`.
pub(crate) const ATTEMPT_MILLIS: i64 = 1500;

/// The SDK's settings. Each run has a region of its own, because the SDK
/// counts its repeats per service and region over the whole process. A process that
/// starts finds the merchants standing like this.
pub(crate) fn sdk_config(
    scheduler: &Arc<Scheduler>,
    cast: &'static Cast,
    standings: Standings,
) -> SdkConfig {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let credentials = Credentials::new("simulation", "simulation", None, None, "simulation");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(format!("run-{run}")))
        .endpoint_url("http://aws.invalid")
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(Wire {
            scheduler: Arc::clone(scheduler),
            cast,
            standings,
        })
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(3)
                .with_initial_backoff(Duration::ZERO),
        )
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .sleep_impl(SharedAsyncSleep::new(NoSleep))
        .build()
}

/// The schedule decides how long things take.
#[derive(Debug)]
struct NoSleep;

impl AsyncSleep for NoSleep {
    fn sleep(&self, _: Duration) -> Sleep {
        Sleep::new(std::future::ready(()))
    }
}

#[derive(Debug, Clone)]
struct Wire {
    scheduler: Arc<Scheduler>,
    cast: &'static Cast,
    standings: Standings,
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if !self.scheduler.is_attending() {
            // A warm process has read its secrets, and the rows of its merchants and
            // accounts, before it has any work.
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let asked = request.body().bytes().unwrap_or_default();
            let (status, text) = match target.ends_with(".GetItem") {
                true => (200, row(asked, &self.standings)),
                false => secret(asked, self.cast, &self.standings),
            };
            return HttpConnectorFuture::ready(answer(status, text));
        }
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let reply = self.scheduler.park(Call::Aws {
            target: target.to_owned(),
            body: request.body().bytes().unwrap_or_default().to_vec(),
        });
        HttpConnectorFuture::new(async move {
            match reply.await {
                Ok(Reply::Answer(status, body)) => answer(status, body),
                Ok(Reply::TimedOut) => Err(ConnectorError::timeout("no answer in time".into())),
                Ok(Reply::Signed { .. } | Reply::Broken) | Err(_) => {
                    Err(ConnectorError::io("connection lost".into()))
                }
            }
        })
    }
}

fn answer(status: u16, body: String) -> Result<HttpResponse, ConnectorError> {
    let status = status
        .try_into()
        .map_err(|error| ConnectorError::other(Box::new(error), None))?;
    Ok(HttpResponse::new(status, SdkBody::from(body)))
}

/// What Secrets Manager answers, when the merchants stand like this.
pub(crate) fn secret(asked: &[u8], cast: &Cast, standings: &Standings) -> (u16, String) {
    let asked: Value = serde_json::from_slice(asked).unwrap_or_default();
    let id = asked.get("SecretId").and_then(Value::as_str);
    match id.and_then(|id| cast.secret(id, standings)) {
        Some(text) => (200, json!({"SecretString": text}).to_string()),
        None => {
            let none = json!({"__type": "ResourceNotFoundException", "Message": "none"});
            (400, none.to_string())
        }
    }
}

/// What DynamoDB answers about a row of the registry.
fn row(asked: &[u8], standings: &Standings) -> String {
    let asked: Value = serde_json::from_slice(asked).unwrap_or_default();
    let pk = asked.pointer("/Key/pk/S").and_then(Value::as_str);
    let row = pk.and_then(|pk| cast::row(pk, standings));
    row.map_or(json!({}), |row| json!({"Item": row}))
        .to_string()
}
