//! What becomes of each call: the fault it meets, what the other side does,
//! and what the caller gets. It refuses to know why the call was made.

use serde_json::{Value, json};

use crate::aws::{ATTEMPT_MILLIS, secret};
use crate::engine::{Change, number, string};
use crate::faults::{Fault, Wire, choose};
use crate::ledger::DELIVERY;
use crate::lot::{Call, Parked, Record, Reply};
use crate::plan::{MINUTE, Plant, SECOND};
use crate::world::{Event, Message, World};

/// How long the hub lets a call of WeChat and of an app take.
const WECHAT_MILLIS: i64 = 4500;
const APP_MILLIS: i64 = 10_000;

/// What a query without a hit answers.
const NOTHING: &str = r#"{"Items":[],"Count":0,"ScannedCount":0}"#;

impl World {
    /// One of the waiting calls goes on, or meets a fault.
    pub(crate) async fn serve(&mut self, index: usize) {
        let Some(parked) = self.lot.take(index) else {
            return;
        };
        self.calls += 1;
        let wire = wire_of(&parked.call);
        let fault = choose(&self.plan, wire, (self.now(), &mut self.random));
        let (record, call) = (parked.record, &parked.call);
        let line = || {
            format!(
                "  r{record} {} {}",
                describe(call),
                fault.map_or("ok".to_owned(), |f| format!("{f:?}"))
            )
        };
        self.note(line);
        let Some(fault) = fault else {
            let reply = self.execute(record, &parked.call);
            return self.reply(parked, reply);
        };
        self.tally.note(wire, fault);
        self.judge.troubled.insert(record);
        let patience = patience(wire);
        match fault {
            Fault::BrokenBefore => self.lot.answer(parked, Reply::Broken),
            Fault::AnswerLost => {
                self.execute(record, &parked.call);
                self.lot.answer(parked, Reply::Broken);
            }
            Fault::Refused => self.lot.answer(parked, refusal(wire, &mut self.random)),
            Fault::Slow => {
                let at = self.now() + self.random.within(patience / 20, patience - 100);
                self.plan_for(at, Event::Held(parked, None));
            }
            Fault::HungBefore => self.hang(parked, patience),
            Fault::HungAfter => {
                self.execute(record, &parked.call);
                self.hang(parked, patience);
            }
            Fault::DiedBefore => self.die(record).await,
            Fault::DiedAfter => {
                self.execute(record, &parked.call);
                self.die(record).await;
            }
            Fault::Lost
            | Fault::Doubled
            | Fault::Late
            | Fault::Skipped
            | Fault::Burst
            | Fault::Stale
            | Fault::Difficult => {}
        }
    }

    fn hang(&mut self, parked: Parked, patience: i64) {
        let at = self.now() + patience;
        self.plan_for(at, Event::Held(parked, Some(Reply::TimedOut)));
    }

    fn reply(&mut self, parked: Parked, reply: Option<Reply>) {
        match reply {
            Some(reply) => self.lot.answer(parked, reply),
            None => self.hang(parked, APP_MILLIS),
        }
    }

    /// A call that was held goes on, if its caller is still there.
    pub(crate) fn resume(&mut self, parked: Parked, reply: Option<Reply>) {
        if !self.lot.is_live(parked.record) {
            return;
        }
        let record = parked.record;
        self.note(|| format!("  r{record} goes on"));
        match reply {
            Some(reply) => self.lot.answer(parked, reply),
            None => {
                let reply = self.execute(record, &parked.call);
                self.reply(parked, reply);
            }
        }
    }

    /// The process of this record dies.
    async fn die(&mut self, record: Record) {
        let Some(invocation) = self.lot.invocation_of(record) else {
            return;
        };
        for other in self.lot.records_of(invocation) {
            self.judge.troubled.insert(other);
        }
        self.lot.kill(invocation).await;
    }

    /// Does what a call asks; nothing: the other side hangs.
    fn execute(&mut self, record: Record, call: &Call) -> Option<Reply> {
        match call {
            Call::Aws { target, body } => {
                let (service, operation) = target.split_once('.').unwrap_or_default();
                let read = || serde_json::from_slice::<Value>(body).unwrap_or_default();
                Some(match service {
                    "secretsmanager" => ok(secret(body)),
                    "AmazonSQS" => self.send(&read()),
                    _ => self.table(record, operation, read()),
                })
            }
            Call::Http { path, query, .. } if path.starts_with("/app/") => self.tell(record, query),
            Call::Http { path, body, .. } => Some(self.ask_wechat(path, body)),
        }
    }

    /// WeChat is asked.
    fn ask_wechat(&mut self, path: &str, body: &str) -> Reply {
        let rate = match self.is_faulty() {
            true => self.plan.rates.call,
            false => 0,
        };
        let now = self.now();
        let answer = self.wechat.answer(path, body, now, rate, &mut self.random);
        for _ in 0..std::mem::take(&mut self.wechat.difficulties) {
            self.tally.note(Wire::Wechat, Fault::Difficult);
        }
        for number in std::mem::take(&mut self.wechat.accepted) {
            self.announce_refund(&number);
        }
        match answer {
            Ok(answer) => ok(answer),
            Err(promise) => {
                self.judge.hold(false, || promise);
                Reply::Broken
            }
        }
    }

    fn table(&mut self, record: Record, operation: &str, mut body: Value) -> Reply {
        if operation == "Query" {
            if let Some(before) = self.stale_shard(&body) {
                return before;
            }
            if let Some(nothing) = self.empty_shard(&body) {
                return nothing;
            }
        }
        if let Some(reply) = self.sabotage(operation, &mut body) {
            return reply;
        }
        let (status, answer, changes) = self.engine.execute(operation, &body);
        let rejected = status == 400 && answer.contains("ValidationException");
        self.judge.hold(!rejected && status < 500, || {
            format!("DynamoDB refused {operation}: {answer}")
        });
        let shard = body.get("ExpressionAttributeValues");
        if let Some(shard) = shard.and_then(|values| string(values, ":shard")) {
            self.shown.insert(shard.to_owned(), answer.clone());
        }
        let now = self.now();
        for change in &changes {
            self.written(change);
            let lot = &self.lot;
            self.judge
                .leased(change, (record, now), |other| lot.is_live(other));
        }
        Reply::Answer(status, answer)
    }

    /// An index follows its table with a delay: at times it shows what it
    /// showed the last time.
    fn stale_shard(&mut self, body: &Value) -> Option<Reply> {
        let shard = string(body.get("ExpressionAttributeValues")?, ":shard")?;
        let stale = self.is_faulty() && self.random.chance(self.plan.rates.call);
        let before = self.shown.get(shard).filter(|_| stale)?.clone();
        self.tally.note(Wire::DynamoDb, Fault::Stale);
        Some(ok(before))
    }

    /// Most of a sweep's questions find nothing: the engine is not asked for it.
    fn empty_shard(&self, body: &Value) -> Option<Reply> {
        let asked = string(body.get("ExpressionAttributeValues")?, ":shard");
        let mut rows = self.engine.rows.values();
        let empty = rows.all(|row| string(row, "shard") != asked);
        empty.then(|| ok(NOTHING.to_owned()))
    }

    /// The planted bugs, at the wire.
    fn sabotage(&mut self, operation: &str, body: &mut Value) -> Option<Reply> {
        match (self.plan.plant?, operation) {
            (Plant::NoLease, "UpdateItem") => {
                const WATCHFUL: &str = "lease_until < :now";
                let condition = body.get("ConditionExpression")?.as_str()?;
                let blind =
                    condition.replace(WATCHFUL, "lease_until < :now OR lease_until >= :now");
                body.as_object_mut()?
                    .insert("ConditionExpression".to_owned(), json!(blind));
                None
            }
            (Plant::ShardSkipped, "Query") => {
                let values = body.get("ExpressionAttributeValues")?;
                let shard: i64 = string(values, ":shard")?.parse().ok()?;
                (shard % 4 == 3).then(|| ok(NOTHING.to_owned()))
            }
            (Plant::BlindCommit, "TransactWriteItems") => {
                const WATCHFUL: &str = "revision = :expected";
                let blind = body
                    .to_string()
                    .replace(WATCHFUL, "revision = :expected OR attribute_exists(pk)");
                *body = serde_json::from_str(&blind).ok()?;
                None
            }
            (Plant::ForgottenReversal, "PutItem") => {
                let forgetful = body.to_string().replace(
                    r#""reversing":{"BOOL":true}"#,
                    r#""reversing":{"BOOL":false}"#,
                );
                *body = serde_json::from_str(&forgetful).ok()?;
                None
            }
            (Plant::RingBeforeCommit, "TransactWriteItems") => {
                let at = self.now() + 40;
                self.plan_for(at, Event::Commit(body.to_string().into_bytes()));
                Some(ok("{}".to_owned()))
            }
            _ => None,
        }
    }

    /// The planted bug's commit reaches the ledger.
    pub(crate) fn commit_late(&mut self, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let (_, _, changes) = self.engine.execute("TransactWriteItems", &body);
        for change in &changes {
            self.written(change);
        }
    }

    /// A row was written.
    fn written(&mut self, change: &Change) {
        self.wechat.pass(self.now());
        let outside = (&self.wechat, self.now());
        self.judge.written(change, &self.engine.rows, outside);
    }

    /// SQS takes a message.
    fn send(&mut self, body: &Value) -> Reply {
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
        let rate = if self.is_faulty() {
            self.plan.rates.message
        } else {
            0
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
}

fn ok(body: String) -> Reply {
    Reply::Answer(200, body)
}

fn wire_of(call: &Call) -> Wire {
    match call {
        Call::Aws { target, .. } if target.starts_with("DynamoDB") => Wire::DynamoDb,
        Call::Aws { target, .. } if target.starts_with("AmazonSQS") => Wire::Sqs,
        Call::Aws { .. } => Wire::Secrets,
        Call::Http { path, .. } if path.starts_with("/app/") => Wire::App,
        Call::Http { .. } => Wire::Wechat,
    }
}

fn patience(wire: Wire) -> i64 {
    match wire {
        Wire::App => APP_MILLIS,
        Wire::Wechat => WECHAT_MILLIS,
        _ => ATTEMPT_MILLIS,
    }
}

fn refusal(wire: Wire, random: &mut crate::random::Random) -> Reply {
    let error = |status, name: &str| {
        Reply::Answer(status, json!({"__type": name, "message": "no"}).to_string())
    };
    let throttled = random.chance(500);
    match wire {
        Wire::DynamoDb if throttled => error(
            400,
            "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        ),
        Wire::Sqs if throttled => error(403, "com.amazonaws.sqs#RequestThrottled"),
        Wire::App | Wire::Wechat => Reply::Answer(503, "busy".to_owned()),
        _ => error(500, "InternalServerError"),
    }
}

fn describe(call: &Call) -> String {
    match call {
        Call::Aws { target, body } => {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            let text = |name: &str| {
                body.get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let more = [text("UpdateExpression"), text("MessageBody")].join("");
            format!("{} {more}", target.rsplit('.').next().unwrap_or_default())
        }
        Call::Http { path, query, .. } => {
            let attempt = query.split('&').find(|part| part.starts_with("attempt="));
            format!("{path} {}", attempt.unwrap_or_default())
        }
    }
}
