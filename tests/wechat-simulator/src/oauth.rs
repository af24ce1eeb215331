//! The users' consent: the authorize page, codes, user tokens and user
//! information. The account's own tokens are in `token`.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Query, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded;

use crate::errcode::{self, ErrCode};
use crate::ids;
use crate::merchants::Account;
use crate::state::{Simulator, World};
use crate::users::{self, User};

/// The order in which WeChat wants the parameters.
const ORDERED: [&str; 5] = ["appid", "redirect_uri", "response_type", "scope", "state"];
const STATE_BYTES: usize = 128;

/// Codes and user tokens that were handed out.
#[derive(Default)]
pub(crate) struct Identities {
    codes: BTreeMap<String, Grant>,
    tokens: BTreeMap<String, Grant>,
    refreshes: BTreeMap<String, Grant>,
}

#[derive(Clone)]
struct Grant {
    app_id: String,
    user: User,
    /// Of user tokens only.
    openid: String,
    scope: String,
    until_ms: i64,
    used: bool,
}

#[derive(Template)]
#[template(path = "authorize.html")]
struct AuthorizePage {
    users: [User; 3],
    query: String,
}

type Parameters = Query<BTreeMap<String, String>>;

/// `GET /connect/oauth2/authorize`
pub(crate) async fn authorize(
    State(simulator): State<Simulator>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let mut world = simulator.world();
    match consider(&mut world, &pairs) {
        Ok(Consent::Redirect(to)) => Redirect::to(&to).into_response(),
        Ok(Consent::Ask) => page(&AuthorizePage {
            users: users::ALL,
            query,
        }),
        Err(message) => {
            world.reject("/connect/oauth2/authorize", "authorize", message);
            (StatusCode::BAD_REQUEST, Html(format!("<h1>{message}</h1>"))).into_response()
        }
    }
}

enum Consent {
    Redirect(String),
    Ask,
}

fn consider(world: &mut World, pairs: &[(String, String)]) -> Result<Consent, &'static str> {
    let get = |name: &str| {
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.as_str())
    };
    let mut places = ORDERED
        .iter()
        .filter_map(|name| pairs.iter().position(|(key, _)| key == name));
    if !places.by_ref().is_sorted() {
        return Err("该链接无法访问: the parameters are not in WeChat's order");
    }
    let account = world.pay.directory.account(get("appid"));
    if !account.is_some_and(|account| account.kind.logs_in()) {
        return Err("AppID 参数错误 10013");
    }
    if get("response_type") != "code" {
        return Err("response_type must be code");
    }
    let scope = get("scope");
    if !matches!(scope, "snsapi_base" | "snsapi_userinfo") {
        return Err("Scope 参数错误或没有 Scope 权限 10005");
    }
    if get("state").len() > STATE_BYTES {
        return Err("state is longer than 128 bytes");
    }
    let mut target = Url::parse(get("redirect_uri")).map_err(|_| "redirect_uri 参数错误 10003")?;
    if !matches!(target.scheme(), "http" | "https") || !bound(world, &target) {
        return Err("redirect_uri域名与后台配置不一致 10003");
    }
    let chosen = match (get("_user"), world.settings.oauth_user.as_deref(), scope) {
        ("", None, "snsapi_userinfo") => return Ok(Consent::Ask),
        ("", None, _) => users::ALICE.key.to_owned(),
        ("", Some(setting), _) => setting.to_owned(),
        (given, _, _) => given.to_owned(),
    };
    // Who refuses comes back with the state alone.
    if chosen != "refuse" {
        let user = users::by_key(&chosen).ok_or("there is no such simulated user")?;
        let until_ms = world.now_ms() + world.settings.code_ttl_seconds.saturating_mul(1000);
        let code = ids::token("code");
        let grant = Grant {
            app_id: get("appid").to_owned(),
            user,
            openid: String::new(),
            scope: scope.to_owned(),
            until_ms,
            used: false,
        };
        world.identities.codes.insert(code.clone(), grant);
        target.query_pairs_mut().append_pair("code", &code);
    }
    target.query_pairs_mut().append_pair("state", get("state"));
    Ok(Consent::Redirect(target.into()))
}

fn bound(world: &World, target: &Url) -> bool {
    let Some(domain) = &world.settings.oauth_domain else {
        return true;
    };
    let host = target.host_str().unwrap_or_default();
    let with_port = target.port().map(|port| format!("{host}:{port}"));
    *domain == host || Some(domain) == with_port.as_ref()
}

/// `GET /sns/oauth2/access_token`
pub(crate) async fn access_token(
    State(simulator): State<Simulator>,
    Query(query): Parameters,
) -> Response {
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    let outcome = {
        let mut world = simulator.world();
        let account = world.pay.directory.account(get("appid")).cloned();
        match account.filter(|account| account.kind.logs_in()) {
            None => Err((40013, "invalid appid")),
            Some(account) if get("secret") != account.secret => Err((40125, "invalid appsecret")),
            Some(_) if get("grant_type") != "authorization_code" => {
                Err((40002, "invalid grant_type"))
            }
            Some(_) if get("code").is_empty() => Err((41008, "missing code")),
            Some(account) => exchange(&mut world, &account, get("code")),
        }
    };
    errcode::answer(&simulator, "/sns/oauth2/access_token", outcome)
}

fn exchange(world: &mut World, account: &Account, code: &str) -> Result<Value, ErrCode> {
    let now = world.now_ms();
    let grant = world
        .identities
        .codes
        .get_mut(code)
        .filter(|grant| grant.app_id == account.app_id)
        .ok_or((40029, "invalid code"))?;
    if grant.used {
        return Err((40163, "code been used"));
    }
    if grant.until_ms <= now {
        return Err((40029, "invalid code"));
    }
    grant.used = true;
    let refresh = ids::token("refresh");
    let kept = Grant {
        until_ms: i64::MAX,
        used: false,
        ..grant.clone()
    };
    let answer = issue(world, account, &kept, &refresh);
    world.identities.refreshes.insert(refresh, kept);
    Ok(answer)
}

/// `GET /sns/oauth2/refresh_token`
pub(crate) async fn refresh_token(
    State(simulator): State<Simulator>,
    Query(query): Parameters,
) -> Response {
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    let outcome = {
        let mut world = simulator.world();
        let account = world.pay.directory.account(get("appid")).cloned();
        let account = account.filter(|account| account.kind.logs_in());
        let known = world.identities.refreshes.get(get("refresh_token"));
        let known = known.filter(|grant| grant.app_id == get("appid")).cloned();
        match (account, known) {
            (None, _) => Err((40013, "invalid appid")),
            _ if get("grant_type") != "refresh_token" => Err((40002, "invalid grant_type")),
            (_, None) => Err((40030, "invalid refresh_token")),
            (Some(account), Some(grant)) => {
                Ok(issue(&mut world, &account, &grant, get("refresh_token")))
            }
        }
    };
    errcode::answer(&simulator, "/sns/oauth2/refresh_token", outcome)
}

fn issue(world: &mut World, account: &Account, kept: &Grant, refresh: &str) -> Value {
    let (user, scope) = (kept.user, kept.scope.as_str());
    let ttl = world.settings.token_ttl_seconds;
    let until_ms = world.now_ms().saturating_add(ttl.saturating_mul(1000));
    let token = ids::token("user");
    let grant = Grant {
        until_ms,
        openid: user.openid_at(account),
        ..kept.clone()
    };
    world.identities.tokens.insert(token.clone(), grant);
    let mut answer = json!({
        "access_token": token,
        "expires_in": ttl,
        "refresh_token": refresh,
        "openid": user.openid_at(account),
        "scope": scope,
    });
    if let Some(fields) = answer.as_object_mut() {
        if user.snapshot {
            fields.insert("is_snapshotuser".to_owned(), json!(1));
        }
        if scope == "snsapi_userinfo" {
            fields.insert("unionid".to_owned(), json!(user.unionid));
        }
    }
    answer
}

/// `GET /sns/userinfo`
pub(crate) async fn userinfo(
    State(simulator): State<Simulator>,
    Query(query): Parameters,
) -> Response {
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    let world = simulator.world();
    let outcome = match world.identities.tokens.get(get("access_token")) {
        None => Err((
            40001,
            "invalid credential, access_token is invalid or not latest",
        )),
        Some(grant) if grant.until_ms <= world.now_ms() => Err((42001, "access_token expired")),
        Some(grant) if grant.openid != get("openid") => Err((40003, "invalid openid")),
        Some(grant) if grant.scope != "snsapi_userinfo" => Err((48001, "api unauthorized")),
        Some(grant) => Ok(json!({
            "openid": grant.openid,
            "nickname": grant.user.nickname,
            "sex": 0,
            "language": "",
            "city": "",
            "province": "",
            "country": "",
            "headimgurl": "https://thirdwx.qlogo.cn/mmopen/simulated/132",
            "privilege": [],
            "unionid": grant.user.unionid,
        })),
    };
    drop(world);
    errcode::answer(&simulator, "/sns/userinfo", outcome)
}

/// A rendered page; templates of constants do not fail.
pub(crate) fn page(template: &impl Template) -> Response {
    Html(template.render().unwrap_or_default()).into_response()
}
