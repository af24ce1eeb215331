//! The official account's own credentials and what is signed with them: the
//! access token, the JS-SDK ticket, the server check.
//! <https://developers.weixin.qq.com/doc/offiaccount/Basic_Information/getStableAccessToken.html>
//! <https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html>
//! It refuses to know where credentials are kept and when they are renewed.

use std::fmt;

use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha1::{Digest, Sha1};
use url::Url;

use super::sign::sha1_signature;
use super::{Error, Wechat, read_capped, unreachable_or_unknown};
use crate::ambient::random_hex;
use crate::domain::signature::same;
use crate::domain::time::Timestamp;

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
    /// The credential.
    pub token: Token,
    /// Seconds that it still lives.
    pub expires_in: i64,
}

/// What a page of an app hands to `wx.config`, in WeChat's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PageConfig {
    app_id: String,
    timestamp: i64,
    nonce_str: String,
    signature: String,
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

/// What every answer of this side may be instead.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

impl Error {
    /// Raises an alarm when WeChat names a mistake of the account's settings,
    /// which ends every call of this side until a person mends it.
    pub fn alarm_if_ours(&self) {
        // Unknown appid, wrong secret, address not on the list, no permission.
        if let Some("40013" | "40125" | "40164" | "48001") = self.business_code() {
            tracing::error!(alarm = "configuration", error = %self,
                "WeChat refuses the official account's calls");
        }
    }

    /// WeChat does not take the access token: not its own, not the latest, or
    /// expired.
    #[must_use]
    pub fn refuses_token(&self) -> bool {
        matches!(self.business_code(), Some("40001" | "40014" | "42001"))
    }
}

impl Wechat {
    /// The official account that credentials belong to.
    #[must_use]
    pub fn app_id(&self) -> &str {
        &self.account.app_id
    }

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
            "appid": self.account.app_id,
            "secret": self.secrets.app_secret,
            "force_refresh": renewal == Renewal::Force,
        });
        let url = format!("{}/cgi-bin/stable_token", self.account.api_base);
        let body = request.to_string();
        let answer: TokenAnswer = official(self.http.post(url).body(body)).await?;
        issued(answer.access_token, answer.expires_in)
    }

    /// The ticket that signs pages for the JS-SDK.
    ///
    /// # Errors
    /// [`Error::Business`] with WeChat's errcode, or an unknown outcome.
    pub async fn ticket(&self, access_token: &Token) -> Result<Issued, Error> {
        let mut url = self.api("/cgi-bin/ticket/getticket")?;
        url.query_pairs_mut()
            .append_pair("access_token", access_token.expose())
            .append_pair("type", "jsapi");
        let answer: TicketAnswer = official(self.http.get(url)).await?;
        issued(answer.ticket, answer.expires_in)
    }

    /// Signs a page for the JS-SDK. WeChat compares the address that the page
    /// is open at, without its fragment.
    #[must_use]
    pub fn page_config(&self, ticket: &Token, url: &str, now: Timestamp) -> PageConfig {
        let (nonce_str, timestamp) = (random_hex(), now.seconds());
        PageConfig {
            app_id: self.account.app_id.clone(),
            signature: page_signature(ticket, (&nonce_str, timestamp), url),
            timestamp,
            nonce_str,
        }
    }

    /// Whether a request to the account's server address is WeChat's. Never
    /// when the secret has no `server_token`.
    #[must_use]
    pub fn is_from_server(&self, signature: &str, (timestamp, nonce): (&str, &str)) -> bool {
        let token = self.secrets.server_token.as_deref();
        token.is_some_and(|token| same(&server_signature([token, timestamp, nonce]), signature))
    }

    /// An address of the official account's API.
    pub(super) fn api(&self, path: &str) -> Result<Url, Error> {
        Url::parse(&format!("{}{path}", self.account.api_base))
            .map_err(|_| Error::Refused("the API base is no URL".to_owned()))
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

/// Sends a request to the official account's API and reads its JSON. A refusal
/// comes with status 200 and an `errcode`.
pub(super) async fn official<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Error> {
    const NOT_JSON: Error = Error::Forged("not WeChat's JSON");
    let response = request.send().await.map_err(unreachable_or_unknown)?;
    if !response.status().is_success() {
        return Err(Error::Unknown(None));
    }
    let body = read_capped(response).await?;
    let refusal: Refusal = serde_json::from_slice(&body).map_err(|_| NOT_JSON)?;
    match refusal.errcode {
        0 => serde_json::from_slice(&body).map_err(|_| NOT_JSON),
        // "The system is busy": WeChat itself does not know.
        -1 => Err(Error::Unknown(None)),
        code => Err(Error::Business {
            code: code.to_string(),
            text: refusal.errmsg,
        }),
    }
}

fn issued(token: Token, expires_in: i64) -> Result<Issued, Error> {
    // 512 is what WeChat asks to make room for.
    if token.0.is_empty() || token.0.len() > 512 || !(0..=86_400).contains(&expires_in) {
        return Err(Error::Forged("the credential has not WeChat's form"));
    }
    Ok(Issued { token, expires_in })
}

fn page_signature(ticket: &Token, (nonce, timestamp): (&str, i64), url: &str) -> String {
    let fields = [
        ("jsapi_ticket", ticket.expose().to_owned()),
        ("noncestr", nonce.to_owned()),
        ("timestamp", timestamp.to_string()),
        ("url", url.to_owned()),
    ];
    sha1_signature(&fields.map(|(name, value)| (name.to_owned(), value)).into())
}

fn server_signature(mut parts: [&str; 3]) -> String {
    parts.sort_unstable();
    hex::encode(Sha1::digest(parts.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_page_signature_is_reproduced() {
        let ticket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg";
        assert_eq!(
            page_signature(
                &Token(ticket.to_owned()),
                ("Wm3WZYTPz0wzccnW", 1_414_587_457),
                "http://mp.weixin.qq.com?params=value"
            ),
            "0f9de62fce790f9a083d5c99e95740ceb90c27ed"
        );
    }

    /// The expected value comes from Python's `hashlib`.
    #[test]
    fn server_signatures_equal_one_computed_in_python() {
        let parts = ["hubServerToken01", "1414587457", "Nonce-9"];
        let expected = "04ec19442ad4e154e6a0723f21a2f84221ef7ea6";
        assert_eq!(server_signature(parts), expected);
        let [token, timestamp, nonce] = parts;
        assert_eq!(server_signature([nonce, token, timestamp]), expected);
    }

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
