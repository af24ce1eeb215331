//! A third party's account: its secret, its switches, and the addresses it may
//! name. It refuses to know how accounts are stored or managed.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use super::id::{AppId, Refused};

/// An app's signing key: 32 characters `[0-9A-Za-z]`. It cannot be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppSecret(String);

impl AppSecret {
    /// Parses a secret.
    ///
    /// # Errors
    /// When it is not exactly 32 letters and digits.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        if value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self(value.to_owned()))
        } else {
            Err(Refused("must be 32 characters of 0-9, A-Z, a-z"))
        }
    }

    /// The secret itself, for signing and for showing it once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AppSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppSecret(..)")
    }
}

impl TryFrom<String> for AppSecret {
    type Error = Refused;
    fn try_from(value: String) -> Result<Self, Refused> {
        Self::parse(&value)
    }
}

impl From<AppSecret> for String {
    fn from(secret: AppSecret) -> Self {
        secret.0
    }
}

/// A third party as the operator registered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Its identifier.
    pub app_id: AppId,
    /// Its signing key.
    pub app_secret: AppSecret,
    /// Its name, for people.
    pub name: String,
    /// Switched off by the operator: every request is refused. What is
    /// already owed to it is still delivered.
    #[serde(default)]
    pub disabled: bool,
    /// May name `http://` addresses; everybody else must use `https://`.
    #[serde(default)]
    pub allow_http: bool,
    /// May ask for version 1.0, where WeChat calls the app directly.
    #[serde(default)]
    pub allow_direct: bool,
    /// Step 0 skips the server-side call of the synchronous address.
    #[serde(default)]
    pub skip_return_call: bool,
    /// Refunds payments that do not fit their order itself, instead of the hub.
    #[serde(default)]
    pub refund_by_hand: bool,
}

/// The longest address: what WeChat's `notify_url` field holds.
pub const ADDRESS_MAX_BYTES: usize = 256;

/// Checks an address that an app names for callbacks or returns: complete,
/// absolute, at most 256 bytes, without query, fragment or credentials.
/// Whether its host may be dialled is decided when it is.
///
/// # Errors
/// The rule that the address breaks.
pub fn check_address(address: &str, allow_http: bool) -> Result<(), Refused> {
    if address.len() > ADDRESS_MAX_BYTES {
        return Err(Refused("must be at most 256 bytes"));
    }
    let url = Url::parse(address).map_err(|_| Refused("must be an absolute URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => return Err(Refused("must be https (this app may not use http)")),
        _ => return Err(Refused("must be an https URL")),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Refused("must name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused("must not contain credentials"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Refused("must not have a query or fragment"));
    }
    // The address is stored and signed as given; it must not mean two things.
    if address
        .chars()
        .any(|c| c.is_ascii_control() || c == '\\' || c == ' ')
    {
        return Err(Refused(
            "must not contain spaces, backslashes or control characters",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_complete_and_without_parameters() {
        for address in [
            "https://shop.example/notify",
            "https://shop.example:8443/a/b.php",
        ] {
            assert_eq!(check_address(address, false), Ok(()), "{address}");
        }
        for address in [
            "",
            "shop.example/notify",
            "//shop.example/notify",
            "http://shop.example/notify",
            "ftp://shop.example/notify",
            "javascript:alert(1)",
            "https://",
            "https://shop.example/notify?x=1",
            "https://shop.example/notify?",
            "https://shop.example/notify#x",
            "https://user@shop.example/notify",
            "https://user:pw@shop.example/notify",
            "https://shop.example\\@evil.example/",
            "https://shop.example/a b",
            "https://shop.example/\tnotify",
        ] {
            assert!(check_address(address, false).is_err(), "{address}");
        }
        let long = format!("https://shop.example/{}", "x".repeat(256));
        assert!(check_address(&long, false).is_err());
        assert_eq!(check_address("http://shop.example/notify", true), Ok(()));
    }

    #[test]
    fn a_secret_cannot_be_printed() {
        let secret = AppSecret::parse("0123456789abcdef0123456789abcdef").unwrap();
        assert!(!format!("{secret:?}").contains("0123"));
    }
}
