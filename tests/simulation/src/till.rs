//! The tills: they scan the codes on payers' phones, ask again with the same
//! code until it has ended, and scan the next one when it was refused.

use serde_json::Value;

use crate::engine::string;
use crate::events::{Event, Job, Scan};
use crate::ledger::{ORDER, failures, payments};
use crate::plan::SECOND;
use crate::scheduler::Ended;
use crate::world::World;

impl World {
    pub(crate) fn scan(&mut self, scan: Scan) {
        let order = self.plan.orders.get(scan.order);
        let digits = order.and_then(|order| order.codes.get(scan.code)).cloned();
        let Some((digits, purse)) = digits else {
            return;
        };
        if let Some(invocation) = self.order(scan.order, Some(&digits)) {
            let code = scan.code;
            self.note(|| format!("#{invocation} with the code {code} that {purse:?}"));
            self.jobs.insert(invocation, Job::Scan(scan));
        }
    }

    /// The hub has answered, or died.
    pub(crate) fn scanned(&mut self, scan: Scan, ended: Ended) {
        let (status, body) = match ended {
            Ended::Http(status, body) if status < 500 => (status, body),
            // Nobody knows: the same again, which charges nothing twice.
            _ => return self.again(Event::Scan(scan)),
        };
        let pk = self.key_of(scan.order).unwrap_or_default();
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
            (402, Some("payment_refused")) => (failed, Some(scan.code + 1)),
            // It is being paid, with this code or with another.
            (202, _) | (409, Some("order_paying")) => (row.is_some(), Some(scan.code)),
            (409, Some("order_closed")) => (row.is_some(), None),
            _ => (false, None),
        };
        self.judge.hold(right, || {
            format!("{pk} was scanned, answered {status} {body}, and is {kept:?}")
        });
        if row.is_some() {
            self.stored.insert(scan.order);
        }
        let Some(tries) = scan.tries.checked_sub(1) else {
            return;
        };
        if let Some(code) = next {
            let at = self.now() + self.random.within(1, 15) * SECOND;
            self.plan_for(
                at,
                Event::Scan(Scan {
                    code,
                    tries,
                    ..scan
                }),
            );
        }
        if self.random.chance(100) {
            // An impatient payer shows the next one.
            let at = self.now() + self.random.within(0, 40) * SECOND;
            let next = Scan {
                code: scan.code + 1,
                tries: scan.tries / 2,
                ..scan
            };
            self.plan_for(at, Event::Scan(next));
        }
    }
}
