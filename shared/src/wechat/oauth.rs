//! The official account's OAuth: the authorisation address and the exchange of
//! a code. <https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html>
//! It refuses to know who wants the user and why.

use serde::Deserialize;
use url::Url;

use super::account::official;
use super::{Error, Wechat};

/// How much of the user an app may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The openid only; the user is not asked.
    Base,
}

impl Scope {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "snsapi_base",
        }
    }
}

/// A WeChat user as this official account sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's identifier for this official account.
    pub openid: String,
    /// A virtual account that WeChat shows to previewers: it cannot pay.
    pub is_snapshot: bool,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    openid: String,
    #[serde(default)]
    is_snapshotuser: u8,
}

impl Wechat {
    /// The address at which WeChat asks the user. WeChat minds the order of
    /// the parameters and the fragment.
    ///
    /// # Errors
    /// When the configured base is no URL.
    pub fn authorize_url(
        &self,
        redirect_uri: &str,
        scope: Scope,
        state: &str,
    ) -> Result<Url, url::ParseError> {
        let mut url = Url::parse(&self.account.open_base)?.join("/connect/oauth2/authorize")?;
        url.query_pairs_mut()
            .append_pair("appid", &self.account.app_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("response_type", "code")
            .append_pair("scope", scope.as_str())
            .append_pair("state", state);
        url.set_fragment(Some("wechat_redirect"));
        Ok(url)
    }

    /// Exchanges a code for the user. A code works once.
    ///
    /// # Errors
    /// [`Error::Business`] with WeChat's errcode, or an unknown outcome.
    pub async fn exchange_code(&self, code: &str) -> Result<User, Error> {
        let mut url = self.api("/sns/oauth2/access_token")?;
        url.query_pairs_mut()
            .append_pair("appid", &self.account.app_id)
            .append_pair("secret", &self.secrets.app_secret)
            .append_pair("code", code)
            .append_pair("grant_type", "authorization_code");
        let answer: TokenAnswer = official(self.http.get(url)).await?;
        if answer.openid.is_empty() {
            return Err(Error::Forged("openid is missing"));
        }
        Ok(User {
            openid: answer.openid,
            is_snapshot: answer.is_snapshotuser == 1,
        })
    }
}
