//! What becomes of an app, the same for `hubctl` and for the operators' API: read,
//! changed by a rule, and written with its entry in the audit trail unless somebody
//! else has changed it meanwhile.

use serde_json::json;

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::audit::Audit;
use crate::aws::registry::Registry;
use crate::domain::app::{App, AppSecret, Broken, Edit, Rotation};
use crate::domain::audit::Actor;
use crate::domain::id::{AppId, Refused};
use crate::domain::merchant::{AccountId, MchId};
use crate::domain::time::Timestamp;

/// Why an app is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such app.
    #[error("there is no app {0}")]
    NotFound(AppId),
    /// The identifier of a new app is taken.
    #[error("an app with the id {0} exists already")]
    Exists(AppId),
    /// The edit breaks a rule.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The merchant that it names is not registered.
    #[error("there is no merchant {0}: hubctl merchant create {0}")]
    MerchantUnknown(MchId),
    /// One of its accounts is not registered.
    #[error("there is no account {0}: hubctl account create {0}")]
    AccountUnknown(AccountId),
    /// What it names does not belong together, by this rule.
    #[error("{0}")]
    Misfit(Broken),
    /// It has two secrets, or too few, for this rotation.
    #[error("the app {0}")]
    Rotation(Refused),
    /// Somebody else has changed it since it was read.
    #[error("somebody else has changed the app just now: look at it, and try again")]
    Changed,
    /// AWS.
    #[error(transparent)]
    Aws(#[from] Failure),
}

/// What becomes of an app without another secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This is changed.
    Edit(Box<Edit>),
    /// Every request of it is refused.
    Disable,
    /// Its requests are taken again.
    Enable,
    /// It is told nothing; what is owed to it is kept.
    Pause,
    /// It is told again, what was kept too.
    Resume,
    /// What operators want to remember about it, instead of before.
    Annotate(String),
}

/// An app after a change was asked for.
#[derive(Debug)]
pub struct Changed {
    /// As it is now.
    pub app: App,
    /// Whether it was not so before.
    pub is_new: bool,
}

/// Looks after apps.
#[derive(Debug, Clone)]
pub struct Apps {
    /// Where they are.
    pub registry: Registry,
    /// Who changed what.
    pub audit: Audit,
    /// Whom apps mean that name no merchant, where there is such a one.
    pub first_merchant: Option<MchId>,
}

impl Apps {
    /// Registers an app. Where the installation has no first merchant, the only one
    /// that is registered is its own unless it names another.
    ///
    /// # Errors
    /// [`Error::Exists`], what [`Apps::change`] says of an edit, and AWS.
    pub async fn create(
        &self,
        new: App,
        edit: &Edit,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<App, Error> {
        let mut app = new;
        app.edit(edit)?;
        self.complete(&mut app).await?;
        self.check_merchant(&app).await?;
        let subject = app.app_id.to_string();
        let entry = actor.entry("app.create", subject, now, &random_hex());
        let entry = entry.between(&json!({}), &app.shown(now));
        match self.registry.add_app(&app, &self.audit, &entry).await? {
            true => Ok(app),
            false => Err(Error::Exists(app.app_id)),
        }
    }

    /// The app as it is at this moment.
    ///
    /// # Errors
    /// [`Error::NotFound`] and AWS.
    pub async fn read(&self, app_id: &AppId) -> Result<App, Error> {
        let app = self.registry.app_to_change(app_id).await?;
        app.ok_or_else(|| Error::NotFound(app_id.clone()))
    }

    /// Changes an app. What is so already leaves no entry.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Changed`], the rule that an edit breaks, and AWS.
    pub async fn change(
        &self,
        app_id: &AppId,
        change: Change,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Changed, Error> {
        let before = self.read(app_id).await?;
        let mut app = before.clone();
        let action = match change {
            Change::Edit(edit) => {
                app.edit(&edit)?;
                let of_accounts = edit.add_accounts.iter().chain(&edit.remove_accounts);
                if edit.merchant.is_some() || of_accounts.count() > 0 {
                    self.check_merchant(&app).await?;
                }
                "app.edit"
            }
            Change::Disable => {
                app.disabled = true;
                "app.disable"
            }
            Change::Enable => {
                app.disabled = false;
                "app.enable"
            }
            Change::Pause => {
                app.paused = true;
                "app.pause"
            }
            Change::Resume => {
                app.paused = false;
                "app.resume"
            }
            Change::Annotate(note) => {
                app.note = note;
                "app.annotate"
            }
        };
        let is_new = app != before;
        if is_new {
            self.write(&before, &app, action, actor, now).await?;
        }
        Ok(Changed { app, is_new })
    }

    /// Gives an app another secret.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Rotation`], [`Error::Changed`] and AWS.
    pub async fn rotate(
        &self,
        app_id: &AppId,
        rotation: Rotation,
        secret: AppSecret,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<App, Error> {
        let before = self.read(app_id).await?;
        let mut app = before.clone();
        app.rotate(secret, rotation, now).map_err(Error::Rotation)?;
        let action = match rotation {
            Rotation::Overlap(_) => "app.rotate",
            Rotation::Again => "app.rotate.again",
            Rotation::Now => "app.rotate.now",
        };
        self.write(&before, &app, action, actor, now).await?;
        Ok(app)
    }

    async fn write(
        &self,
        before: &App,
        app: &App,
        action: &str,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), Error> {
        let subject = app.app_id.to_string();
        let entry = actor.entry(action, subject, now, &random_hex());
        let entry = entry.between(&before.shown(now), &app.shown(now));
        let written = self.registry.change_app(app.clone(), &self.audit, &entry);
        match written.await? {
            true => Ok(()),
            false => Err(Error::Changed),
        }
    }

    /// Whether an app's merchant and accounts are registered and belong together.
    async fn check_merchant(&self, app: &App) -> Result<(), Error> {
        let first = self.first_merchant.as_ref();
        let merchant = app.merchant.as_ref().or(first);
        if let Some(mch_id) = &app.merchant
            && first != Some(mch_id)
            && self.registry.merchant(mch_id).await?.is_none()
        {
            return Err(Error::MerchantUnknown(mch_id.clone()));
        }
        for id in &app.accounts {
            let account = self.registry.account(id).await?;
            let account = account.ok_or_else(|| Error::AccountUnknown(id.clone()))?;
            if merchant.is_some_and(|merchant| !account.merchants.contains(merchant)) {
                return Err(Error::Misfit(Broken {
                    field: "accounts",
                    rule: "must be bound to the app's merchant: bind them in WeChat's platform, \
                           then hubctl account edit ACCOUNT --add-merchant MCH_ID",
                }));
            }
        }
        if app.merchant.is_some() && app.merchant != self.first_merchant && app.accounts.is_empty()
        {
            return Err(Error::Misfit(Broken {
                field: "accounts",
                rule: "must be named for an app of another merchant than the first",
            }));
        }
        Ok(())
    }

    /// Where the installation has no first merchant, the only one that is registered.
    async fn complete(&self, app: &mut App) -> Result<(), Error> {
        if self.first_merchant.is_some() || app.merchant.is_some() {
            return Ok(());
        }
        let known = self.registry.directory().await?;
        let mut merchants = known.merchants.into_iter();
        app.merchant = merchants.next();
        if app.merchant.is_none() || merchants.next().is_some() {
            return Err(Error::Misfit(Broken {
                field: "merchant",
                rule: "must be named: there is none, or more than one",
            }));
        }
        if app.accounts.is_empty() && known.accounts.len() == 1 {
            app.accounts.extend(known.accounts);
        }
        Ok(())
    }
}
