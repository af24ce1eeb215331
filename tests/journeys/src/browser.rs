//! A payer's or user's browser: it keeps cookies, goes from redirect to redirect
//! or stops at each, as a test wants to see it, and says where it comes from as
//! the page before allows it.
//! <https://www.w3.org/TR/referrer-policy/>

use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION, REFERER, REFERRER_POLICY};
use url::Url;

use crate::judge::Judge;

/// No login and no payment is redirected more often.
const REDIRECTS: u32 = 10;

/// A browser with cookies of its own.
#[derive(Debug)]
pub struct Browser {
    client: reqwest::Client,
    judge: Judge,
    /// Where it is in the network, if a test is about that.
    address: Option<String>,
}

/// The page that a browser comes from.
struct Origin<'a> {
    url: &'a Url,
    /// Its policy, or that of a redirect since.
    policy: String,
}

impl Origin<'_> {
    fn referer(&self, target: &Url) -> Option<String> {
        let origin = format!("{}/", self.url.origin().ascii_serialization());
        match self.policy.as_str() {
            "no-referrer" => None,
            "origin" => Some(origin),
            "strict-origin-when-cross-origin" => {
                let same = self.url.origin() == target.origin();
                let downgraded = self.url.scheme() == "https" && target.scheme() == "http";
                match same {
                    true => Some(self.url.to_string()),
                    false => Some(origin).filter(|_| !downgraded),
                }
            }
            other => panic!("the tests' browser does not know the policy {other}"),
        }
    }
}

/// What a browser got.
#[derive(Debug)]
pub struct Page {
    /// Where it is from, after redirects.
    pub url: Url,
    /// The HTTP status; of the hub's pages one that is documented.
    pub status: u16,
    /// All of them, `set-cookie` too.
    pub headers: HeaderMap,
    /// The body as text.
    pub html: String,
}

impl Browser {
    pub(crate) fn new(judge: Judge, user_agent: &str) -> Self {
        let client = reqwest::Client::builder()
            .cookie_store(true)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(user_agent)
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self {
            client,
            judge,
            address: None,
        }
    }

    /// The same browser, at this address of the network.
    #[must_use]
    pub fn at(self, address: &str) -> Self {
        Self {
            address: Some(address.to_owned()),
            ..self
        }
    }

    /// What is at this address, be it a redirect, for a browser that comes from
    /// nowhere: somebody typed it, or another program opened it.
    pub async fn get(&self, address: &str) -> Page {
        self.ask(address, None).await
    }

    async fn ask(&self, address: &str, referer: Option<String>) -> Page {
        let mut request = self.client.get(address);
        if let Some(referer) = referer {
            request = request.header(REFERER, referer);
        }
        if let Some(address) = &self.address {
            request = request.header("x-payer-address", address);
        }
        let (url, response) = self.judge.ask(request).await;
        Page {
            url,
            status: response.status,
            headers: response.headers,
            html: response.text,
        }
    }

    /// Where the redirects from this address end.
    pub async fn open(&self, address: &str) -> Page {
        let mut page = self.get(address).await;
        for _ in 0..REDIRECTS {
            match page.location() {
                Some(next) => page = self.get(next.as_str()).await,
                None => return page,
            }
        }
        panic!("{address} redirects for ever: {page:?}")
    }

    /// Where the link of this page leads, or its script.
    pub async fn follow(&self, page: &Page) -> Page {
        let (link, speaks) = page.link();
        let policy = match speaks {
            true => page.policy(),
            false => Some("no-referrer".to_owned()),
        };
        self.leave(page, policy, &link).await
    }

    /// Where an ordinary link of this page to the address would lead.
    pub async fn open_from(&self, page: &Page, address: &str) -> Page {
        self.leave(page, page.policy(), address).await
    }

    async fn leave(&self, from: &Page, policy: Option<String>, address: &str) -> Page {
        let default = || "strict-origin-when-cross-origin".to_owned();
        let mut origin = Origin {
            url: &from.url,
            policy: policy.unwrap_or_else(default),
        };
        let mut address = Url::parse(address).unwrap();
        for _ in 0..REDIRECTS {
            let page = self.ask(address.as_str(), origin.referer(&address)).await;
            let Some(next) = page.location() else {
                return page;
            };
            origin.policy = page.policy().unwrap_or(origin.policy);
            address = next;
        }
        panic!("{address} redirects for ever")
    }
}

impl Page {
    /// Where it sends the browser.
    #[must_use]
    pub fn location(&self) -> Option<Url> {
        let location = self.headers.get(LOCATION)?.to_str().unwrap();
        Some(self.url.join(location).unwrap())
    }

    /// Whether its script follows its link at once.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.html.contains("id=\"go\"")
    }

    fn policy(&self) -> Option<String> {
        let policy = self.headers.get(REFERRER_POLICY)?;
        Some(policy.to_str().unwrap().to_owned())
    }

    /// Its link, and whether it lets the target know where the browser is from.
    fn link(&self) -> (String, bool) {
        let link = self.html.split_once("<a id=\"back\"").map(|(_, link)| link);
        let link = link
            .and_then(|link| link.split_once('>'))
            .map(|(link, _)| link);
        let link = link.unwrap_or_else(|| panic!("the page has no link: {}", self.html));
        let address = link.split('"').nth(1).unwrap();
        let address = address.replace("&#38;", "&").replace("&amp;", "&");
        (address, !link.contains("noreferrer"))
    }
}
