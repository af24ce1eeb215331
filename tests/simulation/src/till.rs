//! The tills: they scan the codes on payers' phones, ask again with the same
//! code until it has ended, and scan the next one when it was refused. It
//! refuses to know what a code comes to.

use serde_json::Value;

use crate::engine::string;
use crate::ledger::{ORDER, failures, payments};
use crate::lot::Ended;
use crate::plan::SECOND;
use crate::world::{Event, Job, World};

impl World {
    /// A till scans the n-th code.
    pub(crate) fn scan(&mut self, index: usize, code: usize, tries: u32) {
        let order = self.plan.orders.get(index);
        let digits = order.and_then(|order| order.codes.get(code)).cloned();
        let Some((digits, purse)) = digits else {
            return;
        };
        if let Some(invocation) = self.order(index, Some(&digits)) {
            self.note(|| format!("#{invocation} with the code {code} that {purse:?}"));
            self.jobs.insert(invocation, Job::Scan(index, code, tries));
        }
    }

    /// The hub has answered, or died.
    pub(crate) fn scanned(&mut self, (index, code, tries): (usize, usize, u32), ended: Ended) {
        let (status, body) = match ended {
            Ended::Http(status, body) if status < 500 => (status, body),
            // Nobody knows: the same again, which charges nothing twice.
            _ => return self.again(Event::Scan(index, code, tries)),
        };
        let pk = self.key_of(index).unwrap_or_default();
        let row = self.engine.rows.get(&(pk.clone(), ORDER.to_owned()));
        let kept = row.and_then(|row| string(row, "status")).map(str::to_owned);
        let paid = row.is_some_and(|row| payments(row).iter().any(|payment| payment.own));
        let failed = row.is_some_and(|row| !failures(row).is_empty());
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let problem = answer.get("code").and_then(Value::as_str);
        let (right, next) = match (status, problem) {
            // Given up meanwhile, it is shown as it is, to this code only.
            (200, None)
                if answer
                    .get("status")
                    .is_some_and(|status| status == "closed") =>
            {
                (kept.as_deref() == Some("closed"), None)
            }
            (200 | 201, _) => (paid, None),
            (402, Some("payment_refused")) => (failed, Some(code + 1)),
            // It is being paid, with this code or with another.
            (202, _) | (409, Some("order_paying")) => (row.is_some(), Some(code)),
            (409, Some("order_closed")) => (row.is_some(), None),
            _ => (false, None),
        };
        self.judge.hold(right, || {
            format!("{pk} was scanned, answered {status} {body}, and is {kept:?}")
        });
        if row.is_some() {
            self.stored.insert(index);
        }
        if tries == 0 {
            return;
        }
        if let Some(next) = next {
            let at = self.now() + self.random.within(1, 15) * SECOND;
            self.plan_for(at, Event::Scan(index, next, tries - 1));
        }
        if self.random.chance(100) {
            // An impatient payer shows the next one.
            let at = self.now() + self.random.within(0, 40) * SECOND;
            self.plan_for(at, Event::Scan(index, code + 1, tries / 2));
        }
    }
}
