//! How an app wants to be told: in which form, of what, and where.

use serde::{Deserialize, Serialize};

use super::{App, Broken, check_address};
use crate::domain::delivery::Event;
use crate::domain::id::Refused;

/// In which form an app is called, and what counts as its `success`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// GET with signed parameters, until the answer is `success`.
    #[default]
    Query,
    /// POST with JSON, signed as <https://www.standardwebhooks.com> says, until the
    /// answer has a status of 2xx.
    StandardWebhooks,
}

impl Form {
    /// Reads its name.
    ///
    /// # Errors
    /// When it is none of the two.
    pub fn parse(name: &str) -> Result<Self, Refused> {
        match name {
            "query" => Ok(Self::Query),
            "standard_webhooks" => Ok(Self::StandardWebhooks),
            _ => Err(Refused("must be query or standard_webhooks")),
        }
    }
}

impl App {
    /// The rules for how it is told, which each edit must leave whole: an address is
    /// one that an order might have named, and under a site of the app.
    pub(super) fn check_telling(&self) -> Result<(), Broken> {
        let broken = |field, rule| Err(Broken { field, rule });
        if self.muted.contains(&Event::PaymentSucceeded) && !self.feed {
            return broken(
                "add_muted",
                "must not have payment.succeeded without the feed",
            );
        }
        if self.skip_callbacks && !self.feed {
            return broken("skip_callbacks", "must not be without the feed");
        }
        for event in &self.muted {
            if matches!(event, Event::Unknown(_)) {
                return broken("add_muted", "must have events of the hub only");
            }
        }
        for (event, address) in &self.notify_urls {
            if let Err(refused) = Event::parse(event) {
                return broken("add_notify_urls", refused.0);
            }
            let allowed = check_address(address, self.allow_http);
            if let Err(refused) = allowed.and_then(|()| self.check_page(address)) {
                return broken("notify_urls", refused.0);
            }
        }
        Ok(())
    }
}
