//! What the apps' servers ask of the hub: they create orders, look at them and
//! give them up, signed with the demo shop's code.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::cast::MINI;
use crate::events::Job;
use crate::plan::{AppPlan, OrderPlan, Story, Way};
use crate::scheduler::Invocation;
use crate::wechat::Letter;
use crate::world::World;

pub(crate) type Fields = Map<String, Value>;

/// What an app passes on of the headers of version 3.
const PROOF: [&str; 4] = [
    "wechatpay-timestamp",
    "wechatpay-nonce",
    "wechatpay-serial",
    "wechatpay-signature",
];

impl World {
    /// The app creates its order, or tries again.
    pub(crate) fn create(&mut self, index: usize) {
        if let Some(invocation) = self.order(index, None) {
            self.jobs.insert(invocation, Job::Create(index));
        }
    }

    /// Asks for an order, perhaps with a payer's code.
    pub(crate) fn order(&mut self, index: usize, code: Option<&str>) -> Option<Invocation> {
        let order = self.plan.orders.get(index)?.clone();
        let app = self.plan.apps.get(order.app)?.clone();
        let mut body = json!({
            "app_id": app.app_id,
            "order_no": order.order_no,
            "total_fee": order.total_fee,
            "body": "simulation",
            "notify_url": format!("http://{}/app/notify", self.apps),
            "return_url": format!("http://{}/app/return", self.apps),
            "expires_in": order.expires_in,
            "timestamp": (self.now() / 1000).to_string(),
            "nonce": self.random.word(16),
        });
        if let Some(fields) = body.as_object_mut() {
            if let Some(code) = code {
                fields.insert("trade_type".to_owned(), json!("MICROPAY"));
                fields.insert("auth_code".to_owned(), json!(code));
            } else if !matches!(order.story, Story::PaidTwice | Story::ManyWays) {
                let trade_type = match order.way {
                    Way::Native => "NATIVE",
                    Way::App => "APP",
                    Way::MiniProgram => "JSAPI",
                };
                fields.insert("trade_type".to_owned(), json!(trade_type));
                if order.way == Way::MiniProgram {
                    fields.insert("account".to_owned(), json!(MINI));
                    fields.insert("openid".to_owned(), json!("oSimulated1"));
                }
            }
            if order.direct {
                fields.insert("version".to_owned(), json!("1.0"));
            }
        }
        let fields = body.as_object().cloned().unwrap_or_default();
        let body = Value::Object(signed(fields, &order, &app));
        let function = match self.is_faulty() && self.random.chance(50) {
            true => self.functions().cold_create_order(),
            false => Arc::clone(&self.functions().create_order),
        };
        let router = create_order::router(function);
        let request = Request::post("/v1/orders").body(Body::from(body.to_string()));
        let invocation = self.ask(router, request);
        self.note(|| format!("#{invocation} create-order {}", order.order_no));
        Some(invocation)
    }

    /// The app gives its order up.
    pub(crate) fn close_order(&mut self, index: usize) {
        let Some((mut fields, order, app)) = self.about(index) else {
            return;
        };
        fields.insert("action".to_owned(), json!("close"));
        let mut body = signed(fields, &order, &app);
        body.remove("order_no");
        let path = format!("/v1/orders/{}/close", order.order_no);
        let body = Body::from(Value::Object(body).to_string());
        let router = orders::router(Arc::clone(&self.functions().orders));
        let invocation = self.ask(router, Request::post(path).body(body));
        self.note(|| format!("#{invocation} close {}", order.order_no));
        self.jobs.insert(invocation, Job::Ask);
    }

    /// The app has WeChat asked about its order, so many times at once.
    pub(crate) fn query_order(&mut self, index: usize, copies: i64) {
        for _ in 0..copies {
            let Some((mut fields, order, app)) = self.about(index) else {
                return;
            };
            fields.insert("action".to_owned(), json!("query"));
            let mut body = signed(fields, &order, &app);
            body.remove("order_no");
            let path = format!("/v1/orders/{}/query", order.order_no);
            let body = Body::from(Value::Object(body).to_string());
            let router = orders::router(Arc::clone(&self.functions().orders));
            let invocation = self.ask(router, Request::post(path).body(body));
            self.note(|| format!("#{invocation} query {}", order.order_no));
            self.jobs.insert(invocation, Job::Ask);
        }
    }

    /// WeChat has told the app of a payment (version 1.0): it passes that on.
    pub(crate) fn verify(&mut self, index: usize, told: &Letter) -> Option<Invocation> {
        let (mut fields, order, app) = self.about(index)?;
        let body = STANDARD.encode(&told.body);
        fields.insert("notification".to_owned(), json!(body));
        for (name, value) in &told.headers {
            if PROOF.contains(name) {
                fields.insert(name.replace('-', "_"), json!(value));
            }
        }
        let sign = demo_shop::sign(&demo_shop::texts(&fields), &app.secret);
        fields.insert("sign".to_owned(), json!(sign));
        let body = Body::from(Value::Object(fields).to_string());
        let router = orders::router(Arc::clone(&self.functions().orders));
        let request = Request::post("/v1/notifications/verify").body(body);
        let invocation = self.ask(router, request);
        self.note(|| format!("#{invocation} verify {}", order.order_no));
        Some(invocation)
    }

    /// The app looks at its order.
    pub(crate) fn show_order(&mut self, index: usize) {
        let Some((fields, order, app)) = self.about(index) else {
            return;
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &signed(fields, &order, &app) {
            if name != "order_no" {
                query.append_pair(name, value.as_str().unwrap_or_default());
            }
        }
        let path = format!("/v1/orders/{}?{}", order.order_no, query.finish());
        let router = orders::router(Arc::clone(&self.functions().orders));
        let invocation = self.ask(router, Request::get(path).body(Body::empty()));
        self.note(|| format!("#{invocation} show {}", order.order_no));
        self.jobs.insert(invocation, Job::Ask);
    }

    pub(crate) fn about(&mut self, index: usize) -> Option<(Fields, OrderPlan, AppPlan)> {
        let order = self.plan.orders.get(index)?.clone();
        let app = self.plan.apps.get(order.app)?.clone();
        let fields = Fields::from_iter([
            ("app_id".to_owned(), json!(app.app_id)),
            (
                "timestamp".to_owned(),
                json!((self.now() / 1000).to_string()),
            ),
            ("nonce".to_owned(), json!(self.random.word(16))),
        ]);
        Some((fields, order, app))
    }
}

/// The order's number takes part in the signature: it is in the path.
pub(crate) fn signed(mut fields: Fields, order: &OrderPlan, app: &AppPlan) -> Fields {
    fields.insert("order_no".to_owned(), json!(order.order_no));
    let text = |(name, value): (&String, &Value)| {
        let text = value.as_str().map_or(value.to_string(), str::to_owned);
        (name.clone(), text)
    };
    let signature = demo_shop::sign(&fields.iter().map(text).collect(), &app.secret);
    fields.insert("sign".to_owned(), json!(signature));
    fields
}
