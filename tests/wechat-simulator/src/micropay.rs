//! Owns payment codes: `micropay`, steered by the last two digits of the code,
//! and `reverse`. Refuses to know the other ways to pay.
//!
//! | last two digits | what happens |
//! |---|---|
//! | 01 | `USERPAYING`, paid after `userpaying_ms` |
//! | 02 | `USERPAYING`, never paid |
//! | 03 | `SYSTEMERROR`, although paid |
//! | 04 | `BANKERROR`; the query says `USERPAYING`, `PAYERROR` after `userpaying_ms` |
//! | 05 | `NOTENOUGH`, the query says `PAYERROR` |
//! | 06 | `AUTHCODEEXPIRE`, and no order is made |
//! | 07 | paid, but the answer is held back for `hang_ms` |
//! | else | paid at once |

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use tokio::time::sleep;

use crate::orders::{Order, TradeState, TradeType};
use crate::pay::{BY_NUMBER, numbered, order_of, paid_fields, used_up};
use crate::refund::refund_rest;
use crate::settle::{self, Wish};
use crate::sign::Fields;
use crate::state::{Simulator, World};
use crate::wire::{self, Refusal, Request, Rule, put};

const RULES: &[Rule] = &[
    ("device_info", false, 32),
    ("body", true, 127),
    ("detail", false, 6000),
    ("attach", false, 127),
    ("out_trade_no", true, 32),
    ("total_fee", true, 11),
    ("fee_type", false, 16),
    ("spbill_create_ip", true, 64),
    ("goods_tag", false, 32),
    ("limit_pay", false, 32),
    ("time_start", false, 14),
    ("time_expire", false, 14),
    ("receipt", false, 8),
    ("auth_code", true, 128),
    ("scene_info", false, 256),
];

const WEEK_MS: i64 = 7 * 24 * 3_600_000;

/// `POST /pay/micropay`
pub(crate) async fn micropay(State(simulator): State<Simulator>, body: Bytes) -> Response {
    let mut hangs = false;
    let answer = wire::serve(&simulator, ("/pay/micropay", RULES), &body, |request| {
        hangs = request
            .get("auth_code")
            .is_some_and(|code| code.ends_with("07"));
        charge(&simulator, request)
    });
    if hangs {
        let hang = simulator.world().settings.hang_ms;
        sleep(Duration::from_millis(hang)).await;
    }
    answer
}

/// `POST /secapi/pay/reverse`
pub(crate) async fn reverse(State(simulator): State<Simulator>, body: Bytes) -> Response {
    wire::serve(
        &simulator,
        ("/secapi/pay/reverse", BY_NUMBER),
        &body,
        |request| {
            let mut world = simulator.world();
            let number = numbered(&world, request)?.out_trade_no.clone();
            let mut answer = Fields::new();
            let recall = undo(&mut world, &number)?;
            put(&mut answer, "recall", recall);
            Ok(answer)
        },
    )
}

fn charge(simulator: &Simulator, request: &Request) -> Result<Fields, Refusal> {
    let mut world = simulator.world();
    let code = request.required("auth_code")?;
    payment_code(code)?;
    let order = order_of(request, TradeType::Micropay, world.now_ms())?;
    let number = order.out_trade_no.clone();
    let bound = world.auth_codes.get(code);
    if bound.is_some_and(|bound| *bound != number) {
        return Err(Refusal::business(
            "AUTH_CODE_ERROR",
            "每个二维码仅限使用一次，请刷新再试",
        ));
    }
    let repeated = enter(&mut world, order)?;
    if code.ends_with("06") {
        world.orders.remove(&number);
        return Err(Refusal::business(
            "AUTHCODEEXPIRE",
            "二维码已过期，请用户在微信上刷新后再试",
        ));
    }
    world.auth_codes.insert(code.to_owned(), number.clone());
    if repeated {
        return standing(&world, &number);
    }
    let generation = world.generation;
    let (outcome, later) = begin(&mut world, &number, code.get(16..).unwrap_or_default());
    let wait = world.settings.userpaying_ms;
    drop(world);
    if let Some(state) = later {
        finish_later(simulator.clone(), generation, number, (state, wait));
    }
    outcome
}

/// 18 digits, of which the first two are 10 to 15.
fn payment_code(code: &str) -> Result<(), Refusal> {
    let digits = code.len() == 18 && code.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = code.get(..2).and_then(|prefix| prefix.parse::<u8>().ok());
    if digits && prefix.is_some_and(|prefix| (10..=15).contains(&prefix)) {
        return Ok(());
    }
    Err(Refusal::business(
        "AUTH_CODE_INVALID",
        "请扫描微信支付被扫条码/二维码",
    ))
}

/// Takes a new order (false) or recognises a repeated one (true).
fn enter(world: &mut World, order: Order) -> Result<bool, Refusal> {
    match world.orders.get(&order.out_trade_no) {
        Some(known) => {
            used_up(known)?;
            if known.parameters != order.parameters {
                return Err(Refusal::business("INVALID_REQUEST", "201 商户订单号重复"));
            }
            Ok(true)
        }
        None => {
            world.orders.insert(order.out_trade_no.clone(), order);
            Ok(false)
        }
    }
}

/// What a repeated call learns of an order that is not over.
fn standing(world: &World, number: &str) -> Result<Fields, Refusal> {
    match world.orders.get(number).map(|order| order.state) {
        Some(TradeState::UserPaying) => Err(userpaying()),
        _ => Err(Refusal::business("TRADE_ERROR", "交易错误，请确认后再试")),
    }
}

/// Starts the case that the code's digits choose: the answer, and the state
/// that follows after a while.
fn begin(
    world: &mut World,
    number: &str,
    case: &str,
) -> (Result<Fields, Refusal>, Option<TradeState>) {
    let mut turn = |state: TradeState| {
        if let Some(order) = world.orders.get_mut(number) {
            order.state = state;
        }
    };
    match case {
        "01" => {
            turn(TradeState::UserPaying);
            (Err(userpaying()), Some(TradeState::Success))
        }
        "02" => {
            turn(TradeState::UserPaying);
            (Err(userpaying()), None)
        }
        "04" => {
            turn(TradeState::UserPaying);
            let refusal = Refusal::business("BANKERROR", "银行系统异常");
            (Err(refusal), Some(TradeState::PayError))
        }
        "05" => {
            turn(TradeState::PayError);
            (Err(Refusal::business("NOTENOUGH", "余额不足")), None)
        }
        _ => {
            let outcome = paid(world, number);
            if case == "03" {
                return (Err(Refusal::business("SYSTEMERROR", "系统超时")), None);
            }
            (outcome, None)
        }
    }
}

fn userpaying() -> Refusal {
    Refusal::business("USERPAYING", "需要用户输入支付密码")
}

fn paid(world: &mut World, number: &str) -> Result<Fields, Refusal> {
    settle::pay(world, number, Wish::default())
        .map_err(|error| Refusal::business("TRADE_ERROR", &error.to_string()))?;
    Ok(world
        .orders
        .get(number)
        .map(paid_fields)
        .unwrap_or_default())
}

fn finish_later(
    simulator: Simulator,
    generation: u64,
    number: String,
    (state, wait_ms): (TradeState, u64),
) {
    tokio::spawn(async move {
        sleep(Duration::from_millis(wait_ms)).await;
        let Some(mut world) = simulator.world_of(generation) else {
            return;
        };
        let waiting = world
            .orders
            .get_mut(&number)
            .filter(|order| order.state == TradeState::UserPaying);
        match (waiting, state) {
            (Some(_), TradeState::Success) => {
                // It can only fail when the order is gone or over.
                let _ = settle::pay(&mut world, &number, Wish::default());
            }
            (Some(order), state) => order.state = state,
            (None, _) => {}
        }
    });
}

/// Closes a failed payment, gives a made one back; the word is `recall`.
fn undo(world: &mut World, number: &str) -> Result<&'static str, Refusal> {
    let now = world.now_ms();
    let guard_ms = world.settings.reverse_guard_seconds.saturating_mul(1000);
    let recalls = world.settings.reverse_recalls;
    let order = world
        .orders
        .get_mut(number)
        .filter(|order| order.trade_type == TradeType::Micropay)
        .ok_or_else(|| Refusal::business("INVALID_REQUEST", "仅支持付款码支付的订单"))?;
    if order.state == TradeState::Revoked {
        return Ok("N");
    }
    if order.created_ms.saturating_add(WEEK_MS) < now {
        return Err(Refusal::business("REVERSE_EXPIRE", "订单无法撤销，超过7天"));
    }
    if now < order.created_ms.saturating_add(guard_ms) {
        return Err(Refusal::business("SYSTEMERROR", "支付后15秒内不能撤销"));
    }
    if recalls > 0 {
        world.settings.reverse_recalls = recalls - 1;
        return Ok("Y");
    }
    refund_rest(order, now);
    order.state = TradeState::Revoked;
    Ok("N")
}
