//! Claiming a delivery and recording how it went. A claim reads and locks in
//! one call; a success is recorded whoever holds the lease, a failure only
//! under its own lease.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use serde::{Deserialize, Serialize};

use super::{Item, Ledger, Owed, SHARDS, row, row_key, shard};
use crate::ambient::random_hex;
use crate::aws::audit::Audit;
use crate::aws::item::{millis, number, refused, string, text};
use crate::aws::queue::Doorbell;
use crate::aws::{Failure, item};
use crate::domain::audit::Entry;
use crate::domain::delivery::{ATTEMPTS_KEPT, Attempt, Delivery, EARLY_MILLIS, Next, Status};
use crate::domain::id::{AppId, OrderKey, OrderNo};
use crate::domain::time::Timestamp;

pub(super) const PREFIX: &str = "delivery#";

/// How long a claim keeps others off: both addresses of step 0 at their full
/// deadline, and the writes around them.
const LEASE_SECONDS: i64 = 45;

/// A claimed delivery: nobody else works on it until the lease ends.
#[derive(Debug)]
pub struct Claim {
    /// The row as it was claimed.
    pub delivery: Delivery,
    /// What a result is recorded under.
    pub lease: Lease,
}

/// The proof of a claim.
#[derive(Debug, Clone)]
pub struct Lease {
    doorbell: Doorbell,
    token: String,
}

/// A delivery by its place, as an index shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// `app_id#order_no`.
    pub pk: String,
    /// `delivery#<event>[#<subject>]`.
    pub sk: String,
    /// When it was given up, if it was.
    #[serde(default)]
    pub exhausted_at: Option<Timestamp>,
    /// The step that is owed, if one is.
    #[serde(default)]
    pub step: Option<u8>,
    /// When that is due.
    #[serde(default)]
    pub due: Option<Timestamp>,
}

impl Listed {
    /// The app's number for the order.
    #[must_use]
    pub fn order_no(&self) -> &str {
        self.pk.split('#').nth(1).unwrap_or_default()
    }

    /// The event and its subject in one: `refund.failed#R1`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.sk.strip_prefix(PREFIX).unwrap_or(&self.sk)
    }

    /// The event, and which part of the order it is about, where it has several.
    #[must_use]
    pub fn event(&self) -> (&str, Option<&str>) {
        let name = self.name();
        let parts = name.split_once('#');
        parts.map_or((name, None), |(event, subject)| (event, Some(subject)))
    }
}

/// The name of the row of such an event: one for each event of an order, or of a
/// part of it.
#[must_use]
pub fn sort_key(event: &str, subject: Option<&str>) -> String {
    match subject {
        None => format!("{PREFIX}{event}"),
        Some(subject) => format!("{PREFIX}{event}#{subject}"),
    }
}

/// A page of exhausted deliveries.
#[derive(Debug)]
pub struct Exhausted {
    /// The oldest first.
    pub listed: Vec<Listed>,
    /// After which delivery the next page begins, if there may be one: a text that
    /// means something here only.
    pub next: Option<String>,
}

/// A part of an app's parked deliveries.
#[derive(Debug)]
pub struct Parked {
    /// In no order.
    pub rows: Vec<Owed>,
    /// After which row of the index to go on, if there may be more: a text that means
    /// something here only.
    pub next: Option<String>,
}

/// `shard wake pk sk`: the place of a row in the index `wake`.
fn waking_cursor(key: &Item) -> Option<String> {
    let wake = key.get("wake")?.as_n().ok()?;
    let [shard, pk, sk] = [text(key, "shard")?, text(key, "pk")?, text(key, "sk")?];
    Some(format!("{shard} {wake} {pk} {sk}"))
}

/// The place that [`waking_cursor`] names. None when it names none.
fn waking_after(cursor: &str) -> Option<Item> {
    let mut parts = cursor.splitn(4, ' ');
    let shard: u8 = parts.next()?.parse().ok()?;
    let wake: i64 = parts.next()?.parse().ok()?;
    let mut key = row_key(parts.next()?, parts.next()?);
    key.insert("shard".to_owned(), string(shard.to_string()));
    key.insert("wake".to_owned(), number(wake));
    Some(key)
}

/// `exhausted_at order_no sk`: with the app, the place of a row in the index.
fn cursor(key: &Item) -> Option<String> {
    let at = key.get("exhausted_at")?.as_n().ok()?;
    let (_, order_no) = text(key, "pk")?.split_once('#')?;
    Some(format!("{at} {order_no} {}", text(key, "sk")?))
}

/// The place that [`cursor`] names, in this app's part of the index only. None when
/// it names none; then the first page is read.
fn start_after(app_id: &AppId, cursor: &str) -> Option<Item> {
    let mut parts = cursor.splitn(3, ' ');
    let at: i64 = parts.next()?.parse().ok()?;
    let (order_no, sk) = (parts.next()?, parts.next()?);
    let pk = format!("{app_id}#{}", OrderNo::parse(order_no).ok()?);
    let mut key = row_key(&pk, sk);
    key.insert("app_id".to_owned(), string(app_id.to_string()));
    key.insert("exhausted_at".to_owned(), number(at));
    Some(key)
}

/// Of the transactional outbox: written in the transaction that it tells of.
pub(super) fn write(delivery: &Delivery) -> Result<Item, Failure> {
    row(&delivery.key().to_string(), &delivery.sort_key(), delivery)
}

impl Delivery {
    /// The doorbell that wakes this delivery's next step.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        Doorbell::new(&self.key(), &self.sort_key(), self.step)
    }

    fn sort_key(&self) -> String {
        sort_key(self.event.as_str(), self.subject.as_deref())
    }
}

impl Ledger {
    /// Claims the delivery a doorbell names. None when there is nothing to do:
    /// the step is done, not due yet, or in somebody else's hands.
    pub async fn claim(
        &self,
        doorbell: &Doorbell,
        now: Timestamp,
    ) -> Result<Option<Claim>, Failure> {
        const OPERATION: &str = "claim a delivery";
        let token = random_hex();
        let result = self
            .update_row(doorbell)
            .update_expression("SET lease = :token, lease_until = :until ADD claims :one")
            .condition_expression(
                "#status = :pending AND step = :step AND due <= :early \
                 AND (attribute_not_exists(lease_until) OR lease_until < :now)",
            )
            .expression_attribute_values(":token", string(&token))
            .expression_attribute_values(":until", millis(now.plus_seconds(LEASE_SECONDS)))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":pending", status(Status::Pending)?)
            .expression_attribute_values(":step", number(doorbell.step))
            .expression_attribute_values(":early", number(now.millis() + EARLY_MILLIS))
            .expression_attribute_values(":now", millis(now))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        let item = match result {
            Ok(done) => done.attributes,
            Err(error) => {
                refused(error, OPERATION)?.filter(|row| text(row, "lease") == Some(&token))
            }
        };
        item.map(|item| {
            let delivery = item::read(item, OPERATION)?;
            let lease = Lease {
                doorbell: doorbell.clone(),
                token,
            };
            Ok(Claim { delivery, lease })
        })
        .transpose()
    }

    /// The app answered `success`: nothing is owed any more, whatever the
    /// lease says.
    pub async fn record_success(&self, claim: &Claim, attempts: &[Attempt]) -> Result<(), Failure> {
        const OPERATION: &str = "record a delivery";
        let result = self
            .update_row(&claim.lease.doorbell)
            .update_expression(
                "SET #status = :delivered, recorded = :token, \
                 attempts = list_append(attempts, :attempts) \
                 REMOVE wake, #shard, lease, lease_until, rings",
            )
            // The row exists, and a repeat of this very write is no news.
            .condition_expression("attribute_exists(pk) AND #status <> :delivered")
            .expression_attribute_names("#shard", "shard")
            .expression_attribute_values(":delivered", status(Status::Delivered)?)
            .expression_attribute_values(":attempts", list(attempts)?)
            .expression_attribute_values(":token", string(&claim.lease.token))
            .send()
            .await;
        match result {
            Ok(_) => Ok(()),
            Err(error) => refused(error, OPERATION).map(drop),
        }
    }

    /// The step failed: plans the next one, or gives up. False when the lease
    /// was lost to somebody who recorded something else.
    pub async fn record_failure(
        &self,
        claim: &Claim,
        attempts: &[Attempt],
        next: &Next,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        const OPERATION: &str = "record a failed delivery";
        let update = self
            .update_row(&claim.lease.doorbell)
            .condition_expression("#status = :pending AND step = :step AND lease = :token")
            .expression_attribute_values(":pending", status(Status::Pending)?)
            .expression_attribute_values(":step", number(claim.delivery.step))
            .expression_attribute_values(":token", string(&claim.lease.token))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":attempts", log(claim, attempts)?);
        let update = match next {
            Next::Retry {
                step, due, wake, ..
            } => update
                .update_expression(
                    "SET step = :next, due = :due, wake = :wake, claims = :zero, \
                     attempts = :attempts, recorded = :token REMOVE lease, lease_until, rings",
                )
                .expression_attribute_values(":next", number(*step))
                .expression_attribute_values(":due", millis(*due))
                .expression_attribute_values(":wake", millis(*wake)),
            Next::Exhausted => update
                .update_expression(
                    "SET #status = :exhausted, claims = :zero, attempts = :attempts, \
                     recorded = :token, exhausted_at = :now \
                     REMOVE wake, #shard, lease, lease_until, rings",
                )
                .expression_attribute_values(":now", millis(now))
                .expression_attribute_names("#shard", "shard")
                .expression_attribute_values(":exhausted", status(Status::Exhausted)?),
        };
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) => {
                let row = refused(error, OPERATION)?;
                Ok(row.is_some_and(|row| text(&row, "recorded") == Some(&claim.lease.token)))
            }
        }
    }

    /// The part of a transaction that says of a claimed delivery that its event is in
    /// the app's feed. It fails when that was said before.
    pub(in crate::aws) fn marking_fed(
        &self,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Update, Failure> {
        let doorbell = &claim.lease.doorbell;
        Update::builder()
            .table_name(&self.table)
            .set_key(Some(row_key(&doorbell.pk, &doorbell.sk)))
            .update_expression("SET fed_at = :now")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(fed_at)")
            .expression_attribute_values(":now", millis(now))
            .build()
            .map_err(Failure::of("mark a delivery as fed"))
    }

    /// Makes the last step of an exhausted delivery due again, then: the same event
    /// under the same id. Its doorbell is the sweeper's, which looks at it at once.
    /// False when it is not exhausted, or not there.
    pub async fn resend(
        &self,
        key: &OrderKey,
        sk: &str,
        due: Timestamp,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        const OPERATION: &str = "resend a delivery";
        let now = entry.at;
        let pk = key.to_string();
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(row_key(&pk, sk)))
            // Claims would otherwise add up over several of these, to a crash.
            .update_expression(
                "SET #status = :pending, claims = :zero, due = :due, wake = :now, \
                 #shard = :shard REMOVE lease, lease_until, rings, exhausted_at",
            )
            .condition_expression("#status = :exhausted")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#shard", "shard")
            .expression_attribute_values(":pending", status(Status::Pending)?)
            .expression_attribute_values(":exhausted", status(Status::Exhausted)?)
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":due", millis(due))
            .expression_attribute_values(":now", millis(now))
            .expression_attribute_values(":shard", string(shard(&pk)))
            .build()
            .map_err(Failure::of(OPERATION))?;
        let change = TransactWriteItem::builder().update(update).build();
        audit.commit(vec![change], entry).await
    }

    /// An app's exhausted deliveries of this time, the oldest first, from the one after
    /// this on, at most as many. The sparse index `exhausted` has them and nothing
    /// else.
    pub async fn exhausted(
        &self,
        app_id: &AppId,
        since: Timestamp,
        until: Timestamp,
        after: Option<&str>,
        limit: i32,
    ) -> Result<Exhausted, Failure> {
        const OPERATION: &str = "list exhausted deliveries";
        let start = after.map(|after| start_after(app_id, after));
        let read = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("exhausted")
            .key_condition_expression("app_id = :app AND exhausted_at BETWEEN :since AND :until")
            .expression_attribute_values(":app", string(app_id.to_string()))
            .expression_attribute_values(":since", millis(since.min(until)))
            .expression_attribute_values(":until", millis(until))
            .set_exclusive_start_key(start.flatten())
            .limit(limit)
            .send()
            .await
            .map_err(Failure::of(OPERATION))?;
        let items = read.items.unwrap_or_default();
        let listed = serde_dynamo::from_items(items).map_err(Failure::of(OPERATION))?;
        Ok(Exhausted {
            listed,
            next: read.last_evaluated_key.as_ref().and_then(cursor),
        })
    }

    /// An app's pending deliveries, the first due first. Reads all that is owed to
    /// anybody, from the index `wake`.
    pub async fn pending(&self, app_id: &AppId) -> Result<Vec<Listed>, Failure> {
        const OPERATION: &str = "list pending deliveries";
        let prefix = format!("{app_id}#");
        let mut pending: Vec<Listed> = Vec::new();
        for shard in 0..SHARDS {
            let pages = self
                .client
                .query()
                .table_name(&self.table)
                .index_name("wake")
                .key_condition_expression("#shard = :shard")
                .expression_attribute_names("#shard", "shard")
                .expression_attribute_values(":shard", string(shard.to_string()));
            let items = pages.into_paginator().items().send();
            let items: Vec<Item> = items.try_collect().await.map_err(Failure::of(OPERATION))?;
            let listed: Vec<Listed> =
                serde_dynamo::from_items(items).map_err(Failure::of(OPERATION))?;
            pending.extend(
                listed.into_iter().filter(|listed| {
                    listed.pk.starts_with(&prefix) && listed.sk.starts_with(PREFIX)
                }),
            );
        }
        pending.sort_by_key(|delivery| delivery.due);
        Ok(pending)
    }

    /// An app's parked deliveries, from the row after this on. So many rows of the
    /// index `wake` are looked at and no more: they are everybody's.
    pub async fn parked(
        &self,
        app_id: &AppId,
        after: Option<&str>,
        looked_at: i32,
        now: Timestamp,
    ) -> Result<Parked, Failure> {
        const OPERATION: &str = "list parked deliveries";
        let prefix = format!("{app_id}#");
        let mut start = after.and_then(waking_after);
        let begun = start
            .as_ref()
            .and_then(|key| text(key, "shard")?.parse().ok());
        let (mut rows, mut left) = (Vec::new(), looked_at);
        for shard in begun.unwrap_or(0)..SHARDS {
            let read = self
                .client
                .query()
                .table_name(&self.table)
                .index_name("wake")
                .key_condition_expression("#shard = :shard AND wake > :now")
                .expression_attribute_names("#shard", "shard")
                .expression_attribute_values(":shard", string(shard.to_string()))
                .expression_attribute_values(":now", millis(now))
                .set_exclusive_start_key(start.take())
                .limit(left)
                .send()
                .await
                .map_err(Failure::of(OPERATION))?;
            left = left.saturating_sub(read.count);
            let items = read.items.unwrap_or_default();
            let owed: Vec<Owed> =
                serde_dynamo::from_items(items).map_err(Failure::of(OPERATION))?;
            rows.extend(owed.into_iter().filter(|row| {
                row.pk.starts_with(&prefix) && row.is_delivery() && row.due == Some(row.wake)
            }));
            // A shard that ends with the page goes on with the next one.
            let next = match read.last_evaluated_key.as_ref().and_then(waking_cursor) {
                None if left <= 0 && shard + 1 < SHARDS => Some(format!("{} 0 - -", shard + 1)),
                next => next,
            };
            if next.is_some() {
                return Ok(Parked { rows, next });
            }
        }
        Ok(Parked { rows, next: None })
    }

    /// Makes a parked delivery due then. False when it has moved on meanwhile.
    pub async fn unpark(
        &self,
        parked: &Owed,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let update = self
            .update_row(&parked.doorbell())
            .update_expression("SET due = :due, wake = :now REMOVE rings")
            .condition_expression("#status = :pending AND wake = :seen AND due = :seen")
            .expression_attribute_values(":pending", status(Status::Pending)?)
            .expression_attribute_values(":seen", millis(parked.wake))
            .expression_attribute_values(":due", millis(due))
            .expression_attribute_values(":now", millis(now));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) => refused(error, "unpark a delivery").map(|_| false),
        }
    }

    fn update_row(&self, doorbell: &Doorbell) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(row_key(&doorbell.pk, &doorbell.sk)))
            .expression_attribute_names("#status", "status")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// The row's attempts with the new ones, the oldest dropped beyond the limit.
/// Written under the lease only, which makes the claimed list the current one.
fn log(claim: &Claim, attempts: &[Attempt]) -> Result<AttributeValue, Failure> {
    let all: Vec<&Attempt> = claim.delivery.attempts.iter().chain(attempts).collect();
    let kept = all
        .get(all.len().saturating_sub(ATTEMPTS_KEPT)..)
        .unwrap_or_default();
    list(kept)
}

fn list<T: Serialize>(attempts: &[T]) -> Result<AttributeValue, Failure> {
    item::value(attempts, "write a delivery's attempts")
}

fn status(status: Status) -> Result<AttributeValue, Failure> {
    item::value(status, "write a delivery's status")
}
