//! What the SDK's calls go over: the same HTTP client and TLS stack as everything
//! else's, instead of a second one of the SDK's own. Waiting for an answer, trying
//! again and signing stay the SDK's. One thing of its own client is given up: after a
//! 5xx the next try may go over the same connection, where that would dial anew.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::body::SdkBody;

use crate::tls;

/// A function is beside what it calls.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// People may be far away.
const PEOPLES_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For a function. Nothing is dialled yet.
#[must_use]
pub fn client() -> SharedHttpClient {
    build(builder().connect_timeout(CONNECT_TIMEOUT))
}

/// For an operator at a terminal.
#[must_use]
pub fn client_for_people() -> SharedHttpClient {
    build(builder().connect_timeout(PEOPLES_CONNECT_TIMEOUT))
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

fn build(client: reqwest::ClientBuilder) -> SharedHttpClient {
    SharedHttpClient::new(Https(client.build().map_err(Arc::new)))
}

/// Where the TLS stack cannot be set up, each call says so.
#[derive(Debug, Clone)]
struct Https(Result<reqwest::Client, Arc<reqwest::Error>>);

impl HttpClient for Https {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            client: self.0.clone(),
            patience: settings.read_timeout(),
        })
    }
}

/// The client, as one of the SDK's clients wants it.
#[derive(Debug)]
struct Connector {
    client: Result<reqwest::Client, Arc<reqwest::Error>>,
    patience: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, patience) = (self.client.clone(), self.patience);
        HttpConnectorFuture::new(async move {
            let client = client.map_err(impossible)?;
            let mut request = prepare(request)?;
            *request.timeout_mut() = patience;
            let mut answer = client.execute(request).await.map_err(failed)?;
            let status = answer.status().as_u16();
            let headers = std::mem::take(answer.headers_mut());
            let body = answer.bytes().await.map_err(failed)?;
            let status = status.try_into().map_err(impossible)?;
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            *response.headers_mut() = Headers::try_from(headers).map_err(impossible)?;
            Ok(response)
        })
    }
}

fn prepare(request: HttpRequest) -> Result<reqwest::Request, ConnectorError> {
    let request = request.try_into_http1x().map_err(impossible)?;
    let (parts, body) = request.into_parts();
    let body = body.bytes().map(<[u8]>::to_vec);
    let body = body.ok_or_else(|| ConnectorError::user("the body is no bytes".into()))?;
    let url = parts.uri.to_string();
    let mut prepared = reqwest::Request::new(parts.method, url.parse().map_err(impossible)?);
    *prepared.headers_mut() = parts.headers;
    *prepared.body_mut() = Some(body.into());
    Ok(prepared)
}

/// The SDK tries those again of which nobody knows whether they came through, as
/// it does with its own client.
fn failed(error: reqwest::Error) -> ConnectorError {
    match error.is_timeout() {
        true => ConnectorError::timeout(error.into()),
        false => ConnectorError::io(error.into()),
    }
}

fn impossible(error: impl std::error::Error + Send + Sync + 'static) -> ConnectorError {
    ConnectorError::user(error.into())
}
