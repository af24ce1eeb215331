//! `GET /oauth/authorize`, `GET /oauth/callback`, `POST /v1/oauth/token`: an app
//! sends a browser, WeChat sends it back to the one domain it knows, and the
//! hub sends it on with a code that the app exchanges for the user. The browser
//! is only ever sent to an address that was checked for the app that asked.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;
use shared::ambient::random_hex;
use shared::domain::app::App;
use shared::domain::merchant::{AccountId, Need};
use shared::domain::signature::{Params, sign};
use shared::domain::time::Timestamp;
use shared::flows::login::{self, AppLogin, Purpose};
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::wechat::official_account::oauth::{Scope, User};
use url::Url;

use crate::{Oauth, page};

pub(crate) async fn authorize(
    State(state): State<Arc<Oauth>>,
    RawQuery(query): RawQuery,
) -> Response {
    begin(&state, &query.unwrap_or_default())
        .await
        .unwrap_or_else(|problem| page::of(&problem))
}

async fn begin(state: &Oauth, query: &str) -> Result<Response, Problem> {
    let now = state.clock.now();
    let Signed { app, fields } =
        Signed::fresh(Fields::from_query(query)?, &state.registry, now).await?;
    fields.only(&["redirect_uri", "scope", "state"])?;
    let redirect_uri = fields.required("redirect_uri", 1024)?;
    app.check_redirect(redirect_uri)
        .map_err(Problem::of_param("redirect_uri"))?;
    let scope = Scope::parse(fields.required("scope", 32)?)
        .ok_or_else(|| Problem::param("scope", "must be snsapi_base or snsapi_userinfo"))?;
    let login_state = fields.required("state", 128)?;
    // It may be a visitor's text, and this address is signed as raw text.
    if login_state.contains('&') {
        return Err(Problem::param("state", "must not contain &"));
    }
    let purpose = Purpose::App(AppLogin {
        app_id: app.app_id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        state: login_state.to_owned(),
        scope,
    });
    let account = state.account(&app, Need::OfficialAccount).await?;
    // Nobody is sent to WeChat for a login that could not end.
    state.accounts.client(&account).await?;
    let entrance = login::Entrance {
        open_base: &state.accounts.hosts().open,
        account: &account,
        public_url: &state.public_url,
    };
    let started = login::start(&state.registry, entrance, purpose, now).await?;
    tracing::info!(app = %app.app_id, "a login began");
    let mut response = Redirect::to(started.authorize_url.as_str()).into_response();
    let cookie = HeaderValue::from_str(&started.cookie).map_err(|_| Problem::Unavailable)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

pub(crate) async fn callback(
    State(state): State<Arc<Oauth>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match come_back(&state, &query.unwrap_or_default(), &headers).await {
        Ok(address) => Redirect::to(&address).into_response(),
        Err(problem) => page::of(&problem),
    }
}

async fn come_back(state: &Oauth, query: &str, headers: &HeaderMap) -> Result<String, Problem> {
    let now = state.clock.now();
    let fields = Fields::from_query(query)?;
    let login_state = fields.required("state", 128)?;
    let (name, _) = login::cookie_place(login_state, &state.public_url);
    let cookie = cookie(headers, &name).unwrap_or_default();
    let resumed = login::resume(&state.registry, login_state, cookie, now).await?;
    let account = resumed.account.as_ref();
    match resumed.purpose {
        Purpose::PayQuery(query) => {
            let user = identify(state, account, &fields, Scope::Base).await?;
            if user.is_snapshot {
                return Err(Problem::param(
                    "openid",
                    "is a virtual account's, which cannot pay",
                ));
            }
            let (registry, public_url) = (&state.registry, &state.public_url);
            Ok(login::issue_ticket(registry, public_url, &query, user, now).await?)
        }
        Purpose::App(login) => back_to_app(state, account, &login, &fields, now).await,
    }
}

/// The app's address with the outcome, good or bad. Ten minutes may have passed
/// since the app was looked at.
async fn back_to_app(
    state: &Oauth,
    account: Option<&AccountId>,
    login: &AppLogin,
    fields: &Fields,
    now: Timestamp,
) -> Result<String, Problem> {
    let app = state.registry.app(&login.app_id).await?;
    let app = app.ok_or(Problem::AppUnknown)?;
    if app.disabled {
        return Err(Problem::AppDisabled);
    }
    app.check_redirect(&login.redirect_uri)
        .map_err(Problem::of_param("redirect_uri"))?;
    let outcome = match identify(state, account, fields, login.scope).await {
        Ok(user) if app.signed_profile => Ok(signed_profile(&app, login, &user, now)),
        Ok(user) => login::issue_code(&state.registry, &app.app_id, user, now)
            .await
            .map(|code| Params::from([("code".to_owned(), code)]))
            .map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    let mut params = outcome.unwrap_or_else(|problem| {
        let (_, code) = problem.identity();
        tracing::warn!(app = %app.app_id, %problem, "a login failed");
        Params::from([("error".to_owned(), code.to_owned())])
    });
    params.insert("state".to_owned(), login.state.clone());
    Ok(Url::parse_with_params(&login.redirect_uri, params)?.into())
}

/// Asks WeChat who came back. Without a code, somebody who declined.
async fn identify(
    state: &Oauth,
    account: Option<&AccountId>,
    fields: &Fields,
    scope: Scope,
) -> Result<User, Problem> {
    let code = match fields.text("code", 512) {
        Ok(code) => code.ok_or(Problem::LoginDeclined)?,
        // Too long, or no text: not one that WeChat gave.
        Err(_) => return Err(Problem::CodeInvalid),
    };
    let account = account.or_else(|| state.accounts.first());
    let account = account.ok_or(Problem::AccountMissing)?;
    let wechat = state.accounts.client(account).await?;
    wechat.exchange_code(code, scope).await.map_err(|error| {
        error.alarm_if_ours(account);
        match error.business_code() {
            // Anybody can bring a code that WeChat did not give, or gave before.
            Some("40029" | "40163" | "42003") => Problem::CodeInvalid,
            _ => error.into(),
        }
    })
}

/// The simpler way of older hubs: the user in the address, signed. `purpose` marks
/// what this is: no request of the API has such a parameter and so none takes
/// these, and no callback has it.
///
/// The signed text joins raw values by `&`, and users name themselves: somebody
/// called `x&openid=<another's>&..` could cut that text into other parameters
/// under the same signature. So no value has an `&`.
fn signed_profile(app: &App, login: &AppLogin, user: &User, now: Timestamp) -> Params {
    let mut params = Params::from([
        ("app_id".to_owned(), app.app_id.to_string()),
        ("purpose".to_owned(), "login".to_owned()),
        ("state".to_owned(), login.state.clone()),
        ("timestamp".to_owned(), now.seconds().to_string()),
        ("nonce".to_owned(), random_hex()),
    ]);
    if let Ok(Value::Object(fields)) = serde_json::to_value(user) {
        for (name, value) in fields {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            // Empty ones are not signed; left out, nobody can fill them in.
            if !text.is_empty() {
                params.insert(name, text.replace('&', "＆"));
            }
        }
    }
    let signature = sign(&params, &app.app_secret);
    params.insert("sign".to_owned(), signature);
    params
}

pub(crate) async fn token(
    State(state): State<Arc<Oauth>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let Signed { app, fields } =
        Signed::fresh(Fields::from_json(&body)?, &state.registry, now).await?;
    fields.only(&["code"])?;
    let code = fields.required("code", 64)?;
    let user = login::exchange_code(&state.registry, &app.app_id, code, now).await?;
    tracing::info!(app = %app.app_id, "a user logged in");
    Ok(Json(user).into_response())
}

/// A cookie's value; browsers send all of them in one header.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::domain::app::AppSecret;
    use shared::domain::id::AppId;
    use shared::domain::signature::canonical;

    use super::*;

    #[test]
    fn nobody_becomes_another_user_by_their_nickname() {
        let app = App::new(
            AppId::parse("demo000000000001").unwrap(),
            AppSecret::parse("0123456789abcdef0123456789abcdef").unwrap(),
        );
        let login = AppLogin {
            app_id: app.app_id.clone(),
            redirect_uri: "https://tea.example/".to_owned(),
            state: "s".to_owned(),
            scope: Scope::UserInfo,
        };
        let user: User = serde_json::from_value(json!({
            "openid": "oThief",
            "is_snapshot": false,
            "nickname": "x&nonce=1&openid=oVictim&province=x",
        }))
        .unwrap();
        let params = signed_profile(&app, &login, &user, Timestamp::from_millis(1_000));
        assert_eq!(params["openid"], "oThief");
        assert_eq!(params["nickname"], "x＆nonce=1＆openid=oVictim＆province=x");
        // Each `&` of what is signed separates two parameters of ours.
        let text = canonical(&params, app.app_secret.expose());
        assert_eq!(text.matches('&').count(), params.len() - 1, "{text}");
    }
}
