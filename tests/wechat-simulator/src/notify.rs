//! Carries notifications to the merchant, again and again until one is
//! accepted, and keeps what was answered.

use std::time::{Duration, Instant};

use axum::http::header::CONTENT_TYPE;
use futures_util::future::join_all;
use tokio::time::sleep;

use crate::forge::{self, Flaw};
use crate::pay::{Attempt, CannotPay, Receipt, Wish};
use crate::state::{Simulator, World};
use crate::v3::{self, Headers};

/// Whose news it is.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// The payment of that merchant's order.
    Payment {
        mch_id: String,
        out_trade_no: String,
    },
    /// The refund of that number, which is the first merchant's who has one.
    Refund(String),
}

/// How a notification is dressed, and what is taken for its acceptance.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// v2: XML, and this answer to the byte.
    Xml(&'static str),
    /// APIv3: JSON under these headers, and the status alone.
    Json(Headers),
}

/// A notification ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) url: String,
    pub(crate) body: String,
    pub(crate) form: Form,
    /// What is wrong with it on purpose.
    pub(crate) fault: Option<Flaw>,
}

/// A payer pays, and the merchant is told: if `tell` says so, or else the
/// setting.
pub(crate) fn pay(
    simulator: &Simulator,
    handle: &str,
    wish: Wish,
    tell: Option<bool>,
    copies: usize,
) -> Result<Receipt, CannotPay> {
    let (receipt, automatic) = {
        let mut world = simulator.world();
        let moment = world.moment();
        (
            world.pay.pay(handle, wish, moment)?,
            world.settings.auto_notify,
        )
    };
    if tell.unwrap_or(automatic) {
        let subject = Subject::Payment {
            mch_id: receipt.mch_id.clone(),
            out_trade_no: receipt.out_trade_no.clone(),
        };
        announce(simulator, subject, copies);
    }
    Ok(receipt)
}

/// Notifies in the background, `copies` at once the first time, until it is
/// accepted or the schedule ends. The world must have been unlocked.
pub(crate) fn announce(simulator: &Simulator, subject: Subject, copies: usize) {
    let simulator = simulator.clone();
    let generation = simulator.world().generation;
    tokio::spawn(async move {
        let delay = simulator.world().settings.notify_delay_ms;
        sleep(Duration::from_millis(delay)).await;
        let mut copies = copies;
        let mut waits = 0..;
        loop {
            let message = simulator
                .world_of(generation)
                .and_then(|world| compose(&world, &subject));
            let Some(message) = message else { return };
            let messages = vec![message; copies];
            let attempts = send_all(&simulator, &subject, messages).await;
            if attempts.iter().any(|attempt| attempt.accepted) {
                return;
            }
            let settings = simulator.world().settings.clone();
            let wait = waits
                .next()
                .and_then(|turn: usize| settings.schedule().get(turn));
            let Some(seconds) = wait.filter(|_| !settings.notify_stepped) else {
                return;
            };
            let scale = settings.notify_time_scale;
            sleep(Duration::from_millis(
                u64::from(*seconds).saturating_mul(scale),
            ))
            .await;
            copies = 1;
        }
    });
}

/// Sends all messages at once and remembers what came of them.
pub(crate) async fn send_all(
    simulator: &Simulator,
    subject: &Subject,
    messages: Vec<Message>,
) -> Vec<Attempt> {
    let generation = simulator.world().generation;
    let attempts = join_all(messages.into_iter().map(|message| send(simulator, message))).await;
    if let Some(mut world) = simulator.world_of(generation)
        && let Some(list) = history(&mut world, subject)
    {
        list.extend(attempts.iter().cloned());
    }
    attempts
}

pub(crate) fn history<'w>(world: &'w mut World, subject: &Subject) -> Option<&'w mut Vec<Attempt>> {
    match subject {
        Subject::Payment {
            mch_id,
            out_trade_no,
        } => {
            let order = world.pay.own_mut(mch_id, out_trade_no);
            order.map(|order| &mut order.notifications)
        }
        Subject::Refund(number) => {
            let refund = world.pay.refund_mut(number);
            refund.map(|refund| &mut refund.notifications)
        }
    }
}

pub(crate) fn compose(world: &World, subject: &Subject) -> Option<Message> {
    match subject {
        Subject::Payment {
            mch_id,
            out_trade_no,
        } => {
            let order = world.pay.own(mch_id, out_trade_no)?;
            forge::forge(world, order, None, order.given("notify_url")?)
        }
        Subject::Refund(number) => {
            let (order, refund) = world.pay.refund_of(number)?;
            forge::forge_refund(world, order, refund, None, None)
        }
    }
}

async fn send(simulator: &Simulator, message: Message) -> Attempt {
    let at_ms = simulator.world().now_ms();
    let started = Instant::now();
    let answer = exchange(simulator, &message).await;
    let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (status, body) = match answer {
        Ok((status, body)) => (Some(status), body),
        Err(error) => (None, error.to_string()),
    };
    let accepted = status.is_some_and(|status| match message.form {
        Form::Xml(expected) => status == 200 && body == expected,
        Form::Json(_) => v3::accepts(status),
    });
    Attempt {
        at_ms,
        status,
        body,
        latency_ms,
        accepted,
        fault: message.fault,
    }
}

async fn exchange(
    simulator: &Simulator,
    message: &Message,
) -> Result<(u16, String), reqwest::Error> {
    let request = simulator.http().post(&message.url);
    let request = match &message.form {
        Form::Xml(_) => request.header(CONTENT_TYPE, "text/xml"),
        Form::Json(headers) => headers.iter().fold(
            request.header(CONTENT_TYPE, "application/json"),
            |request, (name, value)| request.header(*name, value),
        ),
    };
    let mut answer = request.body(message.body.clone()).send().await?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece);
        // More than the accepted answer can never be it.
        if body.len() > 2048 {
            body.truncate(2048);
            break;
        }
    }
    Ok((
        answer.status().as_u16(),
        String::from_utf8_lossy(&body).into_owned(),
    ))
}
