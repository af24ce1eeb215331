//! The keys of machines and the links of apps' owners: made, shown once, listed,
//! looked at and revoked.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::domain::id::AppId;
use shared::domain::operator::{NewPass, PassKind, Role, ShownPass};
use shared::http::problem::{OperatorProblem, Problem};

use crate::OperatorApi;
use crate::body::{Sent, listing};
use crate::door::Caller;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKey {
    name: String,
    role: Role,
    #[serde(default)]
    apps: BTreeSet<AppId>,
    days: u16,
    reason: Option<String>,
}

/// A key as it is shown once: `NewApiKey` in openapi.yaml.
#[derive(Serialize)]
struct WithKey<'a> {
    key: &'a str,
    #[serde(flatten)]
    shown: ShownPass<'a>,
}

pub(crate) async fn create_key(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Sent(asked): Sent<CreateKey>,
) -> Result<Response, Problem> {
    let actor = caller.because(asked.reason)?;
    let new = NewPass {
        kind: PassKind::ApiKey,
        name: asked.name,
        role: asked.role,
        apps: asked.apps,
        days: asked.days,
    };
    let (key, text) = state.staff.add_pass(new, &actor, state.clock.now()).await?;
    let shown = key.shown();
    Ok((StatusCode::CREATED, Json(WithKey { key: &text, shown })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateLink {
    name: String,
    apps: BTreeSet<AppId>,
    days: u16,
    reason: Option<String>,
}

/// A link as it is shown once: `NewOwnerLink`.
#[derive(Serialize)]
struct WithToken<'a> {
    token: &'a str,
    #[serde(flatten)]
    shown: ShownPass<'a>,
}

pub(crate) async fn create_link(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Sent(asked): Sent<CreateLink>,
) -> Result<Response, Problem> {
    let actor = caller.because(asked.reason)?;
    let new = NewPass {
        kind: PassKind::OwnerLink,
        name: asked.name,
        role: Role::AppOwner,
        apps: asked.apps,
        days: asked.days,
    };
    let (link, text) = state.staff.add_pass(new, &actor, state.clock.now()).await?;
    let (token, shown) = (text.as_str(), link.shown());
    Ok((StatusCode::CREATED, Json(WithToken { token, shown })).into_response())
}

pub(crate) async fn list_keys(
    State(state): State<Arc<OperatorApi>>,
    RawQuery(given): RawQuery,
) -> Result<Response, Problem> {
    list(&state, PassKind::ApiKey, given).await
}

pub(crate) async fn list_links(
    State(state): State<Arc<OperatorApi>>,
    RawQuery(given): RawQuery,
) -> Result<Response, Problem> {
    list(&state, PassKind::OwnerLink, given).await
}

async fn list(
    state: &OperatorApi,
    kind: PassKind,
    given: Option<String>,
) -> Result<Response, Problem> {
    let (limit, after) = listing(given.as_deref())?;
    let found = state
        .registry
        .passes_after(kind, after.as_deref(), limit)
        .await?;
    let shown: Vec<ShownPass<'_>> = found.rows.iter().map(|pass| pass.shown()).collect();
    let named = match kind {
        PassKind::ApiKey => "api_keys",
        PassKind::OwnerLink => "owner_links",
    };
    Ok(Json(json!({named: shown, "next": found.next})).into_response())
}

pub(crate) async fn show_key(
    State(state): State<Arc<OperatorApi>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    show(&state, PassKind::ApiKey, &id).await
}

pub(crate) async fn show_link(
    State(state): State<Arc<OperatorApi>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    show(&state, PassKind::OwnerLink, &id).await
}

async fn show(state: &OperatorApi, kind: PassKind, id: &str) -> Result<Response, Problem> {
    let pass = state.registry.pass(kind, id).await?;
    let pass = pass.ok_or_else(|| OperatorProblem::no_pass(kind))?;
    Ok(Json(pass.shown()).into_response())
}

pub(crate) async fn revoke_key(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    revoke(&state, PassKind::ApiKey, &id, &caller).await
}

pub(crate) async fn revoke_link(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    revoke(&state, PassKind::OwnerLink, &id, &caller).await
}

async fn revoke(
    state: &OperatorApi,
    kind: PassKind,
    id: &str,
    caller: &Caller,
) -> Result<Response, Problem> {
    let (actor, now) = (caller.actor(), state.clock.now());
    state.staff.revoke_pass(kind, id, &actor, now).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
