//! A mini program's log-in: the exchange of a code of `wx.login`.
//! <https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-login/code2Session.html>

use std::fmt;

use serde::Deserialize;

use super::{Client, call};
use crate::wechat::Error;

/// Who uses a mini program.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Session {
    /// The user's identifier for this mini program.
    #[serde(default)]
    pub openid: String,
    /// The user's identifier for all accounts of its owner, if WeChat tells.
    #[serde(default)]
    pub unionid: Option<String>,
    /// What the user's data are decrypted with.
    #[serde(default)]
    pub session_key: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(..)")
    }
}

impl Client {
    /// Exchanges a code for the user. A code works once.
    ///
    /// # Errors
    /// [`Error::Business`] with WeChat's errcode, or an unknown outcome.
    pub async fn exchange_js_code(&self, js_code: &str) -> Result<Session, Error> {
        let mut url = self.address("/sns/jscode2session")?;
        url.query_pairs_mut()
            .append_pair("appid", self.account.as_str())
            .append_pair("secret", &self.keys.app_secret)
            .append_pair("js_code", js_code)
            .append_pair("grant_type", "authorization_code");
        let session: Session = call(self.http.client().get(url)).await?;
        match session.openid.is_empty() {
            false => Ok(session),
            true => Err(Error::Forged("openid is missing")),
        }
    }
}
