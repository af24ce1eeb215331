//! The shop itself: its memory behind one lock, its calls to the hub, and what
//! a test that runs it in its own process may do with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Url};
use serde_json::{Value, json};

use crate::Config;
use crate::app::{App, Fields, texts};
use crate::behaviour::{Mode, Rule};
use crate::book::{Book, OrderKey, Told};
use crate::clock::Clock;
use crate::notification::PROOF;
use crate::signature::{Refusal, Webhook, verify, verify_webhook};

/// Longer than the hub may wait for WeChat, shorter than a person's patience.
const HUB_TIMEOUT: Duration = Duration::from_secs(15);

/// A shop: what its pages, its addresses and its control side share.
pub struct Shop {
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
    /// Whether the hub did what was asked: any status of 2xx.
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
    ///
    /// # Panics
    /// When no HTTP client can be built, which shows at start or never.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
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

    /// Its base address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.config.public_url
    }

    /// Forgets everything but the configuration.
    pub(crate) fn reset(&self) {
        let mut book = Book::default();
        book.learn_app(self.config.app.clone());
        *self.book() = book;
        self.clock.set_offset(0);
    }

    /// Makes an app's callbacks verifiable, and its orders placeable.
    pub fn learn(&self, app: App) {
        self.book().learn_app(app);
    }

    /// Answers verified callbacks in this way from now on.
    pub fn behave(&self, rule: Rule) {
        self.book().rules.set(rule);
    }

    /// Answers every verified callback `success` from now on.
    pub fn behave_well(&self) {
        self.book().rules.clear();
    }

    /// What the shop has been told of the orders with this number.
    #[must_use]
    pub fn told(&self, order_no: &str) -> Told {
        self.book().told(order_no)
    }

    /// How many callbacks have been answered in this way.
    #[must_use]
    pub fn answered(&self, mode: Mode) -> usize {
        self.book().answered(mode)
    }

    /// The memory. Never held across an await.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges parameters that claim to come from the hub.
    pub(crate) fn verify(&self, params: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let app = params
            .get("app_id")
            .and_then(|app_id| self.app(app_id).ok());
        let app = app.ok_or(Refusal::UnknownApp)?;
        verify(params, &app.secret, self.clock.now())
    }

    /// Judges a webhook that claims to come from the hub and to tell of this.
    pub(crate) fn verify_webhook(
        &self,
        told: &BTreeMap<String, String>,
        webhook: &Webhook,
    ) -> Result<(), Refusal> {
        let app = told.get("app_id").and_then(|app_id| self.app(app_id).ok());
        let app = app.ok_or(Refusal::UnknownApp)?;
        verify_webhook(webhook, &app.secret, self.clock.now())
    }

    /// Creates an order at the hub from whatever fields are given; the rest is
    /// filled in, as [`App::order`] says.
    pub(crate) async fn place(&self, fields: Fields) -> Result<Placed, HubError> {
        let app_id = match fields.get("app_id").and_then(Value::as_str) {
            Some(app_id) => app_id.to_owned(),
            None => self.config.app.id.clone(),
        };
        let app = self.app(&app_id)?;
        let order = app
            .order(&self.config.public_url, fields, self.clock.now())
            .map_err(HubError::NoRandomness)?;
        if let Some((name, _)) = order.iter().find(|(_, value)| !is_flat(value)) {
            return Err(HubError::NotFlat(name.clone()));
        }

        let texts = texts(&order);
        let field = |name: &str| texts.get(name).cloned().unwrap_or_default();
        let order_no = field("order_no");
        let key = OrderKey {
            app_id,
            order_no: order_no.clone(),
        };
        let is_new = match field("total_fee").parse() {
            Ok(fen) => self.book().note_order(key.clone(), field("body"), fen),
            Err(_) => false,
        };
        let url = format!("{}/v1/orders", self.config.hub_url);
        let reply = ask(self.client.post(url).json(&order)).await?;
        if is_new && !reply.is_success() {
            self.book().strike_order(&key);
        }
        Ok(Placed { order_no, reply })
    }

    /// Asks the hub for the truth about an order. The number comes out of a
    /// verified address and has no characters that could leave the path.
    pub(crate) async fn look_up(&self, app_id: &str, order_no: &str) -> Result<Reply, HubError> {
        let path = [("order_no", order_no)];
        let params = self.signed(&self.app(app_id)?, &path, Value::Null)?;
        let url = format!("{}/v1/orders/{order_no}", self.config.hub_url);
        ask(self.client.get(url).query(&params)).await
    }

    /// Has the hub verify a notification of WeChat's, and settle what it tells.
    pub(crate) async fn verify_notification(
        &self,
        app_id: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Reply, HubError> {
        let mut wish = Fields::new();
        wish.insert("notification".to_owned(), STANDARD.encode(body).into());
        for (header, name) in PROOF {
            if let Some(value) = headers.get(header).and_then(|value| value.to_str().ok()) {
                wish.insert(name.to_owned(), value.into());
            }
        }
        let body = self.signed(&self.app(app_id)?, &[], wish.into())?;
        let url = format!("{}/v1/notifications/verify", self.config.hub_url);
        ask(self.client.post(url).json(&body)).await
    }

    /// Where a browser logs in; it comes back to `/logged-in`.
    pub(crate) fn authorize_url(&self, state: &str) -> Result<String, HubError> {
        let back = format!("{}/logged-in", self.config.public_url);
        let wish = json!({"redirect_uri": back, "scope": "snsapi_userinfo", "state": state});
        let params = self.signed(&self.config.app, &[], wish)?;
        let base = format!("{}/oauth/authorize", self.config.hub_url);
        let url = Url::parse_with_params(&base, texts(&params));
        Ok(url.map_err(|_| HubError::NoAddress)?.into())
    }

    /// Asks the hub who a code stands for.
    pub(crate) async fn exchange(&self, code: &str) -> Result<Reply, HubError> {
        let body = self.signed(&self.config.app, &[], json!({"code": code}))?;
        let url = format!("{}/v1/oauth/token", self.config.hub_url);
        ask(self.client.post(url).json(&body)).await
    }

    fn signed(&self, app: &App, path: &[(&str, &str)], fields: Value) -> Result<Fields, HubError> {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Fields::new(),
        };
        app.request(path, fields, self.clock.now())
            .map_err(HubError::NoRandomness)
    }

    fn app(&self, app_id: &str) -> Result<App, HubError> {
        let app = self.book().app(app_id);
        app.ok_or_else(|| HubError::UnknownApp(app_id.to_owned()))
    }
}

/// Without the memory, which has no end, and without secrets.
impl fmt::Debug for Shop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shop")
            .field("config", &self.config)
            .finish_non_exhaustive()
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

/// The signature is defined for strings and integers.
fn is_flat(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Number(number) => !number.is_f64(),
        _ => false,
    }
}
