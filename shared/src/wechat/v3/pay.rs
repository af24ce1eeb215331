//! The orders of version 3: placing one, closing it, and the parameters that a client
//! opens WeChat with.
//! <https://pay.weixin.qq.com/doc/v3/merchant/4012525167>

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Speaker;
use crate::ambient::random_hex;
use crate::domain::id::OutTradeNo;
use crate::domain::money::Fen;
use crate::domain::order::{Attempt, Order, Prepay, TradeType};
use crate::domain::signature::Params;
use crate::domain::time::Timestamp;
use crate::wechat::asked::Subject;
use crate::wechat::{Closing, Error, Trade};

/// A longer one is refused as a whole.
const DESCRIPTION_MAX_BYTES: usize = 127;
pub(super) const CURRENCY: &str = "CNY";

/// WeChat refuses a field that it does not know, and null where nothing is meant.
#[derive(Serialize)]
struct NewOrder<'a> {
    appid: &'a str,
    mchid: &'a str,
    description: String,
    out_trade_no: String,
    time_expire: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attach: Option<&'a str>,
    notify_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    goods_tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_pay: Option<[&'a str; 1]>,
    amount: NewAmount,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<Payer>,
    scene_info: Scene<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

#[derive(Serialize)]
pub(super) struct NewAmount {
    total: Fen,
    currency: &'static str,
}

impl NewAmount {
    /// Of yuan, in fen.
    pub(super) const fn of(total: Fen) -> Self {
        Self {
            total,
            currency: CURRENCY,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Payer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) openid: Option<String>,
}

#[derive(Serialize)]
struct Scene<'a> {
    payer_client_ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_info: Option<Store<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    h5_info: Option<H5>,
}

#[derive(Serialize)]
struct Store<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    area_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
}

/// The page on which the payer begins, for WeChat's risk control.
#[derive(Serialize)]
struct H5 {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_url: Option<String>,
}

#[derive(Serialize)]
struct Close<'a> {
    mchid: &'a str,
}

/// What WeChat gives to pay with: one of these, by the type.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Placed {
    prepay_id: String,
    code_url: String,
    h5_url: String,
}

impl Speaker<'_> {
    /// Places an order. The same attempt always sends the same parameters, so
    /// repeating it is safe. For a QR code, though, WeChat makes a new one each
    /// time and ends the one before.
    pub(in crate::wechat) async fn place(
        &self,
        order: &Order,
        attempt: &Attempt,
        notify_url: &str,
        now: Timestamp,
    ) -> Result<Prepay, Error> {
        let path = match attempt.trade_type {
            TradeType::Jsapi => "/v3/pay/transactions/jsapi",
            TradeType::Native => "/v3/pay/transactions/native",
            TradeType::App => "/v3/pay/transactions/app",
            TradeType::Mweb => "/v3/pay/transactions/h5",
            TradeType::Genprepay | TradeType::Micropay => {
                return Err(Error::NoKeys("version 3 has no such type"));
            }
        };
        let body = self.new_order(order, attempt, notify_url);
        let number = order.out_trade_no(attempt.number);
        let about = Subject::Trade(&number);
        let placed: Placed = self.post(path, &body, about, now).await?;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut prepay = Prepay::default();
        let is_there = match attempt.trade_type {
            TradeType::Native => {
                prepay.code_url = given(placed.code_url);
                prepay.code_url.is_some()
            }
            TradeType::Mweb => {
                prepay.mweb_url = given(placed.h5_url);
                prepay.mweb_url.is_some()
            }
            TradeType::Jsapi | TradeType::App | TradeType::Genprepay | TradeType::Micropay => {
                prepay.prepay_id = placed.prepay_id;
                !prepay.prepay_id.is_empty()
            }
        };
        match is_there {
            true => Ok(prepay),
            false => Err(Error::Forged("what the order is paid with is missing")),
        }
    }

    fn new_order<'a>(
        &'a self,
        order: &'a Order,
        attempt: &'a Attempt,
        notify_url: &'a str,
    ) -> NewOrder<'a> {
        let request = &order.request;
        let is_jsapi = attempt.trade_type == TradeType::Jsapi;
        let payer = || Payer {
            openid: attempt.openid.clone(),
        };
        NewOrder {
            appid: self.account.as_str(),
            mchid: self.client.identity.mch_id.as_str(),
            description: description(&request.body),
            out_trade_no: order.out_trade_no(attempt.number).to_string(),
            time_expire: order.expiry(attempt).rfc3339_beijing(),
            attach: request.attach.as_deref().filter(|text| !text.is_empty()),
            notify_url,
            goods_tag: request.goods_tag.as_deref(),
            limit_pay: request.limit_pay.map(|limit| [limit.as_str()]),
            amount: NewAmount::of(request.total_fee),
            payer: is_jsapi.then(payer),
            scene_info: Scene {
                payer_client_ip: attempt.client_ip.to_string(),
                device_id: request.device_info.as_deref(),
                store_info: request.store_id.as_deref().map(|id| Store {
                    id,
                    name: request.store_name.as_deref(),
                    area_code: request.store_area_code.as_deref(),
                    address: request.store_address.as_deref(),
                }),
                h5_info: (attempt.trade_type == TradeType::Mweb).then(|| page(&request.return_url)),
            },
            detail: request.detail.as_deref().and_then(detail),
        }
    }

    /// Closes an order, as often as one likes. Not within five minutes of its
    /// creation, some of WeChat's pages say.
    pub(in crate::wechat) async fn close(
        &self,
        number: &OutTradeNo,
        now: Timestamp,
    ) -> Result<Closing, Error> {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        let body = Close {
            mchid: self.client.identity.mch_id.as_str(),
        };
        let about = Subject::Trade(number);
        let refusal = match self.post_for_nothing(&path, &body, about, now).await {
            Ok(_) => return Ok(Closing::Closed),
            Err(refusal) => refusal,
        };
        match refusal.business_code() {
            Some("ORDERPAID") => Ok(Closing::Paid),
            Some("ORDERNOTEXIST") => Ok(Closing::Unknown),
            // Nobody has signed that: the query's answer counts.
            Some("ORDER_CLOSED") => match self.ask(number, now).await? {
                Trade::Closed => Ok(Closing::Closed),
                Trade::Paid(_) | Trade::Returned(_) => Ok(Closing::Paid),
                Trade::Open | Trade::Failed | Trade::Unknown => Err(refusal),
            },
            _ => Err(refusal),
        }
    }

    /// The parameters for `WeixinJSBridge.invoke('getBrandWCPayRequest')` and a
    /// mini program's `requestPayment`: `signType` is not signed.
    pub(in crate::wechat) fn bridge_params(
        &self,
        prepay_id: &str,
        now: Timestamp,
    ) -> Result<Params, Error> {
        let (app_id, package) = (self.account.as_str(), format!("prepay_id={prepay_id}"));
        let (time, nonce) = (now.seconds().to_string(), random_hex());
        let signature = self
            .client
            .keys
            .signer
            .sign(&[app_id, &time, &nonce, &package])?;
        Ok(params([
            ("appId", app_id.to_owned()),
            ("timeStamp", time),
            ("nonceStr", nonce),
            ("package", package),
            ("signType", "RSA".to_owned()),
            ("paySign", signature),
        ]))
    }

    /// The parameters with which a merchant's app opens WeChat, named as version 2
    /// names them: an app's client need not know which version its order has.
    pub(in crate::wechat) fn app_params(
        &self,
        prepay_id: &str,
        now: Timestamp,
    ) -> Result<Params, Error> {
        let app_id = self.account.as_str();
        let (time, nonce) = (now.seconds().to_string(), random_hex());
        let signature = self
            .client
            .keys
            .signer
            .sign(&[app_id, &time, &nonce, prepay_id])?;
        Ok(params([
            ("appid", app_id.to_owned()),
            ("partnerid", self.client.identity.mch_id.to_string()),
            ("prepayid", prepay_id.to_owned()),
            ("package", "Sign=WXPay".to_owned()),
            ("noncestr", nonce),
            ("timestamp", time),
            ("sign", signature),
        ]))
    }
}

fn params<const N: usize>(pairs: [(&str, String); N]) -> Params {
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The longest start of the text that WeChat takes, in whole characters. It takes
/// none beyond the basic plane: no emoji.
pub(super) fn description(text: &str) -> String {
    let mut taken: String = text.chars().filter(|c| u32::from(*c) <= 0xffff).collect();
    taken.truncate(taken.floor_char_boundary(DESCRIPTION_MAX_BYTES));
    match taken.is_empty() {
        // It must not be empty, and the payer reads it.
        true => "-".to_owned(),
        false => taken,
    }
}

/// As WeChat takes it: what is too long is left out.
fn page(return_url: &str) -> H5 {
    let url = url::Url::parse(return_url).ok();
    let origin = url.as_ref().map(|url| url.origin().ascii_serialization());
    let host = url.as_ref().and_then(|url| url.host_str());
    H5 {
        kind: "Wap",
        app_name: host.filter(|host| host.len() <= 64).map(str::to_owned),
        app_url: origin.filter(|origin| origin.len() <= 128),
    }
}

/// The goods, which apps name as version 2 does.
pub(super) fn detail(text: &str) -> Option<Value> {
    let mut detail: Value = serde_json::from_str(text).ok()?;
    rename(&mut detail, "receipt_id", "invoice_id");
    for goods in detail.get_mut("goods_detail")?.as_array_mut()? {
        for (old, new) in [
            ("goods_id", "merchant_goods_id"),
            ("wxpay_goods_id", "wechatpay_goods_id"),
            ("price", "unit_price"),
        ] {
            rename(goods, old, new);
        }
    }
    Some(detail)
}

fn rename(value: &mut Value, old: &str, new: &str) {
    if let Some(object) = value.as_object_mut()
        && let Some(moved) = object.remove(old)
    {
        object.insert(new.to_owned(), moved);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::fixtures::{NOW, channel, order, payer};
    use crate::domain::order::{ApiVersion, LimitPay};
    use crate::wechat::fixtures::first_account;
    use crate::wechat::v3::fixtures::{client, signer};

    const NOTIFY: &str = "https://hub.example/wechat/v3/notify/1900000109";

    fn body(trade_type: TradeType, change: impl FnOnce(&mut Order)) -> Value {
        let mut order = order();
        change(&mut order);
        let mut payer = payer();
        payer.openid = Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".into());
        order
            .open_attempt(trade_type, payer, channel(ApiVersion::V3), NOW)
            .unwrap();
        let attempt = &order.attempts[0];
        let account = first_account();
        let wechat = client();
        let speaker = wechat.through(&account);
        serde_json::to_value(speaker.new_order(&order, attempt, NOTIFY)).unwrap()
    }

    #[test]
    fn wechat_is_told_what_must_be_and_nothing_else() {
        let least = json!({
            "appid": "wx", "mchid": "1900000109", "description": "test",
            "out_trade_no": "demo000000000001A00000000101",
            "time_expire": "2026-09-22T00:13:20+08:00", "notify_url": NOTIFY,
            "amount": {"total": 100, "currency": "CNY"},
            "scene_info": {"payer_client_ip": "127.0.0.1"},
        });
        for kind in [TradeType::Native, TradeType::App] {
            assert_eq!(body(kind, |_| {}), least);
        }
        let mut jsapi = least.clone();
        jsapi["payer"] = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"});
        assert_eq!(body(TradeType::Jsapi, |_| {}), jsapi);
        let mut h5 = least;
        h5["scene_info"]["h5_info"] = json!({
            "type": "Wap", "app_name": "shop.example", "app_url": "https://shop.example",
        });
        assert_eq!(body(TradeType::Mweb, |_| {}), h5);
    }

    #[test]
    fn wechat_is_told_what_the_app_said_in_version_3s_words() {
        let told = body(TradeType::Native, |order| {
            let request = &mut order.request;
            request.body = "茶🍵".repeat(50);
            request.attach = Some("a&b".into());
            request.goods_tag = Some("WXG".into());
            request.limit_pay = Some(LimitPay::NoCredit);
            request.device_info = Some("till 3".into());
            request.store_id = Some("S1".into());
            request.store_name = Some("腾大".into());
            request.store_area_code = Some("440305".into());
            request.store_address = Some("1".into());
            request.detail = Some(
                r#"{"cost_price":5,"receipt_id":"r","goods_detail":[{"goods_id":"g",
                "wxpay_goods_id":"w","goods_name":"n","quantity":2,"price":3}]}"#
                    .into(),
            );
        });
        assert_eq!(told["description"], "茶".repeat(42));
        assert_eq!(told["attach"], "a&b");
        assert_eq!(told["goods_tag"], "WXG");
        assert_eq!(told["limit_pay"], json!(["no_credit"]));
        assert_eq!(
            told["scene_info"],
            json!({
                "payer_client_ip": "127.0.0.1", "device_id": "till 3",
                "store_info": {"id": "S1", "name": "腾大", "area_code": "440305", "address": "1"},
            })
        );
        assert_eq!(
            told["detail"],
            json!({
                "cost_price": 5, "invoice_id": "r",
                "goods_detail": [{
                    "merchant_goods_id": "g", "wechatpay_goods_id": "w", "goods_name": "n",
                    "quantity": 2, "unit_price": 3,
                }],
            })
        );
        let empty = body(TradeType::Native, |order| {
            order.request.body = "🍵".into();
            order.request.attach = Some(String::new());
            order.request.return_url = format!("https://{}.example/", "x".repeat(60));
        });
        assert_eq!(empty["description"], "-");
        assert_eq!(empty.get("attach"), None);
        let long = format!("https://{}.{}.example/", "x".repeat(60), "y".repeat(60));
        let told = body(TradeType::Mweb, |order| order.request.return_url = long);
        assert_eq!(told["scene_info"]["h5_info"], json!({"type": "Wap"}));
    }

    #[test]
    fn clients_are_handed_what_the_signature_is_over() {
        let (client, now) = (client(), Timestamp::from_millis(1_554_208_460_000));
        let account = first_account();
        let client = client.through(&account);
        let bridge = client.bridge_params("wx20", now).unwrap();
        assert_eq!(bridge["signType"], "RSA");
        assert_eq!(bridge.len(), 6);
        let lines = ["wx", "1554208460", &bridge["nonceStr"], "prepay_id=wx20"];
        assert_eq!(bridge["paySign"], signer().sign(&lines).unwrap());
        let app = client.app_params("wx20", now).unwrap();
        let lines = ["wx", "1554208460", &app["noncestr"], "wx20"];
        assert_eq!(app["sign"], signer().sign(&lines).unwrap());
        assert_eq!(
            (&*app["package"], &*app["partnerid"]),
            ("Sign=WXPay", "1900000109")
        );
        assert_eq!((&*app["prepayid"], app.len()), ("wx20", 7));
    }
}
