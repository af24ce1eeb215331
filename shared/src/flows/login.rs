//! Logging a WeChat user in, for the cashier and for the apps: from the redirect
//! to WeChat until a ticket (the cashier's) or a code (an app's) is exchanged
//! for the user. State, cookie, ticket and code are random, used once, and short
//! lived; the state is bound to the browser by the cookie.

use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::registry::Registry;
use crate::domain::id::AppId;
use crate::domain::merchant::AccountId;
use crate::domain::signature::same;
use crate::domain::time::Timestamp;
use crate::wechat::official_account::oauth::{Scope, User, authorize_url};

/// The parameter that brings the user back to the cashier.
const TICKET: &str = "hub_ticket";
const STATE_SECONDS: i64 = 600;
const TICKET_SECONDS: i64 = 300;
const CODE_SECONDS: i64 = 300;

/// Why a login does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody started it, it was finished before, or it took too long.
    #[error("the state is unknown, used or expired")]
    StateUnknown,
    /// The browser is not the one that it was started in.
    #[error("the state is another browser's")]
    StateForeign,
    /// The code is unknown, used, expired or another app's.
    #[error("the code is unknown, used, expired or another app's")]
    CodeInvalid,
    /// The configured address of WeChat's page is none.
    #[error(transparent)]
    Address(#[from] url::ParseError),
    /// The registry. A state or code that was asked for may be used up.
    #[error(transparent)]
    Aws(#[from] Failure),
}

/// Where the browser goes after the login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Back to the pay address with this query, as the app signed it.
    PayQuery(String),
    /// Back to an app.
    App(AppLogin),
}

/// A login that an app asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppLogin {
    /// Who asked.
    pub app_id: AppId,
    /// Where the browser returns to.
    pub redirect_uri: String,
    /// The app's own state, given back to it.
    pub state: String,
    /// What it wants to know.
    pub scope: Scope,
}

impl Purpose {
    const fn scope(&self) -> Scope {
        match self {
            Self::PayQuery(_) => Scope::Base,
            Self::App(login) => login.scope,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct State {
    purpose: Purpose,
    browser: String,
    /// None in one of before there were several: the installation's first.
    #[serde(default)]
    account: Option<AccountId>,
}

/// A login that WeChat brought back.
#[derive(Debug)]
pub struct Resumed {
    /// Where the browser goes.
    pub purpose: Purpose,
    /// Through which account it went to WeChat; none: the installation's first.
    pub account: Option<AccountId>,
}

/// Where a login leads, and in whose name.
#[derive(Debug, Clone, Copy)]
pub struct Entrance<'a> {
    /// WeChat's host that asks the user.
    pub open_base: &'a str,
    /// The account that asks.
    pub account: &'a AccountId,
    /// The hub's own address.
    pub public_url: &'a str,
}

#[derive(Serialize, Deserialize)]
struct Ticket {
    openid: String,
}

#[derive(Serialize, Deserialize)]
struct Grant {
    app_id: AppId,
    user: User,
}

/// A login under way.
#[derive(Debug)]
pub struct Started {
    /// Where to send the browser.
    pub authorize_url: Url,
    /// The `Set-Cookie` value that must go with it.
    pub cookie: String,
}

/// Keeps a state and says where the browser goes: to WeChat.
pub async fn start(
    registry: &Registry,
    entrance: Entrance<'_>,
    purpose: Purpose,
    now: Timestamp,
) -> Result<Started, Error> {
    let Entrance {
        open_base,
        account,
        public_url,
    } = entrance;
    let (state, browser) = (random_hex(), random_hex());
    let scope = purpose.scope();
    let kept = State {
        purpose,
        browser: browser.clone(),
        account: Some(account.clone()),
    };
    let expires_at = now.plus_seconds(STATE_SECONDS);
    registry
        .keep(&format!("login#{state}"), &kept, expires_at)
        .await?;
    let callback = format!("{public_url}/oauth/callback");
    let authorize_url = authorize_url(open_base, account, &callback, scope, &state)?;
    let (name, place) = cookie_place(&state, public_url);
    let cookie =
        format!("{name}={browser}; {place}; Max-Age={STATE_SECONDS}; HttpOnly; SameSite=Lax");
    Ok(Started {
        authorize_url,
        cookie,
    })
}

/// The name of the cookie that ties a state to the browser it was made for, and
/// where it holds. Each state has its own, so that two logins in two tabs do not
/// end each other. `__Host-`: no neighbouring domain can plant one.
#[must_use]
pub fn cookie_place(state: &str, public_url: &str) -> (String, &'static str) {
    let name = format!("hub_login_{}", state.get(..8).unwrap_or_default());
    match public_url.starts_with("https:") {
        true => (format!("__Host-{name}"), "Path=/; Secure"),
        false => (name, "Path=/oauth/callback"),
    }
}

/// Takes a state that WeChat brought back. It is gone whatever comes of it.
pub async fn resume(
    registry: &Registry,
    state: &str,
    cookie: &str,
    now: Timestamp,
) -> Result<Resumed, Error> {
    // Longer than any state of ours: not worth a read.
    if state.len() > 64 {
        return Err(Error::StateUnknown);
    }
    let kept: Option<State> = registry.take(&format!("login#{state}"), now).await?;
    let kept = kept.ok_or(Error::StateUnknown)?;
    if !same(&kept.browser, cookie) {
        return Err(Error::StateForeign);
    }
    Ok(Resumed {
        purpose: kept.purpose,
        account: kept.account,
    })
}

/// A code with which the app gets the user, once.
pub async fn issue_code(
    registry: &Registry,
    app_id: &AppId,
    user: User,
    now: Timestamp,
) -> Result<String, Failure> {
    let code = format!("{}{}", random_hex(), random_hex());
    let grant = Grant {
        app_id: app_id.clone(),
        user,
    };
    let expires_at = now.plus_seconds(CODE_SECONDS);
    registry
        .keep(&format!("code#{code}"), &grant, expires_at)
        .await?;
    Ok(code)
}

/// Exchanges a code for the user, once. Another app's code is used up too:
/// whoever has it has found it.
pub async fn exchange_code(
    registry: &Registry,
    app_id: &AppId,
    code: &str,
    now: Timestamp,
) -> Result<User, Error> {
    let grant: Option<Grant> = registry.take(&format!("code#{code}"), now).await?;
    grant
        .filter(|grant| grant.app_id == *app_id)
        .map(|grant| grant.user)
        .ok_or(Error::CodeInvalid)
}

/// The address that brings a logged-in user back to the cashier.
pub async fn issue_ticket(
    registry: &Registry,
    public_url: &str,
    pay_query: &str,
    user: User,
    now: Timestamp,
) -> Result<String, Failure> {
    let ticket = random_hex();
    let kept = Ticket {
        openid: user.openid,
    };
    let expires_at = now.plus_seconds(TICKET_SECONDS);
    registry
        .keep(&format!("ticket#{ticket}"), &kept, expires_at)
        .await?;
    Ok(format!("{public_url}/pay?{pay_query}&{TICKET}={ticket}"))
}

/// Separates the hub's ticket from the query that the app signed.
#[must_use]
pub fn split_ticket(query: &str) -> (String, Option<String>) {
    let mut rest = form_urlencoded::Serializer::new(String::new());
    let mut ticket = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == TICKET {
            ticket = Some(value.into_owned());
        } else {
            rest.append_pair(&name, &value);
        }
    }
    (rest.finish(), ticket)
}

/// Exchanges a ticket for the openid, once.
pub async fn redeem_ticket(
    registry: &Registry,
    ticket: &str,
    now: Timestamp,
) -> Result<Option<String>, Failure> {
    if ticket.len() > 64 {
        return Ok(None);
    }
    let kept = registry
        .take::<Ticket>(&format!("ticket#{ticket}"), now)
        .await?;
    Ok(kept.map(|ticket| ticket.openid))
}
