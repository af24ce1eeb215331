//! What becomes of each call: the fault it meets, what the other side does, and
//! what the caller gets.

use serde_json::{Value, json};

use crate::aws::{ATTEMPT_MILLIS, secret};
use crate::cast::{MCH_IDS, place_of};
use crate::engine::{Change, string};
use crate::events::Event;
use crate::faults::{Fault, Wire, choose};
use crate::ledger::{ORDER, TELLING};
use crate::plan::{Plan, Plant};
use crate::scheduler::{Call, Host, HttpCall, Parked, Record, Reply};
use crate::wechat::CERTIFICATES;
use crate::world::World;

/// How long the hub lets a call of WeChat and of an app take.
const WECHAT_MILLIS: i64 = 4500;
const APP_MILLIS: i64 = 10_000;

/// What a query without a hit answers.
const NOTHING: &str = r#"{"Items":[],"Count":0,"ScannedCount":0}"#;

impl World {
    /// One of the waiting calls goes on, or meets a fault.
    pub(crate) async fn serve(&mut self, index: usize) {
        let Some(parked) = self.scheduler.take(index) else {
            return;
        };
        self.calls += 1;
        let wire = wire_of(&parked.call);
        let fault = choose(&self.plan, wire, self.now(), &mut self.random);
        let (record, call) = (parked.record, &parked.call);
        if is_charge(call) {
            let is_first = self.charging.insert(record);
            self.judge.hold(is_first, || {
                "a code was sent again, and may have been charged".to_owned()
            });
        }
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
            Fault::BrokenBefore => self.scheduler.answer(parked, Reply::Broken),
            Fault::AnswerLost => {
                self.execute_unheard(record, &parked.call);
                self.scheduler.answer(parked, Reply::Broken);
            }
            Fault::Refused => self
                .scheduler
                .answer(parked, refusal(wire, &mut self.random)),
            Fault::Slow => {
                let at = self.now() + self.random.within(patience / 20, patience - 100);
                self.plan_for(at, Event::Held(parked, None));
            }
            Fault::HungBefore => self.hang(parked, patience),
            Fault::HungAfter => {
                self.execute_unheard(record, &parked.call);
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
            Some(reply) => self.scheduler.answer(parked, reply),
            None => self.hang(parked, APP_MILLIS),
        }
    }

    /// A call that was held goes on, if its caller is still there.
    pub(crate) fn resume(&mut self, parked: Parked, reply: Option<Reply>) {
        if !self.scheduler.is_live(parked.record) {
            return;
        }
        let record = parked.record;
        self.note(|| format!("  r{record} goes on"));
        match reply {
            Some(reply) => self.scheduler.answer(parked, reply),
            None => {
                let reply = self.execute(record, &parked.call);
                self.reply(parked, reply);
            }
        }
    }

    /// The process of this record dies.
    async fn die(&mut self, record: Record) {
        let Some(invocation) = self.scheduler.invocation_of(record) else {
            return;
        };
        for other in self.scheduler.records_of(invocation) {
            self.judge.troubled.insert(other);
        }
        self.scheduler.kill(invocation).await;
    }

    /// Does what a call asks, and its caller does not learn of it.
    fn execute_unheard(&mut self, record: Record, call: &Call) {
        self.execute(record, call);
        if self.plan.plant == Some(Plant::RepeatedCharge) && is_charge(call) {
            self.execute(record, call);
        }
    }

    /// Does what a call asks; nothing: the other side hangs.
    fn execute(&mut self, record: Record, call: &Call) -> Option<Reply> {
        match call {
            Call::Aws { target, body } => {
                let (service, operation) = target.split_once('.').unwrap_or_default();
                let read = || serde_json::from_slice::<Value>(body).unwrap_or_default();
                Some(match service {
                    "secretsmanager" => {
                        let standings = self.plan.standings_at(self.now());
                        let (status, text) = secret(body, self.cast, &standings);
                        Reply::Answer(status, text)
                    }
                    "AmazonSQS" => self.send(&read()),
                    _ => self.table(record, operation, read()),
                })
            }
            Call::Http(call) if call.path.starts_with("/app/") => {
                self.call_app(record, &call.query)
            }
            Call::Http(call) => Some(self.ask_wechat(call)),
        }
    }

    fn ask_wechat(&mut self, call: &HttpCall) -> Reply {
        if call.path == CERTIFICATES {
            self.count(CERTIFICATES);
            let now = self.now();
            return self.wechat.certificates(call, now);
        }
        let heard = match self.wechat.hear(call) {
            Ok(heard) => heard,
            Err(promise) => {
                self.judge.hold(false, || promise);
                return Reply::Broken;
            }
        };
        let asked = &heard.asked;
        self.count(asked.name());
        if call.host == Host::Spare {
            *self.by_spare.entry(asked.name()).or_default() += 1;
        }
        let (rows, now) = (&self.engine.rows, self.now());
        self.judge.asked(asked, rows, &self.wechat, now);
        let rate = match self.is_faulty() {
            true => self.plan.rates.call,
            false => 0,
        };
        let is_empty = Plan::within(&self.plan.empty, now);
        self.wechat.pay.rules.balance_fen = is_empty.then_some(0);
        let random = &mut self.random;
        let answer = self.wechat.answer(call, &heard, now, rate, random);
        for _ in 0..std::mem::take(&mut self.wechat.difficulties) {
            self.tally.note(Wire::Wechat, Fault::Difficult);
        }
        for number in std::mem::take(&mut self.wechat.accepted) {
            let _told = self.announce_refund(&number);
        }
        if std::mem::take(&mut self.wechat.unanswered) {
            return Reply::Broken;
        }
        match answer {
            Ok(answer) => answer,
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
            let scheduler = &self.scheduler;
            self.judge
                .leased(change, record, now, |other| scheduler.is_live(other));
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
        let asked = string(body.get("ExpressionAttributeValues")?, ":shard")?;
        let mut rows = self.engine.rows.values();
        let empty = rows.all(|row| string(row, "shard") != Some(asked));
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
            (Plant::ForgottenTelling, "Query") if body.get("IndexName").is_none() => {
                let (_, answer, _) = self.engine.execute(operation, body);
                let mut answer: Value = serde_json::from_str(&answer).ok()?;
                let rows = answer.get_mut("Items")?.as_array_mut()?;
                rows.retain(|row| {
                    let pk = string(row, "pk").unwrap_or_default();
                    let is_telling = string(row, "sk") == Some(TELLING);
                    !(is_telling && self.judge.is_put_back(pk))
                });
                Some(ok(answer.to_string()))
            }
            (Plant::PresentVersion, "GetItem") => self.altered(body, |world, row, place| {
                let standing = world.plan.merchants.get(place)?.at(world.now());
                let version = json!({"S": if standing.prefers_v3 { "v3" } else { "v2" }});
                let attempts = row.pointer_mut("/Item/attempts/L")?.as_array_mut()?;
                for attempt in attempts {
                    let attempt = attempt.get_mut("M")?.as_object_mut()?;
                    attempt.insert("api_version".to_owned(), version.clone());
                }
                Some(())
            }),
            (Plant::PresentMerchant, "GetItem") => self.altered(body, |world, row, _| {
                let pk = string(row.get("Item")?, "pk")?.to_owned();
                let (app_id, _) = pk.split_once('#')?;
                let mut apps = world.plan.apps.iter();
                let app = apps.find(|app| app.app_id == app_id)?;
                let mch_id = MCH_IDS.get(app.merchant_at(world.now()))?;
                let row = row.get_mut("Item")?.as_object_mut()?;
                row.insert("merchant".to_owned(), json!({"S": mch_id}));
                Some(())
            }),
            (Plant::BlindCommit, "TransactWriteItems") => {
                const WATCHFUL: &str = "revision = :expected";
                let blind = body
                    .to_string()
                    .replace(WATCHFUL, "revision = :expected OR attribute_exists(pk)");
                *body = serde_json::from_str(&blind).ok()?;
                None
            }
            (Plant::SilentClosing, "TransactWriteItems") => {
                let parts = body.get_mut("TransactItems")?.as_array_mut()?;
                parts.retain(|part| {
                    let item = part.pointer("/Put/Item");
                    let sk = item.and_then(|item| string(item, "sk"));
                    sk != Some("delivery#order.closed")
                });
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
            (Plant::BlindClosing, "PutItem") => {
                let attempts = body.pointer_mut("/Item/attempts/L")?.as_array_mut()?;
                let attempts = attempts.iter_mut().filter_map(|one| one.get_mut("M"));
                for attempt in attempts.filter_map(Value::as_object_mut) {
                    if attempt.remove("close_at").is_some() {
                        attempt.insert("closed".to_owned(), json!({"BOOL": true}));
                    }
                }
                None
            }
            (Plant::HastyRefusal, "PutItem") => {
                const HOURS: i64 = 3 * 3_600_000;
                let since = body.get_mut("Item")?.get_mut("refused_since")?;
                let at: i64 = since.get("N")?.as_str()?.parse().ok()?;
                *since = json!({"N": (at - HOURS).to_string()});
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

    /// The answer about an order's row, as a planted bug reads it; the merchant is
    /// given by its place.
    fn altered(
        &self,
        body: &Value,
        alter: impl FnOnce(&Self, &mut Value, usize) -> Option<()>,
    ) -> Option<Reply> {
        (body.pointer("/Key/sk/S")?.as_str()? == ORDER).then_some(())?;
        let answer = self.engine.run("GetItem", body).ok()?;
        let mut answer: Value = serde_json::from_str(&answer).ok()?;
        let merchant = string(answer.get("Item")?, "merchant").unwrap_or(MCH_IDS[0]);
        let place = place_of(merchant)?;
        alter(self, &mut answer, place)?;
        Some(ok(answer.to_string()))
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
        if let ((pk, ORDER), Some(row)) = ((&change.key.0, change.key.1.as_str()), &change.after) {
            let index = self.index_of(pk);
            let order = index.and_then(|index| self.plan.orders.get(index));
            if order.is_some_and(|order| !order.put_back.is_empty()) {
                self.past.entry(pk.clone()).or_default().push(row.clone());
            }
        }
        self.wechat.pass(self.now());
        let now = self.now();
        self.judge
            .written(change, &self.engine.rows, &self.wechat, now);
    }
}

pub(crate) fn ok(body: String) -> Reply {
    Reply::Answer(200, body)
}

fn wire_of(call: &Call) -> Wire {
    match call {
        Call::Aws { target, .. } if target.starts_with("DynamoDB") => Wire::DynamoDb,
        Call::Aws { target, .. } if target.starts_with("AmazonSQS") => Wire::Sqs,
        Call::Aws { .. } => Wire::Secrets,
        Call::Http(call) if call.path.starts_with("/app/") => Wire::App,
        Call::Http(call) => match call.host {
            Host::Main => Wire::Wechat,
            Host::Spare => Wire::Spare,
        },
    }
}

/// Whether it charges a payer's code, at whichever host.
fn is_charge(call: &Call) -> bool {
    matches!(call, Call::Http(call) if call.path == "/pay/micropay")
}

fn patience(wire: Wire) -> i64 {
    match wire {
        Wire::App => APP_MILLIS,
        Wire::Wechat | Wire::Spare => WECHAT_MILLIS,
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
        Wire::App | Wire::Wechat | Wire::Spare => Reply::Answer(503, "busy".to_owned()),
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
        Call::Http(HttpCall {
            host, path, query, ..
        }) => {
            let attempt = query.split('&').find(|part| part.starts_with("attempt="));
            format!("{host:?}{path} {}", attempt.unwrap_or_default())
        }
    }
}
