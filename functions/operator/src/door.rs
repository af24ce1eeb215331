//! Who asks, and whether they may: a session's cookie with, for every change, the
//! token that only the hub's own pages have beside it; or a machine's key. A
//! handler behind the door is handed the [`Caller`].

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use shared::ambient::random_hex;
use shared::domain::audit::Actor;
use shared::domain::operator::{Action, ApiKey, OperatorName, Role, csrf_token, digest};
use shared::domain::signature::same;
use shared::domain::time::Timestamp;
use shared::http::client_ip;
use shared::http::problem::{OperatorProblem, Problem};
use tracing::Span;

use crate::OperatorApi;
use crate::body::reason;

/// The prefix binds it to this host, to HTTPS and to every path: no other host of
/// the same domain can put one in its place.
pub(crate) const COOKIE: &str = "__Host-hub_operator";
const CSRF_HEADER: &str = "x-csrf-token";

/// Somebody whom the door let pass.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// As the audit trail names them: `operator:ann`, `apikey:0123456789abcdef`.
    pub(crate) who: String,
    /// What they are here for.
    pub(crate) role: Role,
    /// From where they come.
    pub(crate) from: IpAddr,
    /// Until when they may, at most.
    pub(crate) ends_at: Timestamp,
    /// By which session, if by one.
    pub(crate) session: Option<OwnSession>,
}

/// The caller's own session.
#[derive(Debug, Clone)]
pub(crate) struct OwnSession {
    /// Whose.
    pub(crate) name: OperatorName,
    /// The cookie's value.
    pub(crate) cookie: String,
}

impl Caller {
    /// Whose entries the audit trail gets for what is done now.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            who: self.who.clone(),
            through: "api".to_owned(),
            from: self.from.to_string(),
            reason: String::new(),
        }
    }

    /// The same with why, as they say.
    pub(crate) fn because(&self, why: Option<String>) -> Result<Actor, Problem> {
        Ok(Actor {
            reason: reason(why)?,
            ..self.actor()
        })
    }

    fn may(&self, action: Action) -> bool {
        self.role.may(action) && (self.session.is_some() || !action.is_for_people())
    }

    /// The session of somebody who must be a person.
    pub(crate) fn person(&self) -> Result<&OwnSession, Problem> {
        let session = self.session.as_ref();
        session.ok_or_else(|| OperatorProblem::Forbidden.into())
    }
}

/// Lets a request pass to its handler, or answers why not.
pub(crate) async fn pass(
    State((state, action)): State<(Arc<OperatorApi>, Action)>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let (mut parts, body) = request.into_parts();
    let caller = state.caller(&parts, now).await?;
    Span::current().record("operator", &caller.who);
    if !caller.may(action) {
        state.note_forbidden(&caller, &parts, now).await;
        return Err(OperatorProblem::Forbidden.into());
    }
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// From where a request comes.
pub(crate) struct Origin(pub(crate) IpAddr);

impl FromRequestParts<Arc<OperatorApi>> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<OperatorApi>,
    ) -> Result<Self, Infallible> {
        Ok(Self(state.origin(parts)))
    }
}

impl OperatorApi {
    fn origin(&self, parts: &Parts) -> IpAddr {
        let trusted = self.address_header.as_ref();
        client_ip(&parts.extensions, &parts.headers, trusted)
    }

    async fn caller(&self, parts: &Parts, now: Timestamp) -> Result<Caller, Problem> {
        let (from, headers) = (self.origin(parts), &parts.headers);
        if let Some(authorization) = header(headers, header::AUTHORIZATION.as_str()) {
            return self.machine(authorization, from, now).await;
        }
        let caller = self.person(headers, from, now).await?;
        match parts.method == Method::GET || has_csrf_token(headers, &caller) {
            true => Ok(caller),
            false => Err(OperatorProblem::CsrfInvalid.into()),
        }
    }

    async fn person(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Caller, Problem> {
        let cookie = cookie(headers).ok_or(OperatorProblem::LoginRequired)?;
        let hash = digest(cookie);
        let session = self.registry.session(&hash).await?;
        let session = session.ok_or(OperatorProblem::LoginRequired)?;
        let operator = self.registry.operator(&session.operator).await?;
        let operator = operator.filter(|operator| session.is_of(operator, now));
        let operator = operator.ok_or(OperatorProblem::LoginRequired)?;
        if session.is_unseen(now) {
            self.registry.see_session(&hash, now).await?;
        }
        Ok(Caller {
            who: format!("operator:{}", operator.name),
            role: operator.role,
            from,
            ends_at: session.ends_at,
            session: Some(OwnSession {
                name: operator.name,
                cookie: cookie.to_owned(),
            }),
        })
    }

    async fn machine(
        &self,
        authorization: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Caller, Problem> {
        let text = authorization.strip_prefix("Bearer ");
        let halves = text.and_then(ApiKey::split);
        let (id, secret) = halves.ok_or(OperatorProblem::LoginRequired)?;
        let key = self.registry.api_key(id).await?;
        let key = key.filter(|key| key.admits(secret, now));
        let key = key.ok_or(OperatorProblem::LoginRequired)?;
        Ok(Caller {
            who: format!("apikey:{}", key.id),
            role: key.role,
            from,
            ends_at: key.ends_at,
            session: None,
        })
    }

    /// Somebody tries what they may not: whoever reads the trail should know. That
    /// it cannot be written does not let them pass.
    async fn note_forbidden(&self, caller: &Caller, parts: &Parts, now: Timestamp) {
        let path: String = parts.uri.path().chars().take(200).collect();
        let subject = format!("{} {path}", parts.method);
        let actor = caller.actor();
        let entry = actor.entry("forbidden", subject, now, &random_hex());
        if let Err(failure) = self.audit.announce(&entry).await {
            tracing::error!(%failure, "a forbidden request is not in the audit trail");
        }
    }
}

fn has_csrf_token(headers: &HeaderMap, caller: &Caller) -> bool {
    let given = header(headers, CSRF_HEADER).unwrap_or_default();
    let session = caller.session.as_ref();
    session.is_some_and(|session| same(&csrf_token(&session.cookie), given))
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The value of the session's cookie.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok());
    let mut pairs = cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_cookie_is_found_by_its_whole_name() {
        let read = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_static(line));
            }
            cookie(&headers).map(str::to_owned)
        };
        let found = Some("c0ffee".to_owned());
        assert_eq!(read(&["a=b; __Host-hub_operator=c0ffee; c=d"]), found);
        assert_eq!(read(&["a=b", "__Host-hub_operator=c0ffee"]), found);
        for others in [
            "hub_operator=c0ffee",
            "x__Host-hub_operator=c0ffee",
            "__Host-hub_operator",
            "__host-hub_operator=c0ffee",
        ] {
            assert_eq!(read(&[others]), None, "{others}");
        }
    }
}
