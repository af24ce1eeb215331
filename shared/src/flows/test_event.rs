//! A test event: one call of an app's address as callbacks are made, and one whose
//! signature is wrong, and in words what the app's developer should look at.

use std::time::Duration;

use crate::ambient::random_hex;
use crate::callback::{Caller, Outcome};
use crate::domain::app::App;
use crate::domain::signature::{Params, sign};
use crate::domain::time::Timestamp;

/// The event's name. An app answers `success` to events that it does not know.
pub const EVENT: &str = "test";

/// How a call went.
#[derive(Debug)]
pub struct Tried {
    /// What was sent in the query.
    pub params: Params,
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
    let mut params = Params::from([
        ("app_id".to_owned(), app.app_id.to_string()),
        ("event".to_owned(), EVENT.to_owned()),
        ("event_id".to_owned(), format!("test-{}", random_hex())),
        ("attempt".to_owned(), "1".to_owned()),
        ("timestamp".to_owned(), now.seconds().to_string()),
        ("nonce".to_owned(), random_hex()),
    ]);
    let right = sign(&params, &app.app_secret);
    params.insert("sign".to_owned(), right);
    let outcome = caller.call(address, &params).await;
    let verdict = of_signed(&outcome);
    let answered = outcome.http_status.is_some();
    let signed = tried(params.clone(), outcome, verdict);
    let forged = match answered {
        false => None,
        true => {
            let wrong = format!("{}{}", random_hex(), random_hex()).to_uppercase();
            params.insert("sign".to_owned(), wrong);
            let outcome = caller.call(address, &params).await;
            let verdict = of_forged(&outcome);
            Some(tried(params, outcome, verdict))
        }
    };
    Tested { signed, forged }
}

fn tried(params: Params, outcome: Outcome, verdict: String) -> Tried {
    Tried {
        params,
        http_status: outcome.http_status,
        answer: outcome.answer,
        latency: outcome.latency,
        verdict,
    }
}

fn of_signed(outcome: &Outcome) -> String {
    let answer = &outcome.answer;
    match outcome.http_status {
        Some(_) if outcome.delivered => "good: your answer was `success`".to_owned(),
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
        Some(status @ (401 | 403)) => format!(
            "your server refused the call ({status}): let the hub in without a log-in, and \
             go by `sign`; if you do, compare the secret and how you sign"
        ),
        Some(404) => "there is nothing at this address (404)".to_owned(),
        Some(405) => "your server does not take GET at this address (405)".to_owned(),
        Some(status @ 500..) => format!("your server failed ({status}): look into its log"),
        Some(status) => format!("your answer was {status}: answer 200 and `success`"),
    }
}

fn of_forged(outcome: &Outcome) -> String {
    match outcome.delivered {
        true => "bad: your server answered `success` to a wrong signature: verify `sign`, or \
                 anybody can tell you of payments"
            .to_owned(),
        false => "good: your server did not take a wrong signature".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let said = of_signed(&outcome(status, answer));
            assert!(said.starts_with(expected), "{said}");
        }
        assert!(of_forged(&outcome(Some(200), "success")).starts_with("bad"));
        assert!(of_forged(&outcome(Some(200), "fail")).starts_with("good"));
    }
}
