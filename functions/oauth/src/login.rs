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
use shared::domain::signature::{Params, sign};
use shared::domain::time::Timestamp;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::login::{self, AppLogin, Purpose};
use shared::wechat::oauth::{Scope, User};
use url::Url;

use crate::{Hub, page};

pub(crate) async fn authorize(State(hub): State<Arc<Hub>>, RawQuery(query): RawQuery) -> Response {
    begin(&hub, &query.unwrap_or_default())
        .await
        .unwrap_or_else(|problem| page::of(&problem))
}

async fn begin(hub: &Hub, query: &str) -> Result<Response, Problem> {
    let now = hub.clock.now();
    let Signed { app, fields } =
        Signed::fresh(Fields::from_query(query)?, &hub.registry, now).await?;
    fields.only(&["redirect_uri", "scope", "state"])?;
    let redirect_uri = fields.required("redirect_uri", 1024)?;
    app.check_redirect(redirect_uri)
        .map_err(|rule| Problem::param("redirect_uri", rule.0))?;
    let scope = Scope::parse(fields.required("scope", 32)?)
        .ok_or_else(|| Problem::param("scope", "must be snsapi_base or snsapi_userinfo"))?;
    let state = fields.required("state", 128)?;
    // It may be a visitor's text, and this address is signed as raw text.
    if state.contains('&') {
        return Err(Problem::param("state", "must not contain &"));
    }
    let purpose = Purpose::App(AppLogin {
        app_id: app.app_id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        state: state.to_owned(),
        scope,
    });
    let wechat = hub.merchant.wechat().await?;
    let started = login::start(&hub.registry, (&wechat, &hub.public_url), purpose, now).await?;
    tracing::info!(app = %app.app_id, "a login began");
    let mut response = sent_to(started.authorize_url.as_str());
    let cookie = HeaderValue::from_str(&started.cookie).map_err(|_| Problem::Unavailable)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

pub(crate) async fn callback(
    State(hub): State<Arc<Hub>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match come_back(&hub, &query.unwrap_or_default(), &headers).await {
        Ok(address) => sent_to(&address),
        Err(problem) => page::of(&problem),
    }
}

async fn come_back(hub: &Hub, query: &str, headers: &HeaderMap) -> Result<String, Problem> {
    let now = hub.clock.now();
    let fields = Fields::from_query(query)?;
    let state = fields.required("state", 128)?;
    let (name, _) = login::cookie_place(state, &hub.public_url);
    let browser = cookie(headers, &name).unwrap_or_default();
    let purpose = login::resume(&hub.registry, (state, browser), now)
        .await?
        .map_err(|refused| Problem::param("state", refused.0))?;
    match purpose {
        Purpose::PayQuery(query) => {
            let user = identify(hub, &fields, Scope::Base).await?;
            if user.is_snapshot {
                return Err(Problem::param(
                    "openid",
                    "is a virtual account's, which cannot pay",
                ));
            }
            login::finish(&hub.registry, &hub.public_url, (&query, user), now).await
        }
        Purpose::App(login) => back_to_app(hub, &login, &fields, now).await,
    }
}

/// The app's address with the outcome, good or bad. Ten minutes may have passed
/// since the app was looked at.
async fn back_to_app(
    hub: &Hub,
    login: &AppLogin,
    fields: &Fields,
    now: Timestamp,
) -> Result<String, Problem> {
    let app = hub.registry.app(&login.app_id).await?;
    let app = app.ok_or(Problem::AppUnknown)?;
    if app.disabled {
        return Err(Problem::AppDisabled);
    }
    app.check_redirect(&login.redirect_uri)
        .map_err(|rule| Problem::param("redirect_uri", rule.0))?;
    let outcome = match identify(hub, fields, login.scope).await {
        Ok(user) if app.signed_profile => Ok(signed_profile((&app, login), &user, now)),
        Ok(user) => login::issue_code(&hub.registry, &app.app_id, user, now)
            .await
            .map(|code| Params::from([("code".to_owned(), code)])),
        Err(problem) => Err(problem),
    };
    let mut params = outcome.unwrap_or_else(|problem| {
        let (_, code) = problem.identity();
        tracing::warn!(app = %app.app_id, %problem, "a login failed");
        Params::from([("error".to_owned(), code.to_owned())])
    });
    params.insert("state".to_owned(), login.state.clone());
    let address = Url::parse_with_params(&login.redirect_uri, params);
    Ok(address.map_err(|_| Problem::Unavailable)?.into())
}

/// Asks WeChat who came back. Without a code, somebody who declined.
async fn identify(hub: &Hub, fields: &Fields, scope: Scope) -> Result<User, Problem> {
    let code = fields.text("code", 512)?.ok_or(Problem::LoginDeclined)?;
    let wechat = hub.merchant.wechat().await?;
    wechat.exchange_code(code, scope).await.map_err(|error| {
        error.alarm_if_ours();
        match error.business_code() {
            // Anybody can bring a code that WeChat did not give, or gave before.
            Some("40029" | "40163" | "42003") => Problem::CodeInvalid,
            _ => error.into(),
        }
    })
}

/// WePaySystem's simpler way: the user in the address, signed. `purpose` marks
/// what this is: no request of the API has such a parameter and so none takes
/// these, and no callback has it.
///
/// The signed text joins raw values by `&`, and users name themselves: somebody
/// called `x&openid=<another's>&..` could cut that text into other parameters
/// under the same signature. So no value has an `&`.
fn signed_profile((app, login): (&App, &AppLogin), user: &User, now: Timestamp) -> Params {
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

pub(crate) async fn token(State(hub): State<Arc<Hub>>, body: Bytes) -> Result<Response, Problem> {
    let now = hub.clock.now();
    let Signed { app, fields } =
        Signed::fresh(Fields::from_json(&body)?, &hub.registry, now).await?;
    fields.only(&["code"])?;
    let code = fields.required("code", 64)?;
    let user = login::exchange_code(&hub.registry, &app.app_id, code, now).await?;
    tracing::info!(app = %app.app_id, "a user logged in");
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(user)).into_response())
}

/// The addresses carry states, codes or profiles: no cache and no other site
/// may see them.
fn sent_to(address: &str) -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Redirect::to(address)).into_response()
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
    use shared::domain::signature::canonical;

    use super::*;

    #[test]
    fn nobody_becomes_another_user_by_their_nickname() {
        let app: App = serde_json::from_value(json!({
            "app_id": "demo000000000001",
            "app_secret": "0123456789abcdef0123456789abcdef",
            "name": "",
        }))
        .unwrap();
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
        let params = signed_profile((&app, &login), &user, Timestamp::from_millis(1_000));
        assert_eq!(params["openid"], "oThief");
        assert_eq!(params["nickname"], "x＆nonce=1＆openid=oVictim＆province=x");
        // Each `&` of what is signed separates two parameters of ours.
        let text = canonical(&params, app.app_secret.expose());
        assert_eq!(text.matches('&').count(), params.len() - 1, "{text}");
    }
}
