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

use crate::engine::{LEDGER, REGISTRY};
use crate::wechat::{APP_ID, MCH_ID};

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
    /// WeChat, as it is reached on a good day.
    pub(crate) fn wechat(self) -> Gateway {
        let Self { main, spare } = self;
        Gateway::at(&format!("http://{main}")).with_spare(&format!("http://{spare}"))
    }

    /// WeChat, when its main host cannot be reached.
    pub(crate) fn wechat_cut_off(self) -> Gateway {
        Gateway::at(NOWHERE).with_spare(&format!("http://{}", self.spare))
    }
}

/// What the functions are made with.
pub(crate) struct Deployment {
    pub(crate) aws: SdkConfig,
    /// Who has read the secret already. Without it a process is cold.
    pub(crate) wechat: Wechat,
    pub(crate) clock: Clock,
    pub(crate) caller: Caller,
    /// Where WeChat is, as this process reaches it.
    pub(crate) gateway: Gateway,
    /// Where the apps are.
    pub(crate) apps: SocketAddr,
    /// Whether notifications are confirmed by a query.
    pub(crate) confirm: bool,
}

impl Deployment {
    fn ledger(&self) -> Ledger {
        Ledger::new(&self.aws, LEDGER.to_owned())
    }

    /// No app of this world has one.
    fn feed(&self) -> Feed {
        Feed::new(&self.aws, "feed".to_owned())
    }

    fn registry(&self) -> Registry {
        Registry::new(&self.aws, REGISTRY.to_owned())
    }

    fn queue(&self, name: &str) -> Queue {
        Queue::new(&self.aws, format!("http://aws.invalid/{name}"))
    }

    /// Who has not read the secrets yet, in a function that may not hold the client
    /// certificate.
    fn cold(&self) -> Wechat {
        let cold = wechat(&self.aws, &self.clock, self.gateway.clone(), None);
        // Only a TLS stack could fail, and the warm ones have theirs.
        cold.unwrap_or_else(|_| self.wechat.clone())
    }

    fn settler(&self) -> Settler {
        Settler {
            ledger: self.ledger(),
            registry: self.registry(),
            deliver_first: self.queue("first"),
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
                reconcile: self.queue("reconcile"),
            },
            till: create_order::Till {
                prefixes: vec!["13".to_owned()],
                timing: MicropayTiming {
                    query_seconds: 5,
                    give_up_seconds: 30,
                },
                settler: self.settler(),
                reconcile: self.queue("reconcile"),
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
            reconcile: self.queue("reconcile"),
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
            deliver_retry: self.queue("retry"),
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
            reconcile: self.queue("reconcile"),
        }
    }

    fn sweep(&self) -> sweep::Sweep {
        sweep::Sweep {
            clock: self.clock.clone(),
            ledger: self.ledger(),
            deliver_first: self.queue("first"),
            deliver_retry: self.queue("retry"),
            reconcile: self.queue("reconcile"),
            grace_seconds: GRACE_SECONDS,
        }
    }
}

/// The one merchant and the one account of this world.
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
    let account = AccountId::parse(APP_ID)?;
    let first = config::FirstMerchant {
        merchant: Merchant::new(MchId::parse(MCH_ID)?, ApiVersion::V2),
        account: account.clone(),
        secret_id: "wechat".to_owned(),
        v3_secret_id: None,
    };
    let merchants = config::Merchants {
        first: Some(first),
        hosts: hosts.clone(),
        secrets_prefix: "hub".to_owned(),
        certificate_id: certificate_id.map(str::to_owned),
        fresh: FRESH,
    };
    let accounts = config::Accounts {
        first: Some(account),
        secret_id: None,
        hosts,
        secrets_prefix: "hub".to_owned(),
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

    pub(crate) fn apps(&self) -> SocketAddr {
        self.deployment.apps
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
