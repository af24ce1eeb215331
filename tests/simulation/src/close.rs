//! What must be true when nothing more will happen. It refuses to know how the
//! run came there.

use crate::engine::string;
use crate::judge::{DELIVERY, ORDER, anomalies, payment};
use crate::wechat::Standing;
use crate::world::World;

/// What became of a run's orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Results {
    /// Paid orders.
    pub paid: u64,
    /// Payments kept as anomalies.
    pub anomalies: u64,
    /// Deliveries that the app answered with success.
    pub delivered: u64,
    /// Deliveries that were given up.
    pub exhausted: u64,
}

impl Results {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.paid += other.paid;
        self.anomalies += other.anomalies;
        self.delivered += other.delivered;
        self.exhausted += other.exhausted;
    }
}

impl World {
    /// The promises at the end; they say nothing more once one was broken.
    pub(crate) fn close(&mut self) {
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
        for trade in self.wechat.trades.values() {
            let (Standing::Paid(_), Some((app_id, rest))) =
                (&trade.standing, trade.number.split_at_checked(16))
            else {
                continue;
            };
            let pk = format!("{app_id}#{}", rest.get(..10).unwrap_or_default());
            let entry = (trade.transaction_id(), trade.total_fee.to_string());
            let row = self.engine.rows.get(&(pk.clone(), ORDER.to_owned()));
            let counted = row.is_some_and(|row| {
                payment(row).as_ref() == Some(&entry) || anomalies(row).contains(&entry)
            });
            self.judge.hold(counted, || {
                format!("WeChat has {} paid and {pk} does not know", trade.number)
            });
        }
        for ((pk, sk), row) in &self.engine.rows {
            let status = string(row, "status").unwrap_or_default();
            let ended = !["pending", "created", "paying"].contains(&status);
            self.judge
                .hold(ended, || format!("{pk} {sk} is still {status}"));
            if sk == DELIVERY && status == "delivered" {
                let told = self
                    .books
                    .get(pk)
                    .is_some_and(|book| book.succeeded.is_some());
                self.judge.hold(told, || {
                    format!("{pk} counts as delivered and its app knows nothing")
                });
            }
        }
    }

    /// What became of the orders.
    pub(crate) fn results(&self) -> Results {
        let mut results = Results::default();
        for row in self.engine.rows.values() {
            results.paid += u64::from(payment(row).is_some());
            results.anomalies += u64::try_from(anomalies(row).len()).unwrap_or_default();
            match string(row, "status") {
                Some("delivered") => results.delivered += 1,
                Some("exhausted") => results.exhausted += 1,
                _ => {}
            }
        }
        results
    }
}
