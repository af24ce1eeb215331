//! A seed's run: the clock, the agenda of what will happen, the functions at
//! work, and the loop that decides what goes on next. It refuses to know what
//! calls mean (`serve`) and what the people outside do (`act`).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use shared::domain::order::TradeType;

use crate::Outcome;
use crate::alarms::Alarms;
use crate::apps::Book;
use crate::engine::{Engine, Key};
use crate::faults::Tally;
use crate::hubs::Hubs;
use crate::judge::Judge;
use crate::lot::{Invocation, Lot, Parked, Reply};
use crate::notify::Notice;
use crate::plan::{EPOCH, MINUTE, Plan, Temper, Wish};
use crate::random::Random;
use crate::refunds::Asked;
use crate::wechat::Wechat;

/// A doorbell in a queue.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// SQS's name for it.
    pub(crate) id: String,
    /// `first`, `retry` or `reconcile`.
    pub(crate) queue: String,
    /// The doorbell.
    pub(crate) body: String,
    /// How often it was received.
    pub(crate) receives: u32,
}

/// What will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// An app creates its order, or tries again.
    Create(usize),
    /// A till scans the payer's n-th code, and asks so many times more.
    Scan(usize, usize, u32),
    /// An app gives its order up.
    Close(usize),
    /// An app looks at its order.
    Show(usize),
    /// An app wants money of its order back, and tries so many times more.
    Refund(usize, Wish, u32),
    /// A payer opens the cashier and pays this way.
    Cashier(usize, TradeType),
    /// A payer pays an attempt, if need be one that was closed; so many more
    /// tries are left if there is nothing to pay yet.
    Pay(usize, u8, bool, u32),
    /// WeChat notifies for the n-th time.
    Notify(Notice, usize),
    /// A message is visible.
    Message(Message),
    /// A call that was held goes on: with this reply, or else executed.
    Held(Parked, Option<Reply>),
    /// A commit that was held back by a planted bug.
    Commit(Vec<u8>),
}

/// What a run of a function is for.
#[derive(Debug)]
pub(crate) enum Job {
    /// An app creates its order.
    Create(usize),
    /// A till scans a code.
    Scan(usize, usize, u32),
    /// An app wants money back, as the order stood before.
    Refund(Asked),
    /// A payer checks out.
    Cashier(usize, TradeType),
    /// WeChat notifies, since then.
    Notify(Notice, i64),
    /// A batch of doorbells.
    Batch(Vec<Message>),
    /// An app asks; nobody waits for the answer.
    Ask,
    /// The minute's sweep.
    Sweep,
}

/// Everything that exists in a run.
pub struct World {
    pub(crate) lot: Arc<Lot>,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) engine: Engine,
    pub(crate) wechat: Wechat,
    pub(crate) hubs: Hubs,
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
    /// The orders that the hub has confirmed.
    pub(crate) stored: BTreeSet<usize>,
    /// What the index showed last, by shard.
    pub(crate) shown: BTreeMap<String, String>,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) calls: u64,
    agenda: BTreeMap<(i64, u64), Event>,
    serial: u64,
    swept_at: i64,
    fingerprint: DefaultHasher,
}

impl World {
    /// A world before anything has happened.
    #[must_use]
    pub fn new(
        (lot, clock, alarms): (Arc<Lot>, Arc<AtomicI64>, Alarms),
        (plan, random): (Plan, Random),
        (engine, hubs): (Engine, Hubs),
        trace: Option<Vec<String>>,
    ) -> Self {
        let by_hand = plan.apps.iter().filter(|app| app.refund_by_hand);
        let codes = plan.orders.iter().flat_map(|order| &order.codes);
        let wechat = Wechat::new(codes.cloned().collect());
        let mut judge = Judge::default();
        judge.by_hand.extend(by_hand.map(|app| app.app_id.clone()));
        let secrets = plan
            .apps
            .iter()
            .map(|app| (app.app_id.clone(), app.secret.clone()))
            .collect();
        Self {
            lot,
            clock,
            random,
            plan,
            engine,
            wechat,
            hubs,
            judge,
            tally: Tally::default(),
            books: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            alarms,
            secrets,
            jobs: BTreeMap::new(),
            promised: BTreeMap::new(),
            stored: BTreeSet::new(),
            shown: BTreeMap::new(),
            trace,
            calls: 0,
            agenda: BTreeMap::new(),
            serial: 0,
            swept_at: EPOCH,
            fingerprint: DefaultHasher::new(),
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
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
    pub async fn run(&mut self) {
        self.open();
        loop {
            let still = self.lot.stand_still().await;
            self.judge.hold(still, || {
                "a handler waits for nothing that is known".to_owned()
            });
            for (invocation, ended) in self.lot.ended() {
                self.reap(invocation, ended);
            }
            let panics = self.lot.panics();
            self.judge
                .hold(panics == 0, || "a handler panicked".to_owned());
            if self.judge.broken.is_some() {
                break;
            }
            let waiting = self.lot.waiting();
            let due = self.next_at().filter(|at| *at <= self.now());
            if waiting == 0 && due.is_none() {
                let Some(next) = self.next_at() else { break };
                self.clock.store(next, Ordering::SeqCst);
                let outside = (self.plan.calm_at, &self.wechat);
                self.judge.punctual(&self.engine.rows, next, outside);
                continue;
            }
            let chosen = self.random.index(waiting + usize::from(due.is_some()));
            let pause = self.random.within(1, 12);
            self.clock.fetch_add(pause, Ordering::SeqCst);
            if chosen < waiting {
                self.serve(chosen).await;
            } else {
                self.happen();
            }
        }
        self.lot.kill_all().await;
        self.close();
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

    fn happen(&mut self) {
        let planned = self.agenda.keys().next().copied();
        let sweep = self.sweep_at();
        match (planned, sweep) {
            (Some((at, _)), Some(sweep)) if sweep < at => self.sweep(sweep),
            (None, Some(sweep)) => self.sweep(sweep),
            (Some(key), _) => {
                if let Some(event) = self.agenda.remove(&key) {
                    self.act(event);
                }
            }
            (None, None) => {}
        }
    }

    fn sweep(&mut self, at: i64) {
        self.swept_at = at;
        self.act_sweep();
    }

    /// The other messages of a queue that a batch may take along.
    pub(crate) fn more_messages(&mut self, queue: &str, most: usize) -> Vec<Message> {
        let now = self.now();
        let visible: Vec<(i64, u64)> = self
            .agenda
            .iter()
            .take_while(|((at, _), _)| *at <= now)
            .filter(|(_, event)| matches!(event, Event::Message(m) if m.queue == queue))
            .map(|(key, _)| *key)
            .take(most)
            .collect();
        visible
            .iter()
            .filter_map(|key| match self.agenda.remove(key) {
                Some(Event::Message(message)) => Some(message),
                _ => None,
            })
            .collect()
    }
}
