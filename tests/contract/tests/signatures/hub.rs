//! The hub's four functions that read apps' signatures, in this process, with
//! their own routers. AWS knows one app and every order; WeChat never answers.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use cashier::Cashier;
use create_order::{CreateOrder, Till};
use http_body_util::BodyExt;
use oauth::Oauth;
use orders::Orders;
use serde_json::{Map, Value, json};
use shared::ambient::Clock;
use shared::aws::accounts::Accounts;
use shared::aws::feed::Feed;
use shared::aws::ledger::Ledger;
use shared::aws::merchants::Merchants;
use shared::aws::queue::Queue;
use shared::aws::registry::Registry;
use shared::config;
use shared::domain::UnknownAttributes;
use shared::domain::app::{App, AppSecret};
use shared::domain::id::{AppId, OrderKey};
use shared::domain::merchant::{AccountId, MchId, Merchant};
use shared::domain::money::Fen;
use shared::domain::order::{
    ApiVersion, MicropayTiming, Order, Request as Asked, TradeType, Version,
};
use shared::domain::time::Timestamp;
use shared::flows::ask::Asking;
use shared::flows::checkout::Checkout;
use shared::flows::notified::Notified;
use shared::flows::refunds::Refunds;
use shared::flows::settle::Settler;
use shared::flows::token_cache::TokenCache;
use shared::wechat::{Gateway, Hosts, Http};
use tokio::net::TcpListener;
use tower::ServiceExt;

/// The time, which stands still.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
pub(crate) const APP_ID: &str = "demo000000000001";
/// What every order costs.
pub(crate) const TOTAL_FEE: i64 = 1;
/// The app's one site.
pub(crate) const SITE: &str = "https://shop.example/";

/// The app, with all that an app may be allowed.
pub(crate) fn app() -> App {
    App {
        allow_direct: true,
        feed: true,
        sites: vec![SITE.to_owned()],
        ..App::new(
            AppId::parse(APP_ID).unwrap(),
            AppSecret::parse("0123456789abcdef0123456789abcdef").unwrap(),
        )
    }
}

/// The order of this key, as nobody has paid it.
pub(crate) fn order(pk: &str, attach: Option<&str>) -> Option<Order> {
    let request = Asked {
        total_fee: Fen::positive(TOTAL_FEE).ok()?,
        body: "Tea".to_owned(),
        attach: attach.map(str::to_owned),
        device_info: None,
        detail: None,
        goods_tag: None,
        limit_pay: None,
        store_id: None,
        store_name: None,
        store_area_code: None,
        store_address: None,
        notify_url: format!("{SITE}notify"),
        return_url: format!("{SITE}return"),
        trade_type: Some(TradeType::Native),
        account: None,
        version: Version::Relayed,
        openid: None,
        client_ip: None,
        expires_in: 7200,
        unknown: UnknownAttributes::new(),
    };
    let key = OrderKey::parse(pk).ok()?;
    Some(Order::new(key, request, "0".repeat(32), NOW))
}

pub(crate) struct Hub {
    create_order: Router,
    orders: Router,
    cashier: Router,
    oauth: Router,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = format!("http://{}", listener.local_addr().unwrap());
        let service = Router::new().fallback(any(aws_or_wechat));
        tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        let aws = config::Aws {
            region: "us-east-1".to_owned(),
            endpoint_url: Some(elsewhere.clone()),
        };
        let credentials = Credentials::new("test", "test", None, None, "test");
        let aws = shared::aws::sdk_config(&aws)
            .into_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        Self::of(&aws, &elsewhere)
    }

    fn of(aws: &SdkConfig, elsewhere: &str) -> Self {
        let clock = Clock::Manual(Arc::new(AtomicI64::new(NOW.millis())));
        let registry = || Registry::new(aws, "registry".to_owned());
        let account = AccountId::parse("wx0000000000000000").unwrap();
        let hosts = Hosts {
            pay: Gateway::at(elsewhere),
            api: elsewhere.to_owned(),
            ..Hosts::default()
        };
        let http = Http::new().unwrap();
        let merchants = config::Merchants {
            first: Some(config::FirstMerchant {
                merchant: Merchant::new(MchId::parse("1900000109").unwrap(), ApiVersion::V2),
                account: account.clone(),
                secret_id: "payments".to_owned(),
                v3_secret_id: None,
            }),
            hosts: hosts.clone(),
            secrets_prefix: "hub".to_owned(),
            certificate_id: None,
            fresh: Duration::from_secs(300),
        };
        let merchants = Merchants::new(aws, clock.clone(), registry(), merchants, http.clone());
        let accounts = config::Accounts {
            first: Some(account),
            secret_id: Some("account".to_owned()),
            hosts,
            secrets_prefix: "hub".to_owned(),
            fresh: Duration::from_secs(300),
        };
        let accounts = Accounts::new(aws, registry(), accounts, http);
        let ledger = || Ledger::new(aws, "ledger".to_owned());
        let queue = || Queue::new(aws, format!("{elsewhere}/queue"));
        let public_url = || "https://hub.example".to_owned();
        let settler = || Settler {
            ledger: ledger(),
            registry: registry(),
            deliver_first: queue(),
            grace_seconds: 60,
        };
        let asking = || Asking {
            settler: settler(),
            merchants: merchants.clone(),
        };
        let checkout = || Checkout {
            ledger: ledger(),
            merchants: merchants.clone(),
            accounts: accounts.clone(),
            tokens: None,
            notify_url: "https://hub.example/wechat/notify".to_owned(),
            reconcile: queue(),
        };
        Self {
            create_order: create_order::router(Arc::new(CreateOrder {
                clock: clock.clone(),
                registry: registry(),
                ledger: ledger(),
                checkout: checkout(),
                public_url: public_url(),
                payer_address_header: None,
                till: Till {
                    prefixes: vec!["13".to_owned()],
                    timing: MicropayTiming {
                        query_seconds: 5,
                        give_up_seconds: 30,
                    },
                    settler: settler(),
                    reconcile: queue(),
                },
            })),
            orders: orders::router(Arc::new(Orders {
                clock: clock.clone(),
                registry: registry(),
                ledger: ledger(),
                feed: Feed::new(aws, "feed".to_owned()),
                asking: asking(),
                notified: Notified {
                    ledger: ledger(),
                    settler: settler(),
                    confirm: true,
                },
                refunds: Refunds {
                    settler: settler(),
                    merchants: merchants.clone(),
                },
                notify_url: "https://hub.example/wechat/notify".to_owned(),
                reconcile: queue(),
                public_url: public_url(),
            })),
            cashier: cashier::router(Arc::new(Cashier {
                clock: clock.clone(),
                registry: registry(),
                ledger: ledger(),
                checkout: checkout(),
                asking: asking(),
                public_url: public_url(),
                payer_address_header: None,
            })),
            oauth: oauth::router(Arc::new(Oauth {
                clock,
                tokens: TokenCache::new(registry(), accounts.clone()),
                registry: registry(),
                accounts,
                public_url: public_url(),
                verify_codes: Vec::new(),
            })),
        }
    }

    /// Whether the request got past the signature and the rules of its fields,
    /// whatever became of it then.
    pub(crate) async fn accepts(&self, request: Request<Body>) -> bool {
        let path = request.uri().path().to_owned();
        let function = match path.as_str() {
            "/v1/orders" => &self.create_order,
            path if path.starts_with("/v1/orders/") => &self.orders,
            "/v1/events" => &self.orders,
            path if path.starts_with("/v1/notifications/") => &self.orders,
            path if path.starts_with("/pay") => &self.cashier,
            _ => &self.oauth,
        };
        let answer = function.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let is_json = (answer.headers().get(header::CONTENT_TYPE))
            .is_some_and(|kind| kind.to_str().unwrap().contains("json"));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        if !is_json {
            // A page has no code, but says no more than these.
            return !matches!(
                status,
                StatusCode::BAD_REQUEST
                    | StatusCode::UNAUTHORIZED
                    | StatusCode::UNPROCESSABLE_ENTITY
            );
        }
        let body: Value = serde_json::from_slice(&body).unwrap();
        !matches!(
            body["code"].as_str(),
            Some(
                "body_invalid"
                    | "body_too_large"
                    | "param_invalid"
                    | "app_unknown"
                    | "timestamp_expired"
                    | "sign_invalid"
            )
        )
    }
}

async fn aws_or_wechat(headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok());
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |pointer: &str| asked.pointer(pointer).and_then(Value::as_str);
    let Some((_, operation)) = target.and_then(|target| target.split_once('.')) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let answer = match operation {
        "GetItem" => match (text("/Key/pk/S"), text("/Key/sk/S")) {
            (Some(pk), None) if pk == format!("app#{APP_ID}") => json!({"Item": row(json!(app()))}),
            (Some(pk), Some("order")) => match order(pk, None) {
                Some(order) => json!({"Item": row(json!(order))}),
                None => json!({}),
            },
            _ => json!({}),
        },
        "Query" => {
            let order = text("/ExpressionAttributeValues/:pk/S").and_then(|pk| order(pk, None));
            let items: Vec<Value> = order
                .map(|order| {
                    let mut item = row(json!(order));
                    item["sk"] = json!({"S": "order"});
                    item
                })
                .into_iter()
                .collect();
            json!({"Count": items.len(), "ScannedCount": items.len(), "Items": items})
        }
        "GetSecretValue" => {
            let keys = json!({"api_key": "0".repeat(32), "app_secret": "test"});
            json!({"SecretString": keys.to_string()})
        }
        "SendMessage" => json!({"MessageId": "1"}),
        _ => json!({}),
    };
    axum::Json(answer).into_response()
}

/// As DynamoDB writes it.
fn row(value: Value) -> Value {
    let Value::Object(fields) = value else {
        panic!("a row is an object");
    };
    let fields = fields.into_iter();
    fields
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name, attribute(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn attribute(value: Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(value) => json!({"BOOL": value}),
        Value::Number(value) => json!({"N": value.to_string()}),
        Value::String(value) => json!({"S": value}),
        Value::Array(values) => {
            json!({"L": values.into_iter().map(attribute).collect::<Vec<_>>()})
        }
        Value::Object(_) => json!({"M": row(value)}),
    }
}
