//! WeChat Pay v2 over HTTP: hands each call to the order book and does what
//! takes time, which the book cannot. Payers type passwords, refunds end,
//! answers hang. What comes of a code is in its last two digits:
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
//! | 08 | v2 only: no answer within `hang_ms`; the charge arrives after `late_charge_ms`, or when told |
//! | else | paid at once |

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::time::sleep;

use crate::notify::{self, Subject};
use crate::pay::{Caller, Charge, Moment, Password, Refusal};
use crate::sign::Fields;
use crate::state::{Simulator, World};

/// `POST` to any address of the order book.
pub(crate) async fn call(State(simulator): State<Simulator>, uri: Uri, body: Bytes) -> Response {
    let path = uri.path();
    if path == "/pay/micropay" && keep_late_charge(&simulator, &body) {
        let hang_ms = simulator.world().settings.hang_ms;
        sleep(Duration::from_millis(hang_ms)).await;
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    let mut charged = None;
    let (answer, hang_ms) = {
        let mut world = simulator.world();
        let moment = world.moment();
        let opened = world.pay.open(&body);
        let caller = opened.as_ref().map(|asked| asked.caller.clone());
        let caller = caller.unwrap_or_else(|_| Caller::named(&Fields::new()));
        let decided = opened.and_then(|asked| {
            world.pay.decide(path, &asked, moment, |code| {
                let number = asked.get("out_trade_no").unwrap_or_default().to_owned();
                let case = code.get(16..).unwrap_or_default().to_owned();
                let charge = charge(&case);
                charged = Some((number, case));
                charge
            })
        });
        for refund_no in world.pay.accepted_refunds() {
            end_refund_later(&simulator, &world, refund_no);
        }
        let answer = conclude(&mut world, path, &caller, &decided, moment);
        if let Some((number, case)) = &charged {
            type_later(&simulator, &world, number, case);
        }
        (answer, world.settings.hang_ms)
    };
    if charged.is_some_and(|(_, case)| case == "07") {
        sleep(Duration::from_millis(hang_ms)).await;
    }
    answer
}

/// A charge that reaches WeChat late is kept until then. Whether this is one.
fn keep_late_charge(simulator: &Simulator, body: &Bytes) -> bool {
    let mut world = simulator.world();
    let asked = world.pay.open(body).ok();
    let asked = asked.filter(|asked| {
        let code = asked.get("auth_code").unwrap_or_default();
        code.get(16..) == Some("08")
    });
    let Some(asked) = asked else { return false };
    let number = asked.get("out_trade_no").unwrap_or_default().to_owned();
    world.late_charges.insert(number.clone(), asked);
    let (generation, wait) = (world.generation, world.settings.late_charge_ms);
    let simulator = simulator.clone();
    tokio::spawn(async move {
        sleep(Duration::from_millis(wait)).await;
        if let Some(mut world) = simulator.world_of(generation) {
            world.charge_arrives(&number);
        }
    });
    true
}

pub(crate) fn charge(case: &str) -> Charge {
    match case {
        "01" | "02" => Charge::Open("USERPAYING"),
        "03" => Charge::PaidUnsaid("SYSTEMERROR"),
        "04" => Charge::Open("BANKERROR"),
        "05" => Charge::Refused("NOTENOUGH"),
        "06" => Charge::Refused("AUTHCODEEXPIRE"),
        _ => Charge::Paid,
    }
}

/// The answer to a request of these fields that is refused before the book sees
/// it.
pub(crate) fn refuse(
    simulator: &Simulator,
    path: &str,
    fields: &Fields,
    refusal: Refusal,
) -> Response {
    let mut world = simulator.world();
    let moment = world.moment();
    let caller = Caller::named(fields);
    conclude(&mut world, path, &caller, &Err(refusal), moment)
}

/// Words the answer, and remembers a refusal.
fn conclude(
    world: &mut World,
    path: &str,
    caller: &Caller,
    decided: &Result<Fields, Refusal>,
    moment: Moment,
) -> Response {
    if let Err(refusal) = decided {
        world.reject(path, &refusal.code, &refusal.message);
    }
    let text = world.pay.answer(path, caller, decided, moment);
    ([(CONTENT_TYPE, "text/xml; charset=utf-8")], text).into_response()
}

/// The payer types the password after a while, where the code says so.
pub(crate) fn type_later(simulator: &Simulator, world: &World, number: &str, case: &str) {
    let password = match case {
        "01" => Password::Right,
        "04" => Password::Wrong,
        _ => return,
    };
    let (simulator, number) = (simulator.clone(), number.to_owned());
    let (generation, wait) = (world.generation, world.settings.userpaying_ms);
    tokio::spawn(async move {
        sleep(Duration::from_millis(wait)).await;
        if let Some(mut world) = simulator.world_of(generation) {
            let moment = world.moment();
            world.pay.type_password(&number, password, moment);
        }
    });
}

/// Gives the refund its result after a while, and the merchant the news.
pub(crate) fn end_refund_later(simulator: &Simulator, world: &World, refund_no: String) {
    let simulator = simulator.clone();
    let (generation, wait) = (world.generation, world.settings.refund_delay_ms);
    tokio::spawn(async move {
        sleep(Duration::from_millis(wait)).await;
        let Some(mut world) = simulator.world_of(generation) else {
            return;
        };
        let (result, now) = (world.settings.refund_result, world.now_ms());
        world.pay.refund_becomes(&refund_no, result, now);
        let automatic = world.settings.auto_notify_refunds;
        drop(world);
        if automatic {
            notify::announce(&simulator, Subject::Refund(refund_no), 1);
        }
    });
}
