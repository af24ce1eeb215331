//! Pages that use WeChat's JS-SDK: what a page hands to `wx.config`.
//! <https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html>

use serde::Serialize;

use super::sha1_signature;
use super::token::Token;
use crate::ambient::random_hex;
use crate::domain::merchant::AccountId;
use crate::domain::signature::Params;
use crate::domain::time::Timestamp;

/// What a page of an app hands to `wx.config`, in WeChat's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PageConfig {
    app_id: String,
    timestamp: i64,
    nonce_str: String,
    signature: String,
}

/// Signs a page for the JS-SDK, in the name of the account that owns the ticket.
/// WeChat compares the address that the page is open at, without its fragment.
#[must_use]
pub fn page_config(account: &AccountId, ticket: &Token, url: &str, now: Timestamp) -> PageConfig {
    let (nonce_str, timestamp) = (random_hex(), now.seconds());
    PageConfig {
        app_id: account.to_string(),
        signature: page_signature(ticket, &nonce_str, timestamp, url),
        timestamp,
        nonce_str,
    }
}

fn page_signature(ticket: &Token, nonce: &str, timestamp: i64, url: &str) -> String {
    sha1_signature(&Params::from([
        ("jsapi_ticket".to_owned(), ticket.expose().to_owned()),
        ("noncestr".to_owned(), nonce.to_owned()),
        ("timestamp".to_owned(), timestamp.to_string()),
        ("url".to_owned(), url.to_owned()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_page_signature_is_reproduced() {
        let ticket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg";
        let ticket: Token = serde_json::from_value(ticket.into()).unwrap();
        assert_eq!(
            page_signature(
                &ticket,
                "Wm3WZYTPz0wzccnW",
                1_414_587_457,
                "http://mp.weixin.qq.com?params=value"
            ),
            "0f9de62fce790f9a083d5c99e95740ceb90c27ed"
        );
    }
}
