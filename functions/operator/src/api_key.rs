//! The keys of machines: made, shown once, looked at and revoked by an owner.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use shared::domain::operator::{NewApiKey, Role, ShownApiKey};
use shared::http::problem::{OperatorProblem, Problem};

use crate::OperatorApi;
use crate::body::Sent;
use crate::door::Caller;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    name: String,
    role: Role,
    days: u16,
    reason: Option<String>,
}

/// A key as it is shown once: `NewApiKey` in openapi.yaml.
#[derive(Serialize)]
struct Created<'a> {
    key: &'a str,
    #[serde(flatten)]
    shown: ShownApiKey<'a>,
}

pub(crate) async fn create(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Sent(asked): Sent<Create>,
) -> Result<Response, Problem> {
    let actor = caller.because(asked.reason)?;
    let new = NewApiKey {
        name: asked.name,
        role: asked.role,
        days: asked.days,
    };
    let (key, text) = state.staff.add_key(new, &actor, state.clock.now()).await?;
    let shown = key.shown();
    Ok((StatusCode::CREATED, Json(Created { key: &text, shown })).into_response())
}

pub(crate) async fn show(
    State(state): State<Arc<OperatorApi>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let key = state.registry.api_key(&id).await?;
    let key = key.ok_or(OperatorProblem::ApiKeyNotFound)?;
    Ok(Json(key.shown()).into_response())
}

pub(crate) async fn revoke(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let actor = caller.actor();
    state
        .staff
        .revoke_key(&id, &actor, state.clock.now())
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
