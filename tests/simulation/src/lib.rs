//! A day of payments with everything going wrong, in milliseconds.
//!
//! The real handlers and the real store code run in one process; DynamoDB is
//! an embedded engine that others maintain; SQS, WeChat and the apps are
//! doubles at the wire. Every network call parks in one place, and a seed
//! decides which goes on next and what goes wrong with it. The clock jumps to
//! whatever comes next. After each step the hub's promises are checked.
//!
//! The code that is under test is never changed: even a planted bug sits between
//! it and the world.

mod alarms;
mod apps;
mod aws;
mod callbacks;
pub mod campaign;
pub mod engine;
mod events;
pub mod faults;
mod final_checks;
mod functions;
mod http_server;
mod judge;
mod ledger;
mod notify;
mod plan;
mod random;
mod refunds;
mod restore;
mod scheduler;
mod serve;
mod shop;
mod sqs;
mod till;
mod wechat;
mod world;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use shared::ambient::Clock;
use shared::callback::Caller;
use tracing::Dispatch;

pub use final_checks::Results;
pub use plan::Plant;

use alarms::Alarms;
use faults::Tally;
use functions::Hosts;
use scheduler::{Host, Scheduler};
use world::World;

/// What one seed came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed that was run.
    pub seed: u64,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    /// The faults that were injected.
    pub faults: Tally,
    /// What WeChat's spare host has done, by the path: how often.
    pub by_spare: BTreeMap<String, u64>,
    /// What became of the orders.
    pub results: Results,
    /// How many network calls were made.
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
    /// Whether to keep the story, line by line.
    pub trace: bool,
    /// Put a bug in.
    pub plant: Option<Plant>,
}

/// What all seeds of a thread share: the sockets, and the client that dials
/// them.
pub struct Stage {
    scheduler: Arc<Scheduler>,
    hosts: Hosts,
    caller: Caller,
    wechat: functions::Wechat,
    /// The same where WeChat's main host cannot be reached.
    cut_off: functions::Wechat,
    alarms: Alarms,
    listener: Dispatch,
}

impl Stage {
    /// Opens the sockets, on the runtime that will run the seeds.
    ///
    /// # Errors
    /// When this machine has no free port, or no TLS stack.
    pub async fn open() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let scheduler = Arc::new(Scheduler::default());
        let hosts = Hosts {
            main: http_server::listen(Arc::clone(&scheduler), Host::Main).await?,
            spare: http_server::listen(Arc::clone(&scheduler), Host::Spare).await?,
        };
        let caller = Caller::new(vec!["127.0.0.0/8".parse()?])?;
        let aws = aws::sdk_config(&scheduler);
        // Version 2 alone is spoken here: nobody looks at it.
        let clock = Clock::System;
        let reached_by =
            |gateway| functions::wechat(&aws, &clock, gateway, Some(aws::CERTIFICATE_ID));
        let wechat = reached_by(hosts.wechat())?;
        let cut_off = reached_by(hosts.wechat_cut_off())?;
        for warm in [&wechat, &cut_off] {
            drop(warm.merchants.named(None).await);
            if let Some(first) = warm.accounts.first() {
                drop(warm.accounts.is_enabled(first).await);
            }
        }
        let alarms = Alarms::default();
        let listener = Dispatch::new(alarms.clone());
        Ok(Self {
            scheduler,
            hosts,
            caller,
            wechat,
            cut_off,
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
        self.scheduler.clear();
        self.alarms.clear();
        let _listening = tracing::dispatcher::set_default(&self.listener);
        let mut world = World::new(self, seed, options)?;
        world.run().await;
        Ok(world.outcome(seed))
    }
}
