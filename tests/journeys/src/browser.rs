//! A payer's or user's browser: it keeps cookies, and goes from redirect to
//! redirect or stops at each, as a test wants to see it.

use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use crate::judge::Judge;

/// No login and no payment is redirected more often.
const REDIRECTS: u32 = 10;

/// A browser with cookies of its own.
#[derive(Debug)]
pub struct Browser {
    client: reqwest::Client,
    judge: Judge,
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
        Self { client, judge }
    }

    /// What is at this address, be it a redirect.
    pub async fn get(&self, address: &str) -> Page {
        let (url, response) = self.judge.ask(self.client.get(address)).await;
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
}

impl Page {
    /// Where it sends the browser.
    #[must_use]
    pub fn location(&self) -> Option<Url> {
        let location = self.headers.get(LOCATION)?.to_str().unwrap();
        Some(self.url.join(location).unwrap())
    }
}
