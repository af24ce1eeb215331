//! WeChat's notifications: when they are sent, how often, what of them is lost,
//! and what the hub's SUCCESS promises.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use wechat_simulator::pay::{self, ANSWER_SECONDS, RefundStatus, SCHEDULE, Version};
use wechat_simulator::v3;

use crate::cast::{MCH_IDS, place_of};
use crate::engine::string;
use crate::events::{Event, Job};
use crate::faults::{Fault, Wire};
use crate::ledger::{ORDER, REFUND, payments};
use crate::plan::{MINUTE, SECOND};
use crate::wechat::Letter;
use crate::world::World;

/// What WeChat tells of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Notice {
    /// A payment of this number, and of this amount.
    Payment(String, i64),
    /// A refund of this number, and where it stands.
    Refund(String, RefundStatus),
    /// That the refund of this number has succeeded, which nobody knows.
    Lie(String),
}

/// A notification that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) notice: Notice,
    pub(crate) since: i64,
    version: Version,
    /// To another merchant's address, or signed by nobody.
    is_wrong: bool,
}

impl Sent {
    /// Whether this answer is a success to WeChat.
    fn is_accepted(&self, status: u16, body: &str) -> bool {
        match self.version {
            Version::V2 => pay::accepts(status, body),
            Version::V3 => v3::accepts(status),
        }
    }
}

impl World {
    /// Plans what WeChat will tell of a refund that it has accepted. Whether it
    /// tells how it ends; what it tells is repeated until it is heard.
    pub(crate) fn announce_refund(&mut self, number: &str) -> bool {
        let Some(course) = self.wechat.courses.get(number).copied() else {
            return false;
        };
        let now = self.now();
        if self.random.chance(100) {
            // Nobody has signed it: anybody may have sent it.
            let at = now + self.random.within(0, 10 * MINUTE);
            let lie = Notice::Lie(number.to_owned());
            self.plan_for(at, Event::Notify(lie, SCHEDULE.len()));
        }
        if self.random.chance(200) {
            return false;
        }
        for at in course.changes_at.into_iter().chain([course.ends_at]) {
            let notice = Notice::Refund(number.to_owned(), course.status(at));
            // Some are faster than the answer to the call that made them.
            let delay = self.random.within(0, 2000);
            self.plan_for(at + delay, Event::Notify(notice, 0));
        }
        true
    }

    /// One round of notifications: one, or many copies at once.
    pub(crate) fn notify(&mut self, notice: Notice, round: usize) {
        let now = self.now();
        if self.acknowledged.contains(&notice) {
            return;
        }
        let wechat = &mut self.wechat;
        let letter = match &notice {
            Notice::Payment(number, fee) => wechat.payment_notification(number, *fee, now),
            Notice::Refund(number, status) => {
                wechat.refund_notification(number, *status, false, now)
            }
            Notice::Lie(number) => {
                wechat.refund_notification(number, RefundStatus::Success, true, now)
            }
        };
        let Some(letter) = letter else { return };
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
            if let Some(index) = self.direct_order_of(&notice) {
                if let Some(invocation) = self.verify(index, &letter) {
                    let job = Job::Verify(notice.clone(), self.now());
                    self.jobs.insert(invocation, job);
                }
                continue;
            }
            self.post(&notice, &letter, false);
            if self.random.chance(30)
                && let Some(letter) = misdirected(&letter)
            {
                self.post(&notice, &letter, true);
            }
        }
        if let Some(gap) = SCHEDULE.get(round) {
            let at = now + i64::from(*gap) * SECOND;
            self.plan_for(at, Event::Notify(notice, round + 1));
        }
    }

    /// A notification reaches the hub.
    fn post(&mut self, notice: &Notice, letter: &Letter, is_misdirected: bool) {
        let functions = self.functions();
        let function = match self.is_faulty() && self.random.chance(15) {
            true => functions.cold_wechat_notify(),
            false => Arc::clone(&functions.wechat_notify),
        };
        // The installation's first merchant has had other addresses.
        let first = format!("/wechat/notify/{}", MCH_IDS[0]);
        let path = match letter.path == first && !is_misdirected {
            true => self.random.pick(&["/", "/wechat/notify", &first]),
            false => None,
        };
        let mut request = Request::post(path.unwrap_or(&letter.path));
        for (name, value) in &letter.headers {
            request = request.header(*name, value);
        }
        let router = wechat_notify::router(function);
        let invocation = self.ask(router, request.body(Body::from(letter.body.clone())));
        self.note(|| format!("#{invocation} wechat-notify {} {notice:?}", letter.path));
        let is_forged = matches!(notice, Notice::Lie(_)) && letter.version == Version::V3;
        let job = Job::Notify(Sent {
            notice: notice.clone(),
            since: self.now(),
            version: letter.version,
            is_wrong: is_misdirected || is_forged,
        });
        self.jobs.insert(invocation, job);
    }

    /// The hub has answered.
    pub(crate) fn notified(&mut self, sent: Sent, status: u16, body: &str) {
        if !sent.is_accepted(status, body) {
            return;
        }
        let Sent {
            notice, is_wrong, ..
        } = &sent;
        self.judge.hold(!is_wrong, || {
            format!("the hub believed {notice:?} that was sent to another or signed by nobody")
        });
        self.count(match (&sent.notice, sent.version) {
            (Notice::Payment(..), Version::V2) => "v2 payment told",
            (Notice::Payment(..), Version::V3) => "v3 payment told",
            (_, Version::V2) => "v2 refund told",
            (_, Version::V3) => "v3 refund told",
        });
        self.acknowledged(sent.notice, sent.since);
    }

    /// The order of version 1.0 whose payment it tells of: WeChat tells the app.
    fn direct_order_of(&self, notice: &Notice) -> Option<usize> {
        let Notice::Payment(number, _) = notice else {
            return None;
        };
        let mut orders = self.plan.orders.iter();
        let index = orders.position(|order| number.get(16..26) == Some(&order.order_no))?;
        let order = self.plan.orders.get(index)?;
        order.direct.then_some(index)
    }

    /// The hub answered SUCCESS to what was sent `since` then.
    pub(crate) fn acknowledged(&mut self, notice: Notice, since: i64) {
        let number = match &notice {
            Notice::Payment(number, _) | Notice::Refund(number, _) | Notice::Lie(number) => number,
        };
        let (pk, part) = self.wechat.row_of(number);
        let known = match &notice {
            Notice::Payment(..) => {
                let row = self.engine.rows.get(&(pk.clone(), ORDER.to_owned()));
                let all = row.map(payments).unwrap_or_default();
                let order = self.wechat.pay.order(number);
                order.is_some_and(|order| {
                    let id = order.payment.as_ref().map(|paid| &paid.transaction_id);
                    all.iter()
                        .any(|payment| (Some(&payment.id), payment.fee) == (id, order.total_fee))
                })
            }
            Notice::Refund(..) | Notice::Lie(_) => {
                let key = (pk.clone(), format!("{REFUND}{part}"));
                let row = self.engine.rows.get(&key);
                let status = row.and_then(|row| string(row, "status"));
                let course = self.wechat.courses.get(number);
                let now = self.now();
                let is_undone =
                    course.is_some_and(|course| course.status(now) == RefundStatus::Closed);
                match course.map(|course| course.status(since)) {
                    Some(RefundStatus::Success) => status == Some("succeeded"),
                    // What a person did and WeChat undid need not be known.
                    _ if is_undone && part.starts_with("ext-") && status.is_none() => true,
                    Some(RefundStatus::Closed) => status == Some("failed"),
                    _ => status.is_some(),
                }
            }
        };
        let paid = self.wechat.pay.order(number);
        let paid = paid.and_then(|order| order.payment.as_ref());
        let is_lost = paid.is_some_and(|paid| self.judge.is_lost(&pk, &paid.transaction_id));
        self.judge.hold(known || is_lost, || {
            format!("WeChat was answered SUCCESS to {notice:?} and {pk} does not know")
        });
        let now = self.now();
        if self.is_faulty() && self.random.chance(self.plan.rates.notification) {
            self.tally.note(Wire::Notification, Fault::AnswerLost);
        } else if now <= since + i64::from(ANSWER_SECONDS) * SECOND {
            self.acknowledged.insert(notice);
        }
    }
}

/// The same at the other merchant's address.
fn misdirected(letter: &Letter) -> Option<Letter> {
    let (folder, mch_id) = letter.path.rsplit_once('/')?;
    let other = MCH_IDS.get(1 - place_of(mch_id)?)?;
    Some(Letter {
        path: format!("{folder}/{other}"),
        ..letter.clone()
    })
}
