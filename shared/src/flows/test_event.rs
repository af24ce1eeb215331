//! A test event: one call of an app's address in the app's own form, and one whose
//! signature is wrong, and in words what the app's developer should look at.

use std::time::Duration;

use crate::ambient::random_hex;
use crate::callback::{Caller, Outcome};
use crate::domain::app::{App, Form};
use crate::domain::delivery::{Message, News, Webhook};
use crate::domain::signature::{Params, sign};
use crate::domain::time::Timestamp;

/// The event's name. An app answers `success` to events that it does not know.
pub const EVENT: &str = "test";

/// How a call went.
#[derive(Debug)]
pub struct Tried {
    /// What was sent.
    pub sent: Message,
    /// The HTTP status, when there was an answer.
    pub http_status: Option<u16>,
    /// Its first bytes, or why there was none.
    pub answer: String,
    /// How long it took.
    pub latency: Duration,
    /// What is right or wrong about it.
    pub verdict: String,
}

/// Both calls.
#[derive(Debug)]
pub struct Tested {
    /// As every callback is made.
    pub signed: Tried,
    /// With a signature that is not the app's. None where the first was not answered.
    pub forged: Option<Tried>,
}

/// Calls an address of the app's, which was checked.
pub async fn test(caller: &Caller, app: &App, address: &str, now: Timestamp) -> Tested {
    let message = message(app, now);
    let outcome = caller.tell(address, &message).await;
    let verdict = of_signed(&outcome, app.form);
    let answered = outcome.http_status.is_some();
    let forged = match answered {
        false => None,
        true => {
            let message = forged(message.clone());
            let outcome = caller.tell(address, &message).await;
            let verdict = of_forged(&outcome);
            Some(tried(message, outcome, verdict))
        }
    };
    let signed = tried(message, outcome, verdict);
    Tested { signed, forged }
}

/// As every callback of this app is.
fn message(app: &App, now: Timestamp) -> Message {
    let event_id = format!("test-{}", random_hex());
    let mut params = Params::from([("app_id".to_owned(), app.app_id.to_string())]);
    match app.form {
        Form::StandardWebhooks => {
            let news = News {
                event_id: &event_id,
                event: EVENT,
                at: now,
                payload: &params,
            };
            Message::Webhook(Webhook::new(app, news, now))
        }
        Form::Query => {
            params.extend([
                ("event".to_owned(), EVENT.to_owned()),
                ("event_id".to_owned(), event_id),
                ("attempt".to_owned(), "1".to_owned()),
                ("timestamp".to_owned(), now.seconds().to_string()),
                ("nonce".to_owned(), random_hex()),
            ]);
            params.insert("sign".to_owned(), sign(&params, &app.app_secret));
            Message::Query(params)
        }
    }
}

/// The same under a signature of the right form that nobody made.
fn forged(mut message: Message) -> Message {
    let wrong = format!("{}{}", random_hex(), random_hex());
    match &mut message {
        Message::Query(params) => {
            params.insert("sign".to_owned(), wrong.to_uppercase());
        }
        // 43 characters and the padding are 32 bytes; the last one has two bits to spare.
        Message::Webhook(webhook) => {
            let most = wrong.get(..42).unwrap_or_default();
            webhook.signature = format!("v1,{most}A=");
        }
    }
    message
}

fn tried(sent: Message, outcome: Outcome, verdict: String) -> Tried {
    Tried {
        sent,
        http_status: outcome.http_status,
        answer: outcome.answer,
        latency: outcome.latency,
        verdict,
    }
}

fn of_signed(outcome: &Outcome, form: Form) -> String {
    let answer = &outcome.answer;
    let (method, proof, wanted) = match form {
        Form::Query => ("GET", "`sign`", "200 and `success`"),
        Form::StandardWebhooks => ("POST", "`webhook-signature`", "with a status of 2xx"),
    };
    match outcome.http_status {
        Some(status) if outcome.delivered => match form {
            Form::Query => "good: your answer was `success`".to_owned(),
            Form::StandardWebhooks => format!("good: your answer was {status}"),
        },
        None if outcome.timed_out => "your server did not answer within 10 seconds".to_owned(),
        None => format!("your server was not reached, or broke off: {answer}"),
        Some(status @ 200..=299) if answer.is_empty() => {
            format!("your answer was {status} but the body was empty: answer `success`")
        }
        Some(status @ 200..=299) => {
            format!("your answer was {status} but the body was `{answer}`: answer `success`")
        }
        Some(status @ 300..=399) => format!(
            "your answer was {status}, a redirect, which the hub does not follow: name the \
             address itself"
        ),
        Some(status @ (400 | 401 | 403)) if form == Form::StandardWebhooks => format!(
            "your server refused the call ({status}): let the hub in without a log-in, and go \
             by {proof}; if you do, give your library the secret that begins with `whsec_`, and \
             the body as it came, byte for byte"
        ),
        Some(status @ (401 | 403)) => format!(
            "your server refused the call ({status}): let the hub in without a log-in, and \
             go by {proof}; if you do, compare the secret and how you sign"
        ),
        Some(404) => "there is nothing at this address (404)".to_owned(),
        Some(405) => format!("your server does not take {method} at this address (405)"),
        Some(415) => "your server does not take application/json at this address (415)".to_owned(),
        Some(status @ 500..) => format!("your server failed ({status}): look into its log"),
        Some(status) => format!("your answer was {status}: answer {wanted}"),
    }
}

fn of_forged(outcome: &Outcome) -> String {
    match outcome.delivered {
        true => "bad: your server took a wrong signature: verify it, or anybody can tell you of \
                 payments"
            .to_owned(),
        false => "good: your server did not take a wrong signature".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::domain::fixtures;
    use crate::domain::signature::verify;

    fn outcome(http_status: Option<u16>, answer: &str) -> Outcome {
        Outcome {
            delivered: http_status == Some(200) && answer == "success",
            http_status,
            answer: answer.to_owned(),
            latency: Duration::ZERO,
            timed_out: answer == "timed out",
        }
    }

    #[test]
    fn a_forged_message_differs_in_its_signature_only() {
        let mut app = fixtures::app();
        for form in [Form::Query, Form::StandardWebhooks] {
            app.form = form;
            let right = message(&app, fixtures::NOW);
            match (right.clone(), forged(right)) {
                (Message::Query(mut right), Message::Query(mut wrong)) => {
                    assert!(verify(&right, &app.app_secret));
                    assert!(!verify(&wrong, &app.app_secret));
                    let (one, other) = (right.remove("sign"), wrong.remove("sign"));
                    assert_eq!(one.unwrap().len(), other.unwrap().len());
                    assert_eq!(right, wrong);
                }
                (Message::Webhook(right), Message::Webhook(wrong)) => {
                    assert_ne!(right.signature, wrong.signature);
                    let bytes = |webhook: &Webhook| {
                        let text = webhook.signature.strip_prefix("v1,").unwrap().to_owned();
                        STANDARD.decode(text).unwrap().len()
                    };
                    assert_eq!((bytes(&right), bytes(&wrong)), (32, 32));
                    let signature = right.signature.clone();
                    assert_eq!(right, Webhook { signature, ..wrong });
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        for (status, answer, expected) in [
            (Some(200), "success", "good: your answer was `success`"),
            (
                Some(200),
                "ok",
                "your answer was 200 but the body was `ok`: answer `success`",
            ),
            (
                Some(204),
                "",
                "your answer was 204 but the body was empty: answer `success`",
            ),
            (Some(302), "", "your answer was 302, a redirect"),
            (Some(403), "no", "your server refused the call (403)"),
            (Some(404), "", "there is nothing at this address"),
            (Some(405), "", "your server does not take GET"),
            (Some(418), "", "your answer was 418"),
            (Some(500), "", "your server failed (500)"),
            (
                None,
                "timed out",
                "your server did not answer within 10 seconds",
            ),
            (
                None,
                "the address is not public",
                "your server was not reached, or broke off: the",
            ),
        ] {
            let said = of_signed(&outcome(status, answer), Form::Query);
            assert!(said.starts_with(expected), "{said}");
        }
        for (status, answer, expected) in [
            (200, "success", "good: your answer was 200"),
            (302, "", "your answer was 302, a redirect"),
            (
                400,
                "",
                "your server refused the call (400): let the hub in without a log-in, and go by `webhook-signature`",
            ),
            (405, "", "your server does not take POST"),
            (415, "", "your server does not take application/json"),
            (418, "", "your answer was 418: answer with a status of 2xx"),
            (500, "", "your server failed (500)"),
        ] {
            let said = of_signed(&outcome(Some(status), answer), Form::StandardWebhooks);
            assert!(said.starts_with(expected), "{said}");
        }
        assert!(of_forged(&outcome(Some(200), "success")).starts_with("bad"));
        assert!(of_forged(&outcome(Some(200), "fail")).starts_with("good"));
    }
}
