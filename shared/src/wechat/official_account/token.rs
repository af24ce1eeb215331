//! The official account's own credentials: the access token and the JS-SDK
//! ticket, as WeChat hands them out. Where they are kept and when they are
//! renewed is the token cache's.
//! <https://developers.weixin.qq.com/doc/offiaccount/Basic_Information/getStableAccessToken.html>

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Client, call};
use crate::wechat::Error;

/// An access token or a ticket. It cannot be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The token itself, for a call of WeChat.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A credential as WeChat hands it out.
#[derive(Debug, Clone)]
pub struct Issued {
    /// For calls, or for signing pages.
    pub token: Token,
    /// Seconds that it still lives.
    pub expires_in: i64,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Token,
    expires_in: i64,
}

#[derive(Deserialize)]
struct TicketAnswer {
    ticket: Token,
    expires_in: i64,
}

impl Error {
    /// WeChat does not take the access token: not its own, not the latest, or
    /// expired.
    #[must_use]
    pub fn refuses_token(&self) -> bool {
        matches!(self.business_code(), Some("40001" | "40014" | "42001"))
    }
}

impl Client {
    /// The account's access token: the one in circulation, with both valid for
    /// its last five minutes. `Force` makes a new one and the others worthless;
    /// WeChat allows that twenty times a day.
    ///
    /// # Errors
    /// [`Error::Business`] with WeChat's errcode (40164: the caller's address is
    /// not on the whitelist), or an unknown outcome.
    pub async fn stable_token(&self, renewal: Renewal) -> Result<Issued, Error> {
        let request = json!({
            "grant_type": "client_credential",
            "appid": self.account.as_str(),
            "secret": self.keys.app_secret,
            "force_refresh": renewal == Renewal::Force,
        });
        let url = format!("{}/cgi-bin/stable_token", self.api_base);
        let body = request.to_string();
        let answer: TokenAnswer = call(self.http.client().post(url).body(body)).await?;
        issued(answer.access_token, answer.expires_in)
    }

    /// The ticket that signs pages for the JS-SDK.
    ///
    /// # Errors
    /// [`Error::Business`] with WeChat's errcode, or an unknown outcome.
    pub async fn ticket(&self, access_token: &Token) -> Result<Issued, Error> {
        let mut url = self.address("/cgi-bin/ticket/getticket")?;
        url.query_pairs_mut()
            .append_pair("access_token", access_token.expose())
            .append_pair("type", "jsapi");
        let answer: TicketAnswer = call(self.http.client().get(url)).await?;
        issued(answer.ticket, answer.expires_in)
    }
}

/// Whether the token in circulation is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It is.
    Plain,
    /// WeChat itself has refused it.
    Force,
}

fn issued(token: Token, expires_in: i64) -> Result<Issued, Error> {
    // 512 is what WeChat asks to make room for.
    if token.0.is_empty() || token.0.len() > 512 || !(0..=86_400).contains(&expires_in) {
        return Err(Error::Forged("the credential has not WeChat's form"));
    }
    Ok(Issued { token, expires_in })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_cannot_be_printed() {
        let token = Token("secret".to_owned());
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn credentials_have_wechats_form() {
        let good = || Token("t".to_owned());
        assert!(issued(good(), 7200).is_ok());
        assert!(issued(good(), -1).is_err());
        assert!(issued(good(), 86_401).is_err());
        assert!(issued(Token(String::new()), 7200).is_err());
        assert!(issued(Token("t".repeat(513)), 7200).is_err());
    }
}
