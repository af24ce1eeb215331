//! The APP flow of 2014: `genprepay` and its notification in the query string.
//! The numbers of its refusals, other than those for tokens, rest on memory.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::Response;
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded;

use crate::beijing;
use crate::config::Config;
use crate::errcode::{self, ErrCode};
use crate::ids;
use crate::notify::{Form, Message};
use crate::pay::{Order, TradeType, put, used_up};
use crate::sign::{self, Fields, SignType};
use crate::state::{Simulator, World};
use crate::token;
use crate::xml;

/// What a package must name, besides its signature.
const PACKAGE: [&str; 9] = [
    "bank_type",
    "body",
    "fee_type",
    "input_charset",
    "notify_url",
    "out_trade_no",
    "partner",
    "spbill_create_ip",
    "total_fee",
];

/// `POST /pay/genprepay`
pub(crate) async fn genprepay(
    State(simulator): State<Simulator>,
    Query(query): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response {
    let outcome = {
        let mut world = simulator.world();
        let access_token = query.get("access_token").map_or("", String::as_str);
        token::check(&world, access_token)
            .and_then(|_| opened(simulator.config(), &body))
            .and_then(|package| place(&mut world, package))
    };
    errcode::answer(&simulator, "/pay/genprepay", outcome)
}

/// Checks both signatures and gives back the package's fields.
fn opened(config: &Config, body: &Bytes) -> Result<Fields, ErrCode> {
    let asked: Value = serde_json::from_slice(body).map_err(|_| (47001, "data format error"))?;
    let text = |name: &str| match asked.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    if text("appid") != config.app_id {
        return Err((40013, "invalid appid"));
    }
    if text("sign_method") != "sha1" {
        return Err((49004, "sign_method must be sha1"));
    }
    let expected = sign::sha1_sorted(&[
        ("appid", &text("appid")),
        ("appkey", config.legacy_key()),
        ("noncestr", &text("noncestr")),
        ("package", &text("package")),
        ("timestamp", &text("timestamp")),
        ("traceid", &text("traceid")),
    ]);
    if text("app_signature") != expected {
        return Err((49004, "not match app_signature"));
    }
    // Form decoding would read a plus as a space, which `urlencode` is not.
    let raw = text("package").replace('+', "%2B");
    let package: Fields = form_urlencoded::parse(raw.as_bytes())
        .into_owned()
        .collect();
    if !sign::v2_holds(&package, SignType::Md5, &config.api_key) {
        return Err((49004, "not match package sign"));
    }
    if PACKAGE
        .iter()
        .any(|name| package.get(*name).is_none_or(String::is_empty))
    {
        return Err((49002, "package lacks a field"));
    }
    if package.get("partner") != Some(&config.mch_id) {
        return Err((49002, "partner does not exist"));
    }
    Ok(package)
}

fn place(world: &mut World, mut package: Fields) -> Result<Value, ErrCode> {
    package.remove("sign");
    let text = |name: &str| package.get(name).cloned().unwrap_or_default();
    let (number, total_fee) = (text("out_trade_no"), text("total_fee").parse::<i64>());
    let total_fee = total_fee
        .ok()
        .filter(|fen| (1..=10_000_000_000).contains(fen))
        .ok_or((49003, "total_fee invalid"))?;
    let time = |name: &str| match package.get(name) {
        None => Ok(None),
        Some(text) => beijing::parse_compact(text)
            .map(Some)
            .ok_or((49003, "time invalid")),
    };
    let expires_ms = time("time_expire")?;
    if number.len() > 32 || text("body").len() > 128 || Url::parse(&text("notify_url")).is_err() {
        return Err((49003, "package invalid"));
    }
    if let Some(known) = world.pay.order(&number) {
        if used_up(known).is_err() || known.parameters != package {
            return Err((49005, "out_trade_no repeated"));
        }
        return Ok(told(&known.prepay_id));
    }
    let (kind, moment) = (TradeType::App2014, world.moment());
    let mut order = Order::new(number, kind, total_fee, package, SignType::Md5, moment);
    order.expires_ms = expires_ms;
    let config = world.pay.merchant();
    (order.app_id, order.mch_id) = (config.app_id.clone(), config.mch_id.clone());
    let answer = told(&order.prepay_id);
    world.pay.insert(order);
    Ok(answer)
}

fn told(prepay_id: &str) -> Value {
    json!({"prepayid": prepay_id, "errcode": 0, "errmsg": "Success"})
}

/// The notification of 2014: everything that matters in the query string, who
/// paid in a small XML body.
pub(crate) fn notification(world: &World, order: &Order, url: &str) -> Option<Message> {
    let config = world.pay.merchant();
    let payment = order.payment.as_ref()?;
    let mut fields = Fields::new();
    put(&mut fields, "sign_type", "MD5");
    put(&mut fields, "input_charset", "UTF-8");
    put(&mut fields, "trade_mode", 1);
    put(&mut fields, "trade_state", 0);
    put(&mut fields, "partner", &config.mch_id);
    put(&mut fields, "bank_type", "WX");
    put(&mut fields, "total_fee", order.total_fee);
    put(&mut fields, "fee_type", 1);
    put(&mut fields, "notify_id", ids::nonce());
    put(&mut fields, "transaction_id", &payment.transaction_id);
    put(&mut fields, "out_trade_no", &order.out_trade_no);
    put(&mut fields, "time_end", beijing::compact(payment.paid_ms));
    put(&mut fields, "transport_fee", 0);
    put(&mut fields, "product_fee", order.total_fee);
    put(&mut fields, "discount", payment.coupons_fee());
    if let Some(attach) = order.given("attach") {
        put(&mut fields, "attach", attach);
    }
    let sign = sign::v2(&fields, SignType::Md5, &config.api_key);
    put(&mut fields, "sign", sign);
    let mut target = Url::parse(url).ok()?;
    target.query_pairs_mut().extend_pairs(&fields);
    let body = payer(config, &payment.openid, payment.paid_ms / 1000);
    Some(Message {
        url: target.into(),
        body,
        form: Form::Xml("success"),
        fault: None,
    })
}

fn payer(config: &Config, openid: &str, seconds: i64) -> String {
    let (timestamp, nonce) = (seconds.to_string(), ids::nonce());
    let signature = sign::sha1_sorted(&[
        ("appid", &config.app_id),
        ("appkey", config.legacy_key()),
        ("issubscribe", "1"),
        ("noncestr", &nonce),
        ("openid", openid),
        ("timestamp", &timestamp),
    ]);
    let mut fields = Fields::new();
    put(&mut fields, "OpenId", openid);
    put(&mut fields, "AppId", &config.app_id);
    put(&mut fields, "IsSubscribe", 1);
    put(&mut fields, "TimeStamp", timestamp);
    put(&mut fields, "NonceStr", nonce);
    put(&mut fields, "AppSignature", signature);
    put(&mut fields, "SignMethod", "sha1");
    xml::write(&fields)
}
