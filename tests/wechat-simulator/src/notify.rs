//! Owns notifications: what they say, when they are repeated and which answer
//! ends that. Refuses to know why there is something to say.

use std::time::{Duration, Instant};

use axum::http::header::CONTENT_TYPE;
use futures_util::future::join_all;
use tokio::time::sleep;

use crate::config::Config;
use crate::genprepay;
use crate::ids;
use crate::orders::{Attempt, Order, TradeType};
use crate::pay::paid_fields;
use crate::refund;
use crate::sign::{self, Fields, SignType};
use crate::state::{Simulator, World};
use crate::wire::put;
use crate::xml;

/// The only answer that counts, to the byte.
pub const ACCEPTED: &str = "<xml><return_code><![CDATA[SUCCESS]]></return_code>\
     <return_msg><![CDATA[OK]]></return_msg></xml>";

/// Seconds between one attempt and the next: 24 h 4 m in all.
const SCHEDULE: [u64; 15] = [
    15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600,
];

/// Whose news it is.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// The payment of that order number.
    Payment(String),
    /// The refund of that order number and refund number.
    Refund(String, String),
}

/// A notification ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) url: String,
    pub(crate) body: String,
    /// What the answer has to be.
    pub(crate) expects: &'static str,
    /// What is wrong with it on purpose.
    pub(crate) fault: Option<String>,
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
                .and_then(|world| compose(simulator.config(), &world, &subject));
            let Some(message) = message else { return };
            let messages = vec![message; copies];
            let attempts = send_all(&simulator, &subject, messages).await;
            if attempts.iter().any(|attempt| attempt.accepted) {
                return;
            }
            let Some(seconds) = waits.next() else { return };
            let scale = simulator.world().settings.notify_time_scale;
            sleep(Duration::from_millis(seconds.saturating_mul(scale))).await;
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
        Subject::Payment(number) => world
            .orders
            .get_mut(number)
            .map(|order| &mut order.notifications),
        Subject::Refund(number, refund) => world
            .orders
            .get_mut(number)?
            .refunds
            .iter_mut()
            .find(|known| known.out_refund_no == *refund)
            .map(|known| &mut known.notifications),
    }
}

fn compose(config: &Config, world: &World, subject: &Subject) -> Option<Message> {
    match subject {
        Subject::Payment(number) => {
            let order = world.orders.get(number)?;
            let url = order.given("notify_url")?.to_owned();
            if order.trade_type == TradeType::App2014 {
                return genprepay::notification(config, order, &url);
            }
            let body = xml::write(&signed(
                config,
                order.sign_type,
                payment_fields(config, order),
            ));
            Some(Message {
                url,
                body,
                expects: ACCEPTED,
                fault: None,
            })
        }
        Subject::Refund(number, refund) => {
            let order = world.orders.get(number)?;
            let known = order
                .refunds
                .iter()
                .find(|known| known.out_refund_no == *refund)?;
            let url = known.notify_url.clone()?;
            let body = refund::notification(config, order, known);
            Some(Message {
                url,
                body,
                expects: ACCEPTED,
                fault: None,
            })
        }
    }
}

/// A payment notification before it is signed.
pub(crate) fn payment_fields(config: &Config, order: &Order) -> Fields {
    let mut fields = paid_fields(order);
    put(&mut fields, "return_code", "SUCCESS");
    put(&mut fields, "return_msg", "OK");
    put(&mut fields, "result_code", "SUCCESS");
    put(&mut fields, "appid", &config.app_id);
    put(&mut fields, "mch_id", &config.mch_id);
    put(&mut fields, "nonce_str", ids::nonce());
    // Only the newer way names itself; an absent type means MD5.
    if order.sign_type == SignType::HmacSha256 {
        put(&mut fields, "sign_type", order.sign_type.name());
    }
    fields
}

/// Adds the signature.
pub(crate) fn signed(config: &Config, sign_type: SignType, mut fields: Fields) -> Fields {
    let sign = sign::v2(&fields, sign_type, &config.api_key);
    put(&mut fields, "sign", sign);
    fields
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_lasts_a_day_and_four_minutes() {
        assert_eq!(SCHEDULE.iter().sum::<u64>(), 24 * 3600 + 4 * 60);
    }

    #[test]
    fn the_accepted_answer_is_one_line() {
        assert!(!ACCEPTED.contains(char::is_whitespace));
    }
}
