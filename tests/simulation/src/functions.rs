//! The functions as they run on Lambda, with this world's clock and wires.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_config::SdkConfig;
use shared::account::AccountTokens;
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::aws::secrets::Merchant;
use shared::callback::Caller;
use shared::checkout::Checkout;
use shared::domain::delivery::{MISSION_SCHEDULE, Schedule};
use shared::domain::order::Patience;
use shared::refunds::Refunds;
use shared::settle::Settler;
use shared::wechat::Account;
use shared::wechat::sign::SignType;

use crate::engine::{LEDGER, REGISTRY};
use crate::wechat::{APP_ID, MCH_ID};

/// How long the sweeper leaves a row to its doorbell.
pub(crate) const GRACE_SECONDS: i64 = 60;

/// Where WeChat is told to notify.
const NOTIFY_URL: &str = "https://hub.example/wechat/notify";

/// What the functions are made with.
pub(crate) struct Deployment {
    pub(crate) aws: SdkConfig,
    /// Who has read the secret already. Without it a process is cold.
    pub(crate) merchant: Merchant,
    pub(crate) clock: Clock,
    pub(crate) caller: Caller,
    /// Where WeChat and the apps are.
    pub(crate) peers: SocketAddr,
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
        merchant(&self.aws, self.peers, None)
    }

    fn settler(&self) -> Settler {
        Settler {
            ledger: self.ledger(),
            registry: self.registry(),
            first: self.queue("first"),
            grace_seconds: GRACE_SECONDS,
        }
    }

    fn refunds(&self, merchant: Merchant) -> Refunds {
        Refunds {
            settler: self.settler(),
            merchant,
        }
    }

    fn create_order(&self, merchant: Merchant) -> create_order::Hub {
        create_order::Hub {
            clock: self.clock.clone(),
            registry: self.registry(),
            checkout: Checkout {
                ledger: self.ledger(),
                tokens: AccountTokens::new(self.registry(), merchant.clone()),
                merchant,
                notify_url: NOTIFY_URL.to_owned(),
            },
            till: create_order::Till {
                prefixes: vec!["13".to_owned()],
                patience: Patience {
                    query_seconds: 5,
                    give_up_seconds: 30,
                },
                settler: self.settler(),
                reconcile: self.queue("reconcile"),
            },
            public_url: "https://hub.example".to_owned(),
        }
    }

    fn orders(&self, merchant: Merchant) -> orders::Hub {
        orders::Hub {
            clock: self.clock.clone(),
            reconcile: self.queue("reconcile"),
            refunds: self.refunds(merchant),
            notify_url: NOTIFY_URL.to_owned(),
            public_url: "https://hub.example".to_owned(),
        }
    }

    fn wechat_notify(&self, merchant: Merchant) -> wechat_notify::Hub {
        wechat_notify::Hub {
            clock: self.clock.clone(),
            refunds: self.refunds(merchant),
            confirm: self.confirm,
        }
    }

    fn deliver(&self) -> Option<deliver::Hub> {
        Some(deliver::Hub {
            clock: self.clock.clone(),
            registry: self.registry(),
            ledger: self.ledger(),
            retry: self.queue("retry"),
            caller: self.caller.clone(),
            suspects: std::sync::Mutex::default(),
            schedule: Schedule::parse(MISSION_SCHEDULE).ok()?,
            grace_seconds: GRACE_SECONDS,
        })
    }

    fn reconcile(&self, merchant: Merchant) -> reconcile::Hub {
        reconcile::Hub {
            clock: self.clock.clone(),
            refunds: self.refunds(merchant),
            notify_url: NOTIFY_URL.to_owned(),
            again: self.queue("reconcile"),
        }
    }

    fn sweep(&self) -> sweep::Hub {
        sweep::Hub {
            clock: self.clock.clone(),
            ledger: self.ledger(),
            first: self.queue("first"),
            retry: self.queue("retry"),
            reconcile: self.queue("reconcile"),
            grace_seconds: GRACE_SECONDS,
        }
    }
}

/// The merchant, whose WeChat is here, with the name of the client
/// certificate's secret if it may be held.
pub(crate) fn merchant(
    aws: &SdkConfig,
    peers: SocketAddr,
    certificate_id: Option<&str>,
) -> Merchant {
    let account = Account {
        app_id: APP_ID.to_owned(),
        mch_id: MCH_ID.to_owned(),
        sign_type: SignType::HmacSha256,
        pay_base: format!("http://{peers}"),
        api_base: String::new(),
        open_base: String::new(),
    };
    let certificate_id = certificate_id.map(str::to_owned);
    Merchant::new(aws.clone(), (account, "wechat".to_owned(), certificate_id))
}

/// One warm process of each function; its clients are made once.
pub(crate) struct Functions {
    deployment: Deployment,
    pub(crate) create_order: Arc<create_order::Hub>,
    pub(crate) orders: Arc<orders::Hub>,
    pub(crate) wechat_notify: Arc<wechat_notify::Hub>,
    pub(crate) deliver: Arc<deliver::Hub>,
    pub(crate) reconcile: Arc<reconcile::Hub>,
    pub(crate) sweep: Arc<sweep::Hub>,
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

    pub(crate) fn peers(&self) -> SocketAddr {
        self.deployment.peers
    }

    /// A cold process that takes notifications.
    pub(crate) fn cold_wechat_notify(&self) -> Arc<wechat_notify::Hub> {
        Arc::new(self.deployment.wechat_notify(self.deployment.cold()))
    }

    /// A cold process that creates orders.
    pub(crate) fn cold_create_order(&self) -> Arc<create_order::Hub> {
        Arc::new(self.deployment.create_order(self.deployment.cold()))
    }
}
