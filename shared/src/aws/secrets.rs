//! The merchant's keys in Secrets Manager, and the WeChat client made with
//! them. It refuses to keep them in a form that can be printed.

use aws_config::SdkConfig;
use tokio::sync::OnceCell;

use super::Failure;
use crate::wechat::{Account, Secrets, Wechat};

/// The merchant. The secret is read once per process, at the first use or by
/// [`Merchant::warm`]; a read that fails is tried again.
#[derive(Debug)]
pub struct Merchant {
    config: SdkConfig,
    secret_id: String,
    account: Account,
    wechat: OnceCell<Wechat>,
}

impl Merchant {
    /// The merchant with this account, whose keys are in this secret.
    #[must_use]
    pub fn new(config: SdkConfig, (account, secret_id): (Account, String)) -> Self {
        Self {
            config,
            secret_id,
            account,
            wechat: OnceCell::new(),
        }
    }

    /// The client for this merchant.
    ///
    /// # Errors
    /// When the secret cannot be read or is incomplete.
    pub async fn wechat(&self) -> Result<&Wechat, Failure> {
        self.wechat.get_or_try_init(|| self.connect()).await
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
