//! The merchants with the keys of their payments: the installation's first, whose
//! settings are the stack's own, and those that are rows of the registry. Read when
//! they are needed, and kept while they are fresh. When WeChat is asked for its
//! certificates, `certificates` says.

mod certificates;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;

use super::Failure;
use super::registry::Registry;
use super::registry::certificates::CertificatesRow;
use super::secrets::{Kind, Known, Secrets};
use crate::ambient::Clock;
use crate::config;
use crate::domain::app::App;
use crate::domain::merchant::{MchId, Merchant};
use crate::domain::order::{ApiVersion, Order};
use crate::domain::time::Timestamp;
use crate::error::causes;
use crate::wechat::notification::{Notification, Received, Rejection};
use crate::wechat::v3::Unverified;
use crate::wechat::{Http, Identity, Wechat, v2, v3};

const OPERATION: &str = "read a merchant's keys";
const V3_OPERATION: &str = "read a merchant's keys of version 3";
const CERTIFICATE_OPERATION: &str = "read a merchant's client certificate";
/// How long it is remembered that a merchant's keys do not serve: strangers may post
/// to its address, and each look reads three secrets.
const FAILURE_FRESH: Duration = Duration::from_secs(10);

/// The merchants. Clones share what was read.
#[derive(Debug, Clone)]
pub struct Merchants(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    secrets: Secrets,
    registry: Registry,
    settings: config::Merchants,
    http: Http,
    known: Mutex<BTreeMap<MchId, Arc<Known<Loaded>>>>,
}

/// A merchant, its secrets and WeChat's certificates as they were read, and the
/// client made of them.
#[derive(Debug)]
struct Loaded {
    merchant: Merchant,
    texts: Texts,
    certificates: CertificatesRow,
    /// Or why its keys do not serve.
    wechat: Result<Arc<Wechat>, &'static str>,
}

/// Where a merchant's secrets are, of those that the function may hold.
struct Ids {
    keys: String,
    v3_keys: Option<String>,
    certificate: Option<String>,
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
        clock: Clock,
        registry: Registry,
        settings: config::Merchants,
        http: Http,
    ) -> Self {
        Self(Arc::new(Inner {
            clock,
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

    /// The installation's first merchant, where there is one.
    #[must_use]
    pub fn first(&self) -> Option<&MchId> {
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
        let known = self.entry(mch_id);
        let load = |old| load(Arc::clone(&self.0), mch_id.clone(), old);
        let mut loaded = known.get(self.0.settings.fresh, load).await;
        if let Ok(Some(old)) = &loaded
            && old.wechat.is_err()
        {
            loaded = known.renew(FAILURE_FRESH, load).await;
        }
        if !matches!(loaded, Ok(Some(_))) {
            // Strangers' numbers are not remembered.
            let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.remove(mch_id);
        }
        let Some(loaded) = loaded? else {
            return Ok(None);
        };
        let wechat = loaded.wechat()?;
        match wechat.lacking() {
            Some(serial) => Ok(Some(self.learn(wechat, &serial).await?)),
            None => Ok(Some(wechat)),
        }
    }

    /// The client again, with WeChat's certificate of this serial if WeChat has it and
    /// may be asked.
    async fn learn(&self, wechat: Arc<Wechat>, serial: &str) -> Result<Arc<Wechat>, Failure> {
        let of = &self.0;
        let known = self.entry(&wechat.merchant().mch_id);
        let loaded = known.mend(|old| of.learn(old, serial)).await?;
        loaded.map_or(Ok(wechat), |loaded| loaded.wechat())
    }

    /// Reads a notification, and fetches WeChat's certificate for it if that is not
    /// known: `wechat` is then the client that has it.
    ///
    /// # Errors
    /// The first check it fails. One whose certificate nobody may fetch just now is
    /// refused at once: WeChat repeats it.
    pub async fn read_notification(
        &self,
        wechat: &mut Arc<Wechat>,
        received: &Received<'_>,
        now: Timestamp,
    ) -> Result<Notification, Rejection> {
        const UNKNOWN: Unverified = Unverified::UnknownCertificate;
        let read = wechat.read_notification(received, now);
        let (Err(Rejection::Unverified(UNKNOWN)), Some(serial)) = (&read, received.serial()) else {
            return read;
        };
        match self.learn(Arc::clone(wechat), serial).await {
            Ok(newer) => *wechat = newer,
            Err(failure) => {
                tracing::warn!(%failure, "WeChat's certificates could not be read");
                return read;
            }
        }
        wechat.read_notification(received, now)
    }

    fn entry(&self, mch_id: &MchId) -> Arc<Known<Loaded>> {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(mch_id.clone()).or_default())
    }
}

impl Loaded {
    fn wechat(&self) -> Result<Arc<Wechat>, Failure> {
        let wechat = self.wechat.as_ref();
        wechat.map(Arc::clone).map_err(|rule| Failure {
            operation: OPERATION,
            cause: (*rule).into(),
        })
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
    let named = |kind: Kind| kind.name(&of.settings.secrets_prefix, mch_id.as_str());
    let ids = match first {
        Some(first) => Ids {
            keys: first.secret_id.clone(),
            v3_keys: first.v3_secret_id.clone(),
            certificate: of.settings.certificate_id.clone(),
        },
        None => Ids {
            keys: named(Kind::PaymentKeys),
            v3_keys: Some(named(Kind::PaymentKeysV3)),
            // Who may hold the first one's certificate may hold the others'.
            certificate: (of.settings.certificate_id.as_ref()).map(|_| named(Kind::Certificate)),
        },
    };
    let certificates = async {
        match ids.v3_keys {
            Some(_) => of.registry.certificates(&mch_id).await,
            None => Ok(CertificatesRow::default()),
        }
    };
    let (texts, certificates) = tokio::try_join!(of.texts(&ids), certificates)?;
    // Connections that are open stay so.
    let read = Loaded {
        wechat: match &old {
            Some(old)
                if (&old.merchant, &old.texts) == (&merchant, &texts)
                    && old.certificates.certificates == certificates.certificates =>
            {
                old.wechat.clone()
            }
            _ => of.connect(&merchant, &texts, &certificates, old.as_deref()),
        },
        merchant,
        texts,
        certificates,
    };
    Ok(Some(Arc::new(of.look_again(read).await)))
}

impl Inner {
    /// This merchant's settings of the stack, if it is the first.
    fn first(&self, mch_id: &MchId) -> Option<&config::FirstMerchant> {
        let first = self.settings.first.as_ref();
        first.filter(|first| first.merchant.mch_id == *mch_id)
    }

    async fn texts(&self, ids: &Ids) -> Result<Texts, Failure> {
        let secrets = &self.secrets;
        let (keys, v3_keys, pem) = tokio::try_join!(
            secrets.read_if_there(Some(&ids.keys), OPERATION),
            secrets.read_if_there(ids.v3_keys.as_deref(), V3_OPERATION),
            secrets.read_if_there(ids.certificate.as_deref(), CERTIFICATE_OPERATION),
        )?;
        Ok(Texts {
            keys,
            v3_keys,
            certificate: ids.certificate.as_ref().map(|_| pem),
        })
    }

    fn connect(
        &self,
        merchant: &Merchant,
        texts: &Texts,
        certificates: &CertificatesRow,
        old: Option<&Loaded>,
    ) -> Result<Arc<Wechat>, &'static str> {
        let identity = Identity::new(merchant, &self.settings.hosts);
        let v3 = self.v3(merchant, &identity, &texts.v3_keys, certificates);
        let v2 = match v2::PaymentKeys::parse(&texts.keys) {
            Ok(keys) => Some(self.v2(identity, keys, texts, old)),
            // A merchant of version 3 alone has none.
            Err(rule) if v3.is_some() => {
                tracing::info!(rule, mch_id = %merchant.mch_id, "version 2 of WeChat Pay is not spoken");
                None
            }
            Err(rule) => return Err(rule),
        };
        let account = self.first(&merchant.mch_id);
        let account = account.map(|first| first.account.clone());
        Ok(Arc::new(Wechat::new(merchant.clone(), account, v2, v3)))
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
            && old
                .and_then(|old| old.wechat.as_ref().ok())
                .is_none_or(|old| old.is_certified())
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
    fn v3(
        &self,
        merchant: &Merchant,
        identity: &Identity,
        secret: &str,
        row: &CertificatesRow,
    ) -> Option<v3::Client> {
        let keys = v3::Keys::parse(secret).and_then(|keys| {
            let keys = keys.map(|keys| keys.beside(&row.certificates));
            keys.transpose()
        });
        let rule = match keys {
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
