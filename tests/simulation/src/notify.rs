//! WeChat's notifications: when they are sent, how often, what of them is lost,
//! and what the hub's SUCCESS promises. It refuses to know what the hub does
//! with them.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;

use crate::engine::string;
use crate::faults::{Fault, Wire};
use crate::ledger::{ORDER, REFUND, payments};
use crate::plan::{MINUTE, SECOND};
use crate::wechat::{REPEATS, State};
use crate::world::{Event, Job, World};

/// How long WeChat waits for an answer.
const PATIENCE: i64 = 5 * SECOND;

/// What WeChat tells of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Notice {
    /// A payment of this number, and of this amount.
    Payment(String, i64),
    /// A refund of this number, and where it stands, which may be a lie.
    Refund(String, State),
}

impl World {
    /// Plans what WeChat will tell of a refund that it has accepted.
    pub(crate) fn announce_refund(&mut self, number: &str) {
        let Some(refund) = self.wechat.refunds.get(number).cloned() else {
            return;
        };
        let now = self.now();
        if self.random.chance(100) {
            // Nobody has signed it: anybody may have sent it.
            let at = now + self.random.within(0, 10 * MINUTE);
            let lie = Notice::Refund(number.to_owned(), State::Success);
            self.plan_for(at, Event::Notify(lie, REPEATS.len()));
        }
        if self.random.chance(200) {
            return;
        }
        for at in refund.changes_at.into_iter().chain([refund.ends_at]) {
            let notice = Notice::Refund(number.to_owned(), refund.state(at));
            // Some are faster than the answer to the call that made them.
            let delay = self.random.within(0, 2000);
            self.plan_for(at + delay, Event::Notify(notice, 0));
        }
    }

    /// One round of notifications: one, or many copies at once.
    pub(crate) fn notify(&mut self, notice: Notice, round: usize) {
        let body = match &notice {
            Notice::Payment(number, fee) => self.wechat.notification(number, *fee),
            Notice::Refund(number, state) => {
                let refund = self.wechat.refunds.get(number);
                refund.map(|refund| refund.notification(*state))
            }
        };
        let Some(body) = body.filter(|_| !self.acknowledged.contains(&notice)) else {
            return;
        };
        let copies = match self.random.within(0, 9) {
            0..=6 => 1,
            7..=8 => self.random.within(2, 5),
            _ => self.random.within(6, 20),
        };
        if copies > 1 {
            self.tally.note(Wire::Notification, Fault::Burst);
        }
        for _ in 0..copies {
            if self.is_faulty() && self.random.chance(self.plan.rates.notification) {
                self.tally.note(Wire::Notification, Fault::Lost);
                continue;
            }
            let hub = match self.is_faulty() && self.random.chance(15) {
                true => self.hubs.cold_wechat_notify(),
                false => Arc::clone(&self.hubs.wechat_notify),
            };
            let router = wechat_notify::router(hub);
            let request = Request::post("/").body(Body::from(body.clone()));
            let invocation = self.ask(router, request);
            self.note(|| format!("#{invocation} wechat-notify {notice:?}"));
            let job = Job::Notify(notice.clone(), self.now());
            self.jobs.insert(invocation, job);
        }
        if let Some(gap) = REPEATS.get(round) {
            let at = self.now() + gap * SECOND;
            self.plan_for(at, Event::Notify(notice, round + 1));
        }
    }

    /// The hub answered SUCCESS to what was sent `since` then.
    pub(crate) fn acknowledged(&mut self, notice: Notice, since: i64) {
        let number = match &notice {
            Notice::Payment(number, _) | Notice::Refund(number, _) => number,
        };
        let (app_id, rest) = number.split_at_checked(16).unwrap_or_default();
        let (order_no, part) = rest.split_at_checked(10).unwrap_or_default();
        let pk = format!("{app_id}#{order_no}");
        let known = match &notice {
            Notice::Payment(..) => {
                let trade = self.wechat.trades.get(number);
                let paid = trade.map(|trade| (trade.transaction_id(), trade.total_fee));
                let row = self.engine.rows.get(&(pk.clone(), ORDER.to_owned()));
                let all = row.map(payments).unwrap_or_default();
                paid.is_some_and(|paid| {
                    all.iter()
                        .any(|payment| (&payment.id, payment.fee) == (&paid.0, paid.1))
                })
            }
            Notice::Refund(..) => {
                let key = (pk.clone(), format!("{REFUND}{part}"));
                let row = self.engine.rows.get(&key);
                let status = row.and_then(|row| string(row, "status"));
                let refund = self.wechat.refunds.get(number);
                let expected = refund.map(|refund| refund.state(since));
                match expected {
                    Some(State::Success) => status == Some("succeeded"),
                    Some(State::Closed) => status == Some("failed"),
                    _ => status.is_some(),
                }
            }
        };
        self.judge.hold(known, || {
            format!("WeChat was answered SUCCESS to {notice:?} and {pk} does not know")
        });
        let now = self.now();
        if self.is_faulty() && self.random.chance(self.plan.rates.notification) {
            self.tally.note(Wire::Notification, Fault::AnswerLost);
        } else if now <= since + PATIENCE {
            self.acknowledged.insert(notice);
        }
    }
}
