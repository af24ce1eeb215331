//! WeChat's secrets in Secrets Manager, and the clients made with them: the keys
//! of payments, one secret for each version, and the client certificate are the
//! [`Merchant`]'s, the official account's keys the [`OfficialAccount`]'s. Each function holds what its role
//! may read.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use tokio::sync::Mutex;

use super::Failure;
use crate::config;
use crate::domain::order::ApiVersion;
use crate::error::causes;
use crate::wechat::official_account::{self, Keys};
use crate::wechat::{Account, Wechat, v2, v3};

const OPERATION: &str = "read the WeChat secret";
const ACCOUNT_OPERATION: &str = "read the official account's secret";
const V3_OPERATION: &str = "read the WeChat secret of version 3";
const CERTIFICATE_OPERATION: &str = "read the client certificate";
/// A changed secret is in force everywhere after this long.
const FRESH: Duration = Duration::from_secs(300);

/// A client, and when its secrets were read. They are read again when they have
/// become old; if that fails, the old client is used on.
#[derive(Debug)]
struct Known<T>(Mutex<Option<(Arc<T>, Instant)>>);

impl<T> Known<T> {
    fn nothing() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    /// The client; `connect` gets the one before, if any.
    async fn get<F>(&self, connect: impl FnOnce(Option<Arc<T>>) -> F) -> Result<Arc<T>, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut known = self.0.lock().await;
        if let Some((client, _)) = known.as_ref().filter(|(_, at)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(client));
        }
        let old = known.as_ref().map(|(old, _)| Arc::clone(old));
        let client = match (connect(old.clone()).await, old) {
            (Ok(client), _) => Arc::new(client),
            (Err(failure), Some(old)) => {
                tracing::warn!(%failure, "the WeChat secret could not be read again");
                old
            }
            (Err(failure), None) => return Err(failure),
        };
        *known = Some((Arc::clone(&client), Instant::now()));
        Ok(client)
    }
}

/// The merchant. The secrets are read at the first use or by
/// [`Merchant::warm_up`]. Clones share what was read.
#[derive(Debug, Clone)]
pub struct Merchant {
    config: SdkConfig,
    settings: config::Merchant,
    known: Arc<Known<Wechat>>,
}

impl Merchant {
    /// The merchant with this account, whose secrets are read when they are
    /// needed.
    #[must_use]
    pub fn new(config: SdkConfig, settings: config::Merchant) -> Self {
        Self {
            config,
            settings,
            known: Known::nothing(),
        }
    }

    /// The account, for what needs no key.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.settings.account
    }

    /// By which version new attempts are opened.
    #[must_use]
    pub const fn api_version(&self) -> ApiVersion {
        self.settings.api_version
    }

    /// The client for this merchant's payments.
    ///
    /// # Errors
    /// When the secrets have never been read and cannot be, or neither version's
    /// keys are there.
    pub async fn wechat(&self) -> Result<Arc<Wechat>, Failure> {
        let had_certificate = |old: Option<Arc<Wechat>>| old.map(|old| old.is_certified());
        let connect = |old| self.connect(had_certificate(old));
        self.known.get(connect).await
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
        let v3_keys = read_if_there(&client, self.settings.v3_secret_id.as_deref(), V3_OPERATION);
        let certificate = self.settings.certificate_id.as_deref();
        let certificate = read_if_there(&client, certificate, CERTIFICATE_OPERATION);
        let (keys, v3_keys, certificate) = tokio::try_join!(keys, v3_keys, certificate)?;
        let v3 = self.v3(v3_keys.as_deref().unwrap_or_default())?;
        let v2 = match v2::PaymentKeys::parse(&keys) {
            Ok(keys) => Some(self.v2(keys, certificate.as_deref(), had_certificate)?),
            // A merchant of version 3 alone has none.
            Err(rule) if v3.is_some() => {
                tracing::info!(rule, "version 2 of WeChat Pay is not spoken");
                None
            }
            Err(rule) => {
                return Err(Failure {
                    operation: OPERATION,
                    cause: rule.into(),
                });
            }
        };
        Ok(Wechat::new(self.settings.account.clone(), v2, v3))
    }

    fn v2(
        &self,
        keys: v2::PaymentKeys,
        certificate: Option<&str>,
        had_certificate: Option<bool>,
    ) -> Result<v2::Client, Failure> {
        let account = self.settings.account.clone();
        let mut v2 = v2::Client::new(account, keys).map_err(Failure::of(OPERATION))?;
        // Payments need none, so a bad one must not stop them. Said once, and
        // again when a good one was replaced.
        if let Some(pem) = certificate
            && let Err(error) = v2.certify(pem)
            && had_certificate != Some(false)
        {
            tracing::warn!(
                cause = causes(&error),
                "no client certificate has been imported: version 2's refunds are out of order"
            );
        }
        Ok(v2)
    }

    /// Version 3's client, if its secret has been filled in. A bad one must not stop
    /// version 2.
    fn v3(&self, secret: &str) -> Result<Option<v3::Client>, Failure> {
        let rule = match v3::Keys::parse(secret) {
            Ok(Some(keys)) => {
                let account = self.settings.account.clone();
                let client = v3::Client::new(account, keys).map_err(Failure::of(V3_OPERATION))?;
                return Ok(Some(client));
            }
            Ok(None) if self.settings.api_version == ApiVersion::V2 => return Ok(None),
            Ok(None) => "it has not been filled in",
            Err(rule) => rule,
        };
        tracing::error!(
            alarm = "configuration",
            rule,
            "version 3's secret cannot be used: version 2 is spoken instead"
        );
        Ok(None)
    }
}

/// The official account. Its secret is read at the first use or by
/// [`OfficialAccount::warm_up`]. Clones share what was read.
#[derive(Debug, Clone)]
pub struct OfficialAccount {
    config: SdkConfig,
    settings: config::OfficialAccount,
    known: Arc<Known<official_account::Client>>,
}

impl OfficialAccount {
    /// This account, whose secret is read when it is needed.
    #[must_use]
    pub fn new(config: SdkConfig, settings: config::OfficialAccount) -> Self {
        Self {
            config,
            settings,
            known: Known::nothing(),
        }
    }

    /// The account, for what needs no key.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.settings.account
    }

    /// The client for this account.
    ///
    /// # Errors
    /// When the secret has never been read and cannot be, or has not been
    /// filled in.
    pub async fn client(&self) -> Result<Arc<official_account::Client>, Failure> {
        self.known.get(|_| self.connect()).await
    }

    /// As [`Merchant::warm_up`].
    pub fn warm_up(&self) {
        let account = self.clone();
        tokio::spawn(async move {
            if let Err(failure) = account.client().await {
                tracing::warn!(%failure, "the WeChat secret could not be read at start");
            }
        });
    }

    async fn connect(&self) -> Result<official_account::Client, Failure> {
        let text = read(&Client::new(&self.config), &self.settings.secret_id).await;
        let text = text.map_err(Failure::of(ACCOUNT_OPERATION))?;
        let keys = Keys::parse(&text).map_err(|rule| {
            // A stack that was updated to two secrets has this one empty.
            tracing::error!(
                alarm = "configuration",
                rule,
                "the official account's secret has not been filled in: log-ins are out of order"
            );
            Failure {
                operation: ACCOUNT_OPERATION,
                cause: rule.into(),
            }
        })?;
        official_account::Client::new(self.settings.account.clone(), keys)
            .map_err(Failure::of(ACCOUNT_OPERATION))
    }
}

async fn read(client: &Client, id: &str) -> Result<String, SdkError<GetSecretValueError>> {
    let answer = client.get_secret_value().secret_id(id).send().await?;
    Ok(answer.secret_string.unwrap_or_default())
}

/// A secret that a function may do without; empty when it is not there or has no
/// value.
async fn read_if_there(
    client: &Client,
    id: Option<&str>,
    operation: &'static str,
) -> Result<Option<String>, Failure> {
    let Some(id) = id else {
        return Ok(None);
    };
    match read(client, id).await {
        Err(error)
            if error
                .as_service_error()
                .is_some_and(GetSecretValueError::is_resource_not_found_exception) =>
        {
            Ok(Some(String::new()))
        }
        other => other.map(Some).map_err(Failure::of(operation)),
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
