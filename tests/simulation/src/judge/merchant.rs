//! The promises about merchants and accounts: an order is its merchant's whatever
//! becomes of the app, no merchant's key and no account is used for another's, and
//! what follows an attempt goes by the version that opened it.

use serde_json::Value;
use shared::domain::order::ApiVersion;

use super::{Judge, Rows};
use crate::asked::{Asked, What, api_version};
use crate::cast::{MCH_IDS, place_of};
use crate::engine::{number, string};
use crate::ledger::{ORDER, attempt_rows};
use crate::wechat::Wechat;

/// Who is paid by the order in this row.
fn payee(row: &Value) -> &str {
    string(row, "merchant").unwrap_or(MCH_IDS[0])
}

fn version_of(attempt: &Value) -> ApiVersion {
    match string(attempt, "api_version") {
        Some("v3") => ApiVersion::V3,
        _ => ApiVersion::V2,
    }
}

impl Judge {
    pub(super) fn payee_written(
        &mut self,
        pk: &str,
        before: Option<&Value>,
        after: &Value,
        now: i64,
    ) {
        let is = payee(after);
        if let Some(before) = before {
            let was = payee(before);
            self.hold(was == is, || format!("{pk} went from {was} to {is}"));
        }
        let app_id = pk.split('#').next().unwrap_or_default();
        let place = place_of(is);
        let may_be = place.is_some_and(|place| {
            let mut apps = self.apps.iter();
            apps.any(|app| app.app_id == app_id && app.ever_has(place))
        });
        self.hold(may_be, || {
            format!("{pk} is {is}'s, which its app never had")
        });
        let known: Vec<i64> = before
            .map(attempt_rows)
            .into_iter()
            .flatten()
            .filter_map(|attempt| number(attempt, "number"))
            .collect();
        let Some(place) = place.filter(|_| !self.is_put_back(pk)) else {
            return;
        };
        for attempt in attempt_rows(after) {
            let opened = number(attempt, "number").unwrap_or_default();
            let by_code = attempt.get("scan").is_some();
            if by_code || known.contains(&opened) {
                continue;
            }
            let version = version_of(attempt);
            let merchant = self.merchants.get(place);
            let may_be = merchant.is_some_and(|one| one.may_open_by(version, now, now));
            self.hold(may_be, || {
                format!("{pk} opened {opened} by {version:?}, which {is} does not")
            });
        }
    }

    /// WeChat is asked.
    pub(crate) fn asked(&mut self, asked: &Asked, rows: &Rows, wechat: &Wechat, now: i64) {
        let order = wechat.order_of(asked);
        let named = asked.out_trade_no.as_ref().or(asked.out_refund_no.as_ref());
        let number = order.map(|order| &order.out_trade_no).or(named);
        let Some((pk, attempt)) = number.map(|number| wechat.row_of(number)) else {
            self.hold(false, || {
                format!("WeChat was asked about nothing: {asked:?}")
            });
            return;
        };
        let row = rows.get(&(pk.clone(), ORDER.to_owned()));
        let own = row.map(payee);
        let whose = order.map_or(own, |order| Some(&order.mch_id));
        self.hold(
            [own, whose]
                .into_iter()
                .flatten()
                .all(|id| id == asked.mch_id),
            || format!("{pk} is {own:?}'s, at WeChat {whose:?}'s, and was asked for: {asked:?}"),
        );
        // What was forgotten with a row that was put back is guessed.
        if self.is_put_back(&pk) {
            return;
        }
        let account = order.map(|order| &order.app_id);
        let fits = account.is_none_or(|own| asked.app_id.as_ref().is_none_or(|id| id == own));
        self.hold(fits, || {
            format!("{pk} was paid through {account:?}, and: {asked:?}")
        });
        if asked.is_of_one_version() {
            return;
        }
        // What people gave back before the hub knew of the payment was confirmed by
        // version 2, which alone lists it, and the refund's version is that one's.
        let paid = order.and_then(|order| order.payment.as_ref());
        let is_by_people = paid.is_some_and(|paid| wechat.given_back(&paid.transaction_id) > 0);
        if is_by_people && matches!(asked.what, What::Refund | What::RefundQuery) {
            return;
        }
        let opened = row.into_iter().flat_map(attempt_rows);
        let mut opened = opened.filter(|row| {
            crate::engine::number(row, "number").is_some_and(|n| format!("{n:02}") == attempt)
        });
        let version = match order {
            Some(order) => Some(api_version(order.version)),
            None => opened.next().map(version_of),
        };
        let Some(version) = version.filter(|version| *version != asked.version) else {
            return;
        };
        let from = match (asked.what, order) {
            // It goes by the version that confirmed the payment.
            (What::Refund | What::RefundQuery, Some(order)) => order.created_ms,
            _ => now,
        };
        // Only version 2 lists what has gone back of a payment.
        let (needed, from) = match (asked.version, &asked.transaction_id, asked.what) {
            (ApiVersion::V3, Some(_), What::Query) => (ApiVersion::V2, now),
            _ => (version, from),
        };
        let merchant = place_of(&asked.mch_id).and_then(|place| self.merchants.get(place));
        let is_needless = merchant.is_none_or(|one| one.has_throughout(needed, from, now));
        self.hold(!is_needless, || {
            format!("{pk} was opened by {version:?}, whose keys are there, and: {asked:?}")
        });
    }
}
