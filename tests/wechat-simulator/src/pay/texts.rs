//! The two JSON texts of an order: what is sold, and where.

use serde_json::{Map, Value};

use super::TradeType;

/// Whether it is a list of goods as the discounts on single goods want it.
pub(super) fn is_detail(text: &str) -> bool {
    let Some(detail) = object(text) else {
        return false;
    };
    let goods = detail.get("goods_detail").and_then(Value::as_array);
    has_text(&detail, "receipt_id", 32, false)
        && has_number(&detail, "cost_price", 0, false)
        && goods.is_some_and(|goods| !goods.is_empty() && goods.iter().all(is_goods))
}

fn is_goods(goods: &Value) -> bool {
    goods.as_object().is_some_and(|goods| {
        has_text(goods, "goods_id", 32, true)
            && has_text(goods, "wxpay_goods_id", 32, false)
            && has_text(goods, "goods_name", 256, false)
            && has_number(goods, "quantity", 1, true)
            && has_number(goods, "price", 0, true)
    })
}

/// Whether it says where the order comes from: MWEB needs the page, any order may
/// name a store.
pub(super) fn is_scene(text: &str, trade_type: TradeType) -> bool {
    let Some(scene) = object(text) else {
        return false;
    };
    let part = |name: &str| match scene.get(name) {
        None => Ok(None),
        Some(part) => part.as_object().map(Some).ok_or(()),
    };
    let (Ok(page), Ok(store)) = (part("h5_info"), part("store_info")) else {
        return false;
    };
    let is_page = |page: &Map<String, Value>| {
        let kind = page.get("type").and_then(Value::as_str);
        matches!(kind, Some("Wap" | "IOS" | "Android"))
    };
    let is_store = |store: &Map<String, Value>| {
        let code = store.get("area_code").map(|code| code.as_str());
        let code = code.is_none_or(|code| {
            code.is_some_and(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()))
        });
        code && has_text(store, "id", 32, true)
            && has_text(store, "name", 64, false)
            && has_text(store, "address", 128, false)
    };
    page.map_or(trade_type != TradeType::Mweb, is_page) && store.is_none_or(is_store)
}

fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

fn has_text(fields: &Map<String, Value>, name: &str, largest: usize, required: bool) -> bool {
    match fields.get(name) {
        None => !required,
        Some(value) => value
            .as_str()
            .is_some_and(|text| (1..=largest).contains(&text.len())),
    }
}

fn has_number(fields: &Map<String, Value>, name: &str, least: i64, required: bool) -> bool {
    match fields.get(name) {
        None => !required,
        Some(value) => value.as_i64().is_some_and(|number| number >= least),
    }
}
