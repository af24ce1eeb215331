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
use wechat_simulator::pay::{SCHEDULE, accepts};

use crate::faults::{Fault, Wire};
use crate::notify::Notice;
use crate::plan::{MINUTE, Plan, SECOND, Story, Wish};
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
    /// An app wants money of its order back.
    Refund {
        order: usize,
        wish: Wish,
        tries: u32,
    },
    /// A payer opens the cashier and pays this way.
    Cashier(usize, TradeType),
    /// A payer pays.
    Pay(Pay),
    /// WeChat notifies; so many times it was in vain.
    Notify(Notice, usize),
    /// A message is visible.
    Message(Message),
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
    /// A payer checks out.
    Cashier(usize, TradeType),
    /// WeChat notifies, since then.
    Notify(Notice, i64),
    /// A batch of doorbells.
    Batch(Vec<Message>),
    /// An app asks; nobody waits for the answer.
    Ask,
    Sweep,
}

impl World {
    /// Plans what the people outside will do.
    pub(crate) fn plan_events(&mut self) {
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
            for wish in order.wishes {
                self.plan_for(wish.at, Event::refund(index, wish));
            }
            match order.story {
                Story::Unpaid | Story::CodeUse => {}
                Story::Paid
                | Story::PaidSilently
                | Story::WrongAmountFirst
                | Story::WrongAmount => {
                    self.plan_for(order.paid_at, Pay::attempt(index, 1, false));
                }
                Story::PaidTwice => {
                    let at = order.created_at;
                    self.plan_for(at + 2 * SECOND, Event::Cashier(index, TradeType::Native));
                    self.plan_for(at + 20 * SECOND, Event::Cashier(index, TradeType::Jsapi));
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
            Event::Refund { order, wish, tries } => self.ask_back(order, wish, tries),
            Event::Cashier(order, trade_type) => self.check_out(order, trade_type),
            Event::Pay(pay) => self.pay(pay),
            Event::Notify(notice, round) => self.notify(notice, round),
            Event::Message(message) => self.receive(message),
            Event::Held(parked, reply) => self.resume(parked, reply),
            Event::Commit(body) => self.commit_late(&body),
        }
    }

    pub(crate) fn sweep(&mut self) {
        if Plan::within(&self.plan.unswept, self.now()) {
            self.tally.note(Wire::Sweep, Fault::Skipped);
            return;
        }
        let function = Arc::clone(&self.functions.sweep);
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

    fn check_out(&mut self, index: usize, trade_type: TradeType) {
        let Some(Ok(key)) = self.key_of(index).map(|pk| OrderKey::parse(&pk)) else {
            return;
        };
        let hub = Arc::clone(&self.functions.create_order);
        let payer = Payer {
            openid: (trade_type == TradeType::Jsapi).then(|| "oSimulated".to_owned()),
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let scheduler = Arc::clone(&self.scheduler);
        let invocation = self.scheduler.start(|invocation| {
            scheduler.attend(invocation, async move {
                let now = hub.clock.now();
                let status = match hub.checkout.ledger.order(&key).await {
                    Ok(Some(order)) => {
                        let prepared = hub.checkout.prepare(order, trade_type, &payer, now).await;
                        prepared.map_or_else(
                            |problem| Problem::from(problem).identity().0.as_u16(),
                            |_| 200,
                        )
                    }
                    Ok(None) | Err(_) => 503,
                };
                Ended::Http(status, String::new())
            })
        });
        self.note(|| format!("#{invocation} cashier {trade_type:?}"));
        self.jobs
            .insert(invocation, Job::Cashier(index, trade_type));
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
        if order.direct || order.story == Story::PaidSilently {
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
            (Job::Cashier(order, kind), Ended::Http(500.., _) | Ended::Died) => {
                self.again(Event::Cashier(order, kind));
            }
            (Job::Notify(notice, since), Ended::Http(status, body)) => {
                if accepts(status, &body) {
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
            (Job::Cashier(..) | Job::Notify(..) | Job::Ask | Job::Sweep, _) => {}
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
