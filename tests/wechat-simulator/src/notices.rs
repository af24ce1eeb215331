//! The control side's notifications: sent by hand, right or wrong, shown, and
//! repeated one at a time, so that a test steps through the schedule instead of
//! waiting for it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde::Deserialize;
use serde_json::json;

use crate::control::{Answer, MOST_COPIES, Refused, one, parse, unknown};
use crate::forge::{self, Flaw};
use crate::notify::{self, Form, Message, Subject};
use crate::state::Simulator;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notify {
    #[serde(default)]
    out_trade_no: String,
    out_refund_no: Option<String>,
    #[serde(default = "one")]
    copies: usize,
    fault: Option<Flaw>,
    url: Option<String>,
    transaction_id: Option<String>,
}

/// `POST /_control/notify`
pub(crate) async fn notify(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: Notify = parse(&body)?;
    let (subject, message) = message(&simulator, &asked)?;
    let messages = vec![message; asked.copies.clamp(1, MOST_COPIES)];
    let attempts = notify::send_all(&simulator, &subject, messages).await;
    Ok(Json(attempts).into_response())
}

/// `POST /_control/compose`
pub(crate) async fn compose(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let (_, message) = message(&simulator, &parse(&body)?)?;
    let headers = match message.form {
        Form::Xml(_) => Vec::new(),
        Form::Json(headers) => headers,
    };
    let answer = json!({"url": message.url, "headers": headers, "body": message.body});
    Ok(Json(answer).into_response())
}

fn message(simulator: &Simulator, asked: &Notify) -> Result<(Subject, Message), Refused> {
    let world = simulator.world();
    if let Some(number) = &asked.out_refund_no {
        let (order, refund) = world.pay.refund_of(number).ok_or_else(unknown)?;
        let url = asked.url.clone();
        let message = forge::forge_refund(&world, order, refund, asked.fault, url);
        return Ok((
            Subject::Refund(number.clone()),
            message.ok_or_else(no_message)?,
        ));
    }
    let order = world.pay.order(&asked.out_trade_no).ok_or_else(unknown)?;
    let order = forge::as_paid(order, asked.transaction_id.clone(), world.moment());
    let given = || order.given("notify_url").map(ToOwned::to_owned);
    let url = asked.url.clone().or_else(given);
    let message = url.and_then(|url| forge::forge(&world, &order, asked.fault, &url));
    let subject = Subject::Payment {
        mch_id: order.mch_id.clone(),
        out_trade_no: order.out_trade_no.clone(),
    };
    Ok((subject, message.ok_or_else(no_message)?))
}

fn no_message() -> Refused {
    let why = "there is no such notification, or no address for it";
    Refused(StatusCode::CONFLICT, why.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    out_trade_no: String,
    out_refund_no: Option<String>,
}

/// `POST /_control/repeat`: what WeChat would send next, if it has a reason to.
/// Each attempt so far counts, one sent by hand too.
pub(crate) async fn repeat(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: Asked = parse(&body)?;
    let (subject, message, waited, left) = {
        let mut world = simulator.world();
        let subject = match asked.out_refund_no {
            Some(number) => Subject::Refund(number),
            None => {
                let order = world.pay.order(&asked.out_trade_no).ok_or_else(unknown)?;
                Subject::Payment {
                    mch_id: order.mch_id.clone(),
                    out_trade_no: order.out_trade_no.clone(),
                }
            }
        };
        let schedule = world.settings.schedule();
        let sent = notify::history(&mut world, &subject).ok_or_else(unknown)?;
        let over = |why: &str| Refused(StatusCode::CONFLICT, why.to_owned());
        if sent.iter().any(|attempt| attempt.accepted) {
            return Err(over("it was accepted"));
        }
        let turn = sent.len().checked_sub(1);
        let turn = turn.ok_or_else(|| over("nothing was sent yet"))?;
        let waited = schedule.get(turn).copied();
        let waited = waited.ok_or_else(|| over("the schedule has ended"))?;
        let message = notify::compose(&world, &subject);
        let message = message.ok_or_else(|| over("there is nothing to send"))?;
        (subject, message, waited, schedule.len() - turn - 1)
    };
    let attempts = notify::send_all(&simulator, &subject, vec![message]).await;
    let answer = json!({
        "waited_seconds": waited,
        "left": left,
        "attempt": attempts.first(),
    });
    Ok(Json(answer).into_response())
}
