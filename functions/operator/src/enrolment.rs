//! The way in of somebody whom `hubctl operator` gave a token: codes for the
//! telephone, then a password.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shared::flows::sign_in::{self, Given};
use shared::http::problem::Problem;

use crate::OperatorApi;
use crate::body::Sent;
use crate::door::Origin;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskForCodes {
    name: String,
    token: String,
}

/// What the telephone is told: `Codes` in openapi.yaml.
#[derive(Serialize)]
struct Codes<'a> {
    secret: &'a str,
    address: &'a str,
}

pub(crate) async fn offer(
    State(state): State<Arc<OperatorApi>>,
    Origin(from): Origin,
    Sent(asked): Sent<AskForCodes>,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let offered = state.sign_in.offer(&asked.name, &asked.token, from, now);
    let sign_in::Offer { secret, address } = offered.await?;
    Ok(Json(Codes {
        secret: secret.base32(),
        address: &address,
    })
    .into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrol {
    name: String,
    token: String,
    password: String,
    code: String,
}

pub(crate) async fn finish(
    State(state): State<Arc<OperatorApi>>,
    Origin(from): Origin,
    Sent(asked): Sent<Enrol>,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let given = Given {
        name: &asked.name,
        password: &asked.password,
        code: &asked.code,
        from,
    };
    state.sign_in.enrol(&asked.token, &given, now).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
