//! The promises, checked at every write of the ledger, at every call of an
//! app, at every answer to WeChat and at the end. It owns no part of the world
//! and never changes it.

mod delivery;
mod merchant;
mod order;
mod refund;

pub(crate) use refund::out_refund_no;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::engine::{Change, Key, number, string};
use crate::ledger::{DELIVERY, ORDER, TELLING, is_look_owed, is_owed, is_watched, payments};
use crate::plan::{AppPlan, HOUR, MINUTE, MerchantPlan, Plan, SECOND};
use crate::scheduler::Record;
use crate::wechat::Wechat;

/// The offsets of the thirteen repeats, in seconds, written
/// down again.
pub(crate) const OFFSETS: [i64; 14] = [
    0, 60, 120, 180, 240, 300, 600, 1200, 1800, 3600, 7200, 18_000, 43_200, 86_400,
];
/// A day, and what may be left after it once nothing fails: the sweeper's
/// longest back-off and the steps that an outage has put off.
const DAY: i64 = 24 * HOUR;
const SLACK: i64 = 45 * MINUTE;
/// What was taken back is looked at for the last time so long after its attempt
/// began.
const LAST_LOOK: i64 = DAY / 4;
/// A row is looked at every minute and at the longest twenty ticks late.
const UNSEEN: i64 = 10 * MINUTE;

type Rows = BTreeMap<Key, Value>;

/// What was promised so far, and whether it was kept.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// The first broken promise.
    pub(crate) broken: Option<String>,
    /// Records that met a fault, or whose process died.
    pub(crate) troubled: BTreeSet<Record>,
    /// The apps that give back by hand what does not fit.
    pub(crate) by_hand: BTreeSet<String>,
    /// The refunds by people of which WeChat tells until it is heard.
    pub(crate) told_by_hand: BTreeSet<String>,
    /// When the ledger first knew a payment.
    pub(crate) first_known: BTreeMap<String, i64>,
    /// Of the orders that were put back from a backup, WeChat's numbers of the
    /// payments that their rows have not found again.
    put_back: BTreeMap<String, BTreeSet<String>>,
    leases: BTreeMap<Key, Vec<(Record, i64)>>,
    merchants: Vec<MerchantPlan>,
    apps: Vec<AppPlan>,
}

impl Judge {
    /// Of a world of these merchants and apps.
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            merchants: plan.merchants.to_vec(),
            apps: plan.apps.clone(),
            ..Self::default()
        }
    }

    /// Notes a broken promise; the first one counts.
    pub(crate) fn hold(&mut self, kept: bool, promise: impl FnOnce() -> String) {
        if !kept && self.broken.is_none() {
            self.broken = Some(promise());
        }
    }

    /// An order's row is put back: it was this, and will be that.
    pub(crate) fn put_back(&mut self, pk: &str, live: &Value, row: &Value) {
        let lost = self.put_back.entry(pk.to_owned()).or_default();
        let known = payments(row);
        lost.extend(payments(live).into_iter().map(|payment| payment.id));
        lost.retain(|id| known.iter().all(|payment| payment.id != *id));
    }

    /// Whether this order's row was ever put back.
    pub(crate) fn is_put_back(&self, pk: &str) -> bool {
        self.put_back.contains_key(pk)
    }

    /// Whether a payment was lost with that, and is not found again.
    pub(crate) fn is_lost(&self, pk: &str, transaction_id: &str) -> bool {
        let lost = self.put_back.get(pk);
        lost.is_some_and(|lost| lost.contains(transaction_id))
    }

    /// Whether any is.
    pub(crate) fn has_lost(&self, pk: &str) -> bool {
        self.put_back.get(pk).is_some_and(|lost| !lost.is_empty())
    }

    /// A row was written, and this is how WeChat stands now.
    pub(crate) fn written(&mut self, change: &Change, rows: &Rows, wechat: &Wechat, now: i64) {
        let (pk, sk) = &change.key;
        let Some(after) = &change.after else {
            self.hold(false, || format!("the row {pk} {sk} was lost"));
            return;
        };
        let status = string(after, "status").unwrap_or_default();
        let look = sk == ORDER && is_look_owed(after);
        let owed = is_owed(status) || is_watched(after) || look;
        for name in ["wake", "shard"] {
            let present = after.get(name).is_some();
            self.hold(owed == present, || {
                format!("{pk} {sk} is {status}, and {name} is present: {present}")
            });
        }
        let before = change.before.as_ref();
        match sk.split_once('#') {
            Some(("refund", part)) => {
                self.refund_written(pk, part, before, after, rows);
                self.refund_given_up(pk, part, after, wechat, now);
                self.refund_believed(pk, part, after, wechat, now);
                self.sums_agree(pk, rows);
            }
            Some(_) => {
                if before.is_none() && sk == TELLING {
                    self.money_is_there(pk, rows);
                }
                if before.is_none() && sk == &format!("{DELIVERY}order.closed") {
                    self.nobody_can_pay(pk, rows);
                }
                self.delivery_written(&change.key, before, after);
            }
            None => {
                for payment in payments(after) {
                    if let Some(lost) = self.put_back.get_mut(pk) {
                        lost.remove(&payment.id);
                    }
                    self.first_known.entry(payment.id).or_insert(now);
                }
                self.payee_written(pk, before, after, now);
                self.order_written(pk, before, after, rows, wechat);
                self.sums_agree(pk, rows);
            }
        }
    }

    /// A write by this record; `others` tells which records are at work.
    pub(crate) fn leased(
        &mut self,
        change: &Change,
        record: Record,
        now: i64,
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

    /// Whether anything is owed for longer than promised.
    pub(crate) fn punctual(&mut self, rows: &Rows, now: i64, calm_at: i64, wechat: &Wechat) {
        for ((pk, sk), row) in rows {
            let Some(wake) = number(row, "wake") else {
                continue;
            };
            let put_back = number(row, "restored_at").unwrap_or_default();
            let from = calm_at.max(put_back);
            self.hold(now <= wake.max(from) + UNSEEN, || {
                format!(
                    "nobody has looked at {pk} {sk} for {} s",
                    (now - wake) / SECOND
                )
            });
            let end = match sk.split_once('#') {
                Some(("refund", part)) => refund::end(row, pk, part, wechat) + DAY,
                Some(_) => number(row, "origin").unwrap_or_default() + DAY,
                None => {
                    let end = number(row, "expires_at").unwrap_or_default();
                    end + if is_look_owed(row) { LAST_LOOK } else { 0 }
                }
            };
            self.hold(now <= end.max(from) + SLACK, || {
                format!("{pk} {sk} is still owed at its end")
            });
        }
    }
}
