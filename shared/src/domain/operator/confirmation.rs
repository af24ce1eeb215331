//! A refund that waits for a second person, because it is above the limit.

use serde::{Deserialize, Serialize};

use super::digest;
use crate::domain::id::{AppId, OrderKey, OrderNo, OutRefundNo, RefundNo};
use crate::domain::money::Fen;
use crate::domain::time::Timestamp;

/// How long it waits.
const WAITS_SECONDS: i64 = 86_400;

/// What one person has asked for, and another may confirm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Its name: see [`Confirmation::id_of`].
    pub id: String,
    /// Whose order. Not by the name `app_id`: the rows that have one are listed as apps.
    #[serde(rename = "order_of", alias = "app_id")]
    pub app_id: AppId,
    /// Which order.
    pub order_no: OrderNo,
    /// The number that the refund will have.
    pub refund_no: RefundNo,
    /// How much.
    pub refund_fee: Fen,
    /// Of which payment.
    pub transaction_id: String,
    /// What the payer reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_reason: Option<String>,
    /// Who asked for it, as the audit trail names them.
    pub asked_by: String,
    /// From when on nobody can confirm it.
    pub ends_at: Timestamp,
}

impl Confirmation {
    /// When one that begins to wait now ends.
    #[must_use]
    pub fn end(now: Timestamp) -> Timestamp {
        now.plus_seconds(WAITS_SECONDS)
    }

    /// The name of what waits under this number: asked for again, it is the same.
    #[must_use]
    pub fn id_of(number: &OutRefundNo) -> String {
        let id = digest(&format!("confirmation {number}"));
        id.get(..32).unwrap_or(&id).to_owned()
    }

    /// Whether this person may confirm it now: another one, in time.
    #[must_use]
    pub fn is_for(&self, who: &str, now: Timestamp) -> bool {
        self.asked_by != who && now < self.ends_at
    }

    /// The number that the refund will have, with its order's.
    #[must_use]
    pub fn number(&self) -> OutRefundNo {
        OutRefundNo {
            order: self.order_key(),
            refund_no: self.refund_no.clone(),
        }
    }

    /// The order's key.
    #[must_use]
    pub fn order_key(&self) -> OrderKey {
        OrderKey {
            app_id: self.app_id.clone(),
            order_no: self.order_no.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::fixtures::NOW;

    #[test]
    fn another_person_confirms_within_a_day() {
        let waiting: Confirmation = serde_json::from_value(json!({
            "id": "c0ffee", "order_of": "demo000000000001", "order_no": "A000000001",
            "refund_no": "auto-op-1", "refund_fee": 100, "transaction_id": "tx1",
            "asked_by": "operator:ann", "ends_at": Confirmation::end(NOW),
        }))
        .unwrap();
        let mut of_before = serde_json::to_value(&waiting).unwrap();
        let row = of_before.as_object_mut().unwrap();
        let order_of = row.remove("order_of").unwrap();
        row.insert("app_id".to_owned(), order_of);
        assert_eq!(
            serde_json::from_value(of_before).ok(),
            Some(waiting.clone())
        );
        let end = NOW.plus_seconds(86_400);
        let last = Timestamp::from_millis(end.millis() - 1);
        assert!(waiting.is_for("operator:bob", last));
        assert!(!waiting.is_for("operator:bob", end));
        assert!(!waiting.is_for("operator:ann", NOW));
        assert_eq!(
            waiting.number().to_string(),
            "demo000000000001A000000001auto-op-1"
        );
    }
}
