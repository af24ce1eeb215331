//! What people change of an app, but for its secrets and whether it is disabled.

use serde::Deserialize;

use super::{App, Form, check_site};
use crate::domain::delivery::Event;
use crate::domain::merchant::{AccountId, MchId};
use crate::domain::signature::Params;

/// What is named changes, and the rest stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edit {
    /// Its name, for people.
    pub name: Option<String>,
    /// May name `http://` addresses.
    pub allow_http: Option<bool>,
    /// May ask for version 1.0.
    pub allow_direct: Option<bool>,
    /// Step 0 skips the synchronous address.
    pub skip_return_call: Option<bool>,
    /// Its events come into a feed, which it reads.
    pub feed: Option<bool>,
    /// It is not called.
    pub skip_callbacks: Option<bool>,
    /// In which form it is called.
    pub form: Option<Form>,
    /// More events that it is not told of.
    pub add_muted: Vec<Event>,
    /// Events that it is told of again.
    pub remove_muted: Vec<Event>,
    /// Where it is told of these events, by name, in place of the order's own address.
    pub add_notify_urls: Params,
    /// Events that it is told of at the order's own address again.
    pub remove_notify_urls: Vec<String>,
    /// Refunds payments that do not fit their order itself.
    pub refund_by_hand: Option<bool>,
    /// Its APP payments go the way of 2014.
    pub genprepay: Option<bool>,
    /// Its log-ins end with the signed profile.
    pub signed_profile: Option<bool>,
    /// It is told the session keys of its mini programs' users.
    pub session_keys: Option<bool>,
    /// Who is paid by its new orders.
    pub merchant: Option<MchId>,
    /// More accounts that its payers and users meet, after the others.
    pub add_accounts: Vec<AccountId>,
    /// Accounts that are not its own any more.
    pub remove_accounts: Vec<AccountId>,
    /// More address prefixes of its pages.
    pub add_sites: Vec<String>,
    /// Address prefixes that are not its own any more.
    pub remove_sites: Vec<String>,
}

/// A rule that an edit breaks, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct Broken {
    /// The part of the edit.
    pub field: &'static str,
    /// The rule.
    pub rule: &'static str,
}

const NAME_MAX_BYTES: usize = 200;
/// A row must stay small: it is read with every request.
const SITES_MAX: usize = 50;
const ACCOUNTS_MAX: usize = 20;

impl App {
    /// Changes the app.
    ///
    /// # Errors
    /// The rule that the edit breaks; the app may then be half changed.
    pub fn edit(&mut self, edit: &Edit) -> Result<(), Broken> {
        let broken = |field, rule| Err(Broken { field, rule });
        if let Some(name) = &edit.name {
            if name.len() > NAME_MAX_BYTES {
                return broken("name", "must be at most 200 bytes");
            }
            self.name.clone_from(name);
        }
        for (new, switch) in [
            (edit.allow_http, &mut self.allow_http),
            (edit.allow_direct, &mut self.allow_direct),
            (edit.skip_return_call, &mut self.skip_return_call),
            (edit.feed, &mut self.feed),
            (edit.skip_callbacks, &mut self.skip_callbacks),
            (edit.refund_by_hand, &mut self.refund_by_hand),
            (edit.genprepay, &mut self.genprepay),
            (edit.signed_profile, &mut self.signed_profile),
            (edit.session_keys, &mut self.session_keys),
        ] {
            *switch = new.unwrap_or(*switch);
        }
        self.form = edit.form.unwrap_or(self.form);
        self.muted
            .retain(|event| !edit.remove_muted.contains(event));
        add(&mut self.muted, &edit.add_muted);
        self.notify_urls
            .retain(|event, _| !edit.remove_notify_urls.contains(event));
        self.notify_urls.extend(edit.add_notify_urls.clone());
        for site in &edit.remove_sites {
            if !self.sites.contains(site) {
                return broken("remove_sites", "names a site that is none of its own");
            }
        }
        self.sites.retain(|site| !edit.remove_sites.contains(site));
        for site in &edit.add_sites {
            if let Err(refused) = check_site(site, self.allow_http) {
                return broken("add_sites", refused.0);
            }
        }
        add(&mut self.sites, &edit.add_sites);
        if self.sites.len() > SITES_MAX {
            return broken("add_sites", "must not make more than 50");
        }
        if let Some(merchant) = &edit.merchant {
            self.merchant = Some(merchant.clone());
        }
        self.accounts
            .retain(|account| !edit.remove_accounts.contains(account));
        add(&mut self.accounts, &edit.add_accounts);
        if self.accounts.len() > ACCOUNTS_MAX {
            return broken("add_accounts", "must not make more than 20");
        }
        self.check_telling()
    }
}

/// Each once, after those that are there.
fn add<T: PartialEq + Clone>(known: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !known.contains(one) {
            known.push(one.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::fixtures;

    fn edit(edit: serde_json::Value) -> Edit {
        serde_json::from_value(edit).unwrap()
    }

    #[test]
    fn what_is_not_named_stays() {
        let mut app = fixtures::app();
        app.name = "Tea".into();
        app.refund_by_hand = true;
        app.sites = vec!["https://a.example/".into(), "https://b.example/".into()];
        let before = app.clone();
        app.edit(&edit(json!({}))).unwrap();
        assert_eq!(app, before);
        app.edit(&edit(json!({
            "refund_by_hand": false, "genprepay": true, "merchant": "1900000109",
            "add_accounts": ["wx1", "wx2", "wx1"], "remove_sites": ["https://a.example/"],
            "add_sites": ["https://b.example/", "https://c.example/"],
        })))
        .unwrap();
        assert_eq!(app.name, "Tea");
        assert!(!app.refund_by_hand && app.genprepay && !app.allow_http);
        assert_eq!(app.sites, ["https://b.example/", "https://c.example/"]);
        assert_eq!(app.merchant.as_ref().unwrap().as_str(), "1900000109");
        let accounts: Vec<&str> = app.accounts.iter().map(AccountId::as_str).collect();
        assert_eq!(accounts, ["wx1", "wx2"]);
        app.edit(&edit(json!({"remove_accounts": ["wx1", "wx3"]})))
            .unwrap();
        assert_eq!(app.accounts.len(), 1);
    }

    #[test]
    fn how_an_app_is_told_is_changed_event_by_event() {
        let mut app = fixtures::app();
        app.edit(&edit(json!({
            "form": "standard_webhooks", "add_sites": ["https://a.example/"],
            "add_muted": ["order.closed", "payment.failed", "order.closed"],
            "add_notify_urls": {"refund.failed": "https://a.example/r", "order.closed": "https://a.example/c"},
        })))
        .unwrap();
        app.edit(&edit(json!({
            "remove_muted": ["payment.failed"], "remove_notify_urls": ["order.closed"],
            "add_notify_urls": {"refund.failed": "https://a.example/refunds"},
        })))
        .unwrap();
        assert_eq!(app.form, Form::StandardWebhooks);
        assert_eq!(app.muted, [Event::OrderClosed]);
        let urls = fixtures::params(&[("refund.failed", "https://a.example/refunds")]);
        assert_eq!(app.notify_urls, urls);
        let row = serde_json::to_value(&app).unwrap();
        assert_eq!(serde_json::from_value::<App>(row).unwrap(), app);
    }

    #[test]
    fn an_edit_that_breaks_a_rule_says_where() {
        let many: Vec<String> = (0..51).map(|n| format!("https://s{n}.example/")).collect();
        let accounts: Vec<String> = (0..21).map(|n| format!("wx{n}")).collect();
        for (bad, field) in [
            (json!({"name": "x".repeat(201)}), "name"),
            (json!({"add_sites": ["http://shop.example/"]}), "add_sites"),
            (
                json!({"add_sites": ["https://shop.example/?x"]}),
                "add_sites",
            ),
            (json!({"add_sites": many}), "add_sites"),
            (
                json!({"remove_sites": ["https://x.example/"]}),
                "remove_sites",
            ),
            (json!({"add_accounts": accounts}), "add_accounts"),
        ] {
            let refused = fixtures::app().edit(&edit(bad.clone()));
            assert_eq!(refused.unwrap_err().field, field, "{bad}");
        }
        for (bad, field) in [
            (json!({"add_muted": ["payment.succeeded"]}), "add_muted"),
            (json!({"skip_callbacks": true}), "skip_callbacks"),
            (json!({"add_muted": ["order.seen"]}), "add_muted"),
            (
                json!({"add_notify_urls": {"order.seen": "https://a.example/x"}}),
                "add_notify_urls",
            ),
            (
                json!({"add_notify_urls": {"order.closed": "https://b.example/x"}}),
                "notify_urls",
            ),
            (
                json!({"add_notify_urls": {"order.closed": "https://a.example/x?y=1"}}),
                "notify_urls",
            ),
            (
                json!({"add_notify_urls": {"order.closed": "http://a.example/x"}}),
                "notify_urls",
            ),
            // The site of an address that is there.
            (
                json!({"remove_sites": ["https://shop.example/"]}),
                "notify_urls",
            ),
        ] {
            let mut app = fixtures::app();
            app.sites = vec!["https://a.example/".into(), "https://shop.example/".into()];
            let there = json!({"add_notify_urls": {"refund.failed": "https://shop.example/r"}});
            app.edit(&edit(there)).unwrap();
            let refused = app.edit(&edit(bad.clone()));
            assert_eq!(refused.unwrap_err().field, field, "{bad}");
        }
        // Who reads the feed is told all the same, and may not give it up for silence.
        for quiet in [
            json!({"skip_callbacks": true}),
            json!({"add_muted": ["payment.succeeded"]}),
        ] {
            let mut app = fixtures::app();
            app.edit(&edit(json!({"feed": true}))).unwrap();
            app.edit(&edit(quiet)).unwrap();
            assert!(app.edit(&edit(json!({"feed": false}))).is_err());
        }
        // It becomes an app that may, in the same edit.
        let insecure = json!({"allow_http": true, "add_sites": ["http://shop.example/"]});
        assert_eq!(fixtures::app().edit(&edit(insecure)), Ok(()));
    }

    #[test]
    fn nothing_else_of_an_app_can_be_set() {
        for more in [
            "app_secret",
            "disabled",
            "paused",
            "revision",
            "note",
            "sites",
            "app_id",
        ] {
            let text = format!("{{\"{more}\": 1}}");
            assert!(serde_json::from_str::<Edit>(&text).is_err(), "{more}");
        }
    }
}
