//! The merchant's keys and client certificate in Secrets Manager, and the
//! WeChat client made with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use tokio::sync::Mutex;

use super::Failure;
use crate::config;
use crate::error::causes;
use crate::wechat::{Secrets, Wechat};

const OPERATION: &str = "read the WeChat secret";
const CERTIFICATE_OPERATION: &str = "read the client certificate";
/// A changed secret is in force everywhere after this long.
const FRESH: Duration = Duration::from_secs(300);

/// The client made with the secrets, and when they were read.
type Known = (Arc<Wechat>, Instant);

/// The merchant. The secrets are read at the first use or by
/// [`Merchant::warm_up`], and again when they have become old; if that fails, the
/// old ones are used on. Clones share what was read.
#[derive(Debug, Clone)]
pub struct Merchant {
    config: SdkConfig,
    settings: config::Merchant,
    known: Arc<Mutex<Option<Known>>>,
}

impl Merchant {
    /// The merchant with this account, whose secrets are read when they are
    /// needed.
    #[must_use]
    pub fn new(config: SdkConfig, settings: config::Merchant) -> Self {
        Self {
            config,
            settings,
            known: Arc::new(Mutex::new(None)),
        }
    }

    /// The client for this merchant.
    ///
    /// # Errors
    /// When the secret has never been read and cannot be, or is incomplete.
    pub async fn wechat(&self) -> Result<Arc<Wechat>, Failure> {
        let mut known = self.known.lock().await;
        if let Some((wechat, _)) = known.as_ref().filter(|(_, at)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(wechat));
        }
        let had_certificate = known.as_ref().map(|(old, _)| old.is_certified());
        let wechat = match (self.connect(had_certificate).await, known.take()) {
            (Ok(wechat), _) => Arc::new(wechat),
            (Err(failure), Some((old, _))) => {
                tracing::warn!(%failure, "the WeChat secret could not be read again");
                old
            }
            (Err(failure), None) => return Err(failure),
        };
        *known = Some((Arc::clone(&wechat), Instant::now()));
        Ok(wechat)
    }

    /// Begins to read the secrets, so that the first request need not wait for
    /// all of it and the function's start for none.
    pub fn warm_up(&self) {
        let merchant = self.clone();
        tokio::spawn(async move {
            if let Err(failure) = merchant.wechat().await {
                tracing::warn!(%failure, "the WeChat secret could not be read at start");
            }
        });
    }

    async fn connect(&self, had_certificate: Option<bool>) -> Result<Wechat, Failure> {
        let client = Client::new(&self.config);
        let keys = async {
            let text = read(&client, &self.settings.secret_id).await;
            text.map_err(Failure::of(OPERATION))
        };
        let certificate = async {
            match &self.settings.certificate_id {
                Some(id) => read_certificate(&client, id).await.map(Some),
                None => Ok(None),
            }
        };
        let (keys, certificate) = tokio::try_join!(keys, certificate)?;
        let secrets = Secrets::parse(&keys).map_err(|rule| Failure {
            operation: OPERATION,
            cause: rule.into(),
        })?;
        let mut wechat =
            Wechat::new(self.settings.account.clone(), secrets).map_err(Failure::of(OPERATION))?;
        // Payments need none, so a bad one must not stop them. Said once, and
        // again when a good one was replaced.
        if let Some(pem) = certificate
            && let Err(error) = wechat.certify(&pem)
            && had_certificate != Some(false)
        {
            tracing::warn!(
                cause = causes(&error),
                "no client certificate has been imported: refunds are out of order"
            );
        }
        Ok(wechat)
    }
}

async fn read(client: &Client, id: &str) -> Result<String, SdkError<GetSecretValueError>> {
    let answer = client.get_secret_value().secret_id(id).send().await?;
    Ok(answer.secret_string.unwrap_or_default())
}

/// Empty when the secret is not there or has no value.
async fn read_certificate(client: &Client, id: &str) -> Result<String, Failure> {
    match read(client, id).await {
        Err(error)
            if error
                .as_service_error()
                .is_some_and(GetSecretValueError::is_resource_not_found_exception) =>
        {
            Ok(String::new())
        }
        other => other.map_err(Failure::of(CERTIFICATE_OPERATION)),
    }
}

/// Puts the client certificate, PEM, into its secret. Repeating it is harmless.
pub async fn store_certificate(config: &SdkConfig, id: &str, pem: String) -> Result<(), Failure> {
    let put = Client::new(config).put_secret_value().secret_id(id);
    put.secret_string(pem)
        .send()
        .await
        .map_err(Failure::of("store the client certificate"))?;
    Ok(())
}
