//! `scene_info`, where an order comes from: the shop's page, which WeChat demands
//! of MWEB, and the store, if the app names one.

use serde_json::{Map, Value, json};

use crate::domain::order::{Request, TradeType};

/// The longest text that WeChat takes. Whether it counts bytes or characters is
/// not said; bytes are the safer reading.
const MAX_BYTES: usize = 256;

/// Whether WeChat takes what the app says of its store, however the order is
/// paid: only MWEB has more to say.
#[must_use]
pub fn takes_store(request: &Request) -> bool {
    let longest = request.trade_type.unwrap_or(TradeType::Mweb);
    let is_long = |text: String| text.len() > MAX_BYTES;
    store(request).is_none() || !scene_info(request, longest).is_some_and(is_long)
}

/// The text; none when there is nothing to say. The same for the same request,
/// or WeChat would take a repeated order for another one.
pub(super) fn scene_info(request: &Request, trade_type: TradeType) -> Option<String> {
    let mut scene = Map::new();
    if trade_type == TradeType::Mweb {
        scene.insert("h5_info".to_owned(), page(&request.return_url));
    }
    if let Some(store) = store(request) {
        scene.insert("store_info".to_owned(), store);
    }
    (!scene.is_empty()).then(|| Value::Object(scene).to_string())
}

/// For the risk control of MWEB.
fn page(return_url: &str) -> Value {
    let url = url::Url::parse(return_url).ok();
    let origin = url.as_ref().map(|url| url.origin().ascii_serialization());
    let host = url
        .as_ref()
        .and_then(|url| url.host_str())
        .unwrap_or_default();
    json!({"type": "Wap", "wap_url": origin, "wap_name": host})
}

fn store(request: &Request) -> Option<Value> {
    let mut store = Map::new();
    for (name, value) in [
        ("id", &request.store_id),
        ("name", &request.store_name),
        ("area_code", &request.store_area_code),
        ("address", &request.store_address),
    ] {
        if let Some(value) = value {
            store.insert(name.to_owned(), json!(value));
        }
    }
    (!store.is_empty()).then_some(Value::Object(store))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::request;

    #[test]
    fn wechat_is_told_of_the_page_and_of_the_store_in_one_text() {
        let page = r#""h5_info":{"type":"Wap","wap_name":"shop.example","wap_url":"https://shop.example"}"#;
        let mut request = request();
        let said = |request: &Request, kind| scene_info(request, kind);
        assert_eq!(said(&request, TradeType::Native), None);
        assert_eq!(
            said(&request, TradeType::Mweb),
            Some(format!("{{{page}}}")),
            "as it was before stores could be named"
        );
        request.store_id = Some("SZTX001".into());
        request.store_name = Some("腾大餐厅".into());
        request.store_area_code = Some("440305".into());
        request.store_address = Some("科技园中一路\"1\"".into());
        let store = r#""store_info":{"address":"科技园中一路\"1\"","area_code":"440305","id":"SZTX001","name":"腾大餐厅"}"#;
        for kind in [TradeType::Native, TradeType::Jsapi, TradeType::Micropay] {
            assert_eq!(said(&request, kind), Some(format!("{{{store}}}")));
        }
        assert_eq!(
            said(&request, TradeType::Mweb),
            Some(format!("{{{page},{store}}}"))
        );
    }

    #[test]
    fn a_store_must_fit_beside_the_page_where_the_order_may_need_one() {
        let mut request = request();
        assert!(takes_store(&request), "there is none");
        request.store_id = Some("1".into());
        let mut longest = |trade_type| {
            request.trade_type = trade_type;
            let fits = (0..300).filter(|length| {
                request.store_address = Some("x".repeat(*length));
                takes_store(&request)
            });
            fits.max()
        };
        assert_eq!(longest(Some(TradeType::Native)), Some(218));
        assert_eq!(longest(Some(TradeType::Micropay)), Some(218));
        assert_eq!(longest(Some(TradeType::Mweb)), Some(134));
        assert_eq!(longest(None), Some(134));
    }
}
