//! The only place that dials an app's address, for a callback (others say
//! webhook): vet it, resolve it once, refuse if any address is not public,
//! connect to what was vetted, call, and read a bounded answer.

pub mod guard;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use reqwest::RequestBuilder;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::domain::delivery::{Message, Webhook};
use crate::domain::signature::Params;
use guard::Guard;

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// DNS, TLS, headers and body together.
    call: Duration,
    /// DNS, the connection and TLS.
    connect: Duration,
}

const LIMITS: Limits = Limits {
    call: Duration::from_secs(10),
    connect: Duration::from_secs(3),
};
/// An honest answer is seven bytes.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// What the app's developer reads.
const TIMED_OUT: &str = "timed out";
/// How much of an answer is kept for people to read.
const KEPT_BYTES: usize = 96;

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The app answered `success`, or to a webhook with a status of 2xx.
    pub delivered: bool,
    /// The HTTP status, when there was one.
    pub http_status: Option<u16>,
    /// The first bytes of the answer, or why there was none.
    pub answer: String,
    /// How long it took.
    pub latency: Duration,
    /// It took too long.
    pub timed_out: bool,
}

impl Outcome {
    /// What becomes of a call that must not be made.
    #[must_use]
    pub fn not_called(why: &str) -> Self {
        Self {
            delivered: false,
            http_status: None,
            answer: excerpt(why),
            latency: Duration::ZERO,
            timed_out: false,
        }
    }
}

/// Calls apps. One per process; connections are kept between calls.
#[derive(Debug, Clone)]
pub struct Caller {
    http: reqwest::Client,
    guard: Arc<Guard>,
}

impl Caller {
    /// A caller that may also dial the given networks.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(allowed: Vec<IpNet>) -> Result<Self, reqwest::Error> {
        Self::build(Guard::new(allowed), Dns::System, LIMITS)
    }

    fn build(guard: Guard, dns: Dns, limits: Limits) -> Result<Self, reqwest::Error> {
        let guard = Arc::new(guard);
        let vetted = VettedDns {
            guard: Arc::clone(&guard),
            dns: Arc::new(dns),
        };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(crate::tls::client())
            .connect_timeout(limits.connect)
            .timeout(limits.call)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent("wechat-pay-hub/1.0")
            .dns_resolver(Arc::new(vetted))
            .build()?;
        Ok(Self { http, guard })
    }

    /// Tells an app, in the message's form.
    pub async fn tell(&self, address: &str, message: &Message) -> Outcome {
        match message {
            Message::Query(params) => self.call(address, params).await,
            Message::Webhook(webhook) => self.post(address, webhook).await,
        }
    }

    /// GETs an address with these parameters. Every failure is an outcome.
    pub async fn call(&self, address: &str, params: &Params) -> Outcome {
        let request = |mut url: Url| {
            url.query_pairs_mut().extend_pairs(params);
            self.http.get(url)
        };
        self.ask(address, request, is_success).await
    }

    /// POSTs a webhook to an address. Every failure is an outcome.
    async fn post(&self, address: &str, webhook: &Webhook) -> Outcome {
        let request = |url: Url| {
            self.http
                .post(url)
                .header("content-type", "application/json")
                .header("webhook-id", &webhook.id)
                .header("webhook-timestamp", &webhook.timestamp)
                .header("webhook-signature", &webhook.signature)
                .body(webhook.body.clone())
        };
        let is_taken = |status, _: &[u8]| (200..300).contains(&status);
        self.ask(address, request, is_taken).await
    }

    async fn ask(
        &self,
        address: &str,
        request: impl FnOnce(Url) -> RequestBuilder,
        is_taken: impl FnOnce(u16, &[u8]) -> bool,
    ) -> Outcome {
        let started = Instant::now();
        let called = match self.vet(address) {
            Ok(url) => send(request(url)).await,
            Err(reason) => Err((None, reason.to_owned())),
        };
        let ran_out = matches!(&called, Err((_, reason)) if reason == TIMED_OUT);
        let (http_status, answer, delivered) = match called {
            Ok((status, body)) => {
                let text = String::from_utf8_lossy(&body);
                (Some(status), excerpt(&text), is_taken(status, &body))
            }
            // A webhook's status says it all, whatever becomes of the body.
            Err((Some(status), reason)) => (Some(status), reason, is_taken(status, &[])),
            Err((None, reason)) => (None, reason, false),
        };
        Outcome {
            delivered,
            http_status,
            answer,
            latency: started.elapsed(),
            timed_out: ran_out && !delivered,
        }
    }

    fn vet(&self, address: &str) -> Result<Url, &'static str> {
        let url = Url::parse(address).map_err(|_| "the address is not a URL")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the address is neither https nor http");
        }
        // The connector dials a literal address without asking the resolver.
        let refused = match url.host() {
            Some(Host::Ipv4(ip)) => !self.guard.permits(ip.into()),
            Some(Host::Ipv6(ip)) => !self.guard.permits(ip.into()),
            Some(Host::Domain(_)) => false,
            None => true,
        };
        if refused {
            return Err(guard::REFUSED);
        }
        Ok(url)
    }
}

/// Sends it, and reads what is answered.
async fn send(request: RequestBuilder) -> Result<(u16, Vec<u8>), (Option<u16>, String)> {
    let sent = request.send().await;
    let mut response = sent.map_err(|error| (None, reason(error)))?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok((status, body)),
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_MAX_BYTES => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err((Some(status), "the answer is too large".to_owned())),
            Err(error) => return Err((Some(status), reason(error))),
        }
    }
}

/// Whether an app's answer ends the delivery: a 2xx status whose body, but for
/// white space around it, is `success` in any case.
#[must_use]
pub fn is_success(status: u16, body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    (200..300).contains(&status) && text.trim().eq_ignore_ascii_case("success")
}

/// Where the addresses of a name come from.
enum Dns {
    System,
    /// One answer for each lookup, in this order.
    #[cfg(test)]
    Scripted(std::sync::Mutex<std::collections::VecDeque<Vec<std::net::IpAddr>>>),
}

impl Dns {
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((name, 0)).await?.collect()),
            #[cfg(test)]
            Self::Scripted(answers) => {
                let answer = answers.lock().unwrap().pop_front().unwrap_or_default();
                Ok(answer.into_iter().map(|ip| (ip, 0).into()).collect())
            }
        }
    }
}

/// Resolves once, refuses if any address is forbidden, and hands the connector
/// nothing but the vetted addresses: a second answer cannot slip in between.
struct VettedDns {
    guard: Arc<Guard>,
    dns: Arc<Dns>,
}

impl Resolve for VettedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, dns) = (Arc::clone(&self.guard), Arc::clone(&self.dns));
        Box::pin(async move {
            let found = dns.lookup(name.as_str()).await?;
            if found.is_empty() {
                return Err("the name has no address".into());
            }
            if found.iter().any(|address| !guard.permits(address.ip())) {
                return Err(guard::REFUSED.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Why a call failed, in words an app's developer can act on. The address is
/// left out: it carries the signed parameters.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return TIMED_OUT.to_owned();
    }
    let mut root: &dyn std::error::Error = &error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    excerpt(&root.to_string())
}

fn excerpt(text: &str) -> String {
    let text = text.trim();
    let kept = text
        .get(..text.floor_char_boundary(KEPT_BYTES))
        .unwrap_or_default();
    kept.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
