//! A person's session: its beginning, who it is of, its end, and a new password,
//! which ends all of them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use shared::ambient::random_hex;
use shared::domain::operator::{Role, SESSION_SECONDS, csrf_token, digest};
use shared::flows::sign_in::Given;
use shared::http::problem::Problem;

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
        ends_at: begun.ends_at.rfc3339(),
        csrf_token: csrf_token(&begun.cookie),
    };
    let cookie = set_cookie(&begun.cookie, SESSION_SECONDS);
    Ok((
        StatusCode::CREATED,
        [(header::SET_COOKIE, cookie)],
        Json(session),
    )
        .into_response())
}

pub(crate) async fn show(Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let session = Session {
        who: &caller.who,
        role: caller.role,
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
    let session = caller.person()?;
    let given = Given {
        name: session.name.as_str(),
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
