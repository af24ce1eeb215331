//! A third party's account and its switches.

mod address;
mod edit;
mod secret;
mod telling;

pub use address::{ADDRESS_MAX_BYTES, check_address, check_site};
pub use edit::{Broken, Edit};
pub use secret::{AppSecret, PreviousSecret, Rotation};
pub use telling::Form;

use serde::{Deserialize, Serialize};

use super::UnknownAttributes;
use super::delivery::Event;
use super::id::AppId;
use super::merchant::{AccountId, MchId};
use super::signature::Params;
use super::time::Timestamp;

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
    /// Its events come into a feed, which it reads.
    #[serde(default)]
    pub feed: bool,
    /// It is not called: the feed is all that it wants.
    #[serde(default)]
    pub skip_callbacks: bool,
    /// In which form it is called.
    #[serde(default)]
    pub form: Form,
    /// Of what it is not told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub muted: Vec<Event>,
    /// Where it is told of an event, by the event's name; else at the order's own
    /// `notify_url`.
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    pub notify_urls: Params,
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
    feed: bool,
    skip_callbacks: bool,
    form: Form,
    muted: &'a [Event],
    notify_urls: &'a Params,
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

impl Shown<'_> {
    /// The same for the app's owner: without what operators remember about it.
    #[must_use]
    pub fn without_note(self) -> Self {
        Self { note: "", ..self }
    }
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
            feed: self.feed,
            skip_callbacks: self.skip_callbacks,
            form: self.form,
            muted: &self.muted,
            notify_urls: &self.notify_urls,
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
            feed: false,
            skip_callbacks: false,
            form: Form::default(),
            muted: Vec::new(),
            notify_urls: Params::new(),
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures;

    #[test]
    fn an_app_reads_back_from_its_row_and_a_damaged_secret_does_not() {
        let mut app = fixtures::app();
        app.sites.push("https://good.example/".into());
        let mut row = serde_json::to_value(&app).unwrap();
        assert_eq!(row["app_id"], "demo000000000001");
        assert_eq!(row["app_secret"], "0123456789abcdef0123456789abcdef");
        assert_eq!(serde_json::from_value::<App>(row.clone()).unwrap(), app);
        row["app_secret"] = "short".into();
        assert!(serde_json::from_value::<App>(row).is_err());
    }
}
