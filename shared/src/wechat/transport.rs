//! How WeChat is called: time-outs, the spare host, capped answers. What is
//! said over it is version 2's ([`super::v2`]), version 3's ([`super::v3`]) or the
//! official account's ([`super::official_account`]).

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use rustls::ClientConfig;

use super::Error;
use crate::error::causes;
use crate::tls;

/// One call of WeChat, headers and body. With the spare host, two of them fit
/// a request of ours; a notification has its own, shorter limit.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
const MAIN_HOST: &str = "https://api.mch.weixin.qq.com";
const SPARE_HOST: &str = "https://api2.mch.weixin.qq.com";
/// Version 3 refuses requests that do not say who calls.
const USER_AGENT: &str = "wechat-pay-hub/1.0";
/// No answer of ours comes near this.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Where payments are asked for: a host, and the spare one of those that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    main: String,
    spare: Option<String>,
}

impl Gateway {
    /// The gateway at this address, without a trailing slash. Only WeChat's own has
    /// a spare host: what is meant for another must not reach WeChat.
    #[must_use]
    pub fn at(base: &str) -> Self {
        Self {
            main: base.to_owned(),
            spare: (base == MAIN_HOST).then(|| SPARE_HOST.to_owned()),
        }
    }

    /// The same with a spare host at this address, as the simulation has one.
    #[must_use]
    pub fn with_spare(self, base: &str) -> Self {
        Self {
            spare: Some(base.to_owned()),
            ..self
        }
    }
}

impl Default for Gateway {
    /// WeChat's own.
    fn default() -> Self {
        Self::at(MAIN_HOST)
    }
}

/// Whether a call may be made again when nobody knows if it was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// WeChat does it once, however often it is asked.
    Safe,
    /// A second one could move money twice.
    Never,
}

/// The connections to WeChat, for whichever merchant and account. They outlive the
/// keys that are used over them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http(reqwest::Client);

impl Http {
    /// Nothing is dialled yet.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        client(tls::client()).build().map(Self)
    }

    /// Shows a client certificate, PEM with its private key.
    pub(super) fn with_certificate(pem: &str) -> Result<Self, NoCertificate> {
        let tls = tls::client_with_certificate(pem)?;
        Ok(Self(client(tls).build()?))
    }

    pub(super) const fn client(&self) -> &reqwest::Client {
        &self.0
    }
}

/// Why a client certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum NoCertificate {
    /// It is none, or its key is another's.
    Unfit(#[from] rustls::Error),
    /// The client cannot be built.
    Client(#[from] reqwest::Error),
}

/// A client that dials WeChat and nothing else: no redirects, no proxy.
fn client(tls: ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Its body, of those who say everything with status 200.
    pub(super) fn if_success(self) -> Result<Vec<u8>, Error> {
        match self.status.is_success() {
            true => Ok(self.body),
            false => Err(Error::Unknown(None)),
        }
    }
}

/// Calls a path of the payment API. Fails over to the spare host when the main one
/// cannot be reached, or does not answer what may be repeated.
pub(super) async fn call(
    gateway: &Gateway,
    path: &str,
    repeat: Repeat,
    request: impl Fn(String) -> RequestBuilder,
) -> Result<Answer, Error> {
    let answer = receive(request(format!("{}{path}", gateway.main))).await;
    match (answer, &gateway.spare) {
        (Err(error), Some(spare)) if lets_the_spare_try(&error, repeat) => {
            tracing::warn!(
                path,
                cause = causes(&error),
                "WeChat's main host fails, trying the spare"
            );
            receive(request(format!("{spare}{path}"))).await
        }
        (answer, _) => answer,
    }
}

/// One call; the body of a successful answer.
pub(super) async fn send(request: RequestBuilder) -> Result<Vec<u8>, Error> {
    receive(request).await?.if_success()
}

async fn receive(request: RequestBuilder) -> Result<Answer, Error> {
    let mut response = request.send().await.map_err(unreachable_or_unknown)?;
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable_or_unknown)? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            match status.is_success() {
                true => return Err(Error::Forged("the answer is too large")),
                // Somebody's page about an error.
                false => break,
            }
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// The network failed, not WeChat, and the main host has not seen a call that
/// must not be made twice.
fn lets_the_spare_try(error: &Error, repeat: Repeat) -> bool {
    match error {
        Error::Unreachable(_) => true,
        Error::Unknown(Some(_)) => repeat == Repeat::Safe,
        _ => false,
    }
}

/// A connection that was never made moved nothing; anything later is unknown.
fn unreachable_or_unknown(error: reqwest::Error) -> Error {
    // The address may carry secrets (OAuth puts them in the query).
    let error = error.without_url();
    if error.is_connect() {
        Error::Unreachable(error)
    } else {
        Error::Unknown(Some(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wechats_own_host_has_a_spare() {
        assert_eq!(Gateway::default().spare.as_deref(), Some(SPARE_HOST));
        assert_eq!(Gateway::at(MAIN_HOST), Gateway::default());
        assert_eq!(Gateway::at("https://gateway.example").spare, None);
    }

    #[tokio::test]
    async fn a_call_that_must_not_be_made_twice_goes_to_the_spare_only_unheard() {
        let refused = client(tls::client())
            .build()
            .unwrap()
            .get("http://127.0.0.1:1")
            .send();
        let cut = || {
            client(tls::client())
                .build()
                .unwrap()
                .get("no address")
                .build()
        };
        let unreachable = Error::Unreachable(refused.await.unwrap_err());
        let lost = Error::Unknown(Some(cut().unwrap_err()));
        for (error, safe, never) in [
            (unreachable, true, true),
            (lost, true, false),
            (Error::Unknown(None), false, false),
            (Error::Refused(String::new()), false, false),
            (Error::NoCertificate, false, false),
        ] {
            assert_eq!(lets_the_spare_try(&error, Repeat::Safe), safe, "{error}");
            assert_eq!(lets_the_spare_try(&error, Repeat::Never), never, "{error}");
        }
    }
}
