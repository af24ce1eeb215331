//! A seed's run: the clock, the agenda of what will happen, the functions at
//! work, and the loop that decides what goes on next. What calls mean is in
//! `serve`, what the people outside do in `events`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use shared::ambient::Clock;

use crate::alarms::Alarms;
use crate::apps::Book;
use crate::aws;
use crate::engine::{Engine, Key};
use crate::events::{Event, Job};
use crate::faults::Tally;
use crate::functions::{self, Deployment, Functions};
use crate::judge::Judge;
use crate::notify::Notice;
use crate::plan::{EPOCH, MINUTE, Plan, Temper};
use crate::random::Random;
use crate::scheduler::{Invocation, Record, Scheduler};
use crate::wechat::Wechat;
use crate::{Options, Outcome, Stage};

/// Everything that exists in a run.
pub(crate) struct World {
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) engine: Engine,
    pub(crate) wechat: Wechat,
    functions: Functions,
    /// The same where WeChat's main host cannot be reached.
    functions_cut_off: Functions,
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
    /// What WeChat's spare host has done, by the path.
    pub(crate) by_spare: BTreeMap<String, u64>,
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
        seed: u64,
        options: Options,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random, options.plant);
        let clock = Arc::new(AtomicI64::new(EPOCH));
        let engine = Engine::new()?;
        let mut judge = Judge::default();
        let mut secrets = BTreeMap::new();
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
            if app.refund_by_hand {
                judge.by_hand.insert(app.app_id.clone());
            }
            secrets.insert(app.app_id.clone(), app.secret.clone());
        }
        let aws = aws::sdk_config(&stage.scheduler);
        let deploy = |wechat: &functions::Wechat, gateway| {
            let functions = Functions::new(Deployment {
                aws: aws.clone(),
                // It keeps the secrets for five minutes of real time: longer than a seed.
                wechat: wechat.clone(),
                clock: Clock::Manual(Arc::clone(&clock)),
                caller: stage.caller.clone(),
                gateway,
                apps: stage.hosts.main,
                confirm: plan.confirm,
            });
            functions.ok_or("the schedule is malformed")
        };
        let functions = deploy(&stage.wechat, stage.hosts.wechat())?;
        let functions_cut_off = deploy(&stage.cut_off, stage.hosts.wechat_cut_off())?;
        let codes = plan.orders.iter().flat_map(|order| &order.codes);
        Ok(Self {
            scheduler: Arc::clone(&stage.scheduler),
            wechat: Wechat::new(codes.cloned().collect()),
            functions,
            functions_cut_off,
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

    /// The functions as they reach WeChat now.
    pub(crate) fn functions(&self) -> &Functions {
        match Plan::within(&self.plan.cut_off, self.now()) {
            true => &self.functions_cut_off,
            false => &self.functions,
        }
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
            calls: self.calls,
            fingerprint: self.fingerprint.finish(),
            trace: self.trace.unwrap_or_default(),
        }
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
