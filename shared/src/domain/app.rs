//! A third party's account: its secret, its switches, and the addresses it may
//! name.

mod edit;

pub use edit::{Broken, Edit};

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use super::UnknownAttributes;
use super::id::{AppId, Refused, checked_text};
use super::merchant::{AccountId, MchId};
use super::signature::{Params, verify};
use super::time::Timestamp;

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

checked_text!(AppSecret);

/// The secret before the current one, while the app changes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// What the app may still sign with. The hub does not.
    pub app_secret: AppSecret,
    /// From when on it may not.
    pub until: Timestamp,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// What becomes of the secret that a new one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The app may use it until then.
    Overlap(Timestamp),
    /// Nobody has it, because it was lost before the app had it. The one before
    /// stays for as long as it had.
    Again,
    /// It was stolen: neither it nor the one before may be used any more.
    Now,
}

/// A third party as the operator registered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// What it names itself by in every request.
    pub app_id: AppId,
    /// What it signs with, and the hub for it.
    pub app_secret: AppSecret,
    /// What it may also sign with for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret: Option<PreviousSecret>,
    /// Its name, for people.
    pub name: String,
    /// What operators want to remember about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Switched off by the operator: every request is refused. What is
    /// already owed to it is still delivered.
    #[serde(default)]
    pub disabled: bool,
    /// It is told nothing for now: what is owed to it is kept.
    #[serde(default)]
    pub paused: bool,
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
    /// Its APP payments go the way of 2014, which its old clients need.
    #[serde(default)]
    pub genprepay: bool,
    /// Address prefixes of its pages: log-ins return there, and pages there may
    /// use the JS-SDK.
    #[serde(default)]
    pub sites: Vec<String>,
    /// Its log-ins end with the openid and the profile themselves, signed, in
    /// the browser's address instead of a code.
    #[serde(default)]
    pub signed_profile: bool,
    /// It is told the session keys of its mini programs' users, with which their
    /// data are decrypted.
    #[serde(default)]
    pub session_keys: bool,
    /// Who is paid; none: the installation's first merchant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<MchId>,
    /// The accounts that its payers and users meet, in the order in which they are
    /// chosen from; none: the installation's first, for everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountId>,
    /// Rises with each change: whoever changes it names the one that was read.
    #[serde(default)]
    pub revision: u64,
    /// What only newer versions know.
    #[serde(flatten)]
    pub unknown: UnknownAttributes,
}

/// What people see of an app: everything but its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown<'a> {
    app_id: &'a AppId,
    name: &'a str,
    note: &'a str,
    disabled: bool,
    paused: bool,
    allow_http: bool,
    allow_direct: bool,
    skip_return_call: bool,
    refund_by_hand: bool,
    genprepay: bool,
    sites: &'a [String],
    signed_profile: bool,
    session_keys: bool,
    merchant: Option<&'a MchId>,
    accounts: &'a [AccountId],
    /// Until when the secret before the current one may be used.
    previous_secret_until: Option<String>,
}

impl App {
    /// What people may see of it.
    #[must_use]
    pub fn shown(&self, now: Timestamp) -> Shown<'_> {
        let previous = self.previous_secret(now);
        Shown {
            app_id: &self.app_id,
            name: &self.name,
            note: &self.note,
            disabled: self.disabled,
            paused: self.paused,
            allow_http: self.allow_http,
            allow_direct: self.allow_direct,
            skip_return_call: self.skip_return_call,
            refund_by_hand: self.refund_by_hand,
            genprepay: self.genprepay,
            sites: &self.sites,
            signed_profile: self.signed_profile,
            session_keys: self.session_keys,
            merchant: self.merchant.as_ref(),
            accounts: &self.accounts,
            previous_secret_until: previous.map(|previous| previous.until.rfc3339()),
        }
    }

    /// An app without a name, sites and anything that must be switched on.
    #[must_use]
    pub fn new(app_id: AppId, app_secret: AppSecret) -> Self {
        Self {
            app_id,
            app_secret,
            previous_secret: None,
            name: String::new(),
            note: String::new(),
            disabled: false,
            paused: false,
            allow_http: false,
            allow_direct: false,
            skip_return_call: false,
            refund_by_hand: false,
            genprepay: false,
            sites: Vec::new(),
            signed_profile: false,
            session_keys: false,
            merchant: None,
            accounts: Vec::new(),
            revision: 0,
            unknown: UnknownAttributes::new(),
        }
    }

    /// Whether the app has signed these parameters, with either of its secrets.
    #[must_use]
    pub fn has_signed(&self, params: &Params, now: Timestamp) -> bool {
        let previous = self.previous_secret(now);
        verify(params, &self.app_secret)
            || previous.is_some_and(|previous| verify(params, &previous.app_secret))
    }

    /// The secret before the current one, if it may still be used.
    #[must_use]
    pub fn previous_secret(&self, now: Timestamp) -> Option<&PreviousSecret> {
        let previous = self.previous_secret.as_ref();
        previous.filter(|previous| now < previous.until)
    }

    /// Gives the app a new secret. There are never more than two.
    ///
    /// # Errors
    /// When a secret that may still be used would end before its time, or there is
    /// none that could go on.
    pub fn rotate(
        &mut self,
        new: AppSecret,
        rotation: Rotation,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let overlaps = self.previous_secret(now).is_some();
        match rotation {
            Rotation::Overlap(_) if overlaps => {
                return Err(Refused("has two secrets already, until the older one ends"));
            }
            Rotation::Again if !overlaps => {
                return Err(Refused("has only the one secret"));
            }
            Rotation::Again => {}
            Rotation::Now => self.previous_secret = None,
            Rotation::Overlap(until) => {
                self.previous_secret = Some(PreviousSecret {
                    app_secret: self.app_secret.clone(),
                    until,
                    unknown: UnknownAttributes::new(),
                });
            }
        }
        self.app_secret = new;
        Ok(())
    }

    /// Checks a page that the app names: under one of its sites.
    ///
    /// # Errors
    /// The rule that the address breaks.
    pub fn check_page(&self, address: &str) -> Result<(), Refused> {
        let page = parse_page(address, self.allow_http)?;
        let is_under = |site: &String| {
            parse_page(site, true).is_ok_and(|site| {
                (site.scheme(), site.host_str(), site.port())
                    == (page.scheme(), page.host_str(), page.port())
                    && site.query().is_none()
                    && segments(&page).starts_with(&segments(&site))
            })
        };
        if self.sites.iter().any(is_under) {
            Ok(())
        } else {
            Err(Refused("must be under a site registered for the app"))
        }
    }

    /// Checks the page that a log-in returns to: the hub's parameters are then
    /// the only ones, so nobody can have put a second `code` beside them.
    ///
    /// # Errors
    /// The rule that the address breaks.
    pub fn check_redirect(&self, address: &str) -> Result<(), Refused> {
        check_site(address, self.allow_http)?;
        self.check_page(address)
    }
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
    // The address is stored and signed as given, as raw text; it must not mean
    // two things.
    if address
        .chars()
        .any(|c| c.is_ascii_control() || matches!(c, '\\' | ' ' | '&'))
    {
        return Err(Refused(
            "must not contain spaces, backslashes, & or control characters",
        ));
    }
    Ok(())
}

/// Checks a site for registration: a page's address without a query.
///
/// # Errors
/// The rule that the address breaks.
pub fn check_site(address: &str, allow_http: bool) -> Result<(), Refused> {
    match parse_page(address, allow_http)?.query() {
        // It is signed as raw text.
        None if address.contains('&') => Err(Refused("must not contain &")),
        None => Ok(()),
        Some(_) => Err(Refused("must not have a query")),
    }
}

/// The longest address of a page.
const PAGE_MAX_BYTES: usize = 1024;

/// Reads the address of a page. It must be written the way the parser writes
/// it, so that no other parser can read another host or path out of it: that
/// alone refuses dot segments, default ports, capital letters in the host, and
/// whatever a browser would tidy up.
fn parse_page(address: &str, allow_http: bool) -> Result<Url, Refused> {
    if address.len() > PAGE_MAX_BYTES {
        return Err(Refused("must be at most 1024 bytes"));
    }
    let url = Url::parse(address).map_err(|_| Refused("must be an absolute URL"))?;
    if url.as_str() != address || address.contains('\\') {
        return Err(Refused("must be written as a browser writes it"));
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        _ => return Err(Refused("must be https (http only where the app may)")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused("must not contain credentials"));
    }
    if url.fragment().is_some() {
        return Err(Refused("must not have a fragment"));
    }
    // What a server behind it may decode, or cut at `;`, and then climb up.
    let path = url.path().to_ascii_lowercase();
    let hides = ["%2e", "%2f", "%5c", "%25"]
        .iter()
        .any(|code| path.contains(code));
    // `%u002e` is a dot to some servers.
    let escapes = path.split('%').skip(1);
    let is_hex = |escape: &str| {
        let digits = escape.bytes().take(2);
        digits.clone().count() == 2 && digits.into_iter().all(|b| b.is_ascii_hexdigit())
    };
    let hides = hides || !escapes.into_iter().all(is_hex);
    if hides || path.split('/').any(|segment| segment.starts_with("..")) {
        return Err(Refused(
            "must not hide dots, slashes or percent signs in its path",
        ));
    }
    Ok(url)
}

/// The path's segments; a slash at the end makes no difference.
fn segments(url: &Url) -> Vec<&str> {
    let mut segments: Vec<&str> = url.path().split('/').skip(1).collect();
    if segments.last() == Some(&"") {
        segments.pop();
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures;
    use crate::domain::signature::sign;

    fn app(sites: &[&str]) -> App {
        App {
            sites: sites.iter().map(|&site| site.to_owned()).collect(),
            ..fixtures::app()
        }
    }

    #[test]
    fn pages_live_under_the_sites_of_their_app() {
        let app = app(&["https://good.example/app", "https://good.example:8443/"]);
        for address in [
            "https://good.example/app",
            "https://good.example/app/",
            "https://good.example/app/back",
            "https://good.example/app//back.php",
            "https://good.example/app/.well-known/x",
            "https://good.example:8443/",
            "https://good.example:8443/anything",
        ] {
            assert_eq!(app.check_redirect(address), Ok(()), "{address}");
        }
        let with_query = "https://good.example/app/page?a=1&b=https%3A%2F%2Fevil.example%2F";
        assert_eq!(app.check_page(with_query), Ok(()));
        for address in [
            // Another host, however it is written.
            "https://evil.example/app/",
            "https://good.example.evil.com/app/",
            "https://xgood.example/app/",
            "https://sub.good.example/app/",
            "https://good.example./app/",
            "https://good.example@evil.example/app/",
            "https://good.example:x@evil.example/app/",
            "https://@good.example/app/",
            "https://user@good.example/app/",
            "https://good.example\\@evil.example/app/",
            "https://good.example\\.evil.example/app/",
            "https://evil.example\\.good.example/app/",
            "https:\\\\good.example\\app",
            "https://good.example%2eevil.example/app/",
            "https://good.example%2f.evil.example/app/",
            "https://good.example#.evil.example/app/",
            "https://good.example?.evil.example/app/",
            "https://GOOD.example/app/",
            "https://ｇood.example/app/",
            "https:good.example/app/",
            "https:/good.example/app/",
            "https:///good.example/app/",
            "//good.example/app/",
            "good.example/app/",
            " https://good.example/app/",
            "https://good.example/app/ ",
            "https://good.ex\tample/app/",
            "https://good.example/app/\r\nx",
            // Another scheme or port.
            "http://good.example/app/",
            "HTTPS://good.example/app/",
            "ftp://good.example/app/",
            "javascript://good.example/app/%0aalert(1)",
            "data:text/html,x",
            "https://good.example:443/app/",
            "https://good.example:444/app/",
            "https://good.example:08443/",
            "https://good.example:/app/",
            // Another path.
            "https://good.example",
            "https://good.example/",
            "https://good.example/application",
            "https://good.example/App/",
            "https://good.example/app%2fx",
            "https://good.example/app/..",
            "https://good.example/app/../evil",
            "https://good.example/app/./x",
            "https://good.example/app/%2e%2e/evil",
            "https://good.example/app/.%2E/evil",
            "https://good.example/app/%2e%2e%2fevil",
            "https://good.example/app/%252e%252e/evil",
            "https://good.example/app/%u002e%u002e/evil",
            "https://good.example/app/%",
            "https://good.example/app/..;/evil",
            "https://good.example/app/..%5cevil",
            "https://good.example/app\\..\\evil",
            "https://good.example//app/",
            "https://good.example/app/#x",
            "https://good.example/app/#",
            "",
        ] {
            assert!(app.check_page(address).is_err(), "{address}");
            assert!(app.check_redirect(address).is_err(), "{address}");
        }
        for address in [
            with_query,
            "https://good.example/app?",
            "https://good.example/app?code=1",
            "https://good.example/app/a&state=b",
        ] {
            assert!(app.check_redirect(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_page_is_at_most_1024_bytes_long() {
        let app = app(&["https://good.example/"]);
        let page = |length: usize| format!("{:x<length$}", "https://good.example/");
        assert_eq!(app.check_page(&page(1024)), Ok(()));
        assert_eq!(
            app.check_page(&page(1025)),
            Err(Refused("must be at most 1024 bytes"))
        );
    }

    #[test]
    fn an_app_without_sites_has_no_pages_and_a_damaged_site_admits_nobody() {
        for sites in [&[][..], &["", "good.example", "https://"]] {
            assert!(app(sites).check_page("https://good.example/").is_err());
        }
        let mut insecure = app(&["http://good.example/"]);
        assert!(insecure.check_page("http://good.example/").is_err());
        insecure.allow_http = true;
        assert_eq!(insecure.check_page("http://good.example/"), Ok(()));
        assert!(insecure.check_page("https://good.example/").is_err());
        assert!(check_site("https://good.example/app?x=1", false).is_err());
    }

    /// One line for each address that is refused, and the rule that its app's
    /// developer reads.
    #[rustfmt::skip]
    const BAD_ADDRESSES: [(&str, &str); 18] = [
        ("",                                      "must be an absolute URL"),
        ("shop.example/notify",                   "must be an absolute URL"),
        ("//shop.example/notify",                 "must be an absolute URL"),
        ("https://",                              "must be an absolute URL"),
        ("http://shop.example/notify",            "must be https (this app may not use http)"),
        ("ftp://shop.example/notify",             "must be an https URL"),
        ("javascript:alert(1)",                   "must be an https URL"),
        ("https://user@shop.example/notify",      "must not contain credentials"),
        ("https://user:pw@shop.example/notify",   "must not contain credentials"),
        ("https://:pw@shop.example/notify",       "must not contain credentials"),
        ("https://shop.example/notify?x=1",       "must not have a query or fragment"),
        ("https://shop.example/notify?",          "must not have a query or fragment"),
        ("https://shop.example/notify#x",         "must not have a query or fragment"),
        ("https://shop.example\\@evil.example/", "must not contain spaces, backslashes, & or control characters"),
        ("https://shop.example/a&order_no=b",     "must not contain spaces, backslashes, & or control characters"),
        ("https://shop.example/a b",              "must not contain spaces, backslashes, & or control characters"),
        ("https://shop.example/\tnotify",         "must not contain spaces, backslashes, & or control characters"),
        ("https://shop.example/a\u{7f}",           "must not contain spaces, backslashes, & or control characters"),
    ];

    #[test]
    fn addresses_are_complete_and_without_parameters() {
        for address in [
            "https://shop.example/notify",
            "https://shop.example:8443/a/b.php",
        ] {
            assert_eq!(check_address(address, false), Ok(()), "{address}");
        }
        for (address, rule) in BAD_ADDRESSES {
            assert_eq!(
                check_address(address, false),
                Err(Refused(rule)),
                "{address}"
            );
        }
        assert_eq!(check_address("http://shop.example/notify", true), Ok(()));
    }

    #[test]
    fn an_address_is_at_most_256_bytes_long() {
        let address = |length: usize| format!("{:x<length$}", "https://shop.example/");
        assert_eq!(check_address(&address(256), false), Ok(()));
        assert_eq!(
            check_address(&address(257), false),
            Err(Refused("must be at most 256 bytes"))
        );
    }

    #[test]
    fn a_secret_is_32_letters_and_digits() {
        let secret = "0123456789abcdefghijKLMNOPQRSTUV";
        assert_eq!(AppSecret::parse(secret).unwrap().expose(), secret);
        for text in [
            "",
            "0123456789abcdefghijKLMNOPQRSTU",
            "0123456789abcdefghijKLMNOPQRSTUVW",
            "0123456789abcdef-hijKLMNOPQRSTUV",
            "0123456789abcdefghijKLMNOPQRSTU ",
            "0123456789abcdefghijKLMNOPQRSTé",
        ] {
            assert!(AppSecret::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_app_reads_back_from_its_row_and_a_damaged_secret_does_not() {
        let app = app(&["https://good.example/"]);
        let mut row = serde_json::to_value(&app).unwrap();
        assert_eq!(row["app_id"], "demo000000000001");
        assert_eq!(row["app_secret"], "0123456789abcdef0123456789abcdef");
        assert_eq!(serde_json::from_value::<App>(row.clone()).unwrap(), app);
        row["app_secret"] = "short".into();
        assert!(serde_json::from_value::<App>(row).is_err());
    }

    #[test]
    fn a_secret_cannot_be_printed() {
        let secret = fixtures::app().app_secret;
        assert_eq!(format!("{secret:?}"), "AppSecret(..)");
        let mut app = fixtures::app();
        let until = Rotation::Overlap(fixtures::NOW);
        app.rotate(secret_of('n'), until, fixtures::NOW).unwrap();
        let printed = format!("{app:?}");
        assert!(!printed.contains("0123456789abcdef0123456789abcdef"));
        assert!(!printed.contains("nnnnnnnn"), "{printed}");
    }

    fn secret_of(letter: char) -> AppSecret {
        AppSecret::parse(&letter.to_string().repeat(32)).unwrap()
    }

    fn signed_with(letter: char) -> Params {
        let mut params = fixtures::params(&[("order_no", "A000000001")]);
        params.insert("sign".to_owned(), sign(&params, &secret_of(letter)));
        params
    }

    /// Which of the secrets a, b and c the app may use, before the old one ends
    /// and from then on, after it had a and was given b and then c in these ways.
    #[test]
    fn a_new_secret_joins_the_one_before_replaces_the_lost_one_or_ends_all() {
        let now = fixtures::NOW;
        let end = now.plus_seconds(3600);
        let overlap = Rotation::Overlap(end);
        let two = "has two secrets already, until the older one ends";
        for (first, second, expected, before, after) in [
            (None, None, Ok(()), "a", "a"),
            (Some(overlap), None, Ok(()), "ab", "b"),
            (Some(Rotation::Now), None, Ok(()), "b", "b"),
            (Some(overlap), Some(Rotation::Again), Ok(()), "ac", "c"),
            (Some(overlap), Some(Rotation::Now), Ok(()), "c", "c"),
            (Some(Rotation::Now), Some(overlap), Ok(()), "bc", "c"),
            (Some(overlap), Some(overlap), Err(Refused(two)), "ab", "b"),
            (
                Some(Rotation::Now),
                Some(Rotation::Again),
                Err(Refused("has only the one secret")),
                "b",
                "b",
            ),
        ] {
            let mut app = App::new(fixtures::app().app_id, secret_of('a'));
            if let Some(first) = first {
                app.rotate(secret_of('b'), first, now).unwrap();
            }
            if let Some(second) = second {
                let rotated = app.rotate(secret_of('c'), second, now);
                assert_eq!(rotated, expected, "{first:?} {second:?}");
            }
            let at = |moment: Timestamp| -> String {
                let known = |letter: &char| app.has_signed(&signed_with(*letter), moment);
                "abc".chars().filter(known).collect()
            };
            let last = Timestamp::from_millis(end.millis() - 1);
            for (moment, may) in [(now, before), (last, before), (end, after)] {
                assert_eq!(at(moment), may, "{first:?} {second:?}");
            }
        }
    }

    #[test]
    fn an_old_secret_that_has_ended_does_not_hinder_the_next_change() {
        let now = fixtures::NOW;
        let mut app = App::new(fixtures::app().app_id, secret_of('a'));
        let until = |hours: i64| Rotation::Overlap(now.plus_seconds(hours * 3600));
        app.rotate(secret_of('b'), until(1), now).unwrap();
        let later = now.plus_seconds(3600);
        app.rotate(secret_of('c'), until(2), later).unwrap();
        let may = |letter| app.has_signed(&signed_with(letter), later);
        assert_eq!([may('a'), may('b'), may('c')], [false, true, true]);
    }

    /// Rows of before have one secret, and those of today must be readable by
    /// yesterday's code, which takes `app_secret` for the only one.
    #[test]
    fn a_row_has_the_current_secret_where_it_always_was() {
        let mut app = fixtures::app();
        assert!(
            serde_json::to_value(&app)
                .unwrap()
                .get("previous_secret")
                .is_none()
        );
        let end = fixtures::NOW.plus_seconds(60);
        app.rotate(secret_of('n'), Rotation::Overlap(end), fixtures::NOW)
            .unwrap();
        let mut row = serde_json::to_value(&app).unwrap();
        assert_eq!(row["app_secret"], "n".repeat(32));
        assert_eq!(row["previous_secret"]["until"], end.millis());
        row["previous_secret"]["reason"] = "of tomorrow".into();
        let read: App = serde_json::from_value(row.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), row);
    }
}
