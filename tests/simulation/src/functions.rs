//! The functions as they run on Lambda, with this world's clock and wires.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use shared::ambient::Clock;
use shared::aws::accounts::Accounts;
use shared::aws::feed::Feed;
use shared::aws::ledger::Ledger;
use shared::aws::merchants::Merchants;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::callback::Caller;
use shared::config;
use shared::domain::delivery::{STANDARD_SCHEDULE, Schedule};
use shared::domain::merchant::{AccountId, MchId, Merchant};
use shared::domain::order::{ApiVersion, MicropayTiming};
use shared::flows::ask::Asking;
use shared::flows::checkout::Checkout;
use shared::flows::notified::Notified;
use shared::flows::refunds::Refunds;
use shared::flows::settle::Settler;
use shared::wechat::{Gateway, Hosts as WechatHosts, Http};

use crate::cast::{
    ACCOUNTS, CERTIFICATE_ID, FIRST, MCH_IDS, SECRET_ID, SECRETS_PREFIX, V3_SECRET_ID,
};
use crate::engine::{LEDGER, REGISTRY};

/// Of real time: longer than a seed.
const FRESH: Duration = Duration::from_secs(300);
/// How long the sweeper leaves a row to its doorbell.
pub(crate) const GRACE_SECONDS: i64 = 60;

/// Where WeChat is told to notify.
const NOTIFY_URL: &str = "https://hub.example/wechat/notify";

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Where the hosts of this world are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hosts {
    pub(crate) main: SocketAddr,
    pub(crate) spare: SocketAddr,
}

impl Hosts {
    /// WeChat, whose main host may not be reached.
    pub(crate) fn gateway(self, is_cut_off: bool) -> Gateway {
        let main = match is_cut_off {
            true => NOWHERE.to_owned(),
            false => format!("http://{}", self.main),
        };
        Gateway::at(&main).with_spare(&format!("http://{}", self.spare))
    }
}

/// What the functions are made with.
pub(crate) struct Deployment {
    pub(crate) aws: Aws,
    /// Who has read the secrets already. Without them a process is cold.
    pub(crate) wechat: Wechat,
    pub(crate) clock: Clock,
    pub(crate) caller: Caller,
    /// Where WeChat is, as this process reaches it.
    pub(crate) gateway: Gateway,
    /// Whether notifications are confirmed by a query.
    pub(crate) confirm: bool,
}

/// The clients of AWS, made once for a run: that takes longer than many a call.
#[derive(Clone)]
pub(crate) struct Aws {
    config: SdkConfig,
    ledger: Ledger,
    registry: Registry,
    first: Queue,
    retry: Queue,
    reconcile: Queue,
}

impl Aws {
    pub(crate) fn new(config: SdkConfig) -> Self {
        let queue = |name: &str| Queue::new(&config, format!("http://aws.invalid/{name}"));
        Self {
            ledger: Ledger::new(&config, LEDGER.to_owned()),
            registry: Registry::new(&config, REGISTRY.to_owned()),
            first: queue("first"),
            retry: queue("retry"),
            reconcile: queue("reconcile"),
            config,
        }
    }
}

impl Deployment {
    fn ledger(&self) -> Ledger {
        self.aws.ledger.clone()
    }

    /// No app of this world has one.
    fn feed(&self) -> Feed {
        Feed::new(&self.aws.config, "feed".to_owned())
    }

    fn registry(&self) -> Registry {
        self.aws.registry.clone()
    }

    /// Who has not read the secrets yet, in a function that may not hold the client
    /// certificate.
    fn cold(&self) -> Wechat {
        let cold = wechat(&self.aws.config, &self.clock, self.gateway.clone(), None);
        // Only a TLS stack could fail, and the warm ones have theirs.
        cold.unwrap_or_else(|_| self.wechat.clone())
    }

    fn settler(&self) -> Settler {
        Settler {
            ledger: self.ledger(),
            registry: self.registry(),
            deliver_first: self.aws.first.clone(),
            grace_seconds: GRACE_SECONDS,
        }
    }

    fn asking(&self, merchants: Merchants) -> Asking {
        Asking {
            settler: self.settler(),
            merchants,
        }
    }

    fn notified(&self) -> Notified {
        Notified {
            ledger: self.ledger(),
            settler: self.settler(),
            confirm: self.confirm,
        }
    }

    fn refunds(&self, merchants: Merchants) -> Refunds {
        Refunds {
            settler: self.settler(),
            merchants,
        }
    }

    fn create_order(&self, wechat: Wechat) -> create_order::CreateOrder {
        create_order::CreateOrder {
            clock: self.clock.clone(),
            registry: self.registry(),
            ledger: self.ledger(),
            checkout: Checkout {
                ledger: self.ledger(),
                // No app of this world goes the way of 2014.
                tokens: None,
                merchants: wechat.merchants,
                accounts: wechat.accounts,
                notify_url: NOTIFY_URL.to_owned(),
                reconcile: self.aws.reconcile.clone(),
            },
            till: create_order::Till {
                prefixes: vec!["13".to_owned()],
                timing: MicropayTiming {
                    query_seconds: 5,
                    give_up_seconds: 30,
                },
                settler: self.settler(),
                reconcile: self.aws.reconcile.clone(),
            },
            public_url: "https://hub.example".to_owned(),
            payer_address_header: None,
        }
    }

    fn orders(&self, merchants: Merchants) -> orders::Orders {
        orders::Orders {
            clock: self.clock.clone(),
            registry: self.registry(),
            ledger: self.ledger(),
            feed: self.feed(),
            reconcile: self.aws.reconcile.clone(),
            asking: self.asking(merchants.clone()),
            notified: self.notified(),
            refunds: self.refunds(merchants),
            notify_url: NOTIFY_URL.to_owned(),
            public_url: "https://hub.example".to_owned(),
        }
    }

    fn wechat_notify(&self, merchants: Merchants) -> wechat_notify::WechatNotify {
        wechat_notify::WechatNotify {
            clock: self.clock.clone(),
            ledger: self.ledger(),
            merchants: merchants.clone(),
            notified: self.notified(),
            refunds: self.refunds(merchants),
        }
    }

    fn deliver(&self) -> Option<deliver::Deliver> {
        Some(deliver::Deliver {
            clock: self.clock.clone(),
            registry: self.registry(),
            ledger: self.ledger(),
            feed: self.feed(),
            deliver_retry: self.aws.retry.clone(),
            caller: self.caller.clone(),
            breaker: std::sync::Mutex::default(),
            schedule: Schedule::parse(STANDARD_SCHEDULE).ok()?,
            grace_seconds: GRACE_SECONDS,
        })
    }

    fn reconcile(&self, merchants: Merchants) -> reconcile::Reconcile {
        reconcile::Reconcile {
            clock: self.clock.clone(),
            ledger: self.ledger(),
            asking: self.asking(merchants.clone()),
            refunds: self.refunds(merchants),
            notify_url: NOTIFY_URL.to_owned(),
            reconcile: self.aws.reconcile.clone(),
        }
    }

    fn sweep(&self) -> sweep::Sweep {
        sweep::Sweep {
            clock: self.clock.clone(),
            ledger: self.ledger(),
            deliver_first: self.aws.first.clone(),
            deliver_retry: self.aws.retry.clone(),
            reconcile: self.aws.reconcile.clone(),
            grace_seconds: GRACE_SECONDS,
        }
    }
}

/// The merchants and the accounts, as a process knows them.
#[derive(Clone)]
pub(crate) struct Wechat {
    pub(crate) merchants: Merchants,
    pub(crate) accounts: Accounts,
}

/// They whose WeChat is here, with the name of the client certificate's secret if it
/// may be held.
pub(crate) fn wechat(
    aws: &SdkConfig,
    clock: &Clock,
    gateway: Gateway,
    certificate_id: Option<&str>,
) -> Result<Wechat, Box<dyn Error + Send + Sync>> {
    let registry = Registry::new(aws, REGISTRY.to_owned());
    let hosts = WechatHosts {
        pay: gateway,
        ..WechatHosts::default()
    };
    let account = AccountId::parse(FIRST)?;
    let first = config::FirstMerchant {
        merchant: Merchant::new(MchId::parse(MCH_IDS[0])?, ApiVersion::V2),
        account: account.clone(),
        secret_id: SECRET_ID.to_owned(),
        v3_secret_id: Some(V3_SECRET_ID.to_owned()),
    };
    let merchants = config::Merchants {
        first: Some(first),
        hosts: hosts.clone(),
        secrets_prefix: SECRETS_PREFIX.to_owned(),
        certificate_id: certificate_id.map(str::to_owned),
        fresh: FRESH,
    };
    let accounts = config::Accounts {
        first: Some(account),
        secret_id: None,
        hosts,
        secrets_prefix: SECRETS_PREFIX.to_owned(),
        fresh: FRESH,
    };
    let http = Http::new()?;
    Ok(Wechat {
        merchants: Merchants::new(
            aws,
            clock.clone(),
            registry.clone(),
            merchants,
            http.clone(),
        ),
        accounts: Accounts::new(aws, registry, accounts, http),
    })
}

/// A process that has read everything that it will need.
pub(crate) async fn warm(
    aws: &SdkConfig,
    clock: &Clock,
    gateway: Gateway,
) -> Result<Wechat, Box<dyn Error + Send + Sync>> {
    let warm = wechat(aws, clock, gateway, Some(CERTIFICATE_ID))?;
    for mch_id in MCH_IDS {
        warm.merchants.named(Some(&MchId::parse(mch_id)?)).await?;
    }
    for account in &ACCOUNTS {
        let account = AccountId::parse(account.id)?;
        warm.accounts.is_enabled(&account).await?;
    }
    Ok(warm)
}

/// One warm process of each function; its clients are made once.
pub(crate) struct Functions {
    deployment: Deployment,
    pub(crate) create_order: Arc<create_order::CreateOrder>,
    pub(crate) orders: Arc<orders::Orders>,
    pub(crate) wechat_notify: Arc<wechat_notify::WechatNotify>,
    pub(crate) deliver: Arc<deliver::Deliver>,
    pub(crate) reconcile: Arc<reconcile::Reconcile>,
    pub(crate) sweep: Arc<sweep::Sweep>,
}

impl Functions {
    pub(crate) fn new(deployment: Deployment) -> Option<Self> {
        let merchants = || deployment.wechat.merchants.clone();
        Some(Self {
            create_order: Arc::new(deployment.create_order(deployment.wechat.clone())),
            orders: Arc::new(deployment.orders(merchants())),
            wechat_notify: Arc::new(deployment.wechat_notify(merchants())),
            deliver: Arc::new(deployment.deliver()?),
            reconcile: Arc::new(deployment.reconcile(merchants())),
            sweep: Arc::new(deployment.sweep()),
            deployment,
        })
    }

    /// A cold process that takes notifications.
    pub(crate) fn cold_wechat_notify(&self) -> Arc<wechat_notify::WechatNotify> {
        let cold = self.deployment.cold().merchants;
        Arc::new(self.deployment.wechat_notify(cold))
    }

    /// A cold process that creates orders.
    pub(crate) fn cold_create_order(&self) -> Arc<create_order::CreateOrder> {
        Arc::new(self.deployment.create_order(self.deployment.cold()))
    }
}
