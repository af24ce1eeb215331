//! Who reads a page: in which language, and in which kind of browser.

use axum::http::{HeaderMap, HeaderName, header};
use shared::domain::order::TradeType;

/// Who reads the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    /// Reads Chinese rather than English.
    chinese: bool,
    /// Where the page is open.
    pub(crate) browser: Browser,
}

/// Kinds of browsers, by what they can pay with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Browser {
    /// Inside WeChat, where the bridge is.
    Wechat,
    /// On a phone, where WeChat can be opened.
    Phone,
    /// Elsewhere: a code can be scanned from it.
    Desktop,
}

impl Browser {
    fn of(user_agent: &str) -> Self {
        if user_agent.contains("micromessenger") {
            Self::Wechat
        } else if ["android", "iphone", "harmony"]
            .iter()
            .any(|os| user_agent.contains(os))
        {
            Self::Phone
        } else {
            Self::Desktop
        }
    }

    /// How an order is paid there, if the app has not said.
    pub(crate) fn trade_type(self) -> TradeType {
        match self {
            Self::Wechat => TradeType::Jsapi,
            Self::Phone => TradeType::Mweb,
            Self::Desktop => TradeType::Native,
        }
    }
}

impl Reader {
    /// By `User-Agent` and `Accept-Language`: the first of the two languages
    /// that the browser names, Chinese when it names neither inside WeChat.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_ascii_lowercase()
        };
        let browser = Browser::of(&text(header::USER_AGENT));
        let languages = text(header::ACCEPT_LANGUAGE);
        let named = languages
            .split(',')
            .map(|part| part.trim().split(['-', ';']).next().unwrap_or_default())
            .find(|language| matches!(*language, "zh" | "en"));
        Self {
            chinese: named.map_or(browser == Browser::Wechat, |language| language == "zh"),
            browser,
        }
    }

    pub(crate) fn is_in_wechat(self) -> bool {
        self.browser == Browser::Wechat
    }

    pub(crate) fn say(self, chinese: &'static str, english: &'static str) -> &'static str {
        if self.chinese { chinese } else { english }
    }
}
