//! What the functions call: DynamoDB, SQS and Secrets Manager on one port,
//! WeChat on another, an app, and every call of them counted, right or wrong. It
//! owns the time that passes between steps, by moving what is stored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use demo_shop::App;
use md5::{Digest as _, Md5};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Map, Value, json};
use shared::ambient::Clock;
use shared::domain::order::ApiVersion;
use simulation::engine::{Engine, LEDGER, number, string};
use tokio::net::TcpListener;
use wechat_simulator::Config;

use crate::Failed;
use crate::runtime::lock;

/// The secret with version 2's key of payments.
const V2_SECRET: &str = "wechat";
/// The secret with version 3's.
const V3_SECRET: &str = "wechat-v3";
/// The secret with the official account's keys.
const ACCOUNT_SECRET: &str = "account";

/// The merchant's private key by version 3: that of the hub's own tests.
const PRIVATE_KEY: &str = include_str!("../../../shared/src/wechat/v3/fixtures/merchant.key");
const API_V3_KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";

/// The app that orders.
pub(crate) fn app() -> App {
    App {
        id: "bench00000000001".to_owned(),
        secret: "bench000000000000000000000000001".to_owned(),
    }
}

/// Calls and capacity so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Counts {
    /// Calls of DynamoDB that write.
    pub(crate) writes: u32,
    /// Items they wrote, indexes not counted.
    pub(crate) items: u32,
    /// Calls of DynamoDB that read.
    pub(crate) reads: u32,
    /// Write units, indexes and transactions included.
    pub(crate) write_units: f64,
    /// Read units, half of one for a read that may be stale.
    pub(crate) read_units: f64,
    /// Messages sent to SQS.
    pub(crate) sent: u32,
    /// Calls of WeChat by the functions.
    pub(crate) wechat: u32,
    /// Calls of the app.
    pub(crate) app: u32,
}

/// A message in SQS.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The end of its queue's address.
    pub(crate) queue: String,
    /// What was sent: the doorbell's JSON.
    pub(crate) body: String,
    /// When it is visible, in milliseconds since 1970.
    pub(crate) due: i64,
}

/// A notification as WeChat sent it.
#[derive(Debug, Clone)]
pub(crate) struct Caught {
    /// Its type, and what version 3 signs with.
    pub(crate) headers: Map<String, Value>,
    /// XML or JSON.
    pub(crate) body: String,
}

struct Inner {
    engine: Engine,
    /// The texts in Secrets Manager, by their names.
    secrets: BTreeMap<&'static str, String>,
    messages: Vec<Message>,
    counts: Counts,
    app_answers: StatusCode,
    /// The last notification that was caught, not delivered.
    caught: Option<Caught>,
}

/// Everything that is not a function of the hub.
#[derive(Clone)]
pub(crate) struct Backends {
    /// The `MemorySize` that the functions are told.
    memory_mb: u16,
    /// By which new payments are opened.
    version: ApiVersion,
    inner: Arc<Mutex<Inner>>,
    /// Where AWS is, and the app under `/app`.
    pub(crate) aws: String,
    /// Where WeChat's simulator is.
    pub(crate) wechat: String,
}

impl Backends {
    /// Empty ones, with the app registered, for a merchant of this version.
    pub(crate) async fn start(memory_mb: u16, version: ApiVersion) -> Result<Self, Failed> {
        let engine = Engine::new()?;
        let app = app();
        engine.register(&json!({
            "pk": {"S": format!("app#{}", app.id)}, "app_id": {"S": app.id},
            "app_secret": {"S": app.secret}, "name": {"S": "bench"},
            "allow_http": {"BOOL": true},
        }))?;
        let config = Config::default();
        let secrets = BTreeMap::from([
            (V2_SECRET, json!({"api_key": config.api_key}).to_string()),
            // What the template fills in, until a person does.
            (V3_SECRET, "placeholder".to_owned()),
            (
                ACCOUNT_SECRET,
                json!({"app_secret": config.app_secret}).to_string(),
            ),
        ]);
        let inner = Arc::new(Mutex::new(Inner {
            engine,
            secrets,
            messages: Vec::new(),
            counts: Counts::default(),
            app_answers: StatusCode::OK,
            caught: None,
        }));
        let (aws, listener) = listen().await?;
        let router = Router::new()
            .route("/", post(serve_aws))
            .route("/app/{address}", any(serve_app))
            .route("/caught", post(catch))
            .with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (wechat, listener) = listen().await?;
        let config = Config {
            url: Some(wechat.clone()),
            ..Config::default()
        };
        let router = wechat_simulator::router(config)?
            .layer(from_fn_with_state(Arc::clone(&inner), count_wechat));
        tokio::spawn(async move { axum::serve(listener, router).await });
        if version == ApiVersion::V3 {
            let secret = v3_secret(&wechat).await?;
            lock(&inner).secrets.insert(V3_SECRET, secret);
        }
        Ok(Self {
            memory_mb,
            version,
            inner,
            aws,
            wechat,
        })
    }

    /// The environment of every function, as the template sets it.
    pub(crate) fn environment(&self, hub: &str) -> Vec<(String, String)> {
        let merchant = Config::default();
        let queue = |name: &str| format!("{}/{name}", self.aws);
        let version = match self.version {
            ApiVersion::V2 => "2",
            ApiVersion::V3 => "3",
        };
        let pairs = [
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", self.aws.clone()),
            ("AWS_ACCESS_KEY_ID", "bench".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "bench".to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", "bench".to_owned()),
            (
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                self.memory_mb.to_string(),
            ),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
            // The AWS SDK for Node.js tells its age at every start.
            ("NODE_NO_WARNINGS", "1".to_owned()),
            ("LEDGER_TABLE", LEDGER.to_owned()),
            ("REGISTRY_TABLE", simulation::engine::REGISTRY.to_owned()),
            ("AUDIT_TABLE", "audit".to_owned()),
            ("FEED_TABLE", "feed".to_owned()),
            ("PUBLIC_URL", hub.to_owned()),
            ("NOTIFY_URL", format!("{hub}/wechat/notify")),
            ("WECHAT_APP_ID", merchant.app_id),
            ("WECHAT_MCH_ID", merchant.mch_id),
            ("WECHAT_API_KEY", merchant.api_key),
            ("WECHAT_API_VERSION", version.to_owned()),
            ("WECHAT_SIGN_TYPE", "HMAC-SHA256".to_owned()),
            ("WECHAT_PAY_BASE", self.wechat.clone()),
            ("WECHAT_OAUTH_BASE", self.wechat.clone()),
            ("WECHAT_OPEN_BASE", self.wechat.clone()),
            ("SECRETS_PREFIX", "bench".to_owned()),
            ("WECHAT_SECRET_ID", V2_SECRET.to_owned()),
            ("WECHAT_V3_SECRET_ID", V3_SECRET.to_owned()),
            ("WECHAT_ACCOUNT_SECRET_ID", ACCOUNT_SECRET.to_owned()),
            ("DELIVER_FIRST_QUEUE_URL", queue("first")),
            ("DELIVER_RETRY_QUEUE_URL", queue("retry")),
            ("RECONCILE_QUEUE_URL", queue("reconcile")),
            (
                "RETRY_SCHEDULE",
                shared::domain::delivery::STANDARD_SCHEDULE.to_owned(),
            ),
            ("CALLBACK_ALLOWED_NETWORKS", "127.0.0.0/8".to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Calls since the start.
    pub(crate) fn counts(&self) -> Counts {
        lock(&self.inner).counts
    }

    /// The app answers `success` from now on, or refuses.
    pub(crate) fn app_answers(&self, status: StatusCode) {
        lock(&self.inner).app_answers = status;
    }

    /// The notification that was caught last.
    pub(crate) fn caught(&self) -> Option<Caught> {
        lock(&self.inner).caught.take()
    }

    /// When the earliest message is visible.
    pub(crate) fn next_message(&self) -> Option<i64> {
        lock(&self.inner)
            .messages
            .iter()
            .map(|message| message.due)
            .min()
    }

    /// Takes the earliest message.
    pub(crate) fn receive(&self) -> Option<Message> {
        let messages = &mut lock(&self.inner).messages;
        let earliest = messages
            .iter()
            .enumerate()
            .min_by_key(|(_, message)| message.due)?
            .0;
        Some(messages.remove(earliest))
    }

    /// When the earliest row wants to be looked at.
    pub(crate) fn next_wake(&self) -> Result<Option<i64>, Failed> {
        let rows = lock(&self.inner).rows()?;
        Ok(rows.iter().filter_map(|row| number(row, "wake")).min())
    }

    /// Bytes of the ledger's rows per order, in DynamoDB's JSON: somewhat more
    /// than it stores.
    pub(crate) fn stored_bytes(&self) -> Result<usize, Failed> {
        let rows = lock(&self.inner).rows()?;
        let orders = rows
            .iter()
            .filter(|row| string(row, "sk") == Some("order"))
            .count();
        let bytes: usize = rows.iter().map(|row| row.to_string().len()).sum();
        Ok(bytes / orders.max(1))
    }

    /// Lets time pass: what is stored gets older.
    pub(crate) fn pass(&self, millis: i64) -> Result<(), Failed> {
        let mut inner = lock(&self.inner);
        for message in &mut inner.messages {
            message.due -= millis;
        }
        for mut row in inner.rows()? {
            for name in ["origin", "due", "wake", "lease_until"] {
                if let Some(at) = number(&row, name) {
                    row[name] = json!({"N": (at - millis).to_string()});
                }
            }
            inner
                .engine
                .run("PutItem", &json!({"TableName": LEDGER, "Item": row}))?;
        }
        Ok(())
    }
}

impl Inner {
    fn rows(&self) -> Result<Vec<Value>, Failed> {
        let answer = self.engine.run("Scan", &json!({"TableName": LEDGER}))?;
        let mut answer: Value = serde_json::from_str(&answer)?;
        Ok(serde_json::from_value(answer["Items"].take())?)
    }

    fn dynamodb(&mut self, operation: &str, mut body: Value) -> Response {
        body["ReturnConsumedCapacity"] = json!("INDEXES");
        let answer = match self.engine.run(operation, &body) {
            Ok(answer) => answer,
            Err(error) => {
                let status = StatusCode::from_u16(error.status_code());
                return (status.unwrap_or(StatusCode::BAD_REQUEST), error.to_json())
                    .into_response();
            }
        };
        let consumed = serde_json::from_str::<Value>(&answer).unwrap_or_default();
        let consumed = match &consumed["ConsumedCapacity"] {
            Value::Array(tables) => tables.clone(),
            table => vec![table.clone()],
        };
        let units: f64 = consumed
            .iter()
            .filter_map(|table| table["CapacityUnits"].as_f64())
            .sum();
        let counts = &mut self.counts;
        if matches!(
            operation,
            "GetItem" | "Query" | "Scan" | "BatchGetItem" | "TransactGetItems"
        ) {
            counts.reads += 1;
            counts.read_units += units;
        } else {
            let items = body["TransactItems"].as_array().map_or(1, Vec::len);
            counts.writes += 1;
            counts.items += u32::try_from(items).unwrap_or_default();
            counts.write_units += units;
        }
        answer.into_response()
    }

    fn send_message(&mut self, body: &Value) -> Response {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let message = text("MessageBody").to_owned();
        let digest = hex::encode(Md5::digest(&message));
        self.counts.sent += 1;
        let queue = text("QueueUrl")
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let delay = body["DelaySeconds"].as_i64().unwrap_or_default();
        let due = now() + delay * 1000;
        self.messages.push(Message {
            queue,
            body: message,
            due,
        });
        json!({"MessageId": "bench", "MD5OfMessageBody": digest})
            .to_string()
            .into_response()
    }
}

/// Makes the simulator's merchant one of version 3, too; its secret.
async fn v3_secret(wechat: &str) -> Result<String, Failed> {
    let key = KeyPair::from_pem(PRIVATE_KEY)?;
    let certificate = CertificateParams::default().self_signed(&key)?;
    let merchant = json!({
        "mch_id": Config::default().mch_id, "api_v3_key": API_V3_KEY,
        "certificate": certificate.pem(),
    });
    let told = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(format!("{wechat}/_control/merchants"))
        .json(&merchant);
    let known: Value = told.send().await?.error_for_status()?.json().await?;
    let console = &known[0]["console"];
    let secret = json!({
        "api_v3_key": API_V3_KEY, "private_key": PRIVATE_KEY, "serial_no": console["serial"],
        "public_key_id": console["public_key_id"], "public_key": console["public_key"],
    });
    Ok(secret.to_string())
}

/// The machine's time in milliseconds.
pub(crate) fn now() -> i64 {
    Clock::System.now().millis()
}

/// A free port of this machine.
pub(crate) async fn listen() -> Result<(String, TcpListener), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    Ok((format!("http://{}", listener.local_addr()?), listener))
}

async fn serve_aws(
    State(inner): State<Arc<Mutex<Inner>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok());
    let (service, operation) = target
        .and_then(|target| target.split_once('.'))
        .unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (service, operation) {
        ("AmazonSQS", "SendMessage") => lock(&inner).send_message(&body),
        ("secretsmanager", "GetSecretValue") => {
            let name = body["SecretId"].as_str().unwrap_or_default();
            match lock(&inner).secrets.get(name) {
                Some(text) => json!({ "SecretString": text }).to_string().into_response(),
                None => (StatusCode::NOT_IMPLEMENTED, name.to_owned()).into_response(),
            }
        }
        (service, _) if service.starts_with("DynamoDB") => lock(&inner).dynamodb(operation, body),
        // What is not counted must not be done.
        _ => (
            StatusCode::NOT_IMPLEMENTED,
            format!("{service}.{operation}"),
        )
            .into_response(),
    }
}

async fn serve_app(State(inner): State<Arc<Mutex<Inner>>>, Path(_): Path<String>) -> Response {
    let mut inner = lock(&inner);
    inner.counts.app += 1;
    (inner.app_answers, "success").into_response()
}

async fn catch(
    State(inner): State<Arc<Mutex<Inner>>>,
    headers: HeaderMap,
    body: String,
) -> &'static str {
    let headers = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        let is_said = name == "content-type" || name.starts_with("wechatpay-");
        let value = value.to_str().ok().filter(|_| is_said)?;
        Some((name.to_owned(), json!(value)))
    });
    let headers = headers.collect();
    lock(&inner).caught = Some(Caught { headers, body });
    wechat_simulator::ACCEPTED
}

async fn count_wechat(
    State(inner): State<Arc<Mutex<Inner>>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let by_hub = ["/pay/", "/v3/", "/secapi/", "/sns/", "/cgi-bin/"];
    if by_hub.iter().any(|prefix| path.starts_with(prefix)) {
        lock(&inner).counts.wechat += 1;
    }
    next.run(request).await
}

impl Counts {
    /// What came since then.
    pub(crate) fn since(self, then: Self) -> Self {
        Self {
            writes: self.writes - then.writes,
            items: self.items - then.items,
            reads: self.reads - then.reads,
            write_units: self.write_units - then.write_units,
            read_units: self.read_units - then.read_units,
            sent: self.sent - then.sent,
            wechat: self.wechat - then.wechat,
            app: self.app - then.app,
        }
    }

    /// The sum of both, field by field.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            writes: self.writes + other.writes,
            items: self.items + other.items,
            reads: self.reads + other.reads,
            write_units: self.write_units + other.write_units,
            read_units: self.read_units + other.read_units,
            sent: self.sent + other.sent,
            wechat: self.wechat + other.wechat,
            app: self.app + other.app,
        }
    }
}
