//! The promises about an order's row and what must be beside it.

use serde_json::Value;

use super::{Judge, Rows};
use crate::engine::string;
use crate::ledger::{DELIVERY, REFUND, failures, is_told_by_hub, payments};
use crate::wechat::Wechat;

const PAID: [&str; 3] = ["paid", "partly_refunded", "refunded"];

impl Judge {
    pub(super) fn order_written(
        &mut self,
        pk: &str,
        before: Option<&Value>,
        after: &Value,
        rows: &Rows,
        wechat: &Wechat,
    ) {
        let now = payments(after);
        let is = string(after, "status").unwrap_or_default();
        if let Some(before) = before {
            let was = string(before, "status").unwrap_or_default();
            let gone_back =
                (PAID.contains(&was) && !PAID.contains(&is)) || (was == "closed" && is != "closed");
            self.hold(!gone_back, || format!("{pk} went from {was} to {is}"));
            let lost = payments(before).into_iter().find(|old| {
                let same = now.iter().find(|new| new.id == old.id);
                same.is_none_or(|new| (new.fee, new.own) != (old.fee, old.own))
            });
            self.hold(lost.is_none(), || format!("{pk} lost {lost:?}"));
        }
        let mut ids: Vec<&str> = now.iter().map(|payment| payment.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        self.hold(ids.len() == now.len(), || {
            format!("{pk} counts a payment twice")
        });
        for payment in &now {
            let sums = [0, payment.refunded, payment.reserved, payment.fee];
            self.hold(sums.is_sorted(), || {
                format!("{pk} gives back more than it may: {payment:?}")
            });
        }
        let own = now.iter().find(|payment| payment.own);
        let standing = own.map(|payment| match payment.refunded {
            0 => "paid",
            all if all == payment.fee => "refunded",
            _ => "partly_refunded",
        });
        self.hold(
            standing == Some(is) || (standing.is_none() && !PAID.contains(&is)),
            || format!("{pk} is {is}, paid with {own:?}"),
        );
        let mut owed = Vec::new();
        for payment in &now {
            let id = &payment.id;
            if payment.own {
                owed.push(format!("{DELIVERY}payment.succeeded"));
                continue;
            }
            owed.push(format!("{DELIVERY}payment.anomaly#{id}"));
            let app_id = pk.split('#').next().unwrap_or_default();
            if !self.by_hand.contains(app_id) {
                let refund = (pk.to_owned(), format!("{REFUND}auto-{id}"));
                self.hold(rows.contains_key(&refund), || {
                    format!("{pk} has the anomaly {id} and nobody gives it back")
                });
            }
        }
        for (attempt, _) in failures(after) {
            let number = format!("{}{attempt:02}", pk.replace('#', ""));
            let trade = wechat.pay.order(&number);
            let over = trade.is_none_or(|trade| !trade.is_open() && !trade.is_paid());
            self.hold(over, || {
                let state = trade.map(|trade| trade.state);
                format!("{number} has failed, and at WeChat it is {state:?}")
            });
            owed.push(format!("{DELIVERY}payment.failed#{attempt:02}"));
        }
        if is_told_by_hub(after) {
            for sk in owed {
                let key = (pk.to_owned(), sk);
                self.hold(rows.contains_key(&key), || {
                    format!("nobody will be told of {key:?}")
                });
            }
        }
    }
}
