//! The third parties' API at the wire: signed requests in, views and
//! problem+json out.

pub mod problem;
pub mod request;
pub mod view;

use std::net::{IpAddr, Ipv4Addr};

use axum::http::Extensions;
use lambda_http::request::RequestContext;

/// The caller's address as the gateway saw it; never a header that the caller
/// can write.
#[must_use]
pub fn client_ip(extensions: &Extensions) -> IpAddr {
    let source = match extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref(),
        _ => None,
    };
    source
        .and_then(|text| text.parse().ok())
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
