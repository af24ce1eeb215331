//! What WeChat says of a payment besides which one it is and what it costs, in the
//! words of version 2, which rows and apps know. What cannot be read is logged and
//! left out: money that is there is settled, whatever else is said of it.

use serde_json::{Map, Value};

use crate::domain::UnknownAttributes;
use crate::domain::money::Fen;
use crate::domain::order::{Coupon, Receipt};

/// A payment has a few at most; a row must not grow with what WeChat sends.
const MOST_COUPONS: usize = 20;
/// WeChat's words and its numbers of coupons are shorter.
const WORD_MAX_BYTES: usize = 32;

/// The receipt in a transaction. Version 3 does not say whether the payer follows
/// the account, and what is paid out must be reckoned.
pub(super) fn read_receipt(
    transaction: &Map<String, Value>,
    total_fee: Fen,
    payer_total: Option<Fen>,
) -> Receipt {
    let coupons: Vec<&Value> = match transaction.get("promotion_detail") {
        Some(Value::Array(coupons)) => coupons.iter().collect(),
        _ => Vec::new(),
    };
    let read: Vec<Coupon> = coupons
        .iter()
        .take(MOST_COUPONS)
        .map(|one| coupon(one))
        .collect();
    let coupon_fee = payer_total.and_then(|paid| total_fee.checked_sub(paid));
    Receipt {
        bank_type: readable("bank_type", transaction.get("bank_type"), word),
        fee_type: Some("CNY".to_owned()),
        coupon_fee: coupon_fee.filter(|fee| !fee.is_zero()),
        coupon_count: u16::try_from(coupons.len()).ok().filter(|count| *count > 0),
        settlement_total_fee: settlement(total_fee, &read),
        coupons: read,
        is_subscribe: None,
        unknown: UnknownAttributes::new(),
    }
}

/// What the merchant is paid out, as WeChat defines it: the price without the
/// coupons that the merchant has not paid for before. None without coupons, as in
/// version 2, and when one of them cannot be read.
fn settlement(total_fee: Fen, coupons: &[Coupon]) -> Option<Fen> {
    if coupons.is_empty() || coupons.len() == MOST_COUPONS {
        return None;
    }
    coupons.iter().try_fold(total_fee, |rest, coupon| {
        match (coupon.kind.as_deref()?, coupon.fee?) {
            ("CASH", _) => Some(rest),
            (_, fee) => rest.checked_sub(fee),
        }
    })
}

fn coupon(value: &Value) -> Coupon {
    let field = |name: &'static str| readable(name, value.get(name), word);
    let kind = field("type");
    Coupon {
        id: field("coupon_id"),
        kind: kind.map(|kind| match kind.as_str() {
            "NOCASH" => "NO_CASH".to_owned(),
            _ => kind,
        }),
        fee: value.get("amount").and_then(|value| fee("amount", value)),
        unknown: UnknownAttributes::new(),
    }
}

/// An amount, which may be nothing.
pub(super) fn fee(name: &'static str, value: &Value) -> Option<Fen> {
    readable(name, Some(value), |value| match value.as_i64()? {
        0 => Some(Fen::ZERO),
        fee => Fen::positive(fee).ok(),
    })
}

/// A field of the receipt, if it is there and can be read.
pub(super) fn readable<T>(
    name: &'static str,
    value: Option<&Value>,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Option<T> {
    let value = value.filter(|value| !value.is_null())?;
    let read = read(value);
    if read.is_none() {
        tracing::warn!(
            name,
            "WeChat says something of a payment that cannot be read"
        );
    }
    read
}

fn word(value: &Value) -> Option<String> {
    let word = value.as_str()?;
    let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    ((1..=WORD_MAX_BYTES).contains(&word.len()) && plain).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::fixtures::fen;

    fn receipt(transaction: Value, payer_total: Option<Fen>) -> Receipt {
        read_receipt(transaction.as_object().unwrap(), fen(100), payer_total)
    }

    #[test]
    fn a_receipt_is_read_in_the_words_of_version_2() {
        let read = receipt(
            json!({
                "bank_type": "CMB_DEBIT",
                "promotion_detail": [
                    {"coupon_id": "109519", "type": "CASH", "amount": 7, "scope": "GLOBAL"},
                    {"coupon_id": "109520", "type": "NOCASH", "amount": 3},
                ],
            }),
            Some(fen(90)),
        );
        assert_eq!(read.bank_type.as_deref(), Some("CMB_DEBIT"));
        assert_eq!(read.settlement_total_fee, Some(fen(97)));
        assert_eq!(
            (read.coupon_fee, read.coupon_count),
            (Some(fen(10)), Some(2))
        );
        let kinds: Vec<_> = read.coupons.iter().map(|one| one.kind.as_deref()).collect();
        assert_eq!(kinds, [Some("CASH"), Some("NO_CASH")]);
        assert_eq!(read.coupons[1].fee, Some(fen(3)));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let nothing = Receipt {
            fee_type: Some("CNY".into()),
            ..Receipt::default()
        };
        assert_eq!(receipt(json!({}), None), nothing);
        assert_eq!(receipt(json!({}), Some(fen(100))), nothing);
        let odd = json!({"bank_type": 7, "promotion_detail": {"coupon_id": "1"}});
        assert_eq!(receipt(odd, Some(fen(101))), nothing);
        let many = json!({"bank_type": "a b", "promotion_detail": vec![json!(1); 30]});
        let read = receipt(many, None);
        assert_eq!((read.bank_type, read.coupons.len()), (None, 20));
        assert_eq!(read.coupons[0], Coupon::default());
    }
}
