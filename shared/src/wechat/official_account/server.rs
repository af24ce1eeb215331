//! The official account's server address: whether a request there is WeChat's.
//! <https://developers.weixin.qq.com/doc/offiaccount/Basic_Information/Access_Overview.html>

use sha1::{Digest, Sha1};

use super::Client;
use crate::domain::signature::same;

impl Client {
    /// Whether a request to the account's server address is WeChat's. Never
    /// when the secret has no `server_token`.
    #[must_use]
    pub fn is_from_server(&self, signature: &str, timestamp: &str, nonce: &str) -> bool {
        let token = self.keys.server_token.as_deref();
        token.is_some_and(|token| same(&server_signature([token, timestamp, nonce]), signature))
    }
}

/// The parts take part by their own order, whatever they are.
fn server_signature(mut parts: [&str; 3]) -> String {
    parts.sort_unstable();
    hex::encode(Sha1::digest(parts.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value comes from Python's `hashlib`.
    #[test]
    fn server_signatures_equal_one_computed_in_python() {
        let parts = ["hubServerToken01", "1414587457", "Nonce-9"];
        let expected = "04ec19442ad4e154e6a0723f21a2f84221ef7ea6";
        assert_eq!(server_signature(parts), expected);
        let [token, timestamp, nonce] = parts;
        assert_eq!(server_signature([nonce, token, timestamp]), expected);
    }
}
