//! The official account's OAuth: the authorisation address, the exchange of a
//! code, and the user's profile. <https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html>

use serde::{Deserialize, Serialize};
use url::Url;

use super::token::Token;
use super::{Client, call};
use crate::domain::merchant::AccountId;
use crate::wechat::Error;

/// How much of the user an app may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The openid only; the user is not asked.
    #[serde(rename = "snsapi_base")]
    Base,
    /// The profile too; the user may decline.
    #[serde(rename = "snsapi_userinfo")]
    UserInfo,
}

impl Scope {
    /// Reads WeChat's name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Base, Self::UserInfo]
            .into_iter()
            .find(|scope| scope.as_str() == text)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "snsapi_base",
            Self::UserInfo => "snsapi_userinfo",
        }
    }
}

/// A WeChat user as this official account sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's identifier for this official account.
    pub openid: String,
    /// The user's identifier for all accounts of its owner, if WeChat tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unionid: Option<String>,
    /// A virtual account that WeChat shows to previewers: it cannot pay.
    pub is_snapshot: bool,
    /// How the user presents themselves, when they were asked for it.
    #[serde(flatten)]
    pub profile: Option<Profile>,
}

/// A user's profile, in WeChat's names. WeChat leaves most of it empty now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    nickname: String,
    #[serde(default)]
    headimgurl: String,
    #[serde(default)]
    sex: i64,
    #[serde(default)]
    province: String,
    #[serde(default)]
    city: String,
    #[serde(default)]
    country: String,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Token,
    openid: String,
    #[serde(default)]
    unionid: Option<String>,
    #[serde(default)]
    is_snapshotuser: u8,
}

#[derive(Deserialize)]
struct ProfileAnswer {
    openid: String,
    #[serde(default)]
    unionid: Option<String>,
    #[serde(flatten)]
    profile: Profile,
}

/// The address at which WeChat asks the user, in the name of an account. WeChat
/// minds the order of the parameters and the fragment.
///
/// # Errors
/// When the configured base is no URL.
pub fn authorize_url(
    open_base: &str,
    account: &AccountId,
    redirect_uri: &str,
    scope: Scope,
    state: &str,
) -> Result<Url, url::ParseError> {
    let mut url = Url::parse(open_base)?.join("/connect/oauth2/authorize")?;
    url.query_pairs_mut()
        .append_pair("appid", account.as_str())
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("response_type", "code")
        .append_pair("scope", scope.as_str())
        .append_pair("state", state);
    url.set_fragment(Some("wechat_redirect"));
    Ok(url)
}

impl Client {
    /// Exchanges a code for the user, and asks for their profile where the scope
    /// has it. A code works once.
    ///
    /// # Errors
    /// [`Error::Business`] with WeChat's errcode, or an unknown outcome.
    pub async fn exchange_code(&self, code: &str, scope: Scope) -> Result<User, Error> {
        let mut url = self.address("/sns/oauth2/access_token")?;
        url.query_pairs_mut()
            .append_pair("appid", self.account.as_str())
            .append_pair("secret", &self.keys.app_secret)
            .append_pair("code", code)
            .append_pair("grant_type", "authorization_code");
        let answer: TokenAnswer = call(self.http.client().get(url)).await?;
        if answer.openid.is_empty() {
            return Err(Error::Forged("openid is missing"));
        }
        let user = User {
            openid: answer.openid,
            unionid: answer.unionid,
            is_snapshot: answer.is_snapshotuser == 1,
            profile: None,
        };
        match scope {
            Scope::Base => Ok(user),
            Scope::UserInfo => self.with_profile(user, &answer.access_token).await,
        }
    }

    async fn with_profile(&self, user: User, user_token: &Token) -> Result<User, Error> {
        let mut url = self.address("/sns/userinfo")?;
        url.query_pairs_mut()
            .append_pair("access_token", user_token.expose())
            .append_pair("openid", &user.openid)
            .append_pair("lang", "zh_CN");
        let answer: ProfileAnswer = call(self.http.client().get(url)).await?;
        if answer.openid != user.openid {
            return Err(Error::Forged("openid is another's"));
        }
        Ok(User {
            unionid: answer.unionid.or(user.unionid),
            profile: Some(answer.profile),
            ..user
        })
    }
}
