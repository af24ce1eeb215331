//! An app is called: what the hub says must be in the ledger, at its time, and
//! under one event. How an app answers is in `apps`.

use serde_json::Value;

use crate::apps::{self, Told};
use crate::engine::{number, string};
use crate::functions::GRACE_SECONDS;
use crate::judge::OFFSETS;
use crate::ledger::{DELIVERY, ORDER, REFUND, failures, payments};
use crate::plan::{MINUTE, Rates, SECOND};
use crate::scheduler::{Record, Reply};
use crate::world::World;

/// SQS may show a message this much early.
const EARLY: i64 = 1000;

impl World {
    /// An app is called by this record. Its answer; none: it hangs.
    pub(crate) fn call_app(&mut self, record: Record, query: &str) -> Option<Reply> {
        let told = match apps::read(query, &self.secrets, self.now()) {
            Ok(told) => told,
            Err(promise) => {
                self.judge.hold(false, || promise);
                return Some(Reply::Broken);
            }
        };
        let key = (told.order.clone(), sort_key(&told));
        let is_true = self.is_true(&told);
        self.judge.hold(is_true, || {
            format!(
                "{} was told of {key:?}, which is not in the ledger",
                told.order
            )
        });
        self.check_time(&told, &key);
        let temper = self.temper_of(&told.order)?;
        let book = self.books.entry(key.clone()).or_default();
        if let Some(first) = book.succeeded {
            let explained = self.judge.troubled.contains(&first);
            self.judge.hold(explained, || {
                format!("{key:?} was told again after its success")
            });
        }
        let verdict = apps::answer(temper, book.calls, &mut self.random);
        book.calls += 1;
        if verdict.success && book.succeeded.replace(record).is_none() {
            self.heard(&told);
        }
        verdict.reply
    }

    fn check_time(&mut self, told: &Told, key: &(String, String)) {
        let now = self.now();
        let row = self.engine.rows.get(key);
        let kept = row.and_then(|row| string(row, "event_id"));
        // A row never changes its own: so the app never sees two.
        self.judge.hold(kept == Some(&told.event_id), || {
            format!("{key:?} was told under the event id {}", told.event_id)
        });
        let Some(row) = row else { return };
        let due = number(row, "due").unwrap_or_default();
        let origin = number(row, "origin").unwrap_or_default();
        let offset = usize::try_from(told.step)
            .ok()
            .and_then(|step| OFFSETS.get(step));
        let earliest = offset.map_or(i64::MAX, |offset| origin + offset * SECOND - EARLY);
        self.judge.hold(now >= earliest, || {
            format!("{key:?} was told {} ms early", earliest - now)
        });
        let good = self.plan.rates == Rates::default();
        let latest = due + (GRACE_SECONDS + 30) * SECOND;
        self.judge.hold(!good || now <= latest, || {
            format!("{key:?} was told {} ms late", now - due)
        });
    }

    /// Whether the ledger says the same.
    fn is_true(&self, told: &Told) -> bool {
        let row = |sk: String| self.engine.rows.get(&(told.order.clone(), sk));
        let Some(order) = row(ORDER.to_owned()) else {
            return false;
        };
        let paid = |own: bool| {
            payments(order).into_iter().any(|payment| {
                payment.own == own
                    && payment.id == told.field("transaction_id")
                    && payment.fee.to_string() == told.field("total_fee")
            })
        };
        let refund = row(format!("{REFUND}{}", told.field("refund_no")));
        let ended = |status: &str| {
            refund.is_some_and(|refund| {
                let fee = number(refund, "refund_fee").unwrap_or_default();
                string(refund, "status") == Some(status)
                    && string(refund, "transaction_id") == Some(told.field("transaction_id"))
                    && fee.to_string() == told.field("refund_fee")
            })
        };
        let is_lost = self
            .judge
            .is_lost(&told.order, told.field("transaction_id"));
        match told.event.as_str() {
            "payment.succeeded" => paid(true) || is_lost,
            "payment.anomaly" => {
                (paid(false) || is_lost) && (told.field("refund_no").is_empty() || refund.is_some())
            }
            "payment.failed" => {
                let attempt = told.field("trade_no").get(26..).unwrap_or_default();
                let failed = (attempt.parse().unwrap_or_default(), told.field("err_code"));
                failures(order).contains(&failed)
            }
            "order.closed" => {
                string(order, "status") == Some("closed") && self.is_reason(told, order)
            }
            "refund.succeeded" => ended("succeeded"),
            "refund.failed" => ended("failed"),
            _ => false,
        }
    }
}

impl World {
    /// Whether the order was closed for the reason that its app is told. When the
    /// network is bad, the app may have given it up in vain.
    fn is_reason(&self, told: &Told, order: &Value) -> bool {
        let index = self.index_of(&told.order);
        let Some(plan) = index.and_then(|index| self.plan.orders.get(index)) else {
            return false;
        };
        let end = number(order, "created_at").unwrap_or_default() + plan.expires_in * SECOND;
        let good = self.plan.rates == Rates::default();
        let reason = match (told.field("reason"), plan.closed_at) {
            ("closed_by_app", Some(at)) => at < end && at <= self.now(),
            ("expired", Some(at)) => !good || at + MINUTE >= end,
            ("expired", None) => true,
            _ => false,
        };
        reason && plan.total_fee.to_string() == told.field("total_fee")
    }
}

/// Which row a callback comes from: one for each event of an order, or of a
/// part of it.
fn sort_key(told: &Told) -> String {
    let event = &told.event;
    let subject = match event.as_str() {
        "payment.anomaly" => told.field("transaction_id"),
        "refund.succeeded" | "refund.failed" => told.field("refund_no"),
        "payment.failed" => told.field("trade_no").get(26..).unwrap_or_default(),
        _ => return format!("{DELIVERY}{event}"),
    };
    format!("{DELIVERY}{event}#{subject}")
}
