//! The merchant's keys in Secrets Manager, and the WeChat client made with
//! them. It refuses to keep them in a form that can be printed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use tokio::sync::Mutex;

use super::Failure;
use crate::wechat::{Account, Secrets, Wechat};

/// A changed secret is in force everywhere after this long.
const FRESH: Duration = Duration::from_secs(300);

/// The client made with the secret, and when it was read.
type Known = (Arc<Wechat>, Instant);

/// The merchant. The secret is read at the first use or by
/// [`Merchant::warm`], and again when it has become old; if that fails, the old
/// one is used on. Clones share what was read.
#[derive(Debug, Clone)]
pub struct Merchant {
    config: SdkConfig,
    secret_id: String,
    account: Account,
    known: Arc<Mutex<Option<Known>>>,
}

impl Merchant {
    /// The merchant with this account, whose keys are in this secret.
    #[must_use]
    pub fn new(config: SdkConfig, (account, secret_id): (Account, String)) -> Self {
        Self {
            config,
            secret_id,
            account,
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
        let wechat = match (self.connect().await, known.take()) {
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

    /// Reads the secret ahead of the first request.
    pub async fn warm(&self) {
        if let Err(failure) = self.wechat().await {
            tracing::warn!(%failure, "the WeChat secret could not be read at start");
        }
    }

    async fn connect(&self) -> Result<Wechat, Failure> {
        const OPERATION: &str = "read the WeChat secret";
        let answer = aws_sdk_secretsmanager::Client::new(&self.config)
            .get_secret_value()
            .secret_id(&self.secret_id)
            .send()
            .await
            .map_err(Failure::of(OPERATION))?;
        let secrets =
            Secrets::parse(answer.secret_string().unwrap_or_default()).map_err(|rule| Failure {
                operation: OPERATION,
                cause: rule.into(),
            })?;
        Wechat::new(self.account.clone(), secrets).map_err(Failure::of(OPERATION))
    }
}
