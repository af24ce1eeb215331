//! The promises, checked at every write of the ledger, at every call of an
//! app, at every answer to WeChat and at the end. It owns no part of the world
//! and never changes it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::engine::{Change, Key, number, string};
use crate::lot::Record;
use crate::plan::{HOUR, MINUTE, SECOND};

/// The sort key of an order's row.
pub const ORDER: &str = "order";
/// The sort key of what is owed for a payment.
pub const DELIVERY: &str = "delivery#payment.succeeded";
/// The offsets of the thirteen repeats, in seconds: the mission's, written
/// down again.
pub const OFFSETS: [i64; 14] = [
    0, 60, 120, 180, 240, 300, 600, 1200, 1800, 3600, 7200, 18_000, 43_200, 86_400,
];
/// A day, and what may be left after it once nothing fails: the sweeper's
/// longest back-off and the steps that an outage has put off.
const DAY: i64 = 24 * HOUR;
const SLACK: i64 = 45 * MINUTE;
/// A row is looked at every minute and at the longest twenty ticks late.
const UNSEEN: i64 = 10 * MINUTE;

type Rows = BTreeMap<Key, Value>;

/// Who must not work at the same time.
#[derive(Debug, Default)]
pub struct Judge {
    /// The first broken promise.
    pub broken: Option<String>,
    /// Records that met a fault, or whose process died.
    pub troubled: BTreeSet<Record>,
    leases: BTreeMap<Key, Vec<(Record, i64)>>,
}

impl Judge {
    /// Notes a broken promise; the first one counts.
    pub fn hold(&mut self, kept: bool, promise: impl FnOnce() -> String) {
        if !kept && self.broken.is_none() {
            self.broken = Some(promise());
        }
    }

    /// A row was written.
    pub fn written(&mut self, change: &Change, rows: &Rows) {
        let (pk, sk) = &change.key;
        let Some(after) = &change.after else {
            self.hold(false, || format!("the row {pk} {sk} was lost"));
            return;
        };
        let status = string(after, "status").unwrap_or_default();
        let owed = matches!(status, "pending" | "created" | "paying");
        for name in ["wake", "shard"] {
            let present = after.get(name).is_some();
            self.hold(owed == present, || {
                format!("{pk} {sk} is {status}, and {name} is present: {present}")
            });
        }
        let before = change.before.as_ref();
        if sk == ORDER {
            self.order_written(&change.key, (before, after), rows);
        } else {
            self.delivery_written(&change.key, (before, after));
        }
    }

    fn order_written(&mut self, key: &Key, (before, after): (Option<&Value>, &Value), rows: &Rows) {
        let pk = &key.0;
        let paid = payment(after);
        if let Some(before) = before {
            let was = string(before, "status").unwrap_or_default();
            let is = string(after, "status").unwrap_or_default();
            let gone_back = ["paid", "partly_refunded", "refunded"].contains(&was)
                && !["paid", "partly_refunded", "refunded"].contains(&is);
            self.hold(!gone_back, || format!("{pk} went from {was} to {is}"));
            self.hold(payment(before).is_none() || payment(before) == paid, || {
                format!(
                    "{pk} was paid by {:?} and then by {paid:?}",
                    payment(before)
                )
            });
            // Once a payment is right, what was wrong about it is forgotten.
            let right = paid.as_ref().map(|(id, _)| id);
            let kept = anomalies(after);
            let lost = anomalies(before)
                .into_iter()
                .find(|old| Some(&old.0) != right && !kept.contains(old));
            self.hold(lost.is_none(), || format!("{pk} lost the anomaly {lost:?}"));
        }
        let mut counted = anomalies(after);
        counted.extend(paid.clone());
        let all = counted.len();
        counted.sort();
        counted.dedup();
        self.hold(counted.len() == all, || {
            format!("{pk} counts a payment twice")
        });
        let refunded = [number(after, "refund_reserved"), number(after, "refunded")];
        let total = paid.and_then(|(_, fee)| fee.parse().ok()).unwrap_or(0);
        self.hold(refunded.iter().flatten().all(|fen| *fen <= total), || {
            format!("{pk} gives back more than was paid")
        });
        let hub_tells = nested(after, &["request", "M", "version", "S"]) == Some("2.0");
        let delivery = (pk.clone(), DELIVERY.to_owned());
        self.hold(
            payment(after).is_none() || !hub_tells || rows.contains_key(&delivery),
            || format!("{pk} is paid and nobody will be told"),
        );
    }

    fn delivery_written(&mut self, key: &Key, (before, after): (Option<&Value>, &Value)) {
        let pk = &key.0;
        let is = string(after, "status").unwrap_or_default();
        if let Some(before) = before {
            for name in ["event_id", "payload", "origin", "app_id", "order_no"] {
                self.hold(before.get(name) == after.get(name), || {
                    format!("{name} of {pk}'s delivery changed")
                });
            }
            let was = string(before, "status").unwrap_or_default();
            let allowed = was == "pending" || was == is || (was, is) == ("exhausted", "delivered");
            self.hold(allowed, || {
                format!("{pk}'s delivery went from {was} to {is}")
            });
            self.hold(number(before, "step") <= number(after, "step"), || {
                format!("{pk}'s delivery went back a step")
            });
        }
        if is == "exhausted" {
            let tried: BTreeSet<i64> = after
                .get("attempts")
                .and_then(|list| list.get("L")?.as_array())
                .into_iter()
                .flatten()
                .filter_map(|attempt| number(attempt.get("M")?, "step"))
                .collect();
            self.hold(tried == (0..=13).collect(), || {
                format!("{pk}'s delivery was given up after the steps {tried:?}")
            });
        }
    }

    /// A write by this record; `others` tells which records are at work.
    pub fn leased(
        &mut self,
        change: &Change,
        (record, now): (Record, i64),
        others: impl Fn(Record) -> bool,
    ) {
        let lease = |row: &Option<Value>| -> Option<String> {
            row.as_ref()
                .and_then(|row| string(row, "lease"))
                .map(str::to_owned)
        };
        let (was, is) = (lease(&change.before), lease(&change.after));
        if was == is {
            return;
        }
        let holders = self.leases.entry(change.key.clone()).or_default();
        let Some(until) = is.and_then(|_| number(change.after.as_ref()?, "lease_until")) else {
            holders.clear();
            return;
        };
        let other = holders
            .iter()
            .find(|(holder, until)| *holder != record && *until >= now && others(*holder))
            .copied();
        holders.push((record, until));
        self.hold(other.is_none(), || {
            format!("{} has two live leases", change.key.0)
        });
    }

    /// WeChat was told that this payment needs no repeating.
    pub fn accepted(&mut self, pk: &str, (transaction_id, fee): (&str, i64), rows: &Rows) {
        let entry = (transaction_id.to_owned(), fee.to_string());
        let known = rows
            .get(&(pk.to_owned(), ORDER.to_owned()))
            .is_some_and(|row| {
                // A paid order knows its payment, whatever else is said of it.
                payment(row).is_some_and(|(id, _)| id == transaction_id)
                    || anomalies(row).contains(&entry)
            });
        self.hold(known, || {
            format!("WeChat was answered SUCCESS and {pk} does not know {transaction_id}")
        });
    }

    /// Whether anything is owed for longer than promised.
    pub fn punctual(&mut self, rows: &Rows, now: i64, calm_at: i64) {
        for ((pk, sk), row) in rows {
            let Some(wake) = number(row, "wake") else {
                continue;
            };
            self.hold(now <= wake.max(calm_at) + UNSEEN, || {
                format!(
                    "nobody has looked at {pk} {sk} for {} s",
                    (now - wake) / SECOND
                )
            });
            let end = match number(row, "origin") {
                Some(origin) => origin + DAY,
                None => number(row, "expires_at").unwrap_or_default(),
            };
            self.hold(now <= end.max(calm_at) + SLACK, || {
                format!("{pk} {sk} is still owed at its end")
            });
        }
    }
}

/// The payment of an order's row: WeChat's number and the amount.
#[must_use]
pub fn payment(row: &Value) -> Option<(String, String)> {
    paid(row.get("payment")?)
}

/// The payments that an order's row keeps as anomalies.
#[must_use]
pub fn anomalies(row: &Value) -> Vec<(String, String)> {
    let list = row
        .get("anomalies")
        .and_then(|list| list.get("L")?.as_array());
    list.into_iter()
        .flatten()
        .filter_map(|anomaly| paid(anomaly.get("M")?.get("payment")?))
        .collect()
}

fn paid(payment: &Value) -> Option<(String, String)> {
    let id = nested(payment, &["M", "transaction_id", "S"])?;
    let fee = nested(payment, &["M", "total_fee", "N"])?;
    Some((id.to_owned(), fee.to_owned()))
}

fn nested<'row>(row: &'row Value, path: &[&str]) -> Option<&'row str> {
    path.iter()
        .try_fold(row, |value, name| value.get(name))?
        .as_str()
}
