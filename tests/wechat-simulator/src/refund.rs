//! Owns refunds: taking them, settling them later, telling of them. Refuses to
//! know how a payment came about.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use tokio::time::sleep;

use crate::clock;
use crate::config::Config;
use crate::ids;
use crate::notify::{self, Subject};
use crate::orders::{Order, Refund, TradeState};
use crate::pay::numbered;
use crate::settings::RefundResult;
use crate::sign::{self, Fields};
use crate::state::{Simulator, World};
use crate::wire::{self, Refusal, Request, Rule, put};
use crate::xml;

const RULES: &[Rule] = &[
    ("transaction_id", false, 32),
    ("out_trade_no", false, 32),
    ("out_refund_no", true, 64),
    ("total_fee", true, 11),
    ("refund_fee", true, 11),
    ("refund_fee_type", false, 8),
    ("refund_desc", false, 80),
    ("refund_account", false, 30),
    ("notify_url", false, 256),
];

const QUERY_RULES: &[Rule] = &[
    ("transaction_id", false, 32),
    ("out_trade_no", false, 32),
    ("out_refund_no", false, 64),
    ("refund_id", false, 32),
    ("offset", false, 11),
];

/// A payment can be refunded in at most this many parts.
const MOST_PARTS: usize = 50;
/// `refundquery` tells of at most this many at once.
const PAGE: usize = 10;
const YEAR_MS: i64 = 365 * 24 * 3_600_000;

/// `POST /secapi/pay/refund`
pub(crate) async fn refund(State(simulator): State<Simulator>, body: Bytes) -> Response {
    wire::serve(
        &simulator,
        ("/secapi/pay/refund", RULES),
        &body,
        |request| {
            let mut world = simulator.world();
            let number = numbered(&world, request)?.out_trade_no.clone();
            let (refund, fresh) = take(&mut world, &number, request)?;
            let total_fee = world.orders.get(&number).map_or(0, |order| order.total_fee);
            let answer = taken(&number, request, &refund, total_fee);
            let delay = world.settings.refund_delay_ms;
            drop(world);
            if fresh {
                settle_later(&simulator, number, refund.out_refund_no, delay);
            }
            Ok(answer)
        },
    )
}

/// `POST /pay/refundquery`
pub(crate) async fn refundquery(State(simulator): State<Simulator>, body: Bytes) -> Response {
    wire::serve(
        &simulator,
        ("/pay/refundquery", QUERY_RULES),
        &body,
        |request| {
            let world = simulator.world();
            let order = order_asked_for(&world, request)?;
            let offset = match request.get("offset") {
                None => 0,
                Some(text) => text
                    .parse::<usize>()
                    .map_err(|_| Refusal::parameter("offset参数格式有误"))?,
            };
            let chosen: Vec<&Refund> = order
                .refunds
                .iter()
                .filter(|refund| asked_for(request, refund))
                .collect();
            if chosen.is_empty() {
                return Err(Refusal::business("REFUNDNOTEXIST", "退款订单查询失败"));
            }
            Ok(told(order, &chosen, offset))
        },
    )
}

fn take(world: &mut World, number: &str, request: &Request) -> Result<(Refund, bool), Refusal> {
    let now = world.now_ms();
    let gap_ms = world.settings.refund_gap_seconds.saturating_mul(1000);
    let refund_no = request.required("out_refund_no")?;
    let (total_fee, refund_fee) = (request.fen("total_fee")?, request.fen("refund_fee")?);
    let elsewhere = world.orders.values().any(|order| {
        order.out_trade_no != number
            && order
                .refunds
                .iter()
                .any(|refund| refund.out_refund_no == refund_no)
    });
    let order = world
        .orders
        .get_mut(number)
        .filter(|_| !elsewhere)
        .ok_or_else(|| Refusal::business("INVALID_REQUEST", "商户退款单号重复"))?;
    if !order.is_paid() {
        return Err(Refusal::business(
            "TRADE_STATE_ERROR",
            "订单状态错误，订单未支付",
        ));
    }
    if total_fee != order.total_fee {
        return Err(Refusal::business(
            "INVALID_REQUEST",
            "订单金额不一致，请核实后再试",
        ));
    }
    if let Some(known) = order
        .refunds
        .iter()
        .find(|refund| refund.out_refund_no == refund_no)
    {
        if known.refund_fee != refund_fee {
            return Err(Refusal::business(
                "INVALID_REQUEST",
                "退款金额与之前请求不一致",
            ));
        }
        return Ok((known.clone(), false));
    }
    if order
        .payment
        .as_ref()
        .is_some_and(|paid| now - paid.paid_ms > YEAR_MS)
    {
        return Err(Refusal::business(
            "TRADE_OVERDUE",
            "订单已经超过可退款的最大期限",
        ));
    }
    if order.refunds.len() >= MOST_PARTS {
        return Err(Refusal::business("INVALID_REQUEST", "部分退款次数超过50次"));
    }
    if order
        .refunds
        .last()
        .is_some_and(|last| now < last.created_ms.saturating_add(gap_ms))
    {
        return Err(Refusal::business(
            "FREQUENCY_LIMITED",
            "频率限制，请1分钟后再试",
        ));
    }
    if order.refunded().saturating_add(refund_fee) > order.total_fee {
        return Err(Refusal::business(
            "INVALID_REQUEST",
            "累计退款金额大于支付金额",
        ));
    }
    let refund = Refund {
        refund_id: ids::refund_id(now),
        out_refund_no: refund_no.to_owned(),
        refund_fee,
        status: "PROCESSING",
        created_ms: now,
        success_ms: None,
        notify_url: request.get("notify_url").map(ToOwned::to_owned),
        notifications: Vec::new(),
    };
    order.refunds.push(refund.clone());
    order.state = TradeState::Refund;
    Ok((refund, true))
}

fn taken(number: &str, request: &Request, refund: &Refund, total_fee: i64) -> Fields {
    let mut answer = Fields::new();
    put(&mut answer, "out_trade_no", number);
    if let Some(id) = request.get("transaction_id") {
        put(&mut answer, "transaction_id", id);
    }
    put(&mut answer, "out_refund_no", &refund.out_refund_no);
    put(&mut answer, "refund_id", &refund.refund_id);
    put(&mut answer, "refund_fee", refund.refund_fee);
    put(&mut answer, "total_fee", total_fee);
    put(&mut answer, "cash_fee", total_fee);
    put(&mut answer, "cash_refund_fee", refund.refund_fee);
    answer
}

/// Gives the refund its result after a while, and the merchant the news.
fn settle_later(simulator: &Simulator, number: String, refund_no: String, delay_ms: u64) {
    let simulator = simulator.clone();
    let generation = simulator.world().generation;
    tokio::spawn(async move {
        sleep(Duration::from_millis(delay_ms)).await;
        let Some(mut world) = simulator.world_of(generation) else {
            return;
        };
        settle(&mut world, &number, &refund_no);
        let automatic = world.settings.auto_notify_refunds;
        drop(world);
        if automatic {
            notify::announce(&simulator, Subject::Refund(number, refund_no), 1);
        }
    });
}

fn settle(world: &mut World, number: &str, refund_no: &str) {
    let now = world.now_ms();
    let result = world.settings.refund_result;
    let refund = world.orders.get_mut(number).and_then(|order| {
        order
            .refunds
            .iter_mut()
            .find(|refund| refund.out_refund_no == refund_no)
    });
    let Some(refund) = refund else { return };
    refund.status = match result {
        RefundResult::Success => "SUCCESS",
        RefundResult::Change => "CHANGE",
        RefundResult::Closed => "REFUNDCLOSE",
    };
    refund.success_ms = (result == RefundResult::Success).then_some(now);
}

/// Refunds everything that is left, as `reverse` does; settled at once.
pub(crate) fn refund_rest(order: &mut Order, now: i64) {
    let rest = order.total_fee - order.refunded();
    if order.payment.is_none() || rest <= 0 {
        return;
    }
    order.refunds.push(Refund {
        refund_id: ids::refund_id(now),
        out_refund_no: format!("reverse-{}", order.out_trade_no),
        refund_fee: rest,
        status: "SUCCESS",
        created_ms: now,
        success_ms: Some(now),
        notify_url: None,
        notifications: Vec::new(),
    });
}

fn order_asked_for<'w>(world: &'w World, request: &Request) -> Result<&'w Order, Refusal> {
    let by_refund = request.get("refund_id").is_some() || request.get("out_refund_no").is_some();
    if !by_refund {
        return numbered(world, request);
    }
    world
        .orders
        .values()
        .find(|order| {
            order
                .refunds
                .iter()
                .any(|refund| asked_for(request, refund))
        })
        .ok_or_else(|| Refusal::business("REFUNDNOTEXIST", "退款订单查询失败"))
}

fn asked_for(request: &Request, refund: &Refund) -> bool {
    match (request.get("refund_id"), request.get("out_refund_no")) {
        (Some(id), _) => refund.refund_id == id,
        (None, Some(number)) => refund.out_refund_no == number,
        (None, None) => true,
    }
}

fn told(order: &Order, chosen: &[&Refund], offset: usize) -> Fields {
    let mut answer = Fields::new();
    put(&mut answer, "out_trade_no", &order.out_trade_no);
    if let Some(payment) = &order.payment {
        put(&mut answer, "transaction_id", &payment.transaction_id);
        put(
            &mut answer,
            "cash_fee",
            order.total_fee - payment.coupon_fee,
        );
    }
    put(&mut answer, "total_fee", order.total_fee);
    put(&mut answer, "fee_type", "CNY");
    put(&mut answer, "total_refund_count", chosen.len());
    let page: Vec<&&Refund> = chosen.iter().skip(offset).take(PAGE).collect();
    put(&mut answer, "refund_count", page.len());
    for (n, refund) in page.into_iter().enumerate() {
        let mut tell = |name: &str, value: String| put(&mut answer, &format!("{name}_{n}"), value);
        tell("out_refund_no", refund.out_refund_no.clone());
        tell("refund_id", refund.refund_id.clone());
        tell("refund_channel", "ORIGINAL".to_owned());
        tell("refund_fee", refund.refund_fee.to_string());
        tell("settlement_refund_fee", refund.refund_fee.to_string());
        tell("refund_status", refund.status.to_owned());
        tell("refund_account", "REFUND_SOURCE_UNSETTLED_FUNDS".to_owned());
        // WeChat's own spelling.
        tell("refund_recv_accout", "支付用户零钱".to_owned());
        if let Some(at) = refund.success_ms {
            tell("refund_success_time", clock::spaced(at));
        }
    }
    answer
}

/// The encrypted, unsigned notification of a refund.
pub(crate) fn notification(config: &Config, order: &Order, refund: &Refund) -> String {
    let mut secret = Fields::new();
    if let Some(payment) = &order.payment {
        put(&mut secret, "transaction_id", &payment.transaction_id);
    }
    put(&mut secret, "out_trade_no", &order.out_trade_no);
    put(&mut secret, "refund_id", &refund.refund_id);
    put(&mut secret, "out_refund_no", &refund.out_refund_no);
    put(&mut secret, "total_fee", order.total_fee);
    put(&mut secret, "settlement_total_fee", order.total_fee);
    put(&mut secret, "refund_fee", refund.refund_fee);
    put(&mut secret, "settlement_refund_fee", refund.refund_fee);
    put(&mut secret, "refund_status", refund.status);
    if let Some(at) = refund.success_ms {
        put(&mut secret, "success_time", clock::spaced(at));
    }
    put(&mut secret, "refund_recv_accout", "支付用户零钱");
    put(
        &mut secret,
        "refund_account",
        "REFUND_SOURCE_RECHARGE_FUNDS",
    );
    put(&mut secret, "refund_request_source", "API");
    let mut fields = Fields::new();
    put(&mut fields, "return_code", "SUCCESS");
    put(&mut fields, "appid", &config.app_id);
    put(&mut fields, "mch_id", &config.mch_id);
    put(&mut fields, "nonce_str", ids::nonce());
    let plain = xml::write_under("root", &secret);
    put(&mut fields, "req_info", sign::seal(&plain, &config.api_key));
    xml::write(&fields)
}
