//! Who asks, and whether they may: a session's cookie with, for every change, the
//! token that only the hub's own pages have beside it; or a machine's key. Whoever
//! reaches some apps only does not pass with another one in the path. A handler
//! behind the door is handed the [`Caller`].

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use shared::ambient::random_hex;
use shared::domain::audit::Actor;
use shared::domain::id::AppId;
use shared::domain::operator::{
    Action, Holder, Operator, OperatorName, Pass, PassKind, Role, csrf_token, digest,
};
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
    /// As the audit trail names them: `operator:ann`, `apikey:0123456789abcdef`,
    /// `link:0123456789abcdef`.
    pub(crate) who: String,
    /// What they are here for.
    pub(crate) role: Role,
    /// The only apps that they reach, if not all.
    pub(crate) apps: Option<BTreeSet<AppId>>,
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
    /// Whose, if not of somebody with a link.
    pub(crate) name: Option<OperatorName>,
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

    /// Whether they reach this app, which may be none.
    pub(crate) fn reaches(&self, app_id: &str) -> bool {
        let apps = self.apps.as_ref();
        apps.is_none_or(|apps| apps.iter().any(|known| known.as_str() == app_id))
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
    let named = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .ok();
    let mut named = named.iter().flatten();
    let reached = match named.find(|(name, _)| *name == "app_id") {
        Some((_, app_id)) => caller.reaches(app_id),
        None => caller.apps.is_none() || action.looks_at_apps_itself(),
    };
    if !(reached && caller.may(action)) {
        return Err(state
            .forbid(&caller, &parts.method, parts.uri.path(), now)
            .await);
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
        let (who, role, apps, name) = match &session.holder {
            Holder::Operator { operator, .. } => {
                let operator = self.registry.operator(operator).await?;
                let operator = operator.filter(|operator| session.is_of(operator, now));
                let Operator { name, role, .. } = operator.ok_or(OperatorProblem::LoginRequired)?;
                (format!("operator:{name}"), role, None, Some(name))
            }
            Holder::Link { link } => {
                let link = self.registry.pass(PassKind::OwnerLink, link).await?;
                let link = link.filter(|link| session.is_of_link(link, now));
                let link = link.ok_or(OperatorProblem::LoginRequired)?;
                (
                    format!("link:{}", link.id),
                    link.role,
                    Some(link.apps),
                    None,
                )
            }
        };
        if session.is_unseen(now) {
            self.registry.see_session(&hash, now).await?;
        }
        let cookie = cookie.to_owned();
        Ok(Caller {
            who,
            role,
            apps,
            from,
            ends_at: session.ends_at,
            session: Some(OwnSession { name, cookie }),
        })
    }

    async fn machine(
        &self,
        authorization: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Caller, Problem> {
        let text = authorization.strip_prefix("Bearer ");
        let halves = text.and_then(|text| Pass::split(PassKind::ApiKey, text));
        let (id, secret) = halves.ok_or(OperatorProblem::LoginRequired)?;
        let key = self.registry.pass(PassKind::ApiKey, id).await?;
        let key = key.filter(|key| key.admits(secret, now));
        let key = key.ok_or(OperatorProblem::LoginRequired)?;
        Ok(Caller {
            who: format!("apikey:{}", key.id),
            role: key.role,
            apps: (key.role == Role::AppOwner).then_some(key.apps),
            from,
            ends_at: key.ends_at,
            session: None,
        })
    }

    /// Somebody tries what they may not: whoever reads the trail should know. That
    /// it cannot be written does not let them pass.
    pub(crate) async fn forbid(
        &self,
        caller: &Caller,
        method: &Method,
        path: &str,
        now: Timestamp,
    ) -> Problem {
        let path: String = path.chars().take(200).collect();
        let subject = format!("{method} {path}");
        let entry = caller.actor();
        let entry = entry.entry("forbidden", subject, now, &random_hex());
        if let Err(failure) = self.audit.announce(&entry).await {
            tracing::error!(%failure, "a forbidden request is not in the audit trail");
        }
        OperatorProblem::Forbidden.into()
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
