//! What a browser or an app does to start a payment: the bridge script, and the
//! check of the client signature exactly as WeChat makes it.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::notify;
use crate::pay::{Order, TradeType, Version, Wish, put};
use crate::settings::Bridge;
use crate::sign::{self, Fields, SignType};
use crate::state::{Simulator, World};
use crate::v3::signature::{holds, lines};

/// Why the client shows an error instead of the password box.
type Objection = &'static str;

const CORS: [(HeaderName, &str); 4] = [
    (HeaderName::from_static("access-control-allow-origin"), "*"),
    (
        HeaderName::from_static("access-control-allow-methods"),
        "POST, OPTIONS",
    ),
    (
        HeaderName::from_static("access-control-allow-headers"),
        "content-type",
    ),
    (
        HeaderName::from_static("access-control-allow-private-network"),
        "true",
    ),
];

/// `GET /phone/bridge.js`
pub(crate) async fn bridge(State(simulator): State<Simulator>) -> Response {
    let base = serde_json::to_string(&simulator.config().public_url()).unwrap_or_default();
    let script = include_str!("bridge.js").replace("\"BASE\"", &base);
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], script).into_response()
}

/// `OPTIONS /phone/jsapi` and `OPTIONS /phone/app`
pub(crate) async fn preflight() -> Response {
    (StatusCode::NO_CONTENT, CORS).into_response()
}

/// `POST /phone/jsapi`: `getBrandWCPayRequest`.
pub(crate) async fn jsapi(State(simulator): State<Simulator>, body: Bytes) -> Response {
    invoked(&simulator, "/phone/jsapi", &body, check_jsapi)
}

/// `POST /phone/app`: the request that an app hands to the client SDK, with
/// the wire's names (`appid`, `partnerid`, ...).
pub(crate) async fn app(State(simulator): State<Simulator>, body: Bytes) -> Response {
    invoked(&simulator, "/phone/app", &body, check_app)
}

fn invoked(
    simulator: &Simulator,
    path: &str,
    body: &Bytes,
    check: fn(&World, &Value) -> Result<String, Objection>,
) -> Response {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let (checked, result) = {
        let world = simulator.world();
        let checked = check(&world, &asked);
        (checked, world.settings.jsapi_result)
    };
    let outcome = checked.and_then(|number| match result {
        Bridge::Ok => notify::pay(simulator, &number, Wish::default(), None, 1)
            .map(Some)
            .map_err(|_| "该订单已支付、已关闭或已过期"),
        Bridge::Cancel => Ok(None),
        Bridge::Fail => Err("系统繁忙，请稍后再试"),
    });
    let answer = match outcome {
        Ok(Some(_)) => json!({"err_msg": "get_brand_wcpay_request:ok"}),
        Ok(None) => json!({"err_msg": "get_brand_wcpay_request:cancel"}),
        Err(objection) => {
            simulator.world().reject(path, "fail", objection);
            json!({"err_msg": "get_brand_wcpay_request:fail", "err_desc": objection})
        }
    };
    (
        CORS,
        [(CONTENT_TYPE, "application/json")],
        answer.to_string(),
    )
        .into_response()
}

fn check_jsapi(world: &World, asked: &Value) -> Result<String, Objection> {
    let mut fields = texts(
        asked,
        &[
            "appId",
            "nonceStr",
            "package",
            "paySign",
            "signType",
            "timeStamp",
        ],
    )?;
    let pay_sign = fields.remove("paySign").unwrap_or_default();
    let text = |name: &str| fields.get(name).map_or("", String::as_str);
    let prepay_id = text("package")
        .strip_prefix("prepay_id=")
        .ok_or("package参数错误")?;
    let order = prepaid(world, prepay_id)?;
    if order.trade_type != TradeType::Jsapi {
        return Err("该订单不是JSAPI支付");
    }
    if text("appId") != order.app_id {
        return Err("appId参数错误");
    }
    timed(text("timeStamp"))?;
    let is_signed = match order.version {
        Version::V2 => {
            if SignType::parse(Some(text("signType"))) != Some(order.sign_type) {
                return Err("signType须与下单时一致");
            }
            let key = world.pay.directory.api_key(&order.mch_id);
            sign::v2(&fields, order.sign_type, key) == pay_sign
        }
        Version::V3 => {
            if text("signType") != "RSA" {
                return Err("signType须与下单时一致");
            }
            let lines = ["appId", "timeStamp", "nonceStr", "package"].map(text);
            is_rsa_signed(world, order, lines, &pay_sign)
        }
    };
    if !is_signed {
        return Err("支付验证签名失败");
    }
    if order
        .given("openid")
        .is_some_and(|openid| !world.pay.may_pay(order, openid))
    {
        return Err("下单账号与支付账号不一致，请核实后再支付");
    }
    Ok(order.out_trade_no.clone())
}

fn check_app(world: &World, asked: &Value) -> Result<String, Objection> {
    let mut fields = texts(
        asked,
        &[
            "appid",
            "noncestr",
            "package",
            "partnerid",
            "prepayid",
            "sign",
            "timestamp",
        ],
    )?;
    let given = fields.remove("sign").unwrap_or_default();
    let text = |name: &str| fields.get(name).map_or("", String::as_str);
    let order = prepaid(world, text("prepayid"))?;
    if text("appid") != order.app_id || text("partnerid") != order.mch_id {
        return Err("appid或partnerid错误");
    }
    if text("package") != "Sign=WXPay" {
        return Err("package参数错误");
    }
    timed(text("timestamp"))?;
    let expected = match order.trade_type {
        TradeType::App if order.version == Version::V3 => {
            let lines = ["appid", "timestamp", "noncestr", "prepayid"].map(text);
            return match is_rsa_signed(world, order, lines, &given) {
                true => Ok(order.out_trade_no.clone()),
                false => Err("签名错误"),
            };
        }
        TradeType::App => {
            let key = world.pay.directory.api_key(&order.mch_id);
            sign::v2(&fields, order.sign_type, key)
        }
        TradeType::App2014 => {
            put(&mut fields, "appkey", world.pay.merchant().legacy_key());
            let pairs: Vec<(&str, &str)> = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            sign::sha1_sorted(&pairs)
        }
        _ => return Err("该订单不是APP支付"),
    };
    if given != expected {
        return Err("签名错误");
    }
    Ok(order.out_trade_no.clone())
}

/// The four lines that a client of APIv3 hands over, under the key of the
/// merchant's certificate.
fn is_rsa_signed(world: &World, order: &Order, text: [&str; 4], signature: &str) -> bool {
    let credentials = world.pay.directory.credentials(&order.mch_id);
    let message = lines(&text.map(str::as_bytes));
    credentials.is_some_and(|known| holds(&known.key, &message, signature))
}

/// The named fields, all of which must be strings: WeChat's clients refuse a
/// number as `timeStamp`.
fn texts(asked: &Value, names: &[&str]) -> Result<Fields, Objection> {
    names
        .iter()
        .map(|name| {
            let text = asked
                .get(*name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty());
            text.map(|text| ((*name).to_owned(), text.to_owned()))
        })
        .collect::<Option<Fields>>()
        .ok_or("调用支付缺少参数，或参数不是字符串")
}

fn timed(text: &str) -> Result<(), Objection> {
    let seconds = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds {
        Ok(())
    } else {
        Err("timeStamp须为10位秒数")
    }
}

fn prepaid<'w>(world: &'w World, prepay_id: &str) -> Result<&'w Order, Objection> {
    let order = world.pay.orders().find(|order| order.is_prepaid(prepay_id));
    let order = order.ok_or("prepay_id不存在")?;
    if order.prepay_until_ms <= world.now_ms() {
        return Err("prepay_id已过期");
    }
    Ok(order)
}
