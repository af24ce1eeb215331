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
mod asked;
mod aws;
mod callbacks;
pub mod campaign;
mod cast;
pub mod engine;
mod events;
pub mod faults;
mod final_checks;
mod functions;
mod http_server;
mod judge;
mod ledger;
mod notify;
mod operator;
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
use std::sync::atomic::{AtomicI64, Ordering};

use shared::ambient::Clock;
use shared::callback::Caller;
use tracing::Dispatch;

pub use final_checks::Results;
pub use plan::Plant;

use alarms::Alarms;
use cast::{Cast, Standings};
use faults::Tally;
use functions::Hosts;
use plan::{EPOCH, Plan};
use random::Random;
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
    /// What WeChat's spare host has done: how often.
    pub by_spare: BTreeMap<&'static str, u64>,
    /// What WeChat was asked and has told, by version: how often.
    pub by_version: BTreeMap<&'static str, u64>,
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
    cast: &'static Cast,
    /// The time of the seed that is played.
    clock: Arc<AtomicI64>,
    alarms: Alarms,
    listener: Dispatch,
}

/// What a process knows, and what it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct View {
    /// How the merchants stood when it looked.
    standings: Standings,
    /// WeChat's main host cannot be reached.
    is_cut_off: bool,
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
        let alarms = Alarms::default();
        let listener = Dispatch::new(alarms.clone());
        Ok(Self {
            scheduler,
            hosts,
            caller,
            cast: Cast::get()?,
            clock: Arc::new(AtomicI64::new(EPOCH)),
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
        self.clock.store(EPOCH, Ordering::SeqCst);
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random, options.plant);
        let mut warm = BTreeMap::new();
        for standings in plan.changes().into_iter().map(|at| plan.standings_at(at)) {
            for is_cut_off in [false, true] {
                let view = View {
                    standings,
                    is_cut_off,
                };
                warm.insert(view, self.warm(view).await?);
            }
        }
        let _listening = tracing::dispatcher::set_default(&self.listener);
        let mut world = World::new(self, plan, random, &warm, options)?;
        world.run().await;
        Ok(world.outcome(seed))
    }

    /// Made for each seed: what one has learnt, another must not know.
    async fn warm(&self, view: View) -> Result<functions::Wechat, Box<dyn Error + Send + Sync>> {
        let aws = aws::sdk_config(&self.scheduler, self.cast, view.standings);
        let clock = Clock::Manual(Arc::clone(&self.clock));
        functions::warm(&aws, &clock, self.hosts.gateway(view.is_cut_off)).await
    }
}
