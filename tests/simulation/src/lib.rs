//! A day of payments with everything going wrong, in milliseconds.
//!
//! The real handlers and the real store code run in one process; DynamoDB is
//! an embedded engine that others maintain; SQS, WeChat and the apps are
//! doubles at the wire. Every network call parks in one place, and a seed
//! decides which goes on next and what goes wrong with it. The clock jumps to
//! whatever comes next. After each step the hub's promises are checked.
//!
//! It owns the world around the hub. It refuses to know how the hub keeps its
//! promises, and never changes the code that is under test.

mod act;
pub mod alarms;
pub mod apps;
pub mod aws;
pub mod campaign;
mod close;
pub mod engine;
pub mod faults;
pub mod hubs;
pub mod judge;
pub mod ledger;
pub mod lot;
mod notify;
pub mod plan;
pub mod random;
mod refunds;
mod serve;
mod shop;
mod tell;
mod till;
pub mod wechat;
pub mod wire;
mod world;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use serde_json::json;
use shared::ambient::Clock;
use shared::aws::secrets::Merchant;
use shared::callback::Caller;
use tracing::Dispatch;

pub use close::Results;
pub use world::World;

use alarms::Alarms;
use engine::Engine;
use faults::Tally;
use hubs::{Hubs, Site};
use lot::Lot;
use plan::{EPOCH, Plan, Plant};
use random::Random;

/// What one seed came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    /// The faults that were injected.
    pub faults: Tally,
    /// What became of the orders.
    pub results: Results,
    /// Network calls made.
    pub calls: u64,
    /// How long the run lasted by its own clock, in milliseconds.
    pub lasted: i64,
    /// Equal for equal runs.
    pub fingerprint: u64,
    /// The whole story, when it was asked for.
    pub trace: Vec<String>,
}

/// How a seed is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Keep the story.
    pub trace: bool,
    /// Put a bug in.
    pub plant: Option<Plant>,
}

/// What all seeds of a thread share: the sockets, and the client that dials
/// them.
pub struct Stage {
    lot: Arc<Lot>,
    peers: SocketAddr,
    caller: Caller,
    merchant: Merchant,
    alarms: Alarms,
    listener: Dispatch,
}

impl Stage {
    /// Opens the sockets, on the runtime that will run the seeds.
    ///
    /// # Errors
    /// When this machine has no free port, or no TLS stack.
    pub async fn open() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let lot = Arc::new(Lot::default());
        let peers = wire::listen(Arc::clone(&lot)).await?;
        let caller = Caller::new(vec!["127.0.0.0/8".parse()?])?;
        let merchant = hubs::merchant(&aws::sdk_config(&lot), peers, Some(aws::CERTIFICATE_ID));
        merchant.warm().await;
        let alarms = Alarms::default();
        let listener = Dispatch::new(alarms.clone());
        Ok(Self {
            lot,
            peers,
            caller,
            merchant,
            alarms,
            listener,
        })
    }

    /// Runs a seed to its end.
    ///
    /// # Errors
    /// When the world could not be set up.
    pub async fn play(
        &self,
        seed: u64,
        options: Options,
    ) -> Result<Outcome, Box<dyn Error + Send + Sync>> {
        self.lot.clear();
        self.alarms.clear();
        let _listening = tracing::dispatcher::set_default(&self.listener);
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random, options.plant);
        let clock = Arc::new(AtomicI64::new(EPOCH));
        let engine = Engine::new()?;
        for app in &plan.apps {
            engine.register(&json!({
                "pk": {"S": format!("app#{}", app.app_id)},
                "app_id": {"S": app.app_id},
                "app_secret": {"S": app.secret},
                "name": {"S": "simulated"},
                "allow_http": {"BOOL": true},
                "allow_direct": {"BOOL": true},
                "skip_return_call": {"BOOL": app.skip_return_call},
                "refund_by_hand": {"BOOL": app.refund_by_hand},
            }))?;
        }
        let aws = aws::sdk_config(&self.lot);
        // It keeps the secret for five minutes of real time: longer than a seed.
        let merchant = self.merchant.clone();
        let peers = (self.caller.clone(), self.peers);
        let site = Site::new(
            (aws, merchant),
            Clock::Manual(Arc::clone(&clock)),
            peers,
            plan.confirm,
        );
        let hubs = Hubs::new(site).ok_or("the schedule is malformed")?;
        let trace = options.trace.then(|| vec![format!("{plan:#?}")]);
        let parts = (Arc::clone(&self.lot), clock, self.alarms.clone());
        let mut world = World::new(parts, (plan, random), (engine, hubs), trace);
        world.run().await;
        Ok(world.outcome(seed))
    }
}
