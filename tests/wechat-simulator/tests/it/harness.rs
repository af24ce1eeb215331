//! A running simulator, a merchant that is notified, and calls signed by that
//! merchant.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::any;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use wechat_simulator::sign::{self, Fields, SignType};
use wechat_simulator::{ACCEPTED, Config, router, xml};

/// What reached the merchant: the query string and the body.
pub(crate) type Heard = (String, String);

#[derive(Clone)]
struct Merchant {
    heard: Arc<Mutex<Vec<Heard>>>,
    headers: Arc<Mutex<Vec<HeaderMap>>>,
    statuses: Arc<Mutex<Vec<u16>>>,
    answers: Arc<Mutex<Vec<String>>>,
}

pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) notify_url: String,
    pub(crate) config: Config,
    pub(crate) http: reqwest::Client,
    merchant: Merchant,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_as(Config::default()).await
    }

    /// The same with another merchant, or more of them.
    pub(crate) async fn start_as(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = Config {
            url: Some(url.clone()),
            h5_domains: vec!["shop.example".to_owned(), "pay.example:8443".to_owned()],
            notify_time_scale: 2,
            ..config
        };
        let simulator = router(config.clone()).unwrap();
        tokio::spawn(async move { axum::serve(listener, simulator).await });

        let merchant = Merchant {
            heard: Arc::default(),
            headers: Arc::default(),
            statuses: Arc::default(),
            answers: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let notify_url = format!("http://{}/notify", listener.local_addr().unwrap());
        let app = Router::new()
            .fallback(any(hear))
            .with_state(merchant.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });

        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            url,
            notify_url,
            config,
            http,
            merchant,
        }
    }

    /// The merchant's next answers, the first one first; then the right one.
    pub(crate) fn merchant_answers(&self, answers: &[&str]) {
        let mut queue = self.merchant.answers.lock().unwrap();
        queue.extend(answers.iter().map(|answer| (*answer).to_owned()));
    }

    /// The statuses of the merchant's next answers; then 200.
    pub(crate) fn merchant_says(&self, statuses: &[u16]) {
        self.merchant.statuses.lock().unwrap().extend(statuses);
    }

    /// The headers of what the merchant has heard.
    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.merchant.headers.lock().unwrap().clone()
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.merchant.heard.lock().unwrap().clone()
    }

    /// Waits until the merchant has heard so much.
    pub(crate) async fn hears(&self, count: usize) -> Vec<Heard> {
        let enough = async {
            while self.heard().len() < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), enough).await.unwrap();
        self.heard()
    }

    /// A signed v2 call; the answer's own signature is checked.
    pub(crate) async fn v2(&self, path: &str, pairs: &[(&str, &str)]) -> Fields {
        let answer = self.v2_raw(path, &self.request(pairs)).await;
        if answer["return_code"] == "SUCCESS" {
            let given = pairs
                .iter()
                .find(|(name, _)| *name == "sign_type")
                .map(|(_, v)| *v);
            let sign_type = SignType::parse(given).unwrap();
            assert!(
                sign::v2_holds(&answer, sign_type, &self.config.api_key),
                "{answer:?}"
            );
        } else {
            assert!(!answer.contains_key("sign"));
        }
        answer
    }

    pub(crate) async fn v2_raw(&self, path: &str, body: &str) -> Fields {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .body(body.to_owned());
        xml::read(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    }

    /// A signed request; the pairs replace and add to the merchant's identity.
    pub(crate) fn request(&self, pairs: &[(&str, &str)]) -> String {
        let mut fields = Fields::new();
        let mut put = |name: &str, value: &str| fields.insert(name.to_owned(), value.to_owned());
        put("appid", &self.config.app_id);
        put("mch_id", &self.config.mch_id);
        put("nonce_str", "5K8264ILTKCH16CQ2502SI8ZNMTM67VS");
        for (name, value) in pairs {
            put(name, value);
        }
        let sign_type = SignType::parse(fields.get("sign_type").map(String::as_str)).unwrap();
        let sign = sign::v2(&fields, sign_type, &self.config.api_key);
        fields.insert("sign".to_owned(), sign);
        xml::write(&fields)
    }

    /// A unifiedorder of that type and number, with more or other fields.
    pub(crate) async fn order(&self, kind: &str, number: &str, more: &[(&str, &str)]) -> Fields {
        let mut pairs = vec![
            ("body", "a book & more"),
            ("out_trade_no", number),
            ("total_fee", "1999"),
            ("spbill_create_ip", "203.0.113.9"),
            ("notify_url", self.notify_url.as_str()),
            ("trade_type", kind),
        ];
        match kind {
            "JSAPI" => pairs.push(("openid", "oSimulatedPayerBob0000000002")),
            "NATIVE" => pairs.push(("product_id", "1")),
            "MWEB" => pairs.push(("scene_info", r#"{"h5_info":{"type":"Wap"}}"#)),
            _ => {}
        }
        pairs.extend_from_slice(more);
        self.v2("/pay/unifiedorder", &pairs).await
    }

    pub(crate) async fn query(&self, number: &str) -> Fields {
        self.v2("/pay/orderquery", &[("out_trade_no", number)])
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self
            .http
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        self.post_status(path, body).await.1
    }

    pub(crate) async fn post_status(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self
            .http
            .post(format!("{}{path}", self.url))
            .json(body)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (
            status,
            serde_json::from_str(&answer.text().await.unwrap()).unwrap(),
        )
    }

    pub(crate) async fn set(&self, settings: Value) {
        let (status, answer) = self.post_status("/_control/settings", &settings).await;
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) async fn pay(&self, number: &str) -> Value {
        self.post("/_control/pay", &json!({"out_trade_no": number}))
            .await
    }

    /// The code of the last rejection.
    pub(crate) async fn why(&self) -> String {
        let list = self.get("/_control/rejections").await;
        list.as_array().unwrap().last().unwrap()["code"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

async fn hear(
    State(merchant): State<Merchant>,
    request: Request,
) -> impl axum::response::IntoResponse {
    let query = request.uri().query().unwrap_or_default().to_owned();
    merchant
        .headers
        .lock()
        .unwrap()
        .push(request.headers().clone());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    merchant.heard.lock().unwrap().push((query, body));
    let mut statuses = merchant.statuses.lock().unwrap();
    if !statuses.is_empty() {
        let status = StatusCode::from_u16(statuses.remove(0)).unwrap();
        return (status, r#"{"code":"FAIL"}"#).into_response();
    }
    let mut answers = merchant.answers.lock().unwrap();
    if answers.is_empty() {
        ACCEPTED.to_owned()
    } else {
        answers.remove(0)
    }
    .into_response()
}
