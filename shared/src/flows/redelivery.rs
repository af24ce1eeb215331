//! Giving exhausted deliveries another chance, one by one or all of an app's, page
//! by page; the same for `hubctl` and for the operators' API.

use serde_json::json;

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::audit::Audit;
use crate::aws::ledger::{Exhausted, Ledger};
use crate::domain::audit::{Actor, Entry};
use crate::domain::delivery::Status;
use crate::domain::id::{AppId, OrderKey};
use crate::domain::time::Timestamp;

/// Sends again.
#[derive(Debug, Clone)]
pub struct Redelivery {
    /// Where deliveries are.
    pub ledger: Ledger,
    /// Who had what sent again.
    pub audit: Audit,
}

/// Which deliveries of an app are sent again, and how fast: it has just come back.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Whose.
    pub app_id: AppId,
    /// Those exhausted since then.
    pub since: Timestamp,
    /// After which delivery to go on, as the batch before said.
    pub after: Option<String>,
    /// At most so many.
    pub limit: i32,
    /// So many in a second.
    pub per_second: i64,
}

/// What became of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Due again.
    pub resent: u32,
    /// Somebody else was faster.
    pub left: u32,
    /// Where the next batch begins, if there may be one.
    pub next: Option<String>,
}

impl Redelivery {
    /// Makes one delivery due again. False when it is not exhausted, or not there.
    pub async fn one(
        &self,
        key: &OrderKey,
        sk: &str,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        self.resend(key, sk, now, &entry(actor, key, sk, now)).await
    }

    /// Makes a batch due again, one after the other. What was sent is not exhausted
    /// any more: a batch that died halfway is asked for again. What is exhausted anew
    /// since the first batch is left alone, or this would never end.
    pub async fn batch(
        &self,
        batch: &Batch,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Sent, Failure> {
        let begun = batch.after.as_deref().and_then(|after| {
            let (until, after) = after.split_once(' ')?;
            Some((Timestamp::from_millis(until.parse().ok()?), after))
        });
        let until = begun.map_or(now, |(until, _)| until.min(now));
        let after = begun.map(|(_, after)| after);
        let page = self
            .ledger
            .exhausted(&batch.app_id, batch.since, until, after, batch.limit);
        let Exhausted { listed, next } = page.await?;
        let mut sent = Sent {
            next: next.map(|next| format!("{} {next}", until.millis())),
            ..Sent::default()
        };
        for delivery in listed {
            let Ok(key) = OrderKey::parse(&delivery.pk) else {
                continue;
            };
            let millis = i64::from(sent.resent) * 1000 / batch.per_second.max(1);
            let due = Timestamp::from_millis(now.millis() + millis);
            let entry = entry(actor, &key, &delivery.sk, now);
            match self.resend(&key, &delivery.sk, due, &entry).await? {
                true => sent.resent += 1,
                false => sent.left += 1,
            }
        }
        Ok(sent)
    }

    async fn resend(
        &self,
        key: &OrderKey,
        sk: &str,
        due: Timestamp,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        self.ledger.resend(key, sk, due, &self.audit, entry).await
    }
}

fn entry(actor: &Actor, key: &OrderKey, sk: &str, now: Timestamp) -> Entry {
    let entry = actor.entry("delivery.resend", key.to_string(), now, &random_hex());
    entry.between(
        &json!({sk: Status::Exhausted}),
        &json!({sk: Status::Pending}),
    )
}
