//! The third parties' API at the wire: signed requests in, views and
//! problem+json out.

pub mod problem;
pub mod request;
pub mod view;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use lambda_http::Context;
use lambda_http::request::RequestContext;
use tracing::field::Empty;
use tracing::{Instrument, info_span};

/// The caller's address: what the gateway saw, or what the proxy in front of it
/// wrote into this header, which nobody else can write. Of a list the last one
/// counts, because a caller may have begun it.
#[must_use]
pub fn client_ip(
    extensions: &Extensions,
    headers: &HeaderMap,
    trusted: Option<&HeaderName>,
) -> IpAddr {
    let written = trusted.and_then(|name| headers.get_all(name).iter().next_back());
    let written = written.and_then(|value| value.to_str().ok());
    let last = written.and_then(|list| address(list.rsplit(',').next()?));
    let source = match extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref(),
        _ => None,
    };
    last.or_else(|| address(source?))
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Routes whose every answer, errors and redirects included, says what a browser
/// and a cache must not do with it. An answer that has said more itself keeps it.
/// Every log line on the way to it says whose request it was, once that is known.
pub fn guarded(routes: Router) -> Router {
    routes
        .fallback(|| async { not_found() })
        .layer(map_response(guard))
        .layer(from_fn(within_span))
}

/// There is no such path, as the gateway says it: what it lets through may be none of
/// ours once it is decoded.
#[must_use]
pub fn not_found() -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::NOT_FOUND, json, r#"{"message":"Not Found"}"#).into_response()
}

/// The line of a log has its innermost span only, so this one repeats the id of
/// the runtime's. [`request::Signed`] fills in the rest.
async fn within_span(request: Request, next: Next) -> Response {
    let context = request.extensions().get::<Context>();
    let span = info_span!(
        "request",
        requestId = context.map(|context| context.request_id.as_str()),
        app_id = Empty,
        claimed_app_id = Empty,
        order = Empty,
        operator = Empty,
    );
    next.run(request).instrument(span).await
}

async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        // Nothing that apps and strangers sent is ever taken for a page.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Addresses carry signatures, states and tickets.
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Some proxies write the port as well. One address has one form, because
/// addresses are compared.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || text.parse().map(|socket: SocketAddr| socket.ip());
    let ip: IpAddr = text.parse().or_else(|_| with_port()).ok()?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_payers_address_is_the_last_one_of_the_trusted_header() {
        const NAME: HeaderName = HeaderName::from_static("x-payer-address");
        for (values, expected) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            (&["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7:46532"], "203.0.113.7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["[2001:db8::7]:46532"], "2001:db8::7"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7, unknown"], "127.0.0.1"),
            (&["203.0.113.7,"], "127.0.0.1"),
            (&["203.0.113"], "127.0.0.1"),
            (&[""], "127.0.0.1"),
            (&[], "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(NAME, HeaderValue::from_static(value));
            }
            let extensions = Extensions::new();
            let expected: IpAddr = expected.parse().unwrap();
            let ip = client_ip(&extensions, &headers, Some(&NAME));
            assert_eq!(ip, expected, "{values:?}");
            // Without the setting nobody's header is believed.
            let ip = client_ip(&extensions, &headers, None);
            assert_eq!(ip, IpAddr::V4(Ipv4Addr::LOCALHOST), "{values:?}");
        }
    }
}
