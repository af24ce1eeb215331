//! Operators, in an owner's hands: listed, shown, let in or not, and removed. They
//! are made by `hubctl`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use serde::Serialize;
use shared::domain::operator::{OperatorName, ShownOperator};
use shared::flows::staff::Change;
use shared::http::problem::{OperatorProblem, Problem};

use crate::OperatorApi;
use crate::body::{Sent, Why, listing};
use crate::door::Caller;

/// A page of them: `Operators` in openapi.yaml.
#[derive(Serialize)]
struct Operators<'a> {
    operators: Vec<ShownOperator<'a>>,
    next: Option<String>,
}

pub(crate) async fn list(
    State(state): State<Arc<OperatorApi>>,
    RawQuery(given): RawQuery,
) -> Result<Response, Problem> {
    let (limit, after) = listing(given.as_deref())?;
    let found = state
        .registry
        .operators_after(after.as_deref(), limit)
        .await?;
    let now = state.clock.now();
    let operators = found.rows.iter().map(|known| known.shown(now)).collect();
    let next = found.next;
    Ok(Json(Operators { operators, next }).into_response())
}

/// A name in a path that is none is nobody's.
fn parsed(name: &str) -> Result<OperatorName, Problem> {
    OperatorName::parse(name).map_err(|_| OperatorProblem::OperatorNotFound.into())
}

pub(crate) async fn show(
    State(state): State<Arc<OperatorApi>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let known = state.registry.operator(&parsed(&name)?).await?;
    let known = known.ok_or(OperatorProblem::OperatorNotFound)?;
    Ok(Json(known.shown(state.clock.now())).into_response())
}

/// Switches an operator off or on.
pub(crate) fn change(change: Change) -> MethodRouter<Arc<OperatorApi>> {
    let handler = async move |State(state): State<Arc<OperatorApi>>,
                              Extension(caller): Extension<Caller>,
                              Path(name): Path<String>,
                              Sent(why): Sent<Why>| {
        let (actor, now) = (caller.because(why.reason)?, state.clock.now());
        let name = parsed(&name)?;
        let changed = state.staff.change(&name, change, &actor, now).await?;
        Ok::<_, Problem>(Json(changed.shown(now)).into_response())
    };
    post(handler)
}

pub(crate) async fn remove(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let (actor, now) = (caller.actor(), state.clock.now());
    state.staff.remove(&parsed(&name)?, &actor, now).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
