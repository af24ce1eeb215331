//! `POST /v1/miniprogram/session`: who uses an app's mini program. The mini program
//! gives its server a code, and the hub, which has the account's secret, exchanges
//! it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use shared::aws::accounts::Named;
use shared::domain::app::App;
use shared::domain::merchant::{AccountId, Need};
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::http::view::MiniProgramSession;

use crate::Oauth;

pub(crate) async fn session(
    State(state): State<Arc<Oauth>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let Signed { app, fields } =
        Signed::fresh(Fields::from_json(&body)?, &state.registry, now).await?;
    fields.only(&["js_code", "account"])?;
    let js_code = fields.required("js_code", 128)?;
    let account = account(&state, &app, &fields).await?;
    let wechat = state.accounts.client(&account).await?;
    let session = wechat.exchange_js_code(js_code).await.map_err(|error| {
        error.alarm_if_ours(&account);
        match error.business_code() {
            // Anybody can bring a code that WeChat did not give, or gave before.
            Some("40029" | "40163") => Problem::CodeInvalid,
            _ => error.into(),
        }
    })?;
    tracing::info!(app = %app.app_id, %account, "a user of a mini program is known");
    let answer = MiniProgramSession::of(&session, &account, app.session_keys);
    Ok(Json(answer).into_response())
}

async fn account(state: &Oauth, app: &App, fields: &Fields) -> Result<AccountId, Problem> {
    const NAME: &str = "account";
    let Some(text) = fields.text(NAME, 32)? else {
        return state.account(app, Need::MiniProgram).await;
    };
    let account = AccountId::parse(text).map_err(Problem::of_param(NAME))?;
    match state
        .accounts
        .check(app, &account, Need::MiniProgram)
        .await?
    {
        Named::Serves => Ok(account),
        Named::Unsuited | Named::Foreign => {
            Err(Problem::param(NAME, "is not a mini program of the app's"))
        }
    }
}
