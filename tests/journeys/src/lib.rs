//! The harness of the journeys: the running local stack as a third party, a
//! payer, WeChat and an operator see it. It signs with the demo shop's code, not
//! with the hub's, and holds every answer of the hub against docs/openapi.yaml.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a harness that cannot go on stops the test, and reads clock and environment"
)]

mod browser;
pub mod cut;
pub mod desk;
mod judge;
mod surroundings;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use demo_shop::Fields;
use reqwest::header::{ACCEPT_LANGUAGE, USER_AGENT};
use serde_json::{Value, json};
use shared::ambient::random_hex;
use shared::aws::accounts::Accounts;
use shared::aws::audit::Audit;
use shared::aws::registry::Registry;
use shared::config;
use shared::domain::app::{App, AppSecret};
use shared::domain::audit::Entry;
use shared::domain::id::AppId;
use shared::domain::merchant::AccountId;
use shared::domain::time::Timestamp;
use shared::wechat::{Gateway, Hosts, Http};

pub use crate::browser::{Browser, Page};
use crate::judge::Judge;
pub use crate::judge::Received;
pub use crate::surroundings::{Ran, Row};

/// A browser on a desktop.
pub const DESKTOP: &str = "Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0 Safari/537.36";
/// The browser inside WeChat.
pub const WECHAT: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile MicroMessenger/8.0.50 NetType/WIFI";

/// A phone's browser outside WeChat.
pub const PHONE: &str =
    "Mozilla/5.0 (Linux; Android 16; Pixel 10) Chrome/150.0 Mobile Safari/537.36";

/// The local stack, and one app registered for one test.
#[derive(Debug)]
pub struct Stack {
    settings: BTreeMap<String, String>,
    http: reqwest::Client,
    judge: Judge,
    /// For reaching AWS as an operator.
    pub aws: SdkConfig,
    /// The app, as its own servers know it.
    pub app: demo_shop::App,
}

/// An answer: its status and its body, JSON or text.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status, documented for the request if it is the hub's.
    pub status: u16,
    /// JSON where it is JSON, a string otherwise.
    pub body: Value,
}

impl Stack {
    /// The stack named by `HUB_ENV`, with an app of its own.
    pub async fn new() -> Self {
        Self::with_app(|_| {}).await
    }

    /// The same, with the app changed before it is registered.
    pub async fn with_app(change: impl FnOnce(&mut App)) -> Self {
        let path = std::env::var("HUB_ENV").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../.local/test/hub.env").to_owned()
        });
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("the journeys need a stack: run `make test` ({path}: {error})")
        });
        let settings: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        shared::tls::use_ring();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        let aws = operator(
            &settings["AWS_ENDPOINT_URL"],
            Credentials::new("test", "test", None, None, "tests"),
        );
        let mut app = an_app();
        change(&mut app);
        let registry = Registry::new(&aws, settings["REGISTRY_TABLE"].clone());
        let audit = Audit::new(&aws, settings["AUDIT_TABLE"].clone());
        let entry = registered(&app);
        assert!(registry.add_app(&app, &audit, &entry).await.unwrap());
        let judge = Judge {
            api: settings["HUB_URL"].clone(),
            notify: settings["HUB_NOTIFY_URL"].clone(),
        };
        let stack = Self {
            settings,
            http,
            judge,
            aws,
            app: demo_shop::App {
                id: app.app_id.to_string(),
                secret: app.app_secret.expose().to_owned(),
            },
        };
        let known = json!({"app_id": stack.app.id, "app_secret": stack.app.secret});
        stack.shop("apps", &known).await;
        if stack.is_v3() {
            // Older pages say that version 3 closes as late as version 2 does, newer
            // ones nothing: the journeys take the harder case.
            let guarded = json!({"v3_close_guard_seconds": 300});
            assert_eq!(stack.wechat("settings", &guarded).await.status, 200);
        }
        stack
    }

    /// A line of hub.env.
    #[must_use]
    pub fn setting(&self, name: &str) -> &str {
        &self.settings[name]
    }

    /// A complete, signed order; `changes` replaces or (null) removes fields
    /// before signing.
    #[must_use]
    pub fn order(&self, changes: Value) -> Value {
        let order = json!({"total_fee": 1999, "body": "A journey", "trade_type": "NATIVE"});
        let order = fields(with(order, changes));
        let shop = self.setting("SHOP_URL");
        self.app.order(shop, order, unix_seconds()).unwrap().into()
    }

    /// An address of the hub with signed parameters; `changes` adds, replaces
    /// or (null) removes some before signing.
    #[must_use]
    pub fn signed_url(&self, path: &str, changes: Value) -> String {
        self.url_with(path, &self.request(&[], changes))
    }

    /// Signed parameters, for a body.
    #[must_use]
    pub fn signed(&self, changes: Value) -> Value {
        self.request(&[], changes).into()
    }

    fn request(&self, path: &[(&str, &str)], changes: Value) -> Fields {
        let request = self.app.request(path, fields(changes), unix_seconds());
        request.unwrap()
    }

    fn url_with(&self, path: &str, params: &Fields) -> String {
        let base = format!("{}{path}", self.setting("HUB_URL"));
        let params = demo_shop::texts(params);
        url::Url::parse_with_params(&base, params).unwrap().into()
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> Registry {
        Registry::new(&self.aws, self.setting("REGISTRY_TABLE").to_owned())
    }

    /// The installation's first account.
    #[must_use]
    pub fn first_account(&self) -> AccountId {
        AccountId::parse(self.setting("WECHAT_APP_ID")).unwrap()
    }

    /// The accounts, as a function that has just started knows them, with the keys
    /// of the first in this secret.
    #[must_use]
    pub fn accounts(&self, secret: &str) -> Accounts {
        let base = self.setting("SIMULATOR_URL").to_owned();
        let settings = config::Accounts {
            first: Some(self.first_account()),
            secret_id: Some(secret.to_owned()),
            hosts: Hosts {
                pay: Gateway::at(&base),
                api: base.clone(),
                open: base,
            },
            secrets_prefix: self.setting("SECRETS_PREFIX").to_owned(),
            fresh: Duration::from_secs(300),
        };
        let http = Http::new().unwrap();
        Accounts::new(&self.aws, self.registry(), settings, http)
    }

    /// `POST /v1/orders` with this body, signed or not.
    pub async fn create(&self, order: &Value) -> Answer {
        let url = format!("{}/v1/orders", self.setting("HUB_URL"));
        self.answer(self.http.post(url).json(order)).await
    }

    /// `POST /v1/orders` with any bytes.
    pub async fn create_raw(&self, body: Vec<u8>) -> Answer {
        let url = format!("{}/v1/orders", self.setting("HUB_URL"));
        let request = self.http.post(url).body(body);
        self.answer(request.header("content-type", "application/json"))
            .await
    }

    /// A stored NATIVE order.
    pub async fn native(&self, changes: Value) -> Value {
        let created = self.create(&self.order(changes)).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body
    }

    /// `GET /v1/orders/{order_no}`, signed just now.
    pub async fn show(&self, order_no: &Value) -> Answer {
        let order_no = order_no.as_str().unwrap();
        let path = format!("/v1/orders/{order_no}");
        self.get(&path, &[("order_no", order_no)]).await
    }

    /// A signed `POST /v1/orders/{order_no}/{action}`, with the action among what
    /// is signed.
    pub async fn act(&self, order_no: &Value, action: &str, fields: Value) -> Answer {
        let fields = with(json!({"action": action}), fields);
        let order_no = order_no.as_str().unwrap();
        let body = self.request(&[("order_no", order_no)], fields);
        let url = format!("{}/v1/orders/{order_no}/{action}", self.setting("HUB_URL"));
        self.answer(self.http.post(url).json(&body)).await
    }

    /// A refund of a paid order.
    pub async fn refund(&self, order_no: &Value, refund_no: &str, fields: Value) -> Answer {
        let fields = with(json!({"action": null, "refund_no": refund_no}), fields);
        self.act(order_no, "refunds", fields).await
    }

    /// `POST /v1/orders/{order_no}/refunds/{refund_no}/retry`.
    pub async fn retry_refund(&self, order_no: &Value, refund_no: &str) -> Answer {
        let order_no = order_no.as_str().unwrap();
        let numbers = [("order_no", order_no), ("refund_no", refund_no)];
        let body = self.request(&numbers, json!({"action": "retry"}));
        let path = format!("/v1/orders/{order_no}/refunds/{refund_no}/retry");
        let url = format!("{}{path}", self.setting("HUB_URL"));
        self.answer(self.http.post(url).json(&body)).await
    }

    /// `GET /v1/orders/{order_no}/refunds/{refund_no}`, signed just now.
    pub async fn show_refund(&self, order_no: &Value, refund_no: &str) -> Answer {
        let order_no = order_no.as_str().unwrap();
        let path = format!("/v1/orders/{order_no}/refunds/{refund_no}");
        let numbers = [("order_no", order_no), ("refund_no", refund_no)];
        self.get(&path, &numbers).await
    }

    /// `GET /v1/events`, signed just now.
    pub async fn events(&self, changes: Value) -> Answer {
        let url = self.signed_url("/v1/events", changes);
        self.answer(self.http.get(url)).await
    }

    async fn get(&self, path: &str, numbers: &[(&str, &str)]) -> Answer {
        let url = self.url_with(path, &self.request(numbers, json!({})));
        self.answer(self.http.get(url)).await
    }

    /// The order, read until it satisfies the condition.
    pub async fn order_when(&self, order_no: &Value, done: impl Fn(&Value) -> bool) -> Value {
        eventually(|| async {
            let shown = self.show(order_no).await;
            assert_eq!(shown.status, 200, "{shown:?}");
            if done(&shown.body) {
                Ok(shown.body)
            } else {
                Err(shown.body)
            }
        })
        .await
    }

    /// The order once its only delivery has this status.
    pub async fn delivered_as(&self, order_no: &Value, status: &str) -> Value {
        self.order_when(order_no, |order| order["deliveries"][0]["status"] == status)
            .await
    }

    /// The order once this event has been delivered.
    pub async fn told(&self, order_no: &Value, event: &str) -> Value {
        self.order_when(order_no, |order| {
            let mut deliveries = order["deliveries"].as_array().unwrap().iter();
            deliveries.any(|one| one["event"] == event && one["status"] == "delivered")
        })
        .await
    }

    /// The order is closed for this reason, and the shop was told so once.
    pub async fn told_closed(&self, order_no: &Value, reason: &str) {
        let shown = self.told(order_no, "order.closed").await;
        assert_eq!(shown["status"], "closed", "{shown}");
        let told = self.told_of(order_no, "order.closed").await;
        assert_eq!(told.len(), 1, "{told:?}");
        let params = &told[0]["params"];
        assert_eq!(params["reason"], reason, "{told:?}");
        assert_eq!(params["total_fee"], shown["total_fee"].to_string());
        assert!(params["closed_at"].is_string(), "{told:?}");
    }

    /// What the shop was told of this event, once per call.
    pub async fn told_of(&self, order_no: &Value, event: &str) -> Vec<Value> {
        let mut callbacks = self.callbacks(order_no).await;
        callbacks.retain(|callback| callback["params"]["event"] == event);
        callbacks
    }

    /// A page of the hub, as this browser sees it without cookies.
    pub async fn page(&self, url: &str, user_agent: &str, language: &str) -> Answer {
        let request = self.http.get(url).header(USER_AGENT, user_agent);
        self.answer(request.header(ACCEPT_LANGUAGE, language)).await
    }

    /// A new browser of this kind.
    #[must_use]
    pub fn browser(&self, user_agent: &str) -> Browser {
        Browser::new(self.judge.clone(), user_agent)
    }

    /// A request to whatever is a part of the stack.
    pub async fn send(
        &self,
        request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> Answer {
        self.answer(request(&self.http)).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let (_, received) = self.judge.ask(request).await;
        Answer {
            status: received.status,
            body: serde_json::from_str(&received.text).unwrap_or(Value::String(received.text)),
        }
    }
}

/// An app as the operator registers it for the tests: for addresses on this
/// machine, everything else as usual.
fn an_app() -> App {
    App {
        name: "journey".into(),
        allow_http: true,
        ..App::new(
            AppId::parse(&random_hex()[..16]).unwrap(),
            AppSecret::parse(&random_hex()).unwrap(),
        )
    }
}

/// What the trail says of that.
fn registered(app: &App) -> Entry {
    let at = Timestamp::from_millis(unix_seconds() * 1000);
    Entry {
        id: format!("{}-{}", Entry::id_at(at), random_hex()),
        at,
        who: "tests".into(),
        through: "journeys".into(),
        action: "app.create".into(),
        subject: app.app_id.to_string(),
        from: String::new(),
        reason: String::new(),
        before: Fields::new(),
        after: Fields::new(),
    }
}

/// AWS's settings for these credentials on the local stack.
#[must_use]
pub fn operator(endpoint: &str, credentials: Credentials) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(shared::aws::https::client())
        .build()
}

/// Asks again until the answer is right, and says what it was if it never is.
pub async fn eventually<T, F>(mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, Value>>,
{
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match ask().await {
            Ok(right) => return right,
            Err(last) if Instant::now() > deadline => panic!("still {last:#}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(150)).await,
        }
    }
}

/// Ten random letters and digits.
#[must_use]
pub fn random_order_no() -> String {
    random_hex()[..10].to_owned()
}

/// A payer's code; its last two digits tell the simulator what the payer does.
/// Each is used once.
#[must_use]
pub fn auth_code(case: &str) -> String {
    let unique = u64::from_str_radix(&random_order_no(), 16).unwrap();
    format!("13{:014}{case}", unique % 100_000_000_000_000)
}

/// Now, as a request's `timestamp` says it.
#[must_use]
pub fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// An object with these fields added or replaced.
#[must_use]
pub fn with(mut base: Value, changes: Value) -> Value {
    base.as_object_mut().unwrap().extend(fields(changes));
    base
}

fn fields(object: Value) -> Fields {
    match object {
        Value::Object(fields) => fields,
        other => panic!("not an object: {other}"),
    }
}
