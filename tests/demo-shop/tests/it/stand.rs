//! A shop on a real port and a stand-in for the hub it asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use demo_shop::{App, Config, Shop, sign};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const APP: &str = "demoapp000000001";
const SECRET: &str = "0123456789abcdefghijABCDEFGHIJKL";

/// A shop and the hub it believes in, each on a port of its own.
pub(crate) struct Stand {
    /// The shop's base address.
    pub(crate) shop: String,
    /// Follows no redirect, as the hub does not.
    pub(crate) client: reqwest::Client,
}

async fn serve(listener: TcpListener, router: Router) {
    axum::serve(listener, router).await.unwrap();
}

/// Answers a create as the hub would and refuses an `order_no` of `REFUSED000`.
/// The signature is checked with the shop's own function, whose truth rests on
/// its vectors.
async fn create(Json(body): Json<BTreeMap<String, Value>>) -> (StatusCode, Json<Value>) {
    let flat: BTreeMap<String, String> = body
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            )
        })
        .collect();
    if flat["sign"] != sign(&flat, SECRET) {
        return (
            StatusCode::UNAUTHORIZED,
            Json(json!({"title": "Bad signature"})),
        );
    }
    if flat["order_no"] == "REFUSED000" {
        let problem = json!({"title": "Order exists", "detail": "It differs.", "code": "conflict"});
        return (StatusCode::CONFLICT, Json(problem));
    }
    let answer = json!({
        "order_no": flat["order_no"], "trade_no": "T1", "status": "created",
        "pay_url": format!("https://hub.example/pay?order_no={}", flat["order_no"]),
        "sent": body,
    });
    (StatusCode::CREATED, Json(answer))
}

async fn order(
    Path(order_no): Path<String>,
    Query(mut params): Query<BTreeMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    params.insert("order_no".to_owned(), order_no.clone());
    if params["sign"] != sign(&params, SECRET) {
        return (
            StatusCode::UNAUTHORIZED,
            Json(json!({"title": "Bad signature"})),
        );
    }
    let body =
        json!({"order_no": order_no, "trade_no": "T<1>", "status": "paid", "total_fee": 100});
    (StatusCode::OK, Json(body))
}

/// Takes `paid` for WeChat's notification of an order of 100 fen that is paid,
/// `dear` for one of another price, `odd` for one whose payment does not fit,
/// and nothing else for WeChat's.
async fn verify(Json(body): Json<BTreeMap<String, Value>>) -> (StatusCode, Json<Value>) {
    let flat = demo_shop::texts(&body.into_iter().collect());
    if flat["sign"] != sign(&flat, SECRET) {
        return (StatusCode::UNAUTHORIZED, Json(json!({})));
    }
    let raw = STANDARD.decode(&flat["notification"]).unwrap();
    let (status, fee) = match raw.as_slice() {
        b"paid" => ("paid", 100),
        b"dear" => ("paid", 101),
        b"odd" => ("closed", 100),
        _ => return (StatusCode::BAD_REQUEST, Json(json!({}))),
    };
    let order = json!({"order_no": "A000000001", "status": status, "total_fee": fee});
    (StatusCode::OK, Json(order))
}

impl Stand {
    pub(crate) async fn open() -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shop = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hub_url = format!("http://{}", hub.local_addr().unwrap());
        let public_url = format!("http://{}", shop.local_addr().unwrap());
        let config = Config {
            public_url: public_url.clone(),
            hub_url,
            app: App {
                id: APP.to_owned(),
                secret: SECRET.to_owned(),
            },
        };
        let hub_router = Router::new()
            .route("/v1/orders", post(create))
            .route("/v1/orders/{no}", get(order))
            .route("/v1/notifications/verify", post(verify));
        tokio::spawn(serve(hub, hub_router));
        tokio::spawn(serve(shop, demo_shop::router(Arc::new(Shop::new(config)))));
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .unwrap();
        Self {
            shop: public_url,
            client,
        }
    }

    pub(crate) async fn control(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/_control/{path}", self.shop);
        let response = self.client.post(url).json(&body).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    pub(crate) async fn show(&self, path: &str) -> Value {
        let url = format!("{}/_control/{path}", self.shop);
        self.client
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    pub(crate) async fn call(
        &self,
        path: &str,
        params: &BTreeMap<String, String>,
    ) -> (u16, String) {
        let url = format!("{}{path}", self.shop);
        let response = self.client.get(url).query(params).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) async fn behave(&self, rule: Value) {
        assert_eq!(self.control("behaviour", rule).await.0, 204);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "plays the hub, whose clock is real"
)]
pub(crate) fn now() -> String {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .to_string()
}

/// A payment's callback with these changes, signed after them.
pub(crate) fn signed(changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let now = now();
    let mut params: BTreeMap<String, String> = [
        ("app_id", APP),
        ("order_no", "A000000001"),
        ("event", "payment.succeeded"),
        ("event_id", "e1"),
        ("total_fee", "100"),
        ("attach", "a b+c&d=茶"),
        ("openid", ""),
        ("timestamp", &now),
        ("nonce", "n"),
    ]
    .iter()
    .chain(changes)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect();
    let signature = sign(&params, SECRET);
    params.insert("sign".to_owned(), signature);
    params
}
