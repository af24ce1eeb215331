//! The promises about an order's row and what must be beside it.

use serde_json::Value;
use wechat_simulator::pay::Order;

use super::{Judge, Rows};
use crate::engine::string;
use crate::ledger::{
    DELIVERY, ORDER, REFUND, TELLING, attempts, failures, is_told_by_hub, payments, told_payment,
};
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
        let telling = rows.get(&(pk.to_owned(), TELLING.to_owned()));
        if let Some(told) = telling.and_then(told_payment) {
            let is_its = own.is_none_or(|own| own.id == told) && is != "closed";
            self.hold(is_its, || {
                format!("{pk} is {is} with {own:?}, and its app is told of {told}")
            });
        }
        let mut owed = Vec::new();
        for payment in &now {
            let id = &payment.id;
            // People have given all of it back before the hub knew of it.
            let was_gone = payment.reserved == payment.fee && by_people(pk, id, rows);
            if payment.own {
                if !was_gone {
                    owed.push(TELLING.to_owned());
                }
                continue;
            }
            owed.push(format!("{DELIVERY}payment.anomaly#{id}"));
            let app_id = pk.split('#').next().unwrap_or_default();
            if !self.by_hand.contains(app_id) && !by_people(pk, id, rows) {
                let refund = (pk.to_owned(), format!("{REFUND}auto-{id}"));
                self.hold(rows.contains_key(&refund), || {
                    format!("{pk} has the anomaly {id} and nobody gives it back")
                });
            }
        }
        for (attempt, _) in failures(after) {
            let number = format!("{}{attempt:02}", pk.replace('#', ""));
            let trade = wechat.pay.order(&number);
            let over = trade.is_none_or(|trade| !trade.is_open() && !trade.is_paid())
                || wechat.came_late(&number);
            self.hold(over, || {
                let state = trade.map(|trade| trade.state);
                format!("{number} has failed, and at WeChat it is {state:?}")
            });
            owed.push(format!("{DELIVERY}payment.failed#{attempt:02}"));
        }
        if is == "closed" {
            owed.push(format!("{DELIVERY}order.closed"));
        }
        for attempt in attempts(after, true) {
            let number = format!("{}{attempt:02}", pk.replace('#', ""));
            let open = wechat.pay.order(&number).is_some_and(Order::is_open);
            self.hold(!open, || {
                format!("{number} counts as closed and can be paid")
            });
        }
        if is_told_by_hub(after) && !owed.is_empty() {
            for sk in owed {
                let key = (pk.to_owned(), sk);
                self.hold(rows.contains_key(&key), || {
                    format!("nobody will be told of {key:?}")
                });
            }
        }
    }
}

impl Judge {
    /// Nobody is told of a payment that is known to be gone.
    pub(super) fn money_is_there(&mut self, pk: &str, rows: &Rows) {
        let order = rows.get(&(pk.to_owned(), ORDER.to_owned()));
        let known = order.map(payments).unwrap_or_default();
        let own = known.iter().find(|payment| payment.own);
        let there = own.is_some_and(|payment| payment.reserved < payment.fee);
        self.hold(there, || format!("{pk} is told as paid, with {own:?}"));
    }
}

impl Judge {
    /// Nobody is told that an order is closed before it is.
    pub(super) fn nobody_can_pay(&mut self, pk: &str, rows: &Rows) {
        let order = rows.get(&(pk.to_owned(), ORDER.to_owned()));
        let status = order.and_then(|order| string(order, "status"));
        self.hold(status == Some("closed"), || {
            format!("{pk} is told as closed, and is {status:?}")
        });
    }
}

/// Whether people gave back some of this payment.
pub(super) fn by_people(pk: &str, id: &str, rows: &Rows) -> bool {
    let from = (pk.to_owned(), format!("{REFUND}ext-"));
    let mut outside = rows
        .range(from..)
        .take_while(|((other, sk), _)| other == pk && sk.starts_with(&format!("{REFUND}ext-")));
    outside.any(|(_, row)| string(row, "transaction_id") == Some(id))
}
