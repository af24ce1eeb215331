//! The harness of the journeys: the running local stack as a third party, a
//! payer, WeChat and an operator see it. It refuses to know how the hub works
//! inside: it signs with the shop's code, not with the hub's.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a harness that cannot go on stops the test, and reads clock and environment"
)]

pub mod cut;
mod surroundings;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use reqwest::header::{ACCEPT_LANGUAGE, USER_AGENT};
use serde_json::{Map, Value, json};
use shared::ambient::random_hex;
use shared::aws::registry::Registry;
use shared::aws::secrets::Merchant;
use shared::domain::app::{App, AppSecret};
use shared::domain::id::AppId;
use shared::wechat::Account;
use shared::wechat::sign::SignType;

/// A browser on a desktop.
pub const DESKTOP: &str = "Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0 Safari/537.36";
/// The browser inside WeChat.
pub const WECHAT: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile MicroMessenger/8.0.50 NetType/WIFI";

/// The local stack, and one app registered for one test.
#[derive(Debug)]
pub struct Stack {
    settings: BTreeMap<String, String>,
    http: reqwest::Client,
    /// For reaching AWS as an operator.
    pub aws: SdkConfig,
    /// The app's identifier.
    pub app_id: String,
    app_secret: String,
}

/// An answer: its status and its body, JSON or text.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
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
        shared::aws::use_ring();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        let aws = operator(
            &settings["AWS_ENDPOINT_URL"],
            Credentials::new("test", "test", None, None, "tests"),
        );
        let mut app = App {
            app_id: AppId::parse(&random_hex()[..16]).unwrap(),
            app_secret: AppSecret::parse(&random_hex()).unwrap(),
            name: "journey".into(),
            disabled: false,
            allow_http: true,
            allow_direct: false,
            skip_return_call: false,
            refund_by_hand: false,
            genprepay: false,
            sites: Vec::new(),
            signed_profile: false,
        };
        change(&mut app);
        let registry = Registry::new(&aws, settings["REGISTRY_TABLE"].clone());
        assert!(registry.add_app(&app).await.unwrap());
        let stack = Self {
            settings,
            http,
            aws,
            app_id: app.app_id.to_string(),
            app_secret: app.app_secret.expose().to_owned(),
        };
        let known = json!({"app_id": stack.app_id, "app_secret": stack.app_secret});
        stack.shop("apps", &known).await;
        stack
    }

    /// A line of hub.env.
    #[must_use]
    pub fn setting(&self, name: &str) -> &str {
        &self.settings[name]
    }

    /// Signs as the app.
    #[must_use]
    pub fn sign(&self, params: &BTreeMap<String, String>) -> String {
        demo_shop::sign(params, &self.app_secret)
    }

    /// A complete, signed order; `changes` replaces or (null) removes fields
    /// before signing.
    #[must_use]
    pub fn order(&self, changes: Value) -> Value {
        let mut order = json!({
            "app_id": self.app_id,
            "order_no": random_order_no(),
            "total_fee": 1999,
            "body": "A journey",
            "notify_url": format!("{}/notify", self.setting("SHOP_URL")),
            "return_url": format!("{}/return", self.setting("SHOP_URL")),
            "trade_type": "NATIVE",
            "timestamp": unix_seconds(),
            "nonce": random_hex(),
        });
        let fields = order.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            fields.insert(name.clone(), value.clone());
        }
        fields.retain(|_, value| !value.is_null());
        let sign = self.sign(&flat(fields));
        fields.entry("sign").or_insert(json!(sign));
        order
    }

    /// An address of the hub with signed parameters; `changes` adds, replaces
    /// or (null) removes some before signing.
    #[must_use]
    pub fn signed_url(&self, path: &str, changes: Value) -> String {
        let signed = self.signed(changes);
        let base = format!("{}{path}", self.setting("HUB_URL"));
        let params = flat(signed.as_object().unwrap());
        url::Url::parse_with_params(&base, params).unwrap().into()
    }

    /// Signed parameters, for a query or a body.
    #[must_use]
    pub fn signed(&self, changes: Value) -> Value {
        let base = json!({
            "app_id": self.app_id,
            "timestamp": unix_seconds(),
            "nonce": random_hex(),
        });
        let mut params = with(base, changes);
        let fields = params.as_object_mut().unwrap();
        fields.retain(|_, value| !value.is_null());
        let sign = self.sign(&flat(fields));
        fields.entry("sign").or_insert(json!(sign));
        params
    }

    /// The merchant, as a function that has just started knows it. Its payments
    /// are out of reach: they speak TLS.
    #[must_use]
    pub fn merchant(&self) -> Merchant {
        let base = self.setting("SIMULATOR_URL");
        let account = Account {
            app_id: self.setting("WECHAT_APP_ID").to_owned(),
            mch_id: self.setting("WECHAT_MCH_ID").to_owned(),
            sign_type: SignType::HmacSha256,
            pay_base: base.to_owned(),
            api_base: base.to_owned(),
            open_base: base.to_owned(),
        };
        let secret = self.setting("WECHAT_SECRET_NAME").to_owned();
        Merchant::new(self.aws.clone(), (account, secret, None))
    }

    /// `POST /v1/orders`.
    pub async fn create(&self, order: &Value) -> Answer {
        let url = format!("{}/v1/orders", self.setting("HUB_URL"));
        answer(self.http.post(url).json(order)).await
    }

    /// `POST /v1/orders` with any bytes.
    pub async fn create_raw(&self, body: Vec<u8>) -> Answer {
        let url = format!("{}/v1/orders", self.setting("HUB_URL"));
        answer(
            self.http
                .post(url)
                .header("content-type", "application/json")
                .body(body),
        )
        .await
    }

    /// A stored NATIVE order.
    pub async fn native(&self, changes: Value) -> Value {
        let created = self.create(&self.order(changes)).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body
    }

    /// `GET /v1/orders/{order_no}`, signed.
    pub async fn show(&self, order_no: &Value) -> Answer {
        let order_no = order_no.as_str().unwrap();
        let path = BTreeMap::from([("order_no".to_owned(), order_no.to_owned())]);
        self.get(&format!("/v1/orders/{order_no}"), path).await
    }

    /// A signed `POST /v1/orders/{order_no}/{action}`.
    pub async fn act(&self, order_no: &Value, action: &str, fields: Value) -> Answer {
        let order_no = order_no.as_str().unwrap();
        let mut body = with(
            json!({"app_id": self.app_id, "timestamp": unix_seconds(), "nonce": random_hex()}),
            fields,
        );
        let mut params = flat(body.as_object().unwrap());
        params.insert("order_no".into(), order_no.into());
        body["sign"] = json!(self.sign(&params));
        let url = format!("{}/v1/orders/{order_no}/{action}", self.setting("HUB_URL"));
        answer(self.http.post(url).json(&body)).await
    }

    /// A refund of a paid order.
    pub async fn refund(&self, order_no: &Value, refund_no: &str, fields: Value) -> Answer {
        let fields = with(json!({"refund_no": refund_no}), fields);
        self.act(order_no, "refunds", fields).await
    }

    /// `GET /v1/orders/{order_no}/refunds/{refund_no}`, signed.
    pub async fn show_refund(&self, order_no: &Value, refund_no: &str) -> Answer {
        let order_no = order_no.as_str().unwrap();
        let path = BTreeMap::from([
            ("order_no".to_owned(), order_no.to_owned()),
            ("refund_no".to_owned(), refund_no.to_owned()),
        ]);
        let url = format!("/v1/orders/{order_no}/refunds/{refund_no}");
        self.get(&url, path).await
    }

    async fn get(&self, path: &str, path_params: BTreeMap<String, String>) -> Answer {
        let mut params = BTreeMap::from([
            ("app_id".to_owned(), self.app_id.clone()),
            ("timestamp".to_owned(), unix_seconds().to_string()),
            ("nonce".to_owned(), random_hex()),
        ]);
        let mut signed = params.clone();
        signed.extend(path_params);
        params.insert("sign".to_owned(), self.sign(&signed));
        let url = format!("{}{path}", self.setting("HUB_URL"));
        let url = url::Url::parse_with_params(&url, params).unwrap();
        answer(self.http.get(url)).await
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

    /// What the shop was told of this event, once per call.
    pub async fn told_of(&self, order_no: &Value, event: &str) -> Vec<Value> {
        let mut callbacks = self.callbacks(order_no).await;
        callbacks.retain(|callback| callback["params"]["event"] == event);
        callbacks
    }

    /// A page of the hub, as this browser sees it.
    pub async fn page(&self, url: &str, user_agent: &str, language: &str) -> Answer {
        let request = self.http.get(url).header(USER_AGENT, user_agent);
        answer(request.header(ACCEPT_LANGUAGE, language)).await
    }

    /// A browser that keeps cookies and follows redirects.
    #[must_use]
    pub fn browser(&self, user_agent: &str) -> reqwest::Client {
        reqwest::Client::builder()
            .cookie_store(true)
            .user_agent(user_agent)
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap()
    }

    /// The same, stopping at each redirect.
    #[must_use]
    pub fn browser_without_redirects(&self, user_agent: &str) -> reqwest::Client {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(user_agent)
            .build()
            .unwrap()
    }

    /// Any request.
    pub async fn send(
        &self,
        request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> Answer {
        answer(request(&self.http)).await
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
        .http_client(shared::aws::https_client())
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

/// Now.
#[must_use]
pub fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Parameters as they are signed.
#[must_use]
pub fn flat(fields: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    fields
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

fn with(mut base: Value, changes: Value) -> Value {
    base.as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    base
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("the local stack answers");
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, body }
}
