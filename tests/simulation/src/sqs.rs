//! SQS: doorbells that arrive later, twice or never, the batches that Lambda
//! takes of them, and what it keeps of a batch.

use std::sync::Arc;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use serde_json::{Value, json};
use shared::batch::each;

use crate::engine::number;
use crate::events::{Event, Job};
use crate::faults::{Fault, Wire};
use crate::ledger::DELIVERY;
use crate::plan::{MINUTE, SECOND};
use crate::scheduler::{Ended, Reply};
use crate::serve::ok;
use crate::world::World;

/// How long SQS hides a message that is being worked on: the template's.
const HIDDEN: i64 = 360 * SECOND;
/// After so many receives a message goes to the dead-letter queue.
const RECEIVES_MAX: u32 = 5;

/// A doorbell in a queue.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    /// `first`, `retry` or `reconcile`.
    queue: String,
    body: String,
    receives: u32,
}

impl World {
    /// The hub sends a message.
    pub(crate) fn send(&mut self, body: &Value) -> Reply {
        let field = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let queue = field("QueueUrl").rsplit('/').next().unwrap_or_default();
        let delay = body
            .get("DelaySeconds")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        let bell: Value = serde_json::from_str(field("MessageBody")).unwrap_or_default();
        let part = |name: &str| bell.get(name).and_then(Value::as_str).unwrap_or_default();
        let key = (part("pk").to_owned(), part("sk").to_owned());
        let step = bell.get("step").and_then(Value::as_i64).unwrap_or_default();
        let row = self.engine.rows.get(&key);
        // Only a delivery never goes back a step.
        let is_told = key.1.starts_with(DELIVERY);
        let is_there =
            row.is_some_and(|row| !is_told || number(row, "step").is_some_and(|now| now >= step));
        self.judge.hold(is_there, || {
            format!("a doorbell rang for {key:?} {step} before it was committed")
        });
        self.judge.hold((0..=900).contains(&delay), || {
            format!("SQS was asked for a delay of {delay} s")
        });
        let id = format!("message-{}", self.next_serial());
        let message = Message {
            id: id.clone(),
            queue: queue.to_owned(),
            body: field("MessageBody").to_owned(),
            receives: 0,
        };
        let rate = match self.is_faulty() {
            true => self.plan.rates.message,
            false => 0,
        };
        let at = self.now() + (delay * SECOND + self.random.within(-900, 700)).max(5);
        if self.random.chance(rate / 2) {
            self.tally.note(Wire::Sqs, Fault::Lost);
            return ok(json!({"MessageId": id}).to_string());
        }
        let mut arrivals = vec![at];
        if self.random.chance(rate) {
            self.tally.note(Wire::Sqs, Fault::Doubled);
            arrivals.push(at + self.random.within(0, 3000));
        }
        for mut arrival in arrivals {
            if self.random.chance(rate / 2) {
                self.tally.note(Wire::Sqs, Fault::Late);
                arrival += self.random.within(SECOND, 40 * MINUTE);
            }
            self.plan_for(arrival, Event::Message(message.clone()));
        }
        ok(json!({"MessageId": id}).to_string())
    }

    /// Lambda takes a message, and perhaps others that are visible.
    pub(crate) fn receive(&mut self, message: Message) {
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
        let scheduler = Arc::clone(&self.scheduler);
        let invocation = if queue == "reconcile" {
            let function = Arc::clone(&self.functions().reconcile);
            let run = |invocation| async move {
                let handle = |bell| {
                    let work = reconcile::reconcile(Arc::clone(&function), bell);
                    scheduler.attend(invocation, work)
                };
                kept(each(event, handle).await)
            };
            self.scheduler.start(run)
        } else {
            let function = Arc::clone(&self.functions().deliver);
            let run = |invocation| async move {
                let handle = |bell| {
                    let work = deliver::deliver(Arc::clone(&function), bell);
                    scheduler.attend(invocation, work)
                };
                kept(each(event, handle).await)
            };
            self.scheduler.start(run)
        };
        self.note(|| {
            let bodies: Vec<&str> = messages.iter().map(|m| m.body.as_str()).collect();
            format!("#{invocation} {queue} {}", bodies.join(" "))
        });
        self.jobs.insert(invocation, Job::Batch(messages));
    }

    /// The other messages of a queue that a batch may take along.
    fn more_messages(&mut self, queue: &str, most: usize) -> Vec<Message> {
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

    /// SQS keeps what was not done, and at times also what was.
    pub(crate) fn settle(&mut self, messages: Vec<Message>, kept: &[String]) {
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

fn kept(response: SqsBatchResponse) -> Ended {
    let failures = response.batch_item_failures;
    Ended::Batch(failures.into_iter().map(|f| f.item_identifier).collect())
}
