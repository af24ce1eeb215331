//! The memory of the simulator: one world behind one mutex, wiped by a reset,
//! and its clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::CannotStart;
use crate::config::Config;
use crate::faults::Fault;
use crate::ids;
use crate::merchants::Directory;
use crate::oauth::Identities;
use crate::pay::{ANSWER_SECONDS, Charge, Moment, Request, Rules, WechatPay};
use crate::session::Sessions;
use crate::settings::Settings;
use crate::token::Tokens;
use crate::v3::Now;

/// A request that was turned away, for the developer who wonders why.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rejection {
    pub(crate) path: String,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) at_ms: i64,
}

/// Everything that a reset forgets.
pub(crate) struct World {
    /// Counts resets, so that a task of an earlier world stops.
    pub(crate) generation: u64,
    pub(crate) settings: Settings,
    pub(crate) pay: WechatPay,
    pub(crate) identities: Identities,
    pub(crate) sessions: Sessions,
    /// By `appid`.
    pub(crate) tokens: BTreeMap<String, Tokens>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) rejections: Vec<Rejection>,
    /// Charges on their way to WeChat, by the merchant's number.
    pub(crate) late_charges: BTreeMap<String, Request>,
}

impl World {
    fn new(generation: u64, config: &Config, directory: &Directory) -> Self {
        // No test waits so long; those that are about it turn it on.
        let rules = Rules {
            reverse_guard_seconds: 0,
            refund_gap_seconds: 0,
            ..Rules::default()
        };
        Self {
            generation,
            settings: Settings::honest(config),
            pay: WechatPay::known(config.clone(), directory.clone(), rules),
            identities: Identities::default(),
            sessions: Sessions::default(),
            tokens: BTreeMap::new(),
            faults: Vec::new(),
            counters: BTreeMap::new(),
            rejections: Vec::new(),
            late_charges: BTreeMap::new(),
        }
    }

    /// A charge that was on its way reaches WeChat and is paid, unless its number
    /// was used meanwhile. Whether there was one.
    pub(crate) fn charge_arrives(&mut self, out_trade_no: &str) -> bool {
        let Some(asked) = self.late_charges.remove(out_trade_no) else {
            return false;
        };
        let moment = self.moment();
        let charge = |_: &str| Charge::Paid;
        // Nobody waits for the answer.
        let _answer = self.pay.decide("/pay/micropay", &asked, moment, charge);
        true
    }

    /// Now, by the simulated clock.
    pub(crate) fn now_ms(&self) -> i64 {
        let machine = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        let ahead_ms = self.settings.clock_ahead_seconds.saturating_mul(1000);
        i64::try_from(machine)
            .unwrap_or_default()
            .saturating_add(ahead_ms)
    }

    /// What APIv3 is told with each call. Its signatures are judged and made by
    /// the machine's clock: merchants do not follow when the book's is moved.
    pub(crate) fn now(&self) -> Now {
        let machine = OffsetDateTime::now_utc().unix_timestamp();
        Now {
            moment: self.moment(),
            clock: machine.saturating_add(self.settings.signing_clock_ahead_seconds),
        }
    }

    /// What the order book is told with each call.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now_ms: self.now_ms(),
            unique: ids::unique(),
        }
    }

    /// Keeps the last hundred refusals.
    pub(crate) fn reject(&mut self, path: &str, code: &str, message: &str) {
        let at_ms = self.now_ms();
        if self.rejections.len() >= 100 {
            self.rejections.remove(0);
        }
        self.rejections.push(Rejection {
            path: path.to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
            at_ms,
        });
    }
}

/// The running simulator, cheap to clone.
#[derive(Clone)]
pub(crate) struct Simulator {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    /// Whom a reset leaves known.
    directory: Directory,
    http: reqwest::Client,
    world: Mutex<World>,
}

impl Simulator {
    pub(crate) fn new(config: Config) -> Result<Self, CannotStart> {
        let directory = Directory::read(&config)?;
        // WeChat follows no redirects.
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(ANSWER_SECONDS.into()))
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .user_agent("Mozilla/4.0")
            .build()?;
        let world = Mutex::new(World::new(0, &config, &directory));
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                directory,
                http,
                world,
            }),
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.inner.http
    }

    /// The one lock. It is never held across an await.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.inner
            .world
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reset(&self) {
        let mut world = self.world();
        *world = World::new(world.generation + 1, self.config(), &self.inner.directory);
    }

    /// The world, if it is still the one of that generation.
    pub(crate) fn world_of(&self, generation: u64) -> Option<MutexGuard<'_, World>> {
        Some(self.world()).filter(|world| world.generation == generation)
    }
}
