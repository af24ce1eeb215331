//! The functions as they run on Lambda, with this world's clock and wires.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_config::SdkConfig;
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::aws::secrets::Merchant;
use shared::callback::Caller;
use shared::config;
use shared::domain::delivery::{STANDARD_SCHEDULE, Schedule};
use shared::domain::order::{ApiVersion, MicropayTiming};
use shared::flows::ask::Asking;
use shared::flows::checkout::Checkout;
use shared::flows::notified::Notified;
use shared::flows::refunds::Refunds;
use shared::flows::settle::Settler;
use shared::wechat::{Account, Gateway};

use crate::engine::{LEDGER, REGISTRY};
use crate::wechat::{APP_ID, MCH_ID};

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
    pub(crate) merchant: Merchant,
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

    fn registry(&self) -> Registry {
        Registry::new(&self.aws, REGISTRY.to_owned())
    }

    fn queue(&self, name: &str) -> Queue {
        Queue::new(&self.aws, format!("http://aws.invalid/{name}"))
    }

    /// A merchant who has not read the secret yet, in a function that may not
    /// hold the client certificate.
    fn cold(&self) -> Merchant {
        merchant(&self.aws, self.gateway.clone(), None)
    }

    fn settler(&self) -> Settler {
        Settler {
            ledger: self.ledger(),
            registry: self.registry(),
            deliver_first: self.queue("first"),
            grace_seconds: GRACE_SECONDS,
        }
    }

    fn asking(&self, merchant: Merchant) -> Asking {
        Asking {
            settler: self.settler(),
            merchant,
        }
    }

    fn notified(&self) -> Notified {
        Notified {
            ledger: self.ledger(),
            settler: self.settler(),
            confirm: self.confirm,
        }
    }

    fn refunds(&self, merchant: Merchant) -> Refunds {
        Refunds {
            settler: self.settler(),
            merchant,
        }
    }

    fn create_order(&self, merchant: Merchant) -> create_order::CreateOrder {
        create_order::CreateOrder {
            clock: self.clock.clone(),
            registry: self.registry(),
            ledger: self.ledger(),
            merchant: merchant.clone(),
            checkout: Checkout {
                ledger: self.ledger(),
                // No app of this world goes the way of 2014.
                tokens: None,
                merchant,
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

    fn orders(&self, merchant: Merchant) -> orders::Orders {
        orders::Orders {
            clock: self.clock.clone(),
            registry: self.registry(),
            ledger: self.ledger(),
            reconcile: self.queue("reconcile"),
            asking: self.asking(merchant.clone()),
            notified: self.notified(),
            refunds: self.refunds(merchant),
            notify_url: NOTIFY_URL.to_owned(),
            public_url: "https://hub.example".to_owned(),
        }
    }

    fn wechat_notify(&self, merchant: Merchant) -> wechat_notify::WechatNotify {
        wechat_notify::WechatNotify {
            clock: self.clock.clone(),
            ledger: self.ledger(),
            merchant: merchant.clone(),
            notified: self.notified(),
            refunds: self.refunds(merchant),
        }
    }

    fn deliver(&self) -> Option<deliver::Deliver> {
        Some(deliver::Deliver {
            clock: self.clock.clone(),
            registry: self.registry(),
            ledger: self.ledger(),
            deliver_retry: self.queue("retry"),
            caller: self.caller.clone(),
            breaker: std::sync::Mutex::default(),
            schedule: Schedule::parse(STANDARD_SCHEDULE).ok()?,
            grace_seconds: GRACE_SECONDS,
        })
    }

    fn reconcile(&self, merchant: Merchant) -> reconcile::Reconcile {
        reconcile::Reconcile {
            clock: self.clock.clone(),
            ledger: self.ledger(),
            asking: self.asking(merchant.clone()),
            refunds: self.refunds(merchant),
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

/// The merchant, whose WeChat is here, with the name of the client
/// certificate's secret if it may be held.
pub(crate) fn merchant(
    aws: &SdkConfig,
    gateway: Gateway,
    certificate_id: Option<&str>,
) -> Merchant {
    let account = Account {
        gateway,
        ..Account::new(APP_ID.to_owned(), MCH_ID.to_owned())
    };
    let settings = config::Merchant {
        account,
        api_version: ApiVersion::V2,
        secret_id: "wechat".to_owned(),
        v3_secret_id: None,
        certificate_id: certificate_id.map(str::to_owned),
    };
    Merchant::new(aws.clone(), settings)
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
        let warm = || deployment.merchant.clone();
        Some(Self {
            create_order: Arc::new(deployment.create_order(warm())),
            orders: Arc::new(deployment.orders(warm())),
            wechat_notify: Arc::new(deployment.wechat_notify(warm())),
            deliver: Arc::new(deployment.deliver()?),
            reconcile: Arc::new(deployment.reconcile(warm())),
            sweep: Arc::new(deployment.sweep()),
            deployment,
        })
    }

    pub(crate) fn apps(&self) -> SocketAddr {
        self.deployment.apps
    }

    /// A cold process that takes notifications.
    pub(crate) fn cold_wechat_notify(&self) -> Arc<wechat_notify::WechatNotify> {
        Arc::new(self.deployment.wechat_notify(self.deployment.cold()))
    }

    /// A cold process that creates orders.
    pub(crate) fn cold_create_order(&self) -> Arc<create_order::CreateOrder> {
        Arc::new(self.deployment.create_order(self.deployment.cold()))
    }
}
