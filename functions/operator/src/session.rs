//! A person's session: its beginning, who it is of, its end, and a new password,
//! which ends all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use shared::ambient::random_hex;
use shared::domain::id::AppId;
use shared::domain::operator::{Role, SESSION_SECONDS, csrf_token, digest};
use shared::flows::sign_in::Given;
use shared::http::problem::{OperatorProblem, Problem};

use crate::OperatorApi;
use crate::body::Sent;
use crate::door::{COOKIE, Caller, Origin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogIn {
    name: String,
    password: String,
    code: String,
}

/// Who is logged in: `Session` in openapi.yaml.
#[derive(Debug, Serialize)]
struct Session<'a> {
    who: &'a str,
    role: Role,
    /// The only ones that they reach, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    apps: Option<&'a BTreeSet<AppId>>,
    ends_at: String,
    csrf_token: String,
}

/// A new session, always: what the browser had before, its owner's or a planted
/// one, is replaced.
pub(crate) async fn begin(
    State(state): State<Arc<OperatorApi>>,
    Origin(from): Origin,
    Sent(asked): Sent<LogIn>,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let given = Given {
        name: &asked.name,
        password: &asked.password,
        code: &asked.code,
        from,
    };
    let begun = state.sign_in.sign_in(&given, now).await?;
    let who = format!("operator:{}", begun.operator.name);
    let session = Session {
        who: &who,
        role: begun.operator.role,
        apps: None,
        ends_at: begun.ends_at.rfc3339(),
        csrf_token: csrf_token(&begun.cookie),
    };
    Ok(hand_out(&session, &begun.cookie))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenLink {
    token: String,
}

/// The same for whoever holds the link of an app's owner.
pub(crate) async fn begin_with_link(
    State(state): State<Arc<OperatorApi>>,
    Origin(from): Origin,
    Sent(asked): Sent<OpenLink>,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let opened = state.sign_in.open_link(&asked.token, from, now).await?;
    let who = format!("link:{}", opened.link.id);
    let session = Session {
        who: &who,
        role: opened.link.role,
        apps: Some(&opened.link.apps),
        ends_at: opened.ends_at.rfc3339(),
        csrf_token: csrf_token(&opened.cookie),
    };
    Ok(hand_out(&session, &opened.cookie))
}

/// The only place where a cookie goes out.
fn hand_out(session: &Session<'_>, cookie: &str) -> Response {
    let cookie = [(header::SET_COOKIE, set_cookie(cookie, SESSION_SECONDS))];
    (StatusCode::CREATED, cookie, Json(session)).into_response()
}

pub(crate) async fn show(Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let session = Session {
        who: &caller.who,
        role: caller.role,
        apps: caller.apps.as_ref(),
        ends_at: caller.ends_at.rfc3339(),
        csrf_token: csrf_token(&caller.person()?.cookie),
    };
    Ok(Json(session).into_response())
}

pub(crate) async fn end(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let hash = digest(&caller.person()?.cookie);
    let actor = caller.actor();
    let now = state.clock.now();
    let entry = actor.entry("session.end", caller.who.clone(), now, &random_hex());
    let ended = state.registry.end_session(&hash, &state.audit, &entry);
    ended.await?;
    let gone = [(header::SET_COOKIE, set_cookie("", 0))];
    Ok((StatusCode::NO_CONTENT, gone).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangePassword {
    password: String,
    code: String,
    new_password: String,
}

pub(crate) async fn change_password(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Sent(asked): Sent<ChangePassword>,
) -> Result<Response, Problem> {
    let name = caller.person()?.name.as_ref();
    let name = name.ok_or(OperatorProblem::Forbidden)?;
    let given = Given {
        name: name.as_str(),
        password: &asked.password,
        code: &asked.code,
        from: caller.from,
    };
    let new = &asked.new_password;
    state
        .sign_in
        .change_password(&given, new, state.clock.now())
        .await?;
    let gone = [(header::SET_COOKIE, set_cookie("", 0))];
    Ok((StatusCode::NO_CONTENT, gone).into_response())
}

fn set_cookie(value: &str, seconds: i64) -> String {
    format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}")
}
