//! The shop itself: its memory behind one lock, and its calls to the hub.
//!
//! It refuses to know pages and the shape of callbacks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Url};
use serde_json::{Map, Value};

use crate::Config;
use crate::book::Book;
use crate::clock::{self, Clock};
use crate::signature::{Refusal, sign, verify};

/// Longer than the hub may wait for WeChat, shorter than a person's patience.
const HUB_TIMEOUT: Duration = Duration::from_secs(15);

/// Everything the handlers share.
pub(crate) struct Shop {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    book: Mutex<Book>,
    client: Client,
}

/// What the hub said, whether it agreed or not.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The JSON body; a body that is not JSON comes as a string.
    pub(crate) body: Value,
}

impl Reply {
    /// A 2xx status.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A text member of the body, or nothing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or("")
    }
}

/// An order as it was sent, and the hub's reply.
pub(crate) struct Placed {
    pub(crate) order_no: String,
    pub(crate) reply: Reply,
}

/// Why the hub could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    /// The shop has no secret for the app.
    #[error("the shop does not know the app {0:?}")]
    UnknownApp(String),
    /// The signature is defined for flat bodies only.
    #[error("{0:?} is neither a string nor an integer")]
    NotFlat(String),
    /// The configured address of the hub is no URL.
    #[error("the hub's address is no URL")]
    NoAddress,
    /// The operating system gave no random bytes.
    #[error("no random numbers: {0}")]
    NoRandomness(getrandom::Error),
    /// No answer came: whether the hub did what was asked is unknown.
    #[error("the hub did not answer")]
    NoAnswer(#[from] reqwest::Error),
}

impl Shop {
    /// An empty shop that knows its own app.
    pub(crate) fn new(mut config: Config) -> Self {
        for base in [&mut config.public_url, &mut config.hub_url] {
            base.truncate(base.trim_end_matches('/').len());
        }
        // Fails when another provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        #[expect(clippy::expect_used, reason = "a shop without a client is no shop")]
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(HUB_TIMEOUT)
            .build()
            .expect("an HTTP client");
        let shop = Self {
            config,
            clock: Clock::default(),
            book: Mutex::default(),
            client,
        };
        shop.reset();
        shop
    }

    /// Forgets everything but the configuration.
    pub(crate) fn reset(&self) {
        let mut book = Book::default();
        book.learn_app(self.config.app_id.clone(), self.config.app_secret.clone());
        *self.book() = book;
        self.clock.set_offset(0);
    }

    /// The memory. Never held across an await.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges parameters that claim to come from the hub.
    pub(crate) fn verify(&self, params: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let secret = params
            .get("app_id")
            .and_then(|app_id| self.secret(app_id).ok());
        verify(
            params,
            &secret.ok_or(Refusal::UnknownApp)?,
            self.clock.now(),
        )
    }

    /// Creates an order at the hub from whatever fields are given; the rest is
    /// filled in. A field given as null is left out, even one that would be
    /// filled in: tests of the hub's refusals need that.
    pub(crate) async fn place(&self, mut fields: Map<String, Value>) -> Result<Placed, HubError> {
        let app_id = match fields.get("app_id").and_then(Value::as_str) {
            Some(app_id) => app_id.to_owned(),
            None => self.config.app_id.clone(),
        };
        let secret = self.secret(&app_id)?;
        let defaults: [(&str, Value); 8] = [
            ("app_id", app_id.clone().into()),
            (
                "order_no",
                clock::order_no().map_err(HubError::NoRandomness)?.into(),
            ),
            ("total_fee", 1.into()),
            ("body", "Demo order".into()),
            (
                "notify_url",
                format!("{}/notify", self.config.public_url).into(),
            ),
            (
                "return_url",
                format!("{}/return", self.config.public_url).into(),
            ),
            ("timestamp", self.clock.now().into()),
            (
                "nonce",
                clock::nonce().map_err(HubError::NoRandomness)?.into(),
            ),
        ];
        for (name, value) in defaults {
            fields.entry(name).or_insert(value);
        }
        fields.retain(|_, value| !value.is_null());
        let flat = flatten(&fields)?;
        fields
            .entry("sign")
            .or_insert_with(|| sign(&flat, &secret).into());

        let field = |name: &str| flat.get(name).cloned().unwrap_or_default();
        let order_no = field("order_no");
        let key = (app_id, order_no.clone());
        let is_new = match field("total_fee").parse() {
            Ok(fen) => self.book().note_order(key.clone(), field("body"), fen),
            Err(_) => false,
        };
        let url = format!("{}/v1/orders", self.config.hub_url);
        let reply = ask(self.client.post(url).json(&fields)).await?;
        if is_new && !reply.is_success() {
            self.book().strike_order(&key);
        }
        Ok(Placed { order_no, reply })
    }

    /// Asks the hub for the truth about an order. The number comes out of a
    /// verified address and has no characters that could leave the path.
    pub(crate) async fn look_up(&self, app_id: &str, order_no: &str) -> Result<Reply, HubError> {
        let mut params = self.signed(app_id, &[("order_no", order_no)])?;
        params.remove("order_no");
        let url = format!("{}/v1/orders/{order_no}", self.config.hub_url);
        ask(self.client.get(url).query(&params)).await
    }

    /// Where a browser logs in; it comes back to `/logged-in`.
    pub(crate) fn authorize_url(&self, state: &str) -> Result<String, HubError> {
        let back = format!("{}/logged-in", self.config.public_url);
        let wish = [
            ("redirect_uri", back.as_str()),
            ("scope", "snsapi_userinfo"),
            ("state", state),
        ];
        let params = self.signed(&self.config.app_id, &wish)?;
        let base = format!("{}/oauth/authorize", self.config.hub_url);
        let url = Url::parse_with_params(&base, params);
        Ok(url.map_err(|_| HubError::NoAddress)?.into())
    }

    /// Asks the hub who a code stands for.
    pub(crate) async fn exchange(&self, code: &str) -> Result<Reply, HubError> {
        let body = self.signed(&self.config.app_id, &[("code", code)])?;
        let url = format!("{}/v1/oauth/token", self.config.hub_url);
        ask(self.client.post(url).json(&body)).await
    }

    fn signed(
        &self,
        app_id: &str,
        fields: &[(&str, &str)],
    ) -> Result<BTreeMap<String, String>, HubError> {
        let (now, nonce) = (self.clock.now().to_string(), clock::nonce());
        let nonce = nonce.map_err(HubError::NoRandomness)?;
        let frame = [("app_id", app_id), ("timestamp", &now), ("nonce", &nonce)];
        let mut params: BTreeMap<String, String> = frame
            .iter()
            .chain(fields)
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let signature = sign(&params, &self.secret(app_id)?);
        params.insert("sign".to_owned(), signature);
        Ok(params)
    }

    fn secret(&self, app_id: &str) -> Result<String, HubError> {
        let book = self.book();
        let secret = book.secret(app_id).map(str::to_owned);
        secret.ok_or_else(|| HubError::UnknownApp(app_id.to_owned()))
    }
}

async fn ask(request: RequestBuilder) -> Result<Reply, HubError> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    Ok(Reply {
        status,
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
    })
}

/// The fields as the signature sees them: integers in decimal.
fn flatten(fields: &Map<String, Value>) -> Result<BTreeMap<String, String>, HubError> {
    let flat = fields.iter().map(|(name, value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        Value::Number(number) if !number.is_f64() => Ok((name.clone(), number.to_string())),
        _ => Err(HubError::NotFlat(name.clone())),
    });
    flat.collect()
}
