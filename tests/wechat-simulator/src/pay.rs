//! Owns the life of an order on WeChat's wire: unifiedorder, orderquery and
//! closeorder. Refuses to know refunds, payment codes and notifications.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use crate::clock;
use crate::config::Config;
use crate::ids;
use crate::orders::{Order, TradeState, TradeType};
use crate::sign::Fields;
use crate::state::{Simulator, World};
use crate::users;
use crate::wire::{self, Refusal, Request, Rule, put};

const MINUTE_MS: i64 = 60_000;
/// A prepay id is good for two hours.
const PREPAY_MS: i64 = 120 * MINUTE_MS;
const MWEB_MS: i64 = 5 * MINUTE_MS;

const ORDER_RULES: &[Rule] = &[
    ("device_info", false, 32),
    ("body", true, 127),
    ("detail", false, 6000),
    ("attach", false, 127),
    ("out_trade_no", true, 32),
    ("fee_type", false, 16),
    ("total_fee", true, 11),
    ("spbill_create_ip", true, 64),
    ("time_start", false, 14),
    ("time_expire", false, 14),
    ("goods_tag", false, 32),
    ("notify_url", true, 256),
    ("trade_type", true, 16),
    ("product_id", false, 32),
    ("limit_pay", false, 32),
    ("openid", false, 128),
    ("receipt", false, 8),
    ("scene_info", false, 256),
];

/// By either number, as several endpoints take it.
pub(crate) const BY_NUMBER: &[Rule] = &[("transaction_id", false, 32), ("out_trade_no", false, 32)];

/// `POST /pay/unifiedorder`
pub(crate) async fn unifiedorder(State(simulator): State<Simulator>, body: Bytes) -> Response {
    wire::serve(
        &simulator,
        ("/pay/unifiedorder", ORDER_RULES),
        &body,
        |request| {
            let now = simulator.world().now_ms();
            let order = draft(simulator.config(), request, now)?;
            place(&mut simulator.world(), order).map(|order| {
                let mut answer = Fields::new();
                put(&mut answer, "trade_type", order.trade_type.name());
                put(&mut answer, "prepay_id", &order.prepay_id);
                if let Some(url) = &order.code_url {
                    put(&mut answer, "code_url", url);
                }
                if let Some(url) = &order.mweb_url {
                    put(&mut answer, "mweb_url", url);
                }
                answer
            })
        },
    )
}

/// `POST /pay/orderquery`
pub(crate) async fn orderquery(State(simulator): State<Simulator>, body: Bytes) -> Response {
    wire::serve(
        &simulator,
        ("/pay/orderquery", BY_NUMBER),
        &body,
        |request| {
            let world = simulator.world();
            let order = numbered(&world, request)?;
            Ok(told(&world, order))
        },
    )
}

/// `POST /pay/closeorder`
pub(crate) async fn closeorder(State(simulator): State<Simulator>, body: Bytes) -> Response {
    let rules: &[Rule] = &[("out_trade_no", true, 32)];
    wire::serve(&simulator, ("/pay/closeorder", rules), &body, |request| {
        let mut world = simulator.world();
        let now = world.now_ms();
        let guard_ms = world.settings.close_guard_seconds.saturating_mul(1000);
        let order = world
            .orders
            .get_mut(request.required("out_trade_no")?)
            .ok_or_else(|| Refusal::business("ORDERNOTEXIST", "订单不存在"))?;
        match order.state {
            TradeState::Success | TradeState::Refund => {
                Err(Refusal::business("ORDERPAID", "订单已支付"))
            }
            TradeState::Closed | TradeState::Revoked => {
                Err(Refusal::business("ORDERCLOSED", "订单已关闭"))
            }
            _ if now < order.created_ms.saturating_add(guard_ms) => Err(Refusal::business(
                "INVALID_REQUEST",
                "订单生成后不能马上调用关单接口",
            )),
            _ => {
                order.state = TradeState::Closed;
                Ok(Fields::new())
            }
        }
    })
}

/// Checks the values that lengths alone do not, and makes the order.
fn draft(config: &Config, request: &Request, now: i64) -> Result<Order, Refusal> {
    let trade_type = match request.required("trade_type")? {
        "JSAPI" => TradeType::Jsapi,
        "NATIVE" => TradeType::Native,
        "APP" => TradeType::App,
        "MWEB" => TradeType::Mweb,
        _ => return Err(Refusal::parameter("trade_type参数格式有误")),
    };
    let needed = match trade_type {
        TradeType::Jsapi => "openid",
        TradeType::Native => "product_id",
        TradeType::Mweb => "scene_info",
        _ => "body",
    };
    request.required(needed)?;
    notify_url(request.required("notify_url")?)?;
    let mut order = order_of(request, trade_type, now)?;
    let prepay_id = &order.prepay_id;
    order.code_url = (trade_type == TradeType::Native)
        .then(|| format!("weixin://wxpay/bizpayurl?pr={}", ids::code()));
    order.mweb_url = (trade_type == TradeType::Mweb).then(|| {
        let base = config.public_url();
        let package = ids::code();
        format!("{base}/cgi-bin/mmpayweb-bin/checkmweb?prepay_id={prepay_id}&package={package}")
    });
    Ok(order)
}

/// The part of an order that micropay has as well.
pub(crate) fn order_of(
    request: &Request,
    trade_type: TradeType,
    now: i64,
) -> Result<Order, Refusal> {
    let number = request.required("out_trade_no")?;
    let letters = number
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-|*".contains(&b));
    if number.len() < 6 || !letters {
        return Err(Refusal::parameter("out_trade_no参数格式有误"));
    }
    if request
        .required("spbill_create_ip")?
        .parse::<IpAddr>()
        .is_err()
    {
        return Err(Refusal::parameter("spbill_create_ip参数格式有误"));
    }
    for (name, only) in [
        ("fee_type", "CNY"),
        ("limit_pay", "no_credit"),
        ("receipt", "Y"),
    ] {
        if request.get(name).is_some_and(|value| value != only) {
            return Err(Refusal::parameter(&format!("{name}参数格式有误")));
        }
    }
    if let Some(scene) = request.get("scene_info") {
        let known = serde_json::from_str::<serde_json::Value>(scene).is_ok_and(|v| v.is_object());
        if !known {
            return Err(Refusal::parameter("scene_info参数格式有误"));
        }
    }
    Ok(Order {
        out_trade_no: number.to_owned(),
        trade_type,
        state: TradeState::NotPay,
        total_fee: request.fen("total_fee")?,
        payment: None,
        refunds: Vec::new(),
        prepay_id: ids::prepay_id(now),
        prepay_until_ms: now.saturating_add(PREPAY_MS),
        code_url: None,
        mweb_url: None,
        mweb_until_ms: now.saturating_add(MWEB_MS),
        created_ms: now,
        expires_ms: expiry(request)?,
        parameters: request.parameters(),
        notifications: Vec::new(),
        sign_type: request.sign_type,
    })
}

fn expiry(request: &Request) -> Result<Option<i64>, Refusal> {
    let read = |name: &str| match request.get(name) {
        None => Ok(None),
        Some(text) => clock::parse_compact(text)
            .map(Some)
            .ok_or_else(|| Refusal::parameter(&format!("{name}参数格式有误"))),
    };
    let start = read("time_start")?;
    let end = read("time_expire")?;
    if let (Some(start), Some(end)) = (start, end) {
        spaced_out(start, end)?;
    }
    Ok(end)
}

/// The expiry lies a minute after the start, both in whole seconds.
fn spaced_out(start: i64, end: i64) -> Result<(), Refusal> {
    if end / 1000 - start / 1000 < 60 {
        return Err(Refusal::parameter("time_expire时间过短，至少1分钟"));
    }
    Ok(())
}

fn notify_url(text: &str) -> Result<(), Refusal> {
    let usable = url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.has_host()
    });
    if usable {
        Ok(())
    } else {
        Err(Refusal::parameter("notify_url参数格式有误，不能携带参数"))
    }
}

/// Takes a new order, or answers a repeated one as before.
fn place(world: &mut World, draft: Order) -> Result<Order, Refusal> {
    let now = draft.created_ms;
    let openid = draft.given("openid").unwrap_or_default();
    if draft.trade_type == TradeType::Jsapi && !users::may_pay(openid, world.settings.strict_openid)
    {
        return Err(Refusal::parameter("无效的openid"));
    }
    let Some(known) = world.orders.get_mut(&draft.out_trade_no) else {
        if draft.is_expired(now) {
            return Err(Refusal::parameter("time_expire早于当前时间"));
        }
        // Only here: a repeated order may have less than a minute left.
        if let (None, Some(end)) = (draft.given("time_start"), draft.expires_ms) {
            spaced_out(now, end)?;
        }
        world
            .orders
            .insert(draft.out_trade_no.clone(), draft.clone());
        return Ok(draft);
    };
    used_up(known)?;
    if known.parameters != draft.parameters {
        return Err(Refusal::business("INVALID_REQUEST", "201 商户订单号重复"));
    }
    if known.is_expired(now) {
        return Err(Refusal::business("ORDERCLOSED", "订单已关闭"));
    }
    if known.prepay_until_ms <= now {
        known.prepay_id.clone_from(&draft.prepay_id);
        known.prepay_until_ms = draft.prepay_until_ms;
    }
    if known.mweb_until_ms <= now {
        known.mweb_url = draft
            .mweb_url
            .map(|url| url.replace(&draft.prepay_id, &known.prepay_id));
        known.mweb_until_ms = draft.mweb_until_ms;
    }
    Ok(known.clone())
}

/// A paid, closed or reversed number cannot be used again.
pub(crate) fn used_up(order: &Order) -> Result<(), Refusal> {
    match order.state {
        TradeState::Success | TradeState::Refund => {
            Err(Refusal::business("ORDERPAID", "该订单已支付"))
        }
        TradeState::Closed => Err(Refusal::business("ORDERCLOSED", "该订单已关闭")),
        TradeState::Revoked => Err(Refusal::business("ORDERREVERSED", "该订单已撤销")),
        TradeState::NotPay | TradeState::UserPaying | TradeState::PayError => Ok(()),
    }
}

/// The order of a request that names it by either number; the transaction id
/// goes first.
pub(crate) fn numbered<'w>(world: &'w World, request: &Request) -> Result<&'w Order, Refusal> {
    let missing = || Refusal::business("ORDERNOTEXIST", "此交易订单号不存在");
    if let Some(id) = request.get("transaction_id") {
        let paid_as = |order: &&Order| {
            order
                .payment
                .as_ref()
                .is_some_and(|paid| paid.transaction_id == id)
        };
        return world.orders.values().find(paid_as).ok_or_else(missing);
    }
    let number = request.required("out_trade_no")?;
    world.orders.get(number).ok_or_else(missing)
}

/// What `orderquery` tells of an order.
fn told(world: &World, order: &Order) -> Fields {
    let mut answer = Fields::new();
    let settings = &world.settings;
    let mut state = order.state.name();
    let wholly = order.state == TradeState::Refund && order.refunded() >= order.total_fee;
    if wholly {
        state = &settings.full_refund_state;
    } else if order.state == TradeState::NotPay && order.is_expired(world.now_ms()) {
        state = &settings.expired_state;
    }
    put(&mut answer, "out_trade_no", &order.out_trade_no);
    put(&mut answer, "trade_state", state);
    put(&mut answer, "trade_state_desc", order.state.described());
    if let Some(attach) = order.given("attach") {
        put(&mut answer, "attach", attach);
    }
    if order.is_paid() || order.state == TradeState::Revoked {
        answer.extend(paid_fields(order));
    }
    answer
}

/// The fields of a payment, the same in queries, notifications and micropay.
pub(crate) fn paid_fields(order: &Order) -> Fields {
    let mut fields = Fields::new();
    let Some(payment) = &order.payment else {
        return fields;
    };
    put(&mut fields, "openid", &payment.openid);
    put(&mut fields, "is_subscribe", "Y");
    put(&mut fields, "trade_type", order.trade_type.name());
    put(&mut fields, "bank_type", "OTHERS");
    put(&mut fields, "total_fee", order.total_fee);
    put(&mut fields, "fee_type", "CNY");
    put(
        &mut fields,
        "cash_fee",
        order.total_fee - payment.coupon_fee,
    );
    put(&mut fields, "cash_fee_type", "CNY");
    put(&mut fields, "transaction_id", &payment.transaction_id);
    put(&mut fields, "out_trade_no", &order.out_trade_no);
    put(&mut fields, "time_end", clock::compact(payment.paid_ms));
    if payment.coupon_fee > 0 {
        put(
            &mut fields,
            "settlement_total_fee",
            order.total_fee - payment.coupon_fee,
        );
        put(&mut fields, "coupon_fee", payment.coupon_fee);
        put(&mut fields, "coupon_count", 1);
        put(&mut fields, "coupon_type_0", "CASH");
        put(&mut fields, "coupon_id_0", "10000");
        put(&mut fields, "coupon_fee_0", payment.coupon_fee);
    }
    for name in ["attach", "device_info"] {
        if let Some(value) = order.given(name) {
            put(&mut fields, name, value);
        }
    }
    fields
}
