//! The merchants with the keys of their payments: the installation's first, whose
//! settings are the stack's own, and those that are rows of the registry. Read when
//! they are needed, and kept while they are fresh.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;

use super::Failure;
use super::registry::Registry;
use super::secrets::{Kind, Known, Secrets};
use crate::config;
use crate::domain::app::App;
use crate::domain::merchant::{MchId, Merchant};
use crate::domain::order::{ApiVersion, Order};
use crate::error::causes;
use crate::wechat::{Http, Identity, Wechat, v2, v3};

const OPERATION: &str = "read a merchant's keys";
const V3_OPERATION: &str = "read a merchant's keys of version 3";
const CERTIFICATE_OPERATION: &str = "read a merchant's client certificate";

/// The merchants. Clones share what was read.
#[derive(Debug, Clone)]
pub struct Merchants(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    secrets: Secrets,
    registry: Registry,
    settings: config::Merchants,
    http: Http,
    known: Mutex<BTreeMap<MchId, Arc<Known<Loaded>>>>,
}

/// A merchant, its secrets as they were read, and the client made of them.
#[derive(Debug)]
struct Loaded {
    merchant: Merchant,
    texts: Texts,
    wechat: Arc<Wechat>,
}

/// The texts of a merchant's secrets. They cannot be printed.
#[derive(Clone, PartialEq, Eq)]
struct Texts {
    keys: String,
    v3_keys: String,
    /// None where a function may not hold it.
    certificate: Option<String>,
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Texts(..)")
    }
}

impl Merchants {
    /// The merchants, read when they are needed.
    #[must_use]
    pub fn new(
        config: &SdkConfig,
        registry: Registry,
        settings: config::Merchants,
        http: Http,
    ) -> Self {
        Self(Arc::new(Inner {
            secrets: Secrets::new(config),
            registry,
            settings,
            http,
            known: Mutex::default(),
        }))
    }

    /// Begins to read the first merchant's secrets, so that the first request need
    /// not wait for all of it and the function's start for none.
    pub fn warm_up(&self) {
        let (merchants, first) = (self.clone(), self.first().cloned());
        tokio::spawn(async move {
            if let Some(first) = first
                && let Err(failure) = merchants.find(&first).await
            {
                tracing::warn!(%failure, "the merchant's keys could not be read at start");
            }
        });
    }

    fn first(&self) -> Option<&MchId> {
        let first = self.0.settings.first.as_ref();
        first.map(|first| &first.merchant.mch_id)
    }

    /// Who is paid by a new order of this app.
    ///
    /// # Errors
    /// When the app names nobody and there is no first merchant.
    pub fn payee(&self, app: &App) -> Result<MchId, Failure> {
        let payee = app.merchant.as_ref().or_else(|| self.first());
        payee.cloned().ok_or_else(|| missing("of the app"))
    }

    /// The client for the payments of this order's merchant.
    ///
    /// # Errors
    /// When the merchant or its secrets have never been read and cannot be, or are
    /// not there.
    pub async fn of(&self, order: &Order) -> Result<Arc<Wechat>, Failure> {
        self.named(order.merchant.as_ref()).await
    }

    /// The same for what a row names; none means the first.
    pub async fn named(&self, merchant: Option<&MchId>) -> Result<Arc<Wechat>, Failure> {
        let mch_id = merchant.or_else(|| self.first());
        let mch_id = mch_id.ok_or_else(|| missing("of the installation"))?;
        let found = self.find(mch_id).await?;
        found.ok_or_else(|| missing(mch_id.as_str()))
    }

    /// The installation's first merchant, where there is one.
    pub async fn find_first(&self) -> Result<Option<Arc<Wechat>>, Failure> {
        match self.first() {
            Some(first) => self.find(first).await,
            None => Ok(None),
        }
    }

    /// The same for a number that anybody may have named. None: nobody knows it.
    pub async fn find(&self, mch_id: &MchId) -> Result<Option<Arc<Wechat>>, Failure> {
        let known = {
            let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(mch_id.clone()).or_default())
        };
        let load = |old| load(Arc::clone(&self.0), mch_id.clone(), old);
        let loaded = known.get(self.0.settings.fresh, load).await;
        if !matches!(loaded, Ok(Some(_))) {
            // Strangers' numbers are not remembered.
            let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.remove(mch_id);
        }
        Ok(loaded?.map(|loaded| Arc::clone(&loaded.wechat)))
    }
}

/// Nothing goes on before a person has registered it.
fn missing(what: &str) -> Failure {
    tracing::error!(
        alarm = "configuration",
        merchant = what,
        "a merchant is not registered"
    );
    Failure {
        operation: "find a merchant",
        cause: "it is not registered".into(),
    }
}

async fn load(
    of: Arc<Inner>,
    mch_id: MchId,
    old: Option<Arc<Loaded>>,
) -> Result<Option<Arc<Loaded>>, Failure> {
    let first = of.first(&mch_id);
    let row = of.registry.merchant(&mch_id).await?;
    // A stranger's number costs one read.
    let Some(merchant) = row.or_else(|| first.map(|first| first.merchant.clone())) else {
        return Ok(None);
    };
    let texts = match first {
        Some(first) => {
            let certificate = of.settings.certificate_id.as_deref();
            let v3_keys = first.v3_secret_id.as_deref();
            of.texts(&first.secret_id, v3_keys, certificate).await?
        }
        None => {
            let named = |kind: Kind| kind.name(&of.settings.secrets_prefix, mch_id.as_str());
            // Who may hold the first one's certificate may hold the others'.
            let certificate = of.settings.certificate_id.as_ref();
            let certificate = certificate.map(|_| named(Kind::Certificate));
            let (keys, v3_keys) = (named(Kind::PaymentKeys), named(Kind::PaymentKeysV3));
            let texts = of.texts(&keys, Some(&v3_keys), certificate.as_deref());
            texts.await?
        }
    };
    // Connections that are open stay so.
    if let Some(old) = &old
        && (&old.merchant, &old.texts) == (&merchant, &texts)
    {
        return Ok(Some(Arc::clone(old)));
    }
    let wechat = of.connect(&merchant, &texts, old.as_deref())?;
    Ok(Some(Arc::new(Loaded {
        merchant,
        texts,
        wechat: Arc::new(wechat),
    })))
}

impl Inner {
    /// This merchant's settings of the stack, if it is the first.
    fn first(&self, mch_id: &MchId) -> Option<&config::FirstMerchant> {
        let first = self.settings.first.as_ref();
        first.filter(|first| first.merchant.mch_id == *mch_id)
    }

    async fn texts(
        &self,
        keys: &str,
        v3_keys: Option<&str>,
        certificate: Option<&str>,
    ) -> Result<Texts, Failure> {
        let secrets = &self.secrets;
        let (keys, v3_keys, pem) = tokio::try_join!(
            secrets.read_if_there(Some(keys), OPERATION),
            secrets.read_if_there(v3_keys, V3_OPERATION),
            secrets.read_if_there(certificate, CERTIFICATE_OPERATION),
        )?;
        Ok(Texts {
            keys,
            v3_keys,
            certificate: certificate.map(|_| pem),
        })
    }

    fn connect(
        &self,
        merchant: &Merchant,
        texts: &Texts,
        old: Option<&Loaded>,
    ) -> Result<Wechat, Failure> {
        let identity = Identity::new(merchant, &self.settings.hosts);
        let v3 = self.v3(merchant, &identity, &texts.v3_keys);
        let v2 = match v2::PaymentKeys::parse(&texts.keys) {
            Ok(keys) => Some(self.v2(identity, keys, texts, old)),
            // A merchant of version 3 alone has none.
            Err(rule) if v3.is_some() => {
                tracing::info!(rule, mch_id = %merchant.mch_id, "version 2 of WeChat Pay is not spoken");
                None
            }
            Err(rule) => {
                return Err(Failure {
                    operation: OPERATION,
                    cause: rule.into(),
                });
            }
        };
        let account = self.first(&merchant.mch_id);
        let account = account.map(|first| first.account.clone());
        Ok(Wechat::new(merchant.clone(), account, v2, v3))
    }

    fn v2(
        &self,
        identity: Identity,
        keys: v2::PaymentKeys,
        texts: &Texts,
        old: Option<&Loaded>,
    ) -> v2::Client {
        let mch_id = identity.mch_id.to_string();
        let mut v2 = v2::Client::new(identity, keys, self.http.clone());
        // Payments need none, so a bad one must not stop them. Said once, and
        // again when a good one was replaced.
        if let Some(pem) = &texts.certificate
            && let Err(error) = v2.certify(pem)
            && old.is_none_or(|old| old.wechat.is_certified())
        {
            tracing::warn!(
                cause = causes(&error),
                mch_id,
                "no client certificate has been imported: version 2's refunds are out of order"
            );
        }
        v2
    }

    /// Version 3's client, if its secret has been filled in. A bad one must not stop
    /// version 2.
    fn v3(&self, merchant: &Merchant, identity: &Identity, secret: &str) -> Option<v3::Client> {
        let rule = match v3::Keys::parse(secret) {
            Ok(Some(keys)) => {
                return Some(v3::Client::new(identity.clone(), keys, self.http.clone()));
            }
            Ok(None) if merchant.api_version == ApiVersion::V2 => return None,
            Ok(None) => "it has not been filled in",
            Err(rule) => rule,
        };
        tracing::error!(
            alarm = "configuration",
            rule,
            mch_id = %merchant.mch_id,
            "version 3's secret cannot be used: version 2 is spoken instead"
        );
        None
    }
}
