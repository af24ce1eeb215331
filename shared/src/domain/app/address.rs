//! The addresses that an app may name: for callbacks, and of its pages.

use url::Url;

use super::App;
use crate::domain::id::Refused;

impl App {
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
}
