//! A seed's run: the clock, the agenda of what will happen, the functions at
//! work, and the loop that decides what goes on next. What calls mean is in
//! `serve`, what the people outside do in `events`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use shared::ambient::Clock;

use crate::alarms::Alarms;
use crate::apps::Book;
use crate::aws;
use crate::cast;
use crate::engine::{Engine, Key};
use crate::events::{Event, Job};
use crate::faults::Tally;
use crate::functions::{self, Aws, Deployment, Functions};
use crate::judge::Judge;
use crate::notify::Notice;
use crate::plan::{AppPlan, EPOCH, MINUTE, Plan, STALE, Temper};
use crate::random::Random;
use crate::scheduler::{Invocation, Record, Scheduler};
use crate::wechat::Wechat;
use crate::{Options, Outcome, Stage, View};

/// Everything that exists in a run.
pub(crate) struct World {
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) engine: Engine,
    pub(crate) wechat: Wechat,
    functions: BTreeMap<View, Arc<Functions>>,
    /// They who were at work last.
    at_work: Arc<Functions>,
    pub(crate) cast: &'static cast::Cast,
    /// Where the apps are.
    pub(crate) apps: SocketAddr,
    pub(crate) judge: Judge,
    pub(crate) tally: Tally,
    /// By the key of the delivery's row.
    pub(crate) books: BTreeMap<Key, Book>,
    /// What the hub has answered with success.
    pub(crate) acknowledged: BTreeSet<Notice>,
    /// The alarms that the hub has raised.
    pub(crate) alarms: Alarms,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) jobs: BTreeMap<Invocation, Job>,
    /// The refunds that the hub has confirmed, and their amounts.
    pub(crate) promised: BTreeMap<Key, i64>,
    /// The states of the orders that will be put back, by their keys.
    pub(crate) past: BTreeMap<String, Vec<Value>>,
    /// Who has sent a payer's code to WeChat.
    pub(crate) charging: BTreeSet<Record>,
    /// What WeChat's spare host has done.
    pub(crate) by_spare: BTreeMap<&'static str, u64>,
    /// What WeChat was asked and has told, by version.
    pub(crate) by_version: BTreeMap<&'static str, u64>,
    /// The orders that were open when their merchant was moved to another version.
    pub(crate) switched: usize,
    /// The orders that the hub has confirmed.
    pub(crate) stored: BTreeSet<usize>,
    /// What the index showed last, by shard.
    pub(crate) shown: BTreeMap<String, String>,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) calls: u64,
    pub(crate) agenda: BTreeMap<(i64, u64), Event>,
    serial: u64,
    swept_at: i64,
    fingerprint: DefaultHasher,
}

impl World {
    /// The world of a seed before anything has happened.
    pub(crate) fn new(
        stage: &Stage,
        plan: Plan,
        random: Random,
        warm: &BTreeMap<View, functions::Wechat>,
        options: Options,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let clock = Arc::clone(&stage.clock);
        let engine = Engine::new()?;
        let mut judge = Judge::new(&plan);
        let standings = plan.standings_at(EPOCH);
        for row in cast::keys().filter_map(|pk| cast::row(&pk, &standings)) {
            engine.register(&row)?;
        }
        let mut secrets = BTreeMap::new();
        for app in &plan.apps {
            engine.register(&app_row(app, EPOCH))?;
            if app.refund_by_hand {
                judge.by_hand.insert(app.app_id.clone());
            }
            secrets.insert(app.app_id.clone(), app.secret.clone());
        }
        let aws = Aws::new(aws::sdk_config(&stage.scheduler, stage.cast, standings));
        let deploy = |view: &View, wechat: &functions::Wechat| {
            Functions::new(Deployment {
                aws: aws.clone(),
                // It keeps the secrets for five minutes of real time: longer than a seed.
                wechat: wechat.clone(),
                clock: Clock::Manual(Arc::clone(&clock)),
                caller: stage.caller.clone(),
                gateway: stage.hosts.gateway(view.is_cut_off),
                confirm: plan.confirm,
            })
        };
        let functions = warm.iter();
        let functions =
            functions.map(|(view, wechat)| Some((*view, Arc::new(deploy(view, wechat)?))));
        let functions: Option<BTreeMap<View, Arc<Functions>>> = functions.collect();
        let functions = functions.ok_or("the schedule is malformed")?;
        let at_work = functions.values().next().map(Arc::clone);
        let at_work = at_work.ok_or("no process is warm")?;
        let signing = plan.signing;
        let directory = stage.cast.directory(signing.signs, signing.certificates)?;
        let codes = plan.orders.iter().flat_map(|order| &order.codes);
        Ok(Self {
            scheduler: Arc::clone(&stage.scheduler),
            wechat: Wechat::new(&plan, directory, codes.cloned().collect()),
            functions,
            at_work,
            cast: stage.cast,
            apps: stage.hosts.main,
            alarms: stage.alarms.clone(),
            trace: options.trace.then(|| vec![format!("{plan:#?}")]),
            clock,
            random,
            plan,
            engine,
            judge,
            secrets,
            tally: Tally::default(),
            books: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            jobs: BTreeMap::new(),
            promised: BTreeMap::new(),
            past: BTreeMap::new(),
            charging: BTreeSet::new(),
            by_spare: BTreeMap::new(),
            by_version: BTreeMap::new(),
            switched: 0,
            stored: BTreeSet::new(),
            shown: BTreeMap::new(),
            calls: 0,
            agenda: BTreeMap::new(),
            serial: 0,
            swept_at: EPOCH,
            fingerprint: DefaultHasher::new(),
        })
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// A process of each function, as it reaches WeChat now. It may have looked at the
    /// merchants before they changed.
    pub(crate) fn functions(&mut self) -> Arc<Functions> {
        let now = self.now();
        let age = match self.plan.standings_at(now) == self.plan.standings_at(now - STALE) {
            true => 0,
            false => self.random.within(0, STALE),
        };
        let view = View {
            standings: self.plan.standings_at(now - age),
            is_cut_off: Plan::within(&self.plan.cut_off, now),
        };
        if let Some(functions) = self.functions.get(&view) {
            self.at_work = Arc::clone(functions);
        }
        Arc::clone(&self.at_work)
    }

    /// Something will happen then.
    pub(crate) fn plan_for(&mut self, at: i64, event: Event) {
        self.serial += 1;
        self.agenda.insert((at, self.serial), event);
    }

    /// The next number of anything that needs one.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Writes a line of the story, and makes it part of the fingerprint.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        self.now().hash(&mut self.fingerprint);
        self.calls.hash(&mut self.fingerprint);
        let elapsed = self.now() - EPOCH;
        if let Some(trace) = &mut self.trace {
            let (hours, minutes) = (elapsed / 3_600_000, elapsed / 60_000 % 60);
            let millis = elapsed % 60_000;
            trace.push(format!(
                "{hours:02}:{minutes:02}:{:02}.{:03}  {}",
                millis / 1000,
                millis % 1000,
                line()
            ));
        }
    }

    /// What the run came to.
    pub(crate) fn outcome(self, seed: u64) -> Outcome {
        Outcome {
            seed,
            results: self.results(),
            lasted: self.now() - EPOCH,
            broken: self.judge.broken,
            faults: self.tally,
            by_spare: self.by_spare,
            by_version: self.by_version,
            calls: self.calls,
            fingerprint: self.fingerprint.finish(),
            trace: self.trace.unwrap_or_default(),
        }
    }

    /// Counts what was asked or told by a version.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.by_version.entry(what).or_default() += 1;
    }

    /// Which of the planned orders this is.
    pub(crate) fn index_of(&self, pk: &str) -> Option<usize> {
        (0..self.plan.orders.len()).find(|index| self.key_of(*index).as_deref() == Some(pk))
    }

    /// How the app of this order answers.
    pub(crate) fn temper_of(&self, pk: &str) -> Option<Temper> {
        let order = self.plan.orders.get(self.index_of(pk)?);
        order.map(|order| order.temper)
    }

    /// Runs until nothing is owed and nothing will happen, or a promise is
    /// broken.
    pub(crate) async fn run(&mut self) {
        self.plan_events();
        loop {
            let still = self.scheduler.stand_still().await;
            self.judge.hold(still, || {
                "a handler waits for nothing that is known".to_owned()
            });
            for (invocation, ended) in self.scheduler.ended() {
                self.reap(invocation, ended);
            }
            let panics = self.scheduler.panics();
            self.judge
                .hold(panics == 0, || "a handler panicked".to_owned());
            if self.judge.broken.is_some() {
                break;
            }
            let waiting = self.scheduler.waiting();
            let due = self.next_at().filter(|at| *at <= self.now());
            if waiting == 0 && due.is_none() {
                let Some(next) = self.next_at() else { break };
                self.clock.store(next, Ordering::SeqCst);
                self.judge
                    .punctual(&self.engine.rows, next, self.plan.calm_at, &self.wechat);
                continue;
            }
            let chosen = self.random.index(waiting + usize::from(due.is_some()));
            let pause = self.random.within(1, 12);
            self.clock.fetch_add(pause, Ordering::SeqCst);
            if chosen < waiting {
                self.serve(chosen).await;
            } else {
                self.next_event();
            }
        }
        self.scheduler.kill_all().await;
        self.final_checks();
    }

    /// When the next thing happens without anybody's call.
    fn next_at(&self) -> Option<i64> {
        let planned = self.agenda.keys().next().map(|(at, _)| *at);
        match (planned, self.sweep_at()) {
            (Some(planned), Some(sweep)) => Some(planned.min(sweep)),
            (planned, sweep) => planned.or(sweep),
        }
    }

    /// The next minute at which a sweep would find something: the others
    /// would change nothing and are left out.
    fn sweep_at(&self) -> Option<i64> {
        let earliest = self.engine.earliest_wake()?.max(self.swept_at + 1);
        let minutes = (earliest - EPOCH + MINUTE - 1).div_euclid(MINUTE);
        Some(EPOCH + minutes * MINUTE)
    }

    fn next_event(&mut self) {
        let planned = self.agenda.keys().next().copied();
        let sweep = self.sweep_at();
        match (planned, sweep) {
            (Some((at, _)), Some(sweep)) if sweep < at => self.sweep_at_minute(sweep),
            (None, Some(sweep)) => self.sweep_at_minute(sweep),
            (Some(key), _) => {
                if let Some(event) = self.agenda.remove(&key) {
                    self.happen(event);
                }
            }
            (None, None) => {}
        }
    }

    fn sweep_at_minute(&mut self, at: i64) {
        self.swept_at = at;
        self.sweep();
    }
}

/// An app's row of the registry, as it is then.
pub(crate) fn app_row(app: &AppPlan, now: i64) -> Value {
    let accounts: Vec<Value> = app.accounts.iter().map(|id| json!({"S": id})).collect();
    let mut row = json!({
        "pk": {"S": format!("app#{}", app.app_id)},
        "app_id": {"S": app.app_id},
        "app_secret": {"S": app.secret},
        "name": {"S": "simulated"},
        "allow_http": {"BOOL": true},
        "allow_direct": {"BOOL": true},
        "skip_return_call": {"BOOL": app.skip_return_call},
        "refund_by_hand": {"BOOL": app.refund_by_hand},
        "accounts": {"L": accounts},
    });
    // Who names nobody has the installation's first merchant.
    let merchant = cast::MCH_IDS.get(app.merchant_at(now));
    if let (Some(row), Some(mch_id), false) =
        (row.as_object_mut(), merchant, app.accounts.is_empty())
    {
        row.insert("merchant".to_owned(), json!({"S": mch_id}));
    }
    row
}
