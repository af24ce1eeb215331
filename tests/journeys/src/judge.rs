//! Sends every request of the harness, and holds what the hub answers against
//! docs/openapi.yaml, and its headers against what every answer must say.

use std::collections::BTreeMap;

use contract::Contract;
use reqwest::header::HeaderMap;
use url::Url;

/// Knows the hub's answers from others by the hub's two addresses.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    /// The HTTP API, without a slash at the end.
    pub(crate) api: String,
    /// The function URL for WeChat's notifications.
    pub(crate) notify: String,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Received {
    /// The HTTP status.
    pub status: u16,
    /// All of them.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Judge {
    /// Sends a request to anybody. What the hub answers must be documented.
    pub(crate) async fn ask(&self, request: reqwest::RequestBuilder) -> (Url, Received) {
        let (client, request) = request.build_split();
        let request = request.unwrap();
        let (method, url) = (request.method().to_string(), request.url().clone());
        let sent = client.execute(request).await;
        let response = sent.unwrap_or_else(|error| panic!("{url} does not answer: {error}"));
        let received = Received {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        };
        if let Some(path) = self.documented_path(&url) {
            received.hold(&method, path);
        }
        (url, received)
    }

    /// The path in docs/openapi.yaml, if the address is the hub's.
    fn documented_path<'u>(&self, url: &'u Url) -> Option<&'u str> {
        let is_at = |base: &str| {
            url.as_str()
                .starts_with(&format!("{}/", base.trim_end_matches('/')))
        };
        match url.path() {
            // Nothing but notifications comes by the function URL.
            "/" if is_at(&self.notify) => Some("/wechat/notify"),
            path => is_at(&self.api).then_some(path),
        }
    }
}

impl Received {
    /// No answer may be taken for what it is not, tell other sites its address,
    /// or be kept unless it says so. The pay page may tell its origin: WeChat
    /// demands it of whoever opens a payment in a phone's browser.
    fn hold_headers(&self, method: &str, path: &str) {
        let value = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let (sniffing, referrer) = (value("x-content-type-options"), value("referrer-policy"));
        let is_private =
            referrer == Some("no-referrer") || (path == "/pay" && referrer == Some("origin"));
        let is_held = sniffing == Some("nosniff") && is_private && value("cache-control").is_some();
        assert!(is_held, "{method} {path}: {:?}", self.headers);
    }

    fn hold(&self, method: &str, path: &str) {
        let headers: BTreeMap<String, String> = self
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.to_string(), value.into_owned())
            })
            .collect();
        let answer = contract::Answer {
            status: self.status,
            headers: &headers,
            body: &self.text,
        };
        // The gateway answers itself where there is no route.
        if self.status != 404 || self.text != r#"{"message":"Not Found"}"# {
            self.hold_headers(method, path);
        }
        if let Err(breach) = Contract::get().check(method, path, &answer) {
            panic!("docs/openapi.yaml, {method} {path}: {breach}\n{answer:?}");
        }
    }
}
