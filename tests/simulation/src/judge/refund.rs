//! The promises about refunds: what a row may become, and that the order's sums
//! are those of its refunds.

use serde_json::Value;
use wechat_simulator::pay::RefundStatus;

use super::order::by_people;
use super::{Judge, Rows};
use crate::engine::{number, string};
use crate::ledger::{DELIVERY, ORDER, REFUND, is_owed, is_told_by_hub, payments};
use crate::plan::HOUR;
use crate::wechat::Wechat;

/// For so long WeChat must have refused a refund, and not known it, before its
/// amount is free: what was first refused, or lost, may have been taken.
const SURE: i64 = 2 * HOUR;
/// For so long a refund that WeChat refuses goes on under its number.
const PATIENCE: i64 = 7 * 24 * HOUR;

/// When nothing more can happen to a refund: it must be known a day later, the
/// hub's longest pause.
pub(super) fn end(row: &Value, pk: &str, part: &str, wechat: &Wechat) -> i64 {
    let created = number(row, "created_at").unwrap_or_default();
    let course = wechat.course_of(pk, part);
    course.map_or(created + PATIENCE, |course| course.ends_at.max(created))
}

/// The hub's number for a refund at WeChat.
pub(crate) fn out_refund_no(pk: &str, part: &str) -> String {
    pk.replace('#', "") + part
}

impl Judge {
    pub(super) fn refund_written(
        &mut self,
        pk: &str,
        part: &str,
        before: Option<&Value>,
        after: &Value,
        rows: &Rows,
    ) {
        let is = string(after, "status").unwrap_or_default();
        if let Some(before) = before {
            for name in ["transaction_id", "refund_fee", "total_fee", "created_at"] {
                self.hold(before.get(name) == after.get(name), || {
                    format!("{name} of {pk}'s refund {part} changed")
                });
            }
            let was = string(before, "status").unwrap_or_default();
            let goes_on = match was {
                "pending" => true,
                "processing" | "change" => is != "pending",
                _ => false,
            };
            self.hold(goes_on, || {
                format!("{pk}'s refund {part} was {was} and was written again as {is}")
            });
        }
        let order = rows.get(&(pk.to_owned(), ORDER.to_owned()));
        let told = (pk.to_owned(), format!("{DELIVERY}refund.{is}#{part}"));
        let silent = is_owed(is) || !order.is_some_and(is_told_by_hub);
        self.hold(silent || rows.contains_key(&told), || {
            format!("nobody will be told of {told:?}")
        });
    }

    /// An amount is free only when WeChat has refused the refund for hours, or
    /// has closed it.
    pub(super) fn refund_given_up(
        &mut self,
        pk: &str,
        part: &str,
        after: &Value,
        wechat: &Wechat,
        now: i64,
    ) {
        let created = number(after, "created_at").unwrap_or_default();
        let is_failed = string(after, "status") == Some("failed");
        let is_sure = wechat.course_of(pk, part).is_some() || now >= created + SURE;
        self.hold(!is_failed || is_sure, || {
            format!(
                "{pk}'s refund {part} was given up after {} ms",
                now - created
            )
        });
    }

    /// What a row says of a refund is what WeChat says.
    pub(super) fn refund_believed(
        &mut self,
        pk: &str,
        part: &str,
        row: &Value,
        wechat: &Wechat,
        now: i64,
    ) {
        let is = string(row, "status").unwrap_or_default();
        let course = wechat.course_of(pk, part);
        let state = course.map(|course| course.status(now));
        let believed = match is {
            "succeeded" => state == Some(RefundStatus::Success),
            "failed" => matches!(state, None | Some(RefundStatus::Closed)),
            _ => true,
        };
        self.hold(believed, || {
            format!("{pk}'s refund {part} is {is}, and at WeChat {state:?}")
        });
    }

    /// The order's sums are those of its refunds.
    pub(super) fn sums_agree(&mut self, pk: &str, rows: &Rows) {
        if self.has_lost(pk) {
            return;
        }
        let Some(order) = rows.get(&(pk.to_owned(), ORDER.to_owned())) else {
            self.hold(false, || format!("{pk} has a refund and no order"));
            return;
        };
        let all = payments(order);
        let mut sums: Vec<(&str, i64, i64)> = all
            .iter()
            .map(|payment| (payment.id.as_str(), 0, 0))
            .collect();
        let from = (pk.to_owned(), REFUND.to_owned());
        for ((_, sk), row) in rows
            .range(from..)
            .take_while(|((other, sk), _)| other == pk && sk.starts_with(REFUND))
        {
            let fee = number(row, "refund_fee").unwrap_or_default();
            let id = string(row, "transaction_id").unwrap_or_default();
            let Some((_, reserved, refunded)) = sums.iter_mut().find(|(own, ..)| *own == id) else {
                self.hold(false, || format!("{pk} {sk} gives back what nobody paid"));
                continue;
            };
            let status = string(row, "status").unwrap_or_default();
            *reserved += if status == "failed" { 0 } else { fee };
            *refunded += if status == "succeeded" { fee } else { 0 };
        }
        for (payment, (id, mut reserved, mut refunded)) in all.iter().zip(sums) {
            // People do not ask what was promised to the app.
            if by_people(pk, id, rows) {
                reserved = reserved.min(payment.fee);
                refunded = refunded.min(payment.fee);
            }
            self.hold(
                (payment.reserved, payment.refunded) == (reserved, refunded),
                || {
                    format!(
                        "{pk}: {reserved} are promised and {refunded} gone back, not {payment:?}"
                    )
                },
            );
        }
    }
}
