//! What happens outside of the hub: apps create orders, payers pay, WeChat
//! notifies, messages become visible, the minute strikes. And what follows
//! when a function's run ends.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use shared::domain::id::OrderKey;
use shared::domain::order::Payer;
use shared::domain::order::TradeType;
use shared::http::problem::Problem;
use tower::ServiceExt as _;
use wechat_simulator::pay::SCHEDULE;

use crate::faults::{Fault, Wire};
use crate::notify::{Notice, Sent};
use crate::plan::{ByHand, MINUTE, Plan, SECOND, Story, Visitor, Wish};
use crate::refunds::Asked;
use crate::scheduler::{Ended, Invocation, Parked, Reply};
use crate::sqs::Message;
use crate::world::World;

/// What happens without a call of the hub's. Orders are named by their place in
/// the plan, and `tries` says how often more it is tried.
#[derive(Debug)]
pub(crate) enum Event {
    /// An app creates its order.
    Create(usize),
    /// A till scans a code.
    Scan(Scan),
    /// An app gives its order up.
    Close(usize),
    /// An app looks at its order.
    Show(usize),
    /// An app has WeChat asked about its order, so many times at once.
    Query(usize, i64),
    /// An app wants money of its order back.
    Refund {
        order: usize,
        wish: Wish,
        tries: u32,
    },
    /// A payer opens the pay page.
    Cashier(usize, Visitor),
    /// An app hurries a refund: its order, and its number within it.
    Hurry(usize, String),
    /// A person gives money of this order back in WeChat's platform.
    ByHand(usize, ByHand),
    /// An operator puts the order's row back from a backup.
    PutBack(usize, u32),
    /// A payer pays.
    Pay(Pay),
    /// WeChat notifies; so many times it was in vain.
    Notify(Notice, usize),
    /// A message is visible.
    Message(Message),
    /// An operator changes how a merchant stands, by its place.
    Turn(usize),
    /// An operator gives an app the other merchant.
    Move(usize),
    /// A call that was held goes on: with this reply, or else executed.
    Held(Parked, Option<Reply>),
    /// A commit that was held back by a planted bug.
    Commit(Vec<u8>),
}

impl Event {
    /// As often as an app tries when it is too early.
    pub(crate) fn refund(order: usize, wish: Wish) -> Self {
        let tries = 20;
        Self::Refund { order, wish, tries }
    }
}

/// A till scans the n-th code of an order's payer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) order: usize,
    pub(crate) code: usize,
    pub(crate) tries: u32,
}

/// A payer pays an attempt, if need be one that was closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pay {
    order: usize,
    attempt: u8,
    although_closed: bool,
    tries: u32,
}

impl Pay {
    fn attempt(order: usize, attempt: u8, although_closed: bool) -> Event {
        Event::Pay(Self {
            order,
            attempt,
            although_closed,
            tries: 60,
        })
    }
}

/// What a run of a function is for.
#[derive(Debug)]
pub(crate) enum Job {
    /// An app creates its order.
    Create(usize),
    /// A till scans a code.
    Scan(Scan),
    /// An app wants money back, as the order stood before.
    Refund(Asked),
    /// A payer opens the pay page.
    Cashier(usize, Visitor),
    /// WeChat notifies.
    Notify(Sent),
    /// WeChat has notified an app since then, which asks whether it did.
    Verify(Notice, i64),
    /// A batch of doorbells.
    Batch(Vec<Message>),
    /// An app asks; nobody waits for the answer.
    Ask,
    Sweep,
}

impl World {
    /// Plans what the people outside will do.
    pub(crate) fn plan_events(&mut self) {
        for (place, merchant) in self.plan.merchants.clone().iter().enumerate() {
            for (at, _) in merchant.turns.iter().skip(1) {
                self.plan_for(*at, Event::Turn(place));
            }
        }
        for (place, app) in self.plan.apps.clone().iter().enumerate() {
            if let Some(at) = app.moves_at {
                self.plan_for(at, Event::Move(place));
            }
        }
        for (index, order) in self.plan.orders.clone().into_iter().enumerate() {
            let first = match order.story {
                Story::CodeUse => Event::Scan(Scan {
                    order: index,
                    code: 0,
                    tries: 30,
                }),
                _ => Event::Create(index),
            };
            self.plan_for(order.created_at, first);
            if let Some(at) = order.closed_at {
                self.plan_for(at, Event::Close(index));
                self.plan_for(at + SECOND, Event::Show(index));
            }
            for (at, copies) in order.queries {
                self.plan_for(at, Event::Query(index, copies));
            }
            for wish in order.wishes {
                self.plan_for(wish.at, Event::refund(index, wish));
            }
            for (at, visitor) in order.visits {
                self.plan_for(at, Event::Cashier(index, visitor));
            }
            for at in order.put_back {
                self.plan_for(at, Event::PutBack(index, 60));
            }
            for by_hand in order.by_hand {
                self.plan_for(by_hand.at, Event::ByHand(index, by_hand));
            }
            match order.story {
                Story::Unpaid | Story::CodeUse | Story::ManyWays => {}
                Story::Paid
                | Story::PaidSilently
                | Story::WrongAmountFirst
                | Story::WrongAmount => {
                    self.plan_for(order.paid_at, Pay::attempt(index, 1, false));
                }
                Story::PaidTwice => {
                    let at = order.created_at;
                    let visit = |trade_type| {
                        let visitor = Visitor {
                            trade_type,
                            number: 1,
                            pays_after: None,
                        };
                        Event::Cashier(index, visitor)
                    };
                    self.plan_for(at + 2 * SECOND, visit(TradeType::Native));
                    self.plan_for(at + 20 * SECOND, visit(TradeType::Jsapi));
                    let paid_at = order.paid_at.max(at + 30 * SECOND);
                    self.plan_for(paid_at, Pay::attempt(index, 2, false));
                    let later = paid_at + self.random.within(1, 600) * SECOND;
                    self.plan_for(later, Pay::attempt(index, 1, true));
                }
                Story::PaidAfterClose => {
                    let closed = order.created_at + order.expires_in * SECOND + 6 * MINUTE;
                    let later = closed + self.random.within(0, 600) * SECOND;
                    self.plan_for(later, Pay::attempt(index, 1, true));
                }
            }
        }
    }

    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Create(order) => self.create(order),
            Event::Scan(scan) => self.scan(scan),
            Event::Close(order) => self.close_order(order),
            Event::Show(order) => self.show_order(order),
            Event::Query(order, copies) => self.query_order(order, copies),
            Event::Refund { order, wish, tries } => self.ask_back(order, wish, tries),
            Event::Cashier(order, visitor) => self.check_out(order, visitor),
            Event::Hurry(order, part) => self.hurry(order, &part),
            Event::ByHand(order, by_hand) => self.give_back_by_hand(order, by_hand),
            Event::PutBack(order, tries) => self.put_back(order, tries),
            Event::Pay(pay) => self.pay(pay),
            Event::Notify(notice, round) => self.notify(notice, round),
            Event::Message(message) => self.receive(message),
            Event::Turn(place) => self.turn(place),
            Event::Move(app) => self.move_app(app),
            Event::Held(parked, reply) => self.resume(parked, reply),
            Event::Commit(body) => self.commit_late(&body),
        }
    }

    pub(crate) fn sweep(&mut self) {
        if Plan::within(&self.plan.unswept, self.now()) {
            self.tally.note(Wire::Sweep, Fault::Skipped);
            return;
        }
        let function = Arc::clone(&self.functions().sweep);
        let scheduler = Arc::clone(&self.scheduler);
        let invocation = self.scheduler.start(|invocation| {
            scheduler.attend(invocation, async move {
                // A failure is the next minute's business.
                let _swept = sweep::sweep(&function).await;
                Ended::Swept
            })
        });
        self.note(|| format!("#{invocation} sweep"));
        self.jobs.insert(invocation, Job::Sweep);
    }

    /// A payer opens the pay page; the answer's body is the attempt that it shows.
    fn check_out(&mut self, index: usize, visitor: Visitor) {
        let Some(Ok(key)) = self.key_of(index).map(|pk| OrderKey::parse(&pk)) else {
            return;
        };
        let hub = Arc::clone(&self.functions().create_order);
        let Visitor {
            trade_type, number, ..
        } = visitor;
        let payer = Payer {
            openid: (trade_type == TradeType::Jsapi).then(|| format!("oSimulated{number}")),
            ip: std::net::Ipv4Addr::new(192, 0, 2, number).into(),
        };
        let scheduler = Arc::clone(&self.scheduler);
        let invocation = self.scheduler.start(|invocation| {
            scheduler.attend(invocation, async move {
                let now = hub.clock.now();
                let app = hub.registry.app(&key.app_id).await;
                let (status, shown) = match (hub.checkout.ledger.order(&key).await, app) {
                    (Ok(Some(order)), Ok(Some(app))) => {
                        let prepared = hub.checkout.prepare(order, &app, trade_type, &payer, now);
                        prepared.await.map_or_else(
                            |problem| {
                                let status = Problem::from(problem).identity().0.as_u16();
                                (status, String::new())
                            },
                            |prepared| (200, prepared.attempt.number.to_string()),
                        )
                    }
                    _ => (503, String::new()),
                };
                Ended::Http(status, shown)
            })
        });
        self.note(|| format!("#{invocation} cashier {trade_type:?} for {number}"));
        self.jobs.insert(invocation, Job::Cashier(index, visitor));
    }

    /// The payer sees the page, and perhaps pays.
    fn checked_out(&mut self, order: usize, visitor: Visitor, shown: &str) {
        if let (Some(after), Ok(attempt)) = (visitor.pays_after, shown.parse()) {
            self.plan_for(self.now() + after, Pay::attempt(order, attempt, false));
        }
    }

    pub(crate) fn ask(
        &self,
        router: Router,
        request: axum::http::Result<Request<Body>>,
    ) -> Invocation {
        let scheduler = Arc::clone(&self.scheduler);
        self.scheduler.start(|invocation| {
            scheduler.attend(invocation, async move {
                let Ok(request) = request else {
                    return Ended::Died;
                };
                let Ok(response) = router.oneshot(request).await;
                let status = response.status().as_u16();
                match response.into_body().collect().await {
                    Ok(body) => {
                        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                        Ended::Http(status, text)
                    }
                    Err(_) => Ended::Died,
                }
            })
        })
    }

    /// The ledger's partition of a planned order.
    pub(crate) fn key_of(&self, index: usize) -> Option<String> {
        let order = self.plan.orders.get(index)?;
        let app = self.plan.apps.get(order.app)?;
        Some(format!("{}#{}", app.app_id, order.order_no))
    }

    fn pay(&mut self, pay: Pay) {
        let order = self.plan.orders.get(pay.order).cloned();
        let (Some(pk), Some(order)) = (self.key_of(pay.order), order) else {
            return;
        };
        let number = format!("{}{:02}", pk.replace('#', ""), pay.attempt);
        let now = self.now();
        let more = i64::from(order.story == Story::WrongAmount);
        if !self.wechat.pay(&number, more, pay.although_closed, now) {
            if let Some(tries) = pay.tries.checked_sub(1) {
                let again = Event::Pay(Pay { tries, ..pay });
                self.plan_for(now + 5 * SECOND, again);
            }
            return;
        }
        self.note(|| format!("paid {number}"));
        if order.story == Story::PaidSilently {
            return;
        }
        let mut at = now + self.random.within(100, 3000);
        let fee = order.total_fee + more;
        if order.story == Story::WrongAmountFirst {
            let wrong = Notice::Payment(number.clone(), fee + 1);
            self.plan_for(at, Event::Notify(wrong, SCHEDULE.len()));
            at += self.random.within(0, 20) * SECOND;
        }
        self.plan_for(at, Event::Notify(Notice::Payment(number, fee), 0));
    }

    /// Whether things may still go wrong.
    pub(crate) fn is_faulty(&self) -> bool {
        self.now() < self.plan.calm_at
    }

    /// A run has ended.
    pub(crate) fn reap(&mut self, invocation: Invocation, ended: Ended) {
        let Some(job) = self.jobs.remove(&invocation) else {
            return;
        };
        self.note(|| match &ended {
            Ended::Http(status, _) => format!("#{invocation} answers {status}"),
            other => format!("#{invocation} ends: {other:?}"),
        });
        match (job, ended) {
            (Job::Create(order), Ended::Http(200 | 201, _)) => {
                self.stored.insert(order);
            }
            (Job::Create(order), Ended::Http(status, body)) if status < 500 => {
                // It may have been paid or have expired in the meantime.
                self.stored.insert(order);
                self.judge.hold(status == 409, || {
                    format!("a good order was refused: {body}")
                });
            }
            (Job::Create(order), _) => self.again(Event::Create(order)),
            (Job::Scan(scan), ended) => self.scanned(scan, ended),
            (Job::Refund(asked), ended) => self.asked_back(asked, ended),
            (Job::Cashier(order, visitor), Ended::Http(500.., _) | Ended::Died) => {
                self.again(Event::Cashier(order, visitor));
            }
            (Job::Cashier(order, visitor), Ended::Http(200, shown)) => {
                self.checked_out(order, visitor, &shown);
            }
            (Job::Notify(sent), Ended::Http(status, body)) => self.notified(sent, status, &body),
            (Job::Verify(notice, since), Ended::Http(status, body)) => {
                let promise = || format!("a true notification was refused: {status} {body}");
                self.judge.hold(status == 200 || status >= 500, promise);
                // Then the app answers SUCCESS.
                if status == 200 {
                    self.acknowledged(notice, since);
                }
            }
            (Job::Batch(messages), Ended::Batch(kept)) => self.settle(messages, &kept),
            (Job::Batch(messages), _) => {
                let all: Vec<String> = messages.iter().map(|m| m.id.clone()).collect();
                self.settle(messages, &all);
            }
            (Job::Ask, Ended::Http(status, body)) => {
                // It may not be there yet, or be paid already.
                let understood = !(400..500).contains(&status) || [404, 409].contains(&status);
                let promise = || format!("a good request was refused: {status} {body}");
                self.judge.hold(understood, promise);
            }
            (Job::Cashier(..) | Job::Notify(..) | Job::Verify(..) | Job::Ask | Job::Sweep, _) => {}
        }
    }

    pub(crate) fn again(&mut self, event: Event) {
        let at = self.now() + self.random.within(1, 20) * SECOND;
        // Nobody tries for ever.
        if at < self.plan.calm_at + 10 * MINUTE {
            self.plan_for(at, event);
        }
    }
}
