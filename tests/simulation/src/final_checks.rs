//! What must be true when nothing more will happen, and what the run came to.

use wechat_simulator::pay::{RefundStatus, TradeType};

use crate::engine::{number, string};
use crate::ledger::{DELIVERY, ORDER, REFUND, attempt_rows, attempts, failures, is_owed, payments};
use crate::plan::MINUTE;
use crate::world::World;

/// Alarms for which nothing that happens here is a reason.
const GROUNDLESS: [&str; 4] = [
    "refund_unbooked",
    "configuration",
    "order_unknown",
    "payment_missing",
];

/// What became of a run's orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Results {
    /// Orders with a payment of their own.
    pub paid: u64,
    /// Payments kept as anomalies.
    pub anomalies: u64,
    /// Orders that were closed without a payment.
    pub closed: u64,
    /// Payments by code that failed.
    pub failed: u64,
    /// Payments by code that were made and taken back.
    pub taken_back: u64,
    /// Charges that reached WeChat after their call was answered by nobody.
    pub late: u64,
    /// Refunds that people made and the hub found.
    pub found: u64,
    /// Orders that were put back from a backup, and found their payment again.
    pub put_back: u64,
    /// Refunds that reached the payer.
    pub refunded: u64,
    /// Refunds that will not happen.
    pub refused: u64,
    /// Deliveries that the app answered with success.
    pub delivered: u64,
    /// Deliveries that were given up.
    pub exhausted: u64,
    /// Orders at WeChat that were open when their merchant went to another version.
    pub switched: u64,
    /// Orders with attempts by both versions, codes apart.
    pub in_both: u64,
}

impl Results {
    /// Adds what another run came to.
    pub fn add(&mut self, other: Self) {
        self.paid += other.paid;
        self.anomalies += other.anomalies;
        self.closed += other.closed;
        self.failed += other.failed;
        self.taken_back += other.taken_back;
        self.late += other.late;
        self.found += other.found;
        self.put_back += other.put_back;
        self.refunded += other.refunded;
        self.refused += other.refused;
        self.delivered += other.delivered;
        self.exhausted += other.exhausted;
        self.switched += other.switched;
        self.in_both += other.in_both;
    }
}

impl World {
    /// The promises at the end; they say nothing more once one was broken.
    pub(crate) fn final_checks(&mut self) {
        let counted = self.engine.scan();
        let known: Vec<_> = self.engine.rows.keys().cloned().collect();
        self.judge.hold(counted == known, || {
            format!("the ledger holds {counted:?} and was written {known:?}")
        });
        for index in self.stored.clone() {
            let key = (self.key_of(index).unwrap_or_default(), ORDER.to_owned());
            let kept = self.engine.rows.contains_key(&key);
            self.judge
                .hold(kept, || format!("{} was confirmed and is not there", key.0));
        }
        for ((pk, sk), row) in &self.engine.rows {
            let status = string(row, "status").unwrap_or_default();
            self.judge
                .hold(!is_owed(status), || format!("{pk} {sk} is still {status}"));
            if sk.starts_with(DELIVERY) && status == "delivered" {
                let book = self.books.get(&(pk.clone(), sk.clone()));
                let told = book.is_some_and(|book| book.succeeded.is_some());
                self.judge.hold(told, || {
                    format!("{pk} {sk} counts as delivered and its app knows nothing")
                });
            }
            let rung = status != "exhausted" || self.alarms.has("delivery_exhausted", pk, "");
            self.judge
                .hold(rung, || format!("{pk} {sk} was given up in silence"));
        }
        for name in GROUNDLESS {
            let mut alarms = self.alarms.named(name);
            // The sums of an order that was put back come with its payment.
            let may_ring = name == "refund_unbooked";
            alarms.retain(|alarm| !may_ring || !self.judge.is_put_back(&alarm.order));
            self.judge
                .hold(alarms.is_empty(), || format!("false alarms: {alarms:?}"));
        }
        self.wechat.pass(i64::MAX);
        for order in self.wechat.pay.orders() {
            // Whoever has not typed the password by then cannot pay by that code.
            let by_code = order.trade_type == TradeType::Micropay;
            let (pk, attempt) = self.wechat.row_of(&order.out_trade_no);
            let row = self.engine.rows.get(&(pk.clone(), ORDER.to_owned()));
            let known = row.map(|row| [attempts(row, true), attempts(row, false)].concat());
            let is_known =
                known.is_some_and(|known| known.iter().any(|n| attempt == format!("{n:02}")));
            let is_forgotten = self.judge.is_put_back(&pk) && !is_known;
            let is_over = by_code || !order.is_open() || is_forgotten;
            self.judge.hold(is_over, || {
                format!("{} can still be paid at WeChat", order.out_trade_no)
            });
        }
        self.count_in();
        self.count_out();
    }

    /// Money in: what WeChat has paid is in the ledger, once, and nothing else.
    fn count_in(&mut self) {
        let mut at_wechat = Vec::new();
        for order in self.wechat.pay.orders().filter(|order| order.is_paid()) {
            if let (Some(paid), Some((app_id, rest))) =
                (&order.payment, order.out_trade_no.split_at_checked(16))
            {
                let pk = format!("{app_id}#{}", rest.get(..10).unwrap_or_default());
                at_wechat.push((pk, paid.transaction_id.clone(), order.total_fee));
            }
        }
        let mut in_ledger = Vec::new();
        for ((pk, sk), row) in &self.engine.rows {
            if sk != ORDER {
                continue;
            }
            for payment in payments(row) {
                if !payment.own {
                    let rung = self.alarms.has("payment_anomaly", pk, &payment.id);
                    self.judge
                        .hold(rung, || format!("{pk} kept {payment:?} in silence"));
                }
                in_ledger.push((pk.clone(), payment.id, payment.fee));
            }
        }
        at_wechat.sort();
        in_ledger.sort();
        self.judge.hold(at_wechat == in_ledger, || {
            format!("WeChat has these paid: {at_wechat:?}, and the ledger knows {in_ledger:?}")
        });
    }

    /// Money out: what WeChat has given back is what the ledger says, refund by
    /// refund, and whatever did not fit has gone back.
    fn count_out(&mut self) {
        let now = self.now();
        let mut at_wechat = self.wechat.courses.clone();
        for ((pk, sk), row) in &self.engine.rows {
            let Some(part) = sk.strip_prefix(REFUND) else {
                continue;
            };
            let status = string(row, "status").unwrap_or_default();
            let fee = number(row, "refund_fee").unwrap_or_default();
            let number = self.wechat.number_of(pk, part);
            let state = at_wechat.remove(&number).map(|course| course.status(now));
            let refund = self.wechat.pay.refund_of(&number);
            let agrees = match state {
                Some(RefundStatus::Success) => {
                    status == "succeeded"
                        && refund.is_some_and(|(_, refund)| refund.refund_fee == fee)
                }
                None | Some(RefundStatus::Closed) => status == "failed",
                Some(_) => false,
            };
            self.judge.hold(agrees, || {
                format!("{pk} {sk} of {fee} is {status}, and at WeChat {state:?}")
            });
            let rung = status != "failed" || self.alarms.has("refund_failed", pk, part);
            self.judge
                .hold(rung, || format!("{pk} {sk} failed in silence"));
        }
        // Of what people gave back after the hub had asked, nobody tells when the
        // notification is lost.
        at_wechat.retain(|number, _| self.can_be_known(number));
        self.judge.hold(at_wechat.is_empty(), || {
            format!("WeChat gave back what the ledger does not know: {at_wechat:?}")
        });
        for ((pk, sk), row) in &self.engine.rows {
            let app_id = pk.split('#').next().unwrap_or_default();
            if sk != ORDER || self.judge.by_hand.contains(app_id) {
                continue;
            }
            for payment in payments(row).iter().filter(|payment| !payment.own) {
                let key = (pk.clone(), format!("{REFUND}auto-{}", payment.id));
                let refund = self.engine.rows.get(&key);
                let status = refund.and_then(|refund| string(refund, "status"));
                let whole = refund.and_then(|refund| number(refund, "refund_fee"));
                let given_back = match status {
                    Some("succeeded") => payment.refunded == payment.fee,
                    // A person's business, or the app's.
                    Some("failed") => true,
                    _ => false,
                };
                // People were faster, or have given back a part of it.
                let by_people = self.wechat.given_back(&payment.id) > 0;
                let given_back = given_back && whole == Some(payment.fee);
                self.judge.hold(given_back || by_people, || {
                    format!("{pk} has not given back {payment:?}: {status:?}")
                });
            }
        }
    }

    /// Whether a notification or a question had to tell the hub of a refund that
    /// it did not ask for.
    fn can_be_known(&self, number: &str) -> bool {
        /// A question that was asked before is answered, and written down, by then.
        const UNDER_WAY: i64 = 2 * MINUTE;
        let Some((order, refund)) = self.wechat.pay.refund_of(number) else {
            return true;
        };
        let paid = order.payment.as_ref().map(|paid| &paid.transaction_id);
        let known_at = paid.and_then(|id| self.judge.first_known.get(id));
        let is_asked =
            self.plan.confirm && known_at.is_none_or(|at| *at > refund.created_ms + UNDER_WAY);
        let must_be_known = self.judge.told_by_hand.contains(number) || is_asked;
        // What a person did and WeChat undid moved no money.
        !refund.by_hand || (must_be_known && refund.status == RefundStatus::Success)
    }

    /// What became of the orders.
    pub(crate) fn results(&self) -> Results {
        let count = |length: usize| u64::try_from(length).unwrap_or_default();
        let orders = self.wechat.pay.orders();
        let taken_back = orders.filter(|order| order.payment.is_some() && !order.is_paid());
        let mut results = Results {
            taken_back: count(taken_back.count()),
            late: count(self.wechat.late_charges()),
            switched: count(self.switched),
            ..Results::default()
        };
        for ((_, sk), row) in &self.engine.rows {
            if sk == ORDER {
                results.put_back += u64::from(row.get("restored_at").is_some());
                results.closed += u64::from(string(row, "status") == Some("closed"));
                results.failed += count(failures(row).len());
                let tried = attempt_rows(row).filter(|attempt| attempt.get("scan").is_none());
                let (v3, v2): (Vec<_>, Vec<_>) =
                    tried.partition(|attempt| string(attempt, "api_version") == Some("v3"));
                results.in_both += u64::from(!v2.is_empty() && !v3.is_empty());
                for payment in payments(row) {
                    match payment.own {
                        true => results.paid += 1,
                        false => results.anomalies += 1,
                    }
                }
            }
            results.found += u64::from(sk.starts_with("refund#ext-"));
            match string(row, "status") {
                Some("delivered") => results.delivered += 1,
                Some("exhausted") => results.exhausted += 1,
                Some("succeeded") => results.refunded += 1,
                Some("failed") if sk != ORDER => results.refused += 1,
                _ => {}
            }
        }
        results
    }
}
