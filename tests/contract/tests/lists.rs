//! What the operators' lists ask of DynamoDB does not grow with the tables: the
//! function's own router on an embedded engine with the tables of template.yaml, and
//! every call counted.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dynoxide::{Database, DynoxideError, ImportOptions};
use http_body_util::BodyExt;
use operator::OperatorApi;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use shared::ambient::Clock;
use shared::aws::audit::Audit;
use shared::aws::ledger::Ledger;
use shared::aws::merchants::Merchants;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::callback::Caller;
use shared::config;
use shared::domain::audit::Actor;
use shared::domain::money::Fen;
use shared::domain::operator::{NewPass, PassKind, Role};
use shared::domain::time::Timestamp;
use shared::flows::apps::Apps;
use shared::flows::ask::Asking;
use shared::flows::redelivery::Redelivery;
use shared::flows::refunds::Refunds;
use shared::flows::second_person::RefundDesk;
use shared::flows::settle::Settler;
use shared::flows::sign_in::SignIn;
use shared::flows::staff::Staff;
use shared::wechat::{Hosts, Http};
use tokio::net::TcpListener;
use tower::ServiceExt;
use url::form_urlencoded::byte_serialize;

/// The time, which stands still.
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// Whose orders there are so many of.
const APP_ID: &str = "demo000000000000";

/// DynamoDB, and the operations that were asked of it.
#[derive(Clone)]
struct Dynamo {
    database: Arc<Database>,
    calls: Arc<Mutex<Vec<String>>>,
}

/// The hub's operators' API on its tables.
struct Desk {
    dynamo: Dynamo,
    router: Router,
    key: String,
}

#[tokio::test]
async fn a_list_asks_the_same_of_a_large_table_as_of_a_small_one() {
    let (few, many) = (Desk::with(100).await, Desk::with(100_000).await);
    let apps = format!("/v1/operator/apps/{APP_ID}");
    for path in [
        "/v1/operator/apps".to_owned(),
        "/v1/operator/apps?limit=100".to_owned(),
        format!("{apps}/deliveries"),
        format!("{apps}/deliveries?limit=100"),
        format!("{apps}/deliveries?since=2026-09-21T14:00:00Z"),
        "/v1/operator/owner-links".to_owned(),
        "/v1/operator/owner-links?limit=100".to_owned(),
        "/v1/operator/api-keys".to_owned(),
        "/v1/operator/operators".to_owned(),
        "/v1/operator/audit".to_owned(),
        "/v1/operator/audit?limit=100".to_owned(),
        format!("/v1/operator/audit?app_id={APP_ID}"),
        // Nothing is about this one, and no more is looked at for that.
        "/v1/operator/audit?app_id=nobody0000000000".to_owned(),
        "/v1/operator/audit?since=1970-01-01T00:00:00Z&limit=50".to_owned(),
        format!("/v1/operator/orders?trade_no={APP_ID}000000000001"),
        format!("/v1/operator/orders/{APP_ID}/0000000000"),
    ] {
        let of_few = few.pages(&path, 2).await;
        let of_many = many.pages(&path, 2).await;
        assert_eq!(of_few, of_many, "{path}");
        for page in of_few {
            // Who asks, the list, and the rows of what it lists.
            assert!(page.calls.len() <= 5, "{path}: {page:?}");
        }
    }
}

#[tokio::test]
async fn a_trail_in_which_little_was_done_is_read_a_year_at_a_time() {
    let desk = Desk::with(1).await;
    let (mut found, mut pages) = (0, 0);
    let since = "/v1/operator/audit?since=2000-01-01T00:00:00Z";
    let mut path = since.to_owned();
    loop {
        let (answer, calls) = desk.get(&path).await;
        assert!(calls.len() <= 13, "{calls:?}");
        found += answer["entries"].as_array().unwrap().len();
        pages += 1;
        match answer["next"].as_str() {
            Some(next) => path = format!("{since}&cursor={next}"),
            None => break,
        }
    }
    // One entry is of the key with which this is read. Each page looks into the last
    // month of the one before again, so that 321 months are 30 pages.
    assert_eq!((found, pages), (2, 30));
}

#[tokio::test]
async fn a_refund_that_waits_is_not_taken_for_an_app() {
    let desk = Desk::with(1).await;
    desk.dynamo.seed(
        "registry",
        [json!({
            "pk": "confirmation#0123", "order_of": APP_ID, "order_no": "0000000000",
            "refund_no": "auto-op-1", "refund_fee": 1,
        })],
    );
    let (answer, _) = desk.get("/v1/operator/apps").await;
    assert_eq!(answer["apps"].as_array().unwrap().len(), 1, "{answer}");
}

#[tokio::test]
async fn a_path_of_nobody_is_answered_as_the_gateway_does() {
    let desk = Desk::with(1).await;
    let answer = desk.send("/v1/operator/api-keys/").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.as_ref(), br#"{"message":"Not Found"}"#);
}

/// What a page cost, and how much was on it.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    calls: Vec<String>,
    listed: usize,
}

impl Desk {
    /// With so many orders of one app, each with a delivery that was given up and an
    /// entry in the trail, and as many other apps and links of
    /// their owners.
    async fn with(rows: usize) -> Self {
        let dynamo = Dynamo::new();
        let at = |n: usize| NOW.millis() - i64::try_from(n).unwrap();
        let each = || 0..rows;
        dynamo.seed(
            "registry",
            each().map(|n| {
                json!({
                    "pk": format!("app#demo{n:012}"), "app_id": format!("demo{n:012}"),
                    "app_secret": "0".repeat(32), "name": "Tea",
                })
            }),
        );
        dynamo.seed(
            "registry",
            each().map(|n| {
                json!({
                    "pk": format!("link#{n:016}"), "staff": "link", "id": format!("{n:016}"),
                    "hash": "0".repeat(64), "name": "Tea", "role": "app_owner",
                    "apps": [APP_ID], "ends_at": at(0),
                })
            }),
        );
        dynamo.seed(
            "ledger",
            each().map(|n| {
                json!({
                    "pk": format!("{APP_ID}#{n:010}"), "sk": "order", "app_id": APP_ID,
                    "order_no": format!("{n:010}"), "status": "paying", "created_at": at(n),
                    "expires_at": at(0), "nonce": "nonce", "step": 0, "revision": 1,
                    "request": {
                        "total_fee": 1, "body": "Tea", "notify_url": "https://shop.example/n",
                        "return_url": "https://shop.example/r", "version": "2.0",
                        "expires_in": 7200,
                    },
                })
            }),
        );
        dynamo.seed(
            "ledger",
            each().map(|n| {
                json!({
                    "pk": format!("{APP_ID}#{n:010}"), "sk": "delivery#payment.succeeded",
                    "app_id": APP_ID, "order_no": format!("{n:010}"),
                    "event": "payment.succeeded", "event_id": "evt", "status": "exhausted",
                    "payload": {}, "notify_url": "https://shop.example/n",
                    "return_url": "https://shop.example/r", "step": 13, "origin": at(n),
                    "due": at(n), "exhausted_at": at(n),
                })
            }),
        );
        let ann = Actor {
            who: "operator:ann".to_owned(),
            through: "api".to_owned(),
            from: String::new(),
            reason: String::new(),
        };
        dynamo.seed(
            "audit",
            each().map(|n| {
                let at = Timestamp::from_millis(at(n));
                let entry = ann.entry("app.disable", APP_ID.to_owned(), at, &format!("{n:032}"));
                let mut row = serde_json::to_value(&entry).unwrap();
                row["pk"] = json!(at.rfc3339()[..7]);
                row["sk"] = json!(entry.id);
                row
            }),
        );
        let (router, staff) = operators(&dynamo.serve().await);
        let key = NewPass {
            kind: PassKind::ApiKey,
            name: "lists".to_owned(),
            role: Role::Auditor,
            apps: BTreeSet::new(),
            days: 1,
        };
        let (_, key) = staff.add_pass(key, &ann, NOW).await.unwrap();
        Self {
            dynamo,
            router,
            key,
        }
    }

    async fn send(&self, path: &str) -> Response {
        let request = Request::get(path).header("authorization", format!("Bearer {}", self.key));
        let request = request.body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// The answer, and what it asked of DynamoDB.
    async fn get(&self, path: &str) -> (Value, Vec<String>) {
        self.dynamo.calls.lock().unwrap().clear();
        let answer = self.send(path).await;
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        let calls = self.dynamo.calls.lock().unwrap().clone();
        (body, calls)
    }

    /// The first pages of a list.
    async fn pages(&self, path: &str, most: usize) -> Vec<Page> {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        while pages.len() < most {
            let (answer, calls) = self.get(&format!("{path}{cursor}")).await;
            let lists = answer.as_object().unwrap().values();
            let listed = lists.filter_map(Value::as_array).map(Vec::len).sum();
            pages.push(Page { calls, listed });
            match answer["next"].as_str() {
                // The last entry of 100 has a page behind it, too.
                Some(next) if !path.contains("limit=100") => {
                    let and = if path.contains('?') { '&' } else { '?' };
                    let next: String = byte_serialize(next.as_bytes()).collect();
                    cursor = format!("{and}cursor={next}");
                }
                _ => break,
            }
        }
        pages
    }
}

impl Dynamo {
    /// The tables of the template, empty.
    fn new() -> Self {
        let database = Database::memory().unwrap();
        // Of old, YAML takes N for a no.
        let template = include_str!("../../../template.yaml")
            .replace("AttributeType: N}", r#"AttributeType: "N"}"#);
        let template: Value = serde_saphyr::from_str(&template).unwrap();
        for (resource, name) in [
            ("Ledger", "ledger"),
            ("Registry", "registry"),
            ("Audit", "audit"),
        ] {
            let properties = &template["Resources"][resource]["Properties"];
            let mut table = Map::from_iter([("TableName".to_owned(), json!(name))]);
            for part in [
                "BillingMode",
                "AttributeDefinitions",
                "KeySchema",
                "GlobalSecondaryIndexes",
            ] {
                if let Some(value) = properties.get(part) {
                    table.insert(part.to_owned(), value.clone());
                }
            }
            let table = serde_json::from_value(Value::Object(table)).unwrap();
            database.create_table(table).unwrap();
        }
        Self {
            database: Arc::new(database),
            calls: Arc::default(),
        }
    }

    fn seed(&self, table: &str, rows: impl IntoIterator<Item = Value>) {
        let rows = rows.into_iter().map(|row| {
            let row = row.as_object().unwrap().iter();
            let row: Map<String, Value> = row.map(|(k, v)| (k.clone(), attribute(v))).collect();
            serde_json::from_value(Value::Object(row)).unwrap()
        });
        let options = ImportOptions::default();
        self.database
            .import_items(table, rows.collect(), options)
            .unwrap();
    }

    /// Its address.
    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = Router::new()
            .route("/", post(answer))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        address
    }

    fn run(&self, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
        let database = &self.database;
        match operation {
            "GetItem" => text(&database.get_item(read(body)?)?),
            "PutItem" => text(&database.put_item(read(body)?)?),
            "Query" => text(&database.query(read(body)?)?),
            "Scan" => text(&database.scan(read(body)?)?),
            "BatchGetItem" => text(&database.batch_get_item(read(body)?)?),
            "TransactWriteItems" => text(&database.transact_write_items(read(body)?)?),
            other => panic!("no list asks for {other}"),
        }
    }
}

async fn answer(State(dynamo): State<Dynamo>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.rsplit('.').next().unwrap().to_owned();
    let answer = dynamo.run(&operation, &body);
    dynamo.calls.lock().unwrap().push(operation);
    match answer {
        Ok(answer) => answer.into_response(),
        Err(error) => {
            let status = StatusCode::from_u16(error.status_code()).unwrap();
            (status, error.to_json()).into_response()
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, DynoxideError> {
    serde_json::from_slice(body).map_err(|e| DynoxideError::ValidationException(e.to_string()))
}

fn text(answer: &impl Serialize) -> Result<String, DynoxideError> {
    serde_json::to_string(answer).map_err(|e| DynoxideError::ValidationException(e.to_string()))
}

/// A value as DynamoDB writes it.
fn attribute(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({"S": text}),
        Value::Number(number) => json!({"N": number.to_string()}),
        Value::Array(list) => json!({"L": list.iter().map(attribute).collect::<Vec<_>>()}),
        Value::Object(map) => {
            let map = map.iter().map(|(k, v)| (k.clone(), attribute(v)));
            json!({"M": map.collect::<Map<_, _>>()})
        }
        other => panic!("no row of these tests has {other}"),
    }
}

/// The function, and what makes keys for it. WeChat and SQS are nowhere.
fn operators(endpoint: &str) -> (Router, Staff) {
    let aws = config::Aws {
        region: "us-east-1".to_owned(),
        endpoint_url: Some(endpoint.to_owned()),
    };
    let credentials = Credentials::new("test", "test", None, None, "test");
    let aws = shared::aws::sdk_config(&aws)
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    let registry = Registry::new(&aws, "registry".to_owned());
    let audit = Audit::new(&aws, "audit".to_owned());
    let ledger = Ledger::new(&aws, "ledger".to_owned());
    let queue = || Queue::new(&aws, format!("{endpoint}/queue"));
    let merchants = config::Merchants {
        first: None,
        hosts: Hosts::default(),
        secrets_prefix: "hub".to_owned(),
        certificate_id: None,
        fresh: Duration::from_secs(300),
    };
    let merchants = Merchants::new(
        &aws,
        Clock::System,
        registry.clone(),
        merchants,
        Http::new().unwrap(),
    );
    let settler = Settler {
        ledger: ledger.clone(),
        registry: registry.clone(),
        deliver_first: queue(),
        grace_seconds: 60,
    };
    let staff = || Staff {
        registry: registry.clone(),
        audit: audit.clone(),
    };
    let router = operator::router(Arc::new(OperatorApi {
        clock: Clock::Manual(Arc::new(AtomicI64::new(NOW.millis()))),
        sign_in: SignIn {
            registry: registry.clone(),
            audit: audit.clone(),
            hub: "hub.example".to_owned(),
        },
        staff: staff(),
        apps: Apps {
            registry: registry.clone(),
            audit: audit.clone(),
            first_merchant: None,
        },
        redelivery: Redelivery {
            ledger,
            audit: audit.clone(),
        },
        asking: Asking {
            settler: settler.clone(),
            merchants: merchants.clone(),
        },
        reconcile: queue(),
        refund_desk: RefundDesk {
            refunds: Refunds { settler, merchants },
            registry: registry.clone(),
            audit: audit.clone(),
            notify_url: "https://hub.example/wechat/notify".to_owned(),
            confirm_above: Fen::positive(1).unwrap(),
        },
        caller: Caller::new(Vec::new()).unwrap(),
        public_url: "https://hub.example".to_owned(),
        registry: registry.clone(),
        audit: audit.clone(),
        address_header: None,
    }));
    (router, staff())
}
