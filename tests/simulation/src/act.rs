//! What happens outside of the hub: apps create orders, payers pay, WeChat
//! notifies, messages become visible, the minute strikes. And what follows
//! when a function's run ends. It refuses to know how calls are answered.

use std::sync::Arc;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use shared::batch::each;
use shared::checkout::Payer;
use shared::domain::id::OrderKey;
use shared::domain::order::TradeType;
use tower::ServiceExt as _;

use crate::faults::{Fault, Wire};
use crate::lot::{Ended, Invocation};
use crate::notify::Notice;
use crate::plan::{MINUTE, Plan, SECOND, Story};
use crate::world::{Event, Job, Message, World};
use wechat_simulator::pay::{SCHEDULE, accepts};

/// How long SQS hides a message that is being worked on: the template's.
const HIDDEN: i64 = 360 * SECOND;
/// After so many receives a message goes to the dead-letter queue.
const RECEIVES_MAX: u32 = 5;

impl World {
    /// Plans what the people outside will do.
    pub(crate) fn open(&mut self) {
        for (index, order) in self.plan.orders.clone().into_iter().enumerate() {
            let first = match order.story {
                Story::Scanned => Event::Scan(index, 0, 30),
                _ => Event::Create(index),
            };
            self.plan_for(order.created_at, first);
            if let Some(at) = order.closed_at {
                self.plan_for(at, Event::Close(index));
                self.plan_for(at + SECOND, Event::Show(index));
            }
            for wish in order.wishes {
                self.plan_for(wish.at, Event::Refund(index, wish, 20));
            }
            match order.story {
                Story::Unpaid | Story::Scanned => {}
                Story::Paid
                | Story::PaidSilently
                | Story::WrongAmountFirst
                | Story::WrongAmount => {
                    self.plan_for(order.paid_at, Event::Pay(index, 1, false, 60));
                }
                Story::PaidTwice => {
                    let at = order.created_at;
                    self.plan_for(at + 2 * SECOND, Event::Cashier(index, TradeType::Native));
                    self.plan_for(at + 20 * SECOND, Event::Cashier(index, TradeType::Jsapi));
                    let paid_at = order.paid_at.max(at + 30 * SECOND);
                    self.plan_for(paid_at, Event::Pay(index, 2, false, 60));
                    let later = paid_at + self.random.within(1, 600) * SECOND;
                    self.plan_for(later, Event::Pay(index, 1, true, 60));
                }
                Story::PaidAfterClose => {
                    let closed = order.created_at + order.expires_in * SECOND + 6 * MINUTE;
                    let later = closed + self.random.within(0, 600) * SECOND;
                    self.plan_for(later, Event::Pay(index, 1, true, 60));
                }
            }
        }
    }

    /// Something happens.
    pub(crate) fn act(&mut self, event: Event) {
        match event {
            Event::Create(order) => self.create(order),
            Event::Scan(order, code, tries) => self.scan(order, code, tries),
            Event::Close(order) => self.close_order(order),
            Event::Show(order) => self.show_order(order),
            Event::Refund(order, wish, tries) => self.ask_back(order, wish, tries),
            Event::Cashier(order, trade_type) => self.check_out(order, trade_type),
            Event::Pay(order, attempt, although_closed, tries) => {
                self.pay((order, attempt), although_closed, tries);
            }
            Event::Notify(notice, round) => self.notify(notice, round),
            Event::Message(message) => self.receive(message),
            Event::Held(parked, reply) => self.resume(parked, reply),
            Event::Commit(body) => self.commit_late(&body),
        }
    }

    /// The minute strikes.
    pub(crate) fn act_sweep(&mut self) {
        if Plan::within(&self.plan.unswept, self.now()) {
            self.tally.note(Wire::Sweep, Fault::Skipped);
            return;
        }
        let hub = Arc::clone(&self.hubs.sweep);
        let lot = Arc::clone(&self.lot);
        let invocation = self.lot.start(|invocation| {
            lot.attend(invocation, async move {
                // A failure is the next minute's business.
                let _swept = sweep::sweep(&hub).await;
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
        let hub = Arc::clone(&self.hubs.create_order);
        let payer = Payer {
            openid: (trade_type == TradeType::Jsapi).then(|| "oSimulated".to_owned()),
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let lot = Arc::clone(&self.lot);
        let invocation = self.lot.start(|invocation| {
            lot.attend(invocation, async move {
                let now = hub.clock.now();
                let status = match hub.checkout.ledger.order(&key).await {
                    Ok(Some(order)) => {
                        let prepared = hub.checkout.prepare(order, trade_type, &payer, now).await;
                        prepared.map_or_else(|problem| problem.identity().0.as_u16(), |_| 200)
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
        let lot = Arc::clone(&self.lot);
        self.lot.start(|invocation| {
            lot.attend(invocation, async move {
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

    fn pay(&mut self, (index, attempt): (usize, u8), although_closed: bool, tries: u32) {
        let (Some(pk), Some(order)) = (self.key_of(index), self.plan.orders.get(index).cloned())
        else {
            return;
        };
        let number = format!("{}{attempt:02}", pk.replace('#', ""));
        let now = self.now();
        let more = i64::from(order.story == Story::WrongAmount);
        if !self.wechat.pay(&number, more, although_closed, now) {
            if tries > 0 {
                let again = Event::Pay(index, attempt, although_closed, tries - 1);
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

    /// Lambda takes a message, and perhaps others that are visible.
    fn receive(&mut self, message: Message) {
        let most = self.random.index(10);
        let queue = message.queue.clone();
        let mut messages = vec![message];
        messages.extend(self.more_messages(&queue, most));
        let mut event = SqsEvent::default();
        for message in &mut messages {
            message.receives += 1;
            let mut record = SqsMessage::default();
            record.message_id = Some(message.id.clone());
            record.body = Some(message.body.clone());
            event.records.push(record);
        }
        let lot = Arc::clone(&self.lot);
        let invocation = if queue == "reconcile" {
            let hub = Arc::clone(&self.hubs.reconcile);
            let run = |invocation| async move {
                let handle =
                    |bell| lot.attend(invocation, reconcile::reconcile(Arc::clone(&hub), bell));
                kept(each(event, handle).await)
            };
            self.lot.start(run)
        } else {
            let hub = Arc::clone(&self.hubs.deliver);
            let run = |invocation| async move {
                let handle =
                    |bell| lot.attend(invocation, deliver::deliver(Arc::clone(&hub), bell));
                kept(each(event, handle).await)
            };
            self.lot.start(run)
        };
        self.note(|| {
            let bodies: Vec<&str> = messages.iter().map(|m| m.body.as_str()).collect();
            format!("#{invocation} {queue} {}", bodies.join(" "))
        });
        self.jobs.insert(invocation, Job::Batch(messages));
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
            (Job::Scan(order, code, tries), ended) => self.scanned((order, code, tries), ended),
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

    /// SQS keeps what was not done, and at times also what was.
    fn settle(&mut self, messages: Vec<Message>, kept: &[String]) {
        for message in messages {
            if kept.contains(&message.id) {
                if message.receives < RECEIVES_MAX {
                    let at = self.now() + HIDDEN;
                    self.plan_for(at, Event::Message(message));
                }
            } else if self.is_faulty() && self.random.chance(self.plan.rates.message / 4) {
                self.tally.note(Wire::Sqs, Fault::Doubled);
                let at = self.now() + self.random.within(0, 120) * SECOND;
                self.plan_for(at, Event::Message(message));
            }
        }
    }
}

fn kept(response: aws_lambda_events::event::sqs::SqsBatchResponse) -> Ended {
    let failures = response.batch_item_failures;
    Ended::Batch(failures.into_iter().map(|f| f.item_identifier).collect())
}
