//! Carries notifications to the merchant, again and again until one is
//! accepted, and keeps what was answered.

use std::time::{Duration, Instant};

use axum::http::header::CONTENT_TYPE;
use futures_util::future::join_all;
use tokio::time::sleep;

use crate::forge::Flaw;
use crate::genprepay;
use crate::pay::{ACCEPTED, Attempt, CannotPay, Receipt, SCHEDULE, TradeType, Wish};
use crate::state::{Simulator, World};
use crate::xml;

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

/// A notification ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) url: String,
    pub(crate) body: String,
    /// What the answer has to be.
    pub(crate) expects: &'static str,
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
        let mut waits = SCHEDULE.into_iter();
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
            let Some(seconds) = waits.next() else { return };
            let scale = simulator.world().settings.notify_time_scale;
            sleep(Duration::from_millis(
                u64::from(seconds).saturating_mul(scale),
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

fn history<'w>(world: &'w mut World, subject: &Subject) -> Option<&'w mut Vec<Attempt>> {
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

fn compose(world: &World, subject: &Subject) -> Option<Message> {
    let pay = &world.pay;
    let moment = world.moment();
    let (url, body) = match subject {
        Subject::Payment {
            mch_id,
            out_trade_no,
        } => {
            let order = pay.own(mch_id, out_trade_no)?;
            let url = order.given("notify_url")?.to_owned();
            if order.trade_type == TradeType::App2014 {
                return genprepay::notification(world, order, &url);
            }
            let fields = pay.payment_notification(order, moment);
            (url, xml::write(&pay.signed(order, fields)))
        }
        Subject::Refund(number) => {
            let (order, refund) = pay.refund_of(number)?;
            let url = refund.notify_url.clone()?;
            (url, pay.refund_notification(order, refund, moment))
        }
    };
    Some(Message {
        url,
        body,
        expects: ACCEPTED,
        fault: None,
    })
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
    let accepted = status == Some(200) && body == message.expects;
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
    let mut answer = simulator
        .http()
        .post(&message.url)
        .header(CONTENT_TYPE, "text/xml")
        .body(message.body.clone())
        .send()
        .await?;
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
