//! The hub as it is deployed: its functions as processes, and the HTTP API in
//! front of them. It owns what each invocation used.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::{Map, Value, json};

use crate::Failed;
use crate::backends::{Backends, Counts, Message, listen};
use crate::runtime::{Function, lock};

/// One run of a function.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// The function's folder, as `create-order`.
    pub(crate) function: &'static str,
    /// Whether API Gateway passed it on.
    pub(crate) by_api: bool,
    /// Processor time of all its threads.
    pub(crate) cpu: Duration,
    /// What the function logged.
    pub(crate) logged: u64,
    /// What it asked of others.
    pub(crate) counts: Counts,
}

struct Inner {
    backends: Backends,
    by_name: BTreeMap<&'static str, Function>,
    used: Mutex<Vec<Invocation>>,
}

/// The functions that a payment needs, warm.
#[derive(Clone)]
pub(crate) struct Functions {
    inner: Arc<Inner>,
    /// Where the HTTP API is.
    pub(crate) url: String,
}

impl Functions {
    /// Starts the functions in this folder, one process each.
    pub(crate) async fn start(backends: &Backends, folder: &Path) -> Result<Self, Failed> {
        let (url, listener) = listen().await?;
        let environment = backends.environment(&url);
        let mut by_name = BTreeMap::new();
        for name in [
            "create-order",
            "cashier",
            "oauth",
            "wechat-notify",
            "deliver",
            "sweep",
        ] {
            let command = [OsString::from(folder.join(name))];
            by_name.insert(name, Function::start(&command, &environment).await?);
        }
        let inner = Arc::new(Inner {
            backends: backends.clone(),
            by_name,
            used: Mutex::default(),
        });
        let functions = Self { inner, url };
        let router = Router::new()
            .fallback(pass_on)
            .with_state(functions.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(functions)
    }

    /// Gives a function an event, and notes what it used.
    pub(crate) async fn invoke(
        &self,
        function: &'static str,
        by_api: bool,
        event: &Value,
    ) -> Result<Value, Failed> {
        let process = self.inner.by_name.get(function).ok_or("no such function")?;
        let before = (
            process.cpu()?,
            process.logged(),
            self.inner.backends.counts(),
        );
        let (answer, _) = process.invoke(event).await?;
        let after = (
            process.cpu()?,
            process.logged(),
            self.inner.backends.counts(),
        );
        lock(&self.inner.used).push(Invocation {
            function,
            by_api,
            cpu: after.0.saturating_sub(before.0),
            logged: after.1 - before.1,
            counts: after.2.since(before.2),
        });
        Ok(answer)
    }

    /// A message reaches its function.
    pub(crate) async fn receive(&self, message: &Message) -> Result<(), Failed> {
        let answer = self.invoke("deliver", false, &sqs_event(message)).await?;
        match answer["batchItemFailures"]
            .as_array()
            .is_none_or(Vec::is_empty)
        {
            true => Ok(()),
            false => Err(format!("deliver failed: {answer}").into()),
        }
    }

    /// What was used since the last call.
    pub(crate) fn used(&self) -> Vec<Invocation> {
        std::mem::take(&mut lock(&self.inner.used))
    }

    /// Ends all processes; nothing can be invoked after that.
    pub(crate) fn stop(&self) -> Result<(), Failed> {
        self.inner.by_name.values().try_for_each(Function::stop)
    }

    /// The most memory that each function has held, in KiB.
    pub(crate) fn peaks(&self) -> Result<Vec<(&'static str, u64)>, Failed> {
        let functions = self.inner.by_name.iter();
        functions
            .map(|(name, function)| Ok((*name, function.peak_kib()?)))
            .collect()
    }
}

/// A batch of one.
pub(crate) fn sqs_event(message: &Message) -> Value {
    json!({"Records": [{
        "messageId": "bench", "receiptHandle": "bench", "body": message.body,
        "eventSource": "aws:sqs", "awsRegion": "us-east-1",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{}", message.queue),
        "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {},
    }]})
}

/// An event of payload format 2.0, as API Gateway and function URLs make it.
pub(crate) fn http_event(
    method: &str,
    path: &str,
    query: &str,
    headers: &Map<String, Value>,
    body: &str,
) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": headers, "body": body, "isBase64Encoded": false,
        "requestContext": {
            "accountId": "000000000000", "apiId": "bench", "domainName": "bench.example",
            "domainPrefix": "bench", "requestId": "bench", "routeKey": "$default",
            "stage": "$default", "time": "21/Nov/2026:00:00:00 +0000", "timeEpoch": 0,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1",
                     "sourceIp": "203.0.113.7", "userAgent": "bench"},
        },
    })
}

/// The template's routes; notifications come by the function URL.
fn route(path: &str) -> Option<(&'static str, bool)> {
    match path {
        _ if path.starts_with("/wechat/") => Some(("wechat-notify", false)),
        "/v1/orders" => Some(("create-order", true)),
        _ if path.starts_with("/oauth/") => Some(("oauth", true)),
        _ if path == "/pay" || path.starts_with("/pay/") => Some(("cashier", true)),
        _ => None,
    }
}

async fn pass_on(
    State(functions): State<Functions>,
    (method, uri, headers): (Method, Uri, HeaderMap),
    body: Bytes,
) -> Response<Body> {
    let refused = |status, text: String| {
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response
    };
    let Some((function, by_api)) = route(uri.path()) else {
        return refused(StatusCode::NOT_FOUND, String::new());
    };
    let headers = headers
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), json!(value.to_str().ok()?))))
        .collect();
    let event = http_event(
        method.as_str(),
        uri.path(),
        uri.query().unwrap_or_default(),
        &headers,
        &String::from_utf8_lossy(&body),
    );
    match functions.invoke(function, by_api, &event).await {
        Ok(answer) => response(&answer)
            .unwrap_or_else(|error| refused(StatusCode::BAD_GATEWAY, error.to_string())),
        Err(error) => refused(StatusCode::BAD_GATEWAY, error.to_string()),
    }
}

fn response(answer: &Value) -> Result<Response<Body>, Failed> {
    let status = u16::try_from(answer["statusCode"].as_u64().unwrap_or(502))?;
    let mut response = Response::builder().status(status);
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        response = response.header(name, value.as_str().unwrap_or_default());
    }
    for cookie in answer["cookies"].as_array().into_iter().flatten() {
        response = response.header("set-cookie", cookie.as_str().unwrap_or_default());
    }
    let body = answer["body"].as_str().unwrap_or_default().to_owned();
    Ok(response.body(Body::from(body))?)
}
