//! `detail`, the list of what is sold, which WeChat needs for discounts on single
//! goods: a JSON text of a fixed shape, passed on as it came, because WeChat
//! takes an order again only with the same text.
//! <https://pay.weixin.qq.com/wiki/doc/api/danpin.php?chapter=9_102&index=2>

use serde::{Deserialize, Deserializer};

use crate::domain::id::Refused;

/// The longest text that WeChat takes.
pub const DETAIL_MAX_BYTES: usize = 6000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Detail {
    #[serde(default, deserialize_with = "given")]
    cost_price: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    receipt_id: Option<String>,
    goods_detail: Vec<Goods>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Goods {
    goods_id: String,
    #[serde(default, deserialize_with = "given")]
    wxpay_goods_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    goods_name: Option<String>,
    quantity: i64,
    price: i64,
}

/// What may be left out may not be `null`.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// Checks the text against WeChat's form.
///
/// # Errors
/// The rule that it breaks.
pub fn check_detail(text: &str) -> Result<(), Refused> {
    if text.len() > DETAIL_MAX_BYTES {
        return Err(Refused("must be at most 6000 bytes"));
    }
    let Ok(detail) = serde_json::from_str::<Detail>(text) else {
        return Err(Refused(
            "must be JSON: goods_detail, a list of goods_id, quantity, price and perhaps \
             wxpay_goods_id, goods_name; and perhaps cost_price, receipt_id",
        ));
    };
    let fits = |text: &Option<String>, max_bytes: usize| {
        let length = text.as_ref().map(String::len);
        length.is_none_or(|length| (1..=max_bytes).contains(&length))
    };
    let is_amount = |fen: i64| (0..=0x7fff_ffff).contains(&fen);
    if !detail.cost_price.is_none_or(is_amount) || !fits(&detail.receipt_id, 32) {
        return Err(Refused(
            "cost_price must be an amount in fen, receipt_id 1 to 32 bytes",
        ));
    }
    if detail.goods_detail.is_empty() {
        return Err(Refused("goods_detail must not be empty"));
    }
    for goods in &detail.goods_detail {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=32).contains(&goods.goods_id.len()) || !goods.goods_id.bytes().all(plain) {
            return Err(Refused(
                "goods_id must be 1 to 32 characters of 0-9, A-Z, a-z, - and _",
            ));
        }
        if !fits(&goods.wxpay_goods_id, 32) || !fits(&goods.goods_name, 256) {
            return Err(Refused(
                "wxpay_goods_id must be 1 to 32 bytes, goods_name 1 to 256",
            ));
        }
        if !is_amount(goods.price) || !is_amount(goods.quantity) || goods.quantity == 0 {
            return Err(Refused(
                "quantity must be a whole number above zero, price an amount in fen",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_goods_has_wechats_form() {
        let one = r#"{"goods_id":"g-1_A","quantity":1,"price":0}"#;
        let all =
            r#"{"goods_id":"g","wxpay_goods_id":"1001","goods_name":"茶","quantity":2,"price":5}"#;
        let of = |goods: &str| format!(r#"{{"goods_detail":[{goods}]}}"#);
        for good in [
            of(one),
            of(&format!("{one},{all}")),
            format!(r#"{{"cost_price":608800,"receipt_id":"wx123","goods_detail":[{all}]}}"#),
            format!(" {{\"goods_detail\" : [ {one} ] }} "),
        ] {
            assert_eq!(check_detail(&good), Ok(()), "{good}");
        }
        for bad in [
            String::new(),
            "Tea, two cups".into(),
            "[]".into(),
            "{}".into(),
            "null".into(),
            of(""),
            of("null"),
            of("[]"),
            of("{}"),
            of(r#"{"goods_id":"","quantity":1,"price":1}"#),
            of(r#"{"goods_id":"g 1","quantity":1,"price":1}"#),
            of(r#"{"goods_id":7,"quantity":1,"price":1}"#),
            of(r#"{"goods_id":"g","quantity":0,"price":1}"#),
            of(r#"{"goods_id":"g","quantity":1.5,"price":1}"#),
            of(r#"{"goods_id":"g","quantity":"1","price":1}"#),
            of(r#"{"goods_id":"g","quantity":1,"price":-1}"#),
            of(r#"{"goods_id":"g","quantity":1,"price":99999999999}"#),
            of(r#"{"goods_id":"g","quantity":1}"#),
            of(r#"{"goods_id":"g","quantity":1,"price":1,"price":2}"#),
            of(r#"{"goods_id":"g","quantity":1,"price":1,"colour":"red"}"#),
            of(r#"{"goods_id":"g","goods_name":null,"quantity":1,"price":1}"#),
            of(r#"{"goods_id":"g","goods_name":"","quantity":1,"price":1}"#),
            format!(r#"{{"cost_price":-1,"goods_detail":[{one}]}}"#),
            format!(r#"{{"cost_price":null,"goods_detail":[{one}]}}"#),
            format!(
                r#"{{"receipt_id":"{}","goods_detail":[{one}]}}"#,
                "r".repeat(33)
            ),
            format!(r#"{{"goods_detail":[{one}]}} {{}}"#),
            format!(r#"{{"goods_detail":[{one}],"goods_detail":[{one}]}}"#),
            "[".repeat(5000),
        ] {
            assert!(check_detail(&bad).is_err(), "{bad}");
        }
        let padded = |bytes: usize| format!("{}{}", of(one), " ".repeat(bytes - of(one).len()));
        assert_eq!(check_detail(&padded(6000)), Ok(()));
        assert!(check_detail(&padded(6001)).is_err());
    }
}
