//! Third parties: listed, shown, registered, edited, switched off and on, annotated,
//! and given other secrets.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use shared::ambient::random_hex;
use shared::domain::app::{App, AppSecret, Edit, Rotation, Shown};
use shared::domain::id::AppId;
use shared::domain::time::Timestamp;
use shared::flows::apps::Change;
use shared::http::problem::Problem;

use crate::OperatorApi;
use crate::body::{Sent, Why, page_size, query, text};
use crate::door::Caller;

const NOTE_MAX_BYTES: usize = 2000;

/// A page of apps: `Apps` in openapi.yaml.
#[derive(Serialize)]
struct Apps<'a> {
    apps: Vec<Shown<'a>>,
    next: Option<AppId>,
}

/// All apps, or the caller's own.
pub(crate) async fn list(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    RawQuery(given): RawQuery,
) -> Result<Response, Problem> {
    let asked = query(given.as_deref(), &["limit", "cursor"])?;
    let limit = page_size(&asked)?;
    let after = asked.text("cursor", 16)?.map(AppId::parse).transpose();
    let after = after.map_err(Problem::of_param("cursor"))?;
    let (apps, next) = match &caller.apps {
        None => {
            let found = state.registry.apps_after(after.as_ref(), limit).await?;
            (found.apps, found.next)
        }
        Some(own) => {
            let mut apps = Vec::new();
            for app_id in own {
                apps.extend(state.registry.app(app_id).await?);
            }
            (apps, None)
        }
    };
    let now = state.clock.now();
    let apps = apps.iter().map(|app| shown(app, &caller, now)).collect();
    Ok(Json(Apps { apps, next }).into_response())
}

pub(crate) async fn show(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(app_id): Path<String>,
) -> Result<Response, Problem> {
    let app = state.apps.read(&parsed(&app_id)?).await?;
    Ok(Json(shown(&app, &caller, state.clock.now())).into_response())
}

/// What this caller sees of an app.
fn shown<'a>(app: &'a App, caller: &Caller, now: Timestamp) -> Shown<'a> {
    match caller.apps {
        None => app.shown(now),
        Some(_) => app.shown(now).without_note(),
    }
}

/// An app's identifier in a path.
pub(crate) fn parsed(app_id: &str) -> Result<AppId, Problem> {
    AppId::parse(app_id).map_err(Problem::of_param("app_id"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    app_id: Option<AppId>,
    app_secret: Option<AppSecret>,
    #[serde(default)]
    changes: Edit,
    reason: Option<String>,
}

pub(crate) async fn create(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Sent(asked): Sent<Create>,
) -> Result<Response, Problem> {
    let random_id = || parsed(random_hex().get(..16).unwrap_or_default());
    let app_id = asked.app_id.map_or_else(random_id, Ok)?;
    let secret = asked.app_secret.map_or_else(random_secret, Ok)?;
    let actor = caller.because(asked.reason)?;
    let edit = plain(asked.changes)?;
    let now = state.clock.now();
    let new = App::new(app_id, secret);
    let app = state.apps.create(new, &edit, &actor, now).await?;
    Ok((
        StatusCode::CREATED,
        Json(WithSecret::of(&app, &caller, now)),
    )
        .into_response())
}

fn random_secret() -> Result<AppSecret, Problem> {
    AppSecret::parse(&random_hex()).map_err(Problem::of_param("app_secret"))
}

/// Names are shown to people.
fn plain(mut edit: Edit) -> Result<Edit, Problem> {
    edit.name = edit
        .name
        .map(|name| text("name", name, NOTE_MAX_BYTES))
        .transpose()?;
    Ok(edit)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditApp {
    changes: Edit,
    reason: Option<String>,
}

pub(crate) async fn edit(
    state: State<Arc<OperatorApi>>,
    caller: Extension<Caller>,
    app_id: Path<String>,
    Sent(asked): Sent<EditApp>,
) -> Result<Response, Problem> {
    let edit = Change::Edit(Box::new(plain(asked.changes)?));
    change(&state, &caller, &app_id, edit, asked.reason).await
}

/// A change that needs no more than its name.
pub(crate) fn simply(simple: Change) -> MethodRouter<Arc<OperatorApi>> {
    let handler = async move |State(state): State<Arc<OperatorApi>>,
                              Extension(caller): Extension<Caller>,
                              Path(app_id): Path<String>,
                              Sent(why): Sent<Why>| {
        change(&state, &caller, &app_id, simple, why.reason).await
    };
    post(handler)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Annotate {
    note: String,
    reason: Option<String>,
}

pub(crate) async fn annotate(
    state: State<Arc<OperatorApi>>,
    caller: Extension<Caller>,
    app_id: Path<String>,
    Sent(asked): Sent<Annotate>,
) -> Result<Response, Problem> {
    let note = text("note", asked.note, NOTE_MAX_BYTES)?;
    change(
        &state,
        &caller,
        &app_id,
        Change::Annotate(note),
        asked.reason,
    )
    .await
}

async fn change(
    state: &OperatorApi,
    caller: &Caller,
    app_id: &str,
    change: Change,
    why: Option<String>,
) -> Result<Response, Problem> {
    let (actor, now) = (caller.because(why)?, state.clock.now());
    let app_id = parsed(app_id)?;
    let app = state.apps.change(&app_id, change, &actor, now).await?.app;
    Ok(Json(app.shown(now)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    /// Which of the three.
    old: Old,
    overlap_hours: Option<i64>,
    reason: Option<String>,
}

/// What becomes of the present secret.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Old {
    /// It may be used for a while.
    Overlaps,
    /// It was stolen.
    Ends,
    /// Nobody has it: the one before goes on.
    IsReplaced,
}

/// A secret as it is shown once: `AppWithSecret` in openapi.yaml.
#[derive(Serialize)]
struct WithSecret<'a> {
    app_secret: &'a str,
    /// The same for the libraries of Standard Webhooks.
    webhook_secret: String,
    app: Shown<'a>,
}

impl<'a> WithSecret<'a> {
    fn of(app: &'a App, caller: &Caller, now: Timestamp) -> Self {
        Self {
            app_secret: app.app_secret.expose(),
            webhook_secret: app.app_secret.webhook_form(),
            app: shown(app, caller, now),
        }
    }
}

pub(crate) async fn rotate(
    State(state): State<Arc<OperatorApi>>,
    Extension(caller): Extension<Caller>,
    Path(app_id): Path<String>,
    Sent(asked): Sent<Rotate>,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let rotation = match (asked.old, asked.overlap_hours) {
        (Old::Overlaps, hours) => {
            let hours = hours.unwrap_or(24);
            if !(1..=2160).contains(&hours) {
                return Err(Problem::param("overlap_hours", "must be 1 to 2160"));
            }
            Rotation::Overlap(now.plus_seconds(hours * 3600))
        }
        (_, Some(_)) => {
            let rule = "goes with overlaps only";
            return Err(Problem::param("overlap_hours", rule));
        }
        (Old::Ends, None) => Rotation::Now,
        (Old::IsReplaced, None) => Rotation::Again,
    };
    let actor = caller.because(asked.reason)?;
    let secret = random_secret()?;
    let app_id = parsed(&app_id)?;
    let app = state
        .apps
        .rotate(&app_id, rotation, secret, &actor, now)
        .await?;
    Ok(Json(WithSecret::of(&app, &caller, now)).into_response())
}
