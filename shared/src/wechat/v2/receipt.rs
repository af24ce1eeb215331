//! What WeChat says of a payment besides which one it is and what it costs. What
//! cannot be read is logged and left out: money that is there is settled, whatever
//! else is said of it.

use std::collections::BTreeSet;

use crate::domain::UnknownAttributes;
use crate::domain::money::Fen;
use crate::domain::order::{Coupon, Receipt};
use crate::domain::signature::{Params, field};

/// A payment has a few at most; a row must not grow with what WeChat sends.
const MOST_COUPONS: usize = 20;
/// WeChat's words have 16 bytes at most, its numbers of coupons 20.
const WORD_MAX_BYTES: usize = 32;

/// The receipt in a notification, a query's answer or micropay's.
pub(super) fn read_receipt(fields: &Params) -> Receipt {
    let fee = |name: &str| readable(fields, name, |text| Fen::parse(text).ok());
    Receipt {
        bank_type: readable(fields, "bank_type", word),
        fee_type: readable(fields, "fee_type", word),
        settlement_total_fee: fee("settlement_total_fee"),
        coupon_fee: fee("coupon_fee"),
        coupon_count: readable(fields, "coupon_count", |text| text.parse().ok()),
        coupons: coupons(fields),
        is_subscribe: readable(fields, "is_subscribe", |text| match text {
            "Y" => Some(true),
            "N" => Some(false),
            _ => None,
        }),
        unknown: UnknownAttributes::new(),
    }
}

/// A field, if WeChat has sent it and it can be read.
pub(super) fn readable<T>(
    fields: &Params,
    name: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let text = field(fields, name);
    if text.is_empty() {
        return None;
    }
    let value = read(text);
    if value.is_none() {
        let transaction_id = field(fields, "transaction_id");
        tracing::warn!(
            transaction_id,
            name,
            "a field of WeChat's receipt cannot be read"
        );
    }
    value
}

fn word(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_word = text.len() <= WORD_MAX_BYTES && text.bytes().all(plain);
    is_word.then(|| text.to_owned())
}

/// They are numbered from 0, and some numbers may be absent.
fn coupons(fields: &Params) -> Vec<Coupon> {
    let number = |name: &String| {
        let number = ["coupon_id_", "coupon_type_", "coupon_fee_"]
            .into_iter()
            .find_map(|prefix| name.strip_prefix(prefix));
        number?.parse::<u8>().ok()
    };
    let numbers: BTreeSet<u8> = fields.keys().filter_map(number).collect();
    if numbers.len() > MOST_COUPONS {
        let transaction_id = field(fields, "transaction_id");
        tracing::warn!(transaction_id, "a payment has more coupons than are kept");
    }
    let read = |number: u8| Coupon {
        id: readable(fields, &format!("coupon_id_{number}"), word),
        kind: readable(fields, &format!("coupon_type_{number}"), word),
        fee: readable(fields, &format!("coupon_fee_{number}"), |text| {
            Fen::parse(text).ok()
        }),
        unknown: UnknownAttributes::new(),
    };
    let coupons = numbers.into_iter().take(MOST_COUPONS).map(read);
    coupons.filter(|one| *one != Coupon::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{fen, params};

    #[test]
    fn a_receipt_is_read_as_wechat_writes_it() {
        let fields = params(&[
            ("bank_type", "CFT"),
            ("fee_type", "CNY"),
            ("is_subscribe", "Y"),
            ("settlement_total_fee", "90"),
            ("coupon_fee", "15"),
            ("coupon_count", "2"),
            ("coupon_type_0", "NO_CASH"),
            ("coupon_id_0", "10000"),
            ("coupon_fee_0", "10"),
            ("coupon_id_7", "10007"),
            ("coupon_fee_7", "5"),
        ]);
        let coupon = |id: &str, kind: Option<&str>, fee| Coupon {
            id: Some(id.into()),
            kind: kind.map(str::to_owned),
            fee: Some(fen(fee)),
            ..Coupon::default()
        };
        let expected = Receipt {
            bank_type: Some("CFT".into()),
            fee_type: Some("CNY".into()),
            settlement_total_fee: Some(fen(90)),
            coupon_fee: Some(fen(15)),
            coupon_count: Some(2),
            coupons: vec![
                coupon("10000", Some("NO_CASH"), 10),
                coupon("10007", None, 5),
            ],
            is_subscribe: Some(true),
            ..Receipt::default()
        };
        assert_eq!(read_receipt(&fields), expected);
        assert_eq!(read_receipt(&Params::new()), Receipt::default());
    }

    #[test]
    fn what_cannot_be_read_of_a_receipt_is_left_out() {
        for (name, text) in [
            ("bank_type", "a bank"),
            ("bank_type", "银行"),
            ("bank_type", &"X".repeat(33)),
            ("fee_type", "C&Y"),
            ("settlement_total_fee", "-1"),
            ("settlement_total_fee", "0.9"),
            ("coupon_fee", "ten"),
            ("coupon_fee", "99999999999"),
            ("coupon_count", "-1"),
            ("coupon_count", "65536"),
            ("coupon_id_0", "1 2"),
            ("coupon_type_0", "\u{1}"),
            ("coupon_fee_0", "+5"),
            ("coupon_fee_256", "5"),
            ("coupon_fee_x", "5"),
            ("coupon_fee_", "5"),
            ("is_subscribe", "yes"),
        ] {
            let fields = params(&[(name, text)]);
            assert_eq!(read_receipt(&fields), Receipt::default(), "{name}={text}");
        }
        let many = (0..=255).map(|number| (format!("coupon_fee_{number}"), "1".to_owned()));
        assert_eq!(read_receipt(&many.collect()).coupons.len(), MOST_COUPONS);
    }
}
