//! A callback as it is sent: parameters of a query, or JSON with the headers of
//! Standard Webhooks (<https://www.standardwebhooks.com>).

use serde_json::{Map, Value, json};

use super::Delivery;
use crate::domain::app::App;
use crate::domain::signature::{Params, sign_webhook};
use crate::domain::time::Timestamp;

/// What is sent to an app, in the form that it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// By GET.
    Query(Params),
    /// By POST.
    Webhook(Webhook),
}

/// A body, and the headers that prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `webhook-id`: the event's.
    pub id: String,
    /// `webhook-timestamp`: when it is sent, in seconds.
    pub timestamp: String,
    /// `webhook-signature`: one by each secret that the app may have, the newer one
    /// first.
    pub signature: String,
    /// JSON, the same at every attempt.
    pub body: String,
}

/// What an app is told.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    /// The same at every attempt.
    pub event_id: &'a str,
    /// What happened.
    pub event: &'a str,
    /// When the hub knew.
    pub at: Timestamp,
    /// To whom and to what, in texts.
    pub payload: &'a Params,
}

impl<'a> From<&'a Delivery> for News<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self {
            event_id: &delivery.event_id,
            event: delivery.event.as_str(),
            at: delivery.origin,
            payload: &delivery.payload,
        }
    }
}

impl News<'_> {
    /// The same as JSON. Amounts are numbers there.
    #[must_use]
    pub fn json(&self) -> Value {
        let value = |name: &str, text: &str| match text.parse::<i64>() {
            Ok(fen) if name.ends_with("_fee") => fen.into(),
            _ => text.into(),
        };
        let data: Map<String, Value> = self
            .payload
            .iter()
            .map(|(name, text)| (name.clone(), value(name, text)))
            .collect();
        json!({"type": self.event, "timestamp": self.at.rfc3339(), "data": data})
    }
}

impl Webhook {
    /// Signs for the app. One that has two secrets verifies with either.
    #[must_use]
    pub fn new(app: &App, news: News<'_>, now: Timestamp) -> Self {
        let (id, timestamp) = (news.event_id.to_owned(), now.seconds().to_string());
        let body = news.json().to_string();
        let previous = app.previous_secret(now);
        let secrets =
            std::iter::once(&app.app_secret).chain(previous.map(|previous| &previous.app_secret));
        let signatures: Vec<String> = secrets
            .map(|secret| sign_webhook(&id, &timestamp, &body, secret))
            .collect();
        Self {
            signature: signatures.join(" "),
            id,
            timestamp,
            body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::{AppSecret, Rotation};
    use crate::domain::delivery::Occasion;
    use crate::domain::fixtures::{self, NOW, order, payment};

    /// Computed by Python's `hmac` and `base64`.
    #[test]
    fn the_body_is_the_same_at_every_attempt_and_the_signature_is_of_this_moment() {
        let occasion = Occasion {
            event_id: "evt".into(),
            now: NOW,
            grace_seconds: 60,
        };
        let told = Delivery::of_payment(&order(), &payment("tx1", 100), occasion);
        let mut app = fixtures::app();
        let first = Webhook::new(&app, (&told).into(), NOW);
        assert_eq!(first.body, BODY);
        assert_eq!(
            (first.id.as_str(), first.timestamp.as_str()),
            ("evt", "1790000000")
        );
        assert_eq!(
            first.signature,
            "v1,0nvMsVF6QNoy1/MtJgcJx7Vn3r1rFhSPnREdcvbRZ0I="
        );

        let later = NOW.plus_seconds(60);
        let new = AppSecret::parse(&"n".repeat(32)).unwrap();
        let until = Rotation::Overlap(NOW.plus_seconds(120));
        app.rotate(new, until, NOW).unwrap();
        let again = Webhook::new(&app, (&told).into(), later);
        assert_eq!((again.body.as_str(), again.id.as_str()), (BODY, "evt"));
        assert_eq!(
            again.signature,
            "v1,RFLN+gNuTqXeo69HY1nyyuTjWFU2vBmO65eD57iJCxY= v1,uAZBPFqpsLmVo/RQab3awsAX+4t2bNllOMp1lgxSdDI="
        );
        let after = Webhook::new(&app, (&told).into(), NOW.plus_seconds(120));
        assert!(!after.signature.contains(' '), "{after:?}");
    }

    const BODY: &str = r#"{"data":{"app_id":"demo000000000001","cash_fee":100,"order_no":"A000000001","paid_at":"2026-09-21T14:13:20.123Z","total_fee":100,"trade_no":"demo000000000001A00000000101","trade_type":"NATIVE","transaction_id":"tx1"},"timestamp":"2026-09-21T14:13:20.123Z","type":"payment.succeeded"}"#;

    #[test]
    fn a_secret_is_shown_in_the_form_that_libraries_take() {
        assert_eq!(
            fixtures::app().app_secret.webhook_form(),
            "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
        );
    }
}
