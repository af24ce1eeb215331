//! What becomes of an app, the same for `hubctl` and for the operators' API: read,
//! changed by a rule, and written with its entry in the audit trail unless somebody
//! else has changed it meanwhile.

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::audit::Audit;
use crate::aws::registry::Registry;
use crate::domain::app::{App, AppSecret, Rotation};
use crate::domain::audit::Actor;
use crate::domain::id::{AppId, Refused};
use crate::domain::time::Timestamp;

/// Why an app is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such app.
    #[error("there is no app {0}")]
    NotFound(AppId),
    /// The change breaks this rule.
    #[error("the app {0}")]
    Refused(Refused),
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
    /// Every request of it is refused.
    Disable,
    /// Its requests are taken again.
    Enable,
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
}

impl Apps {
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
    /// [`Error::NotFound`], [`Error::Changed`] and AWS.
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
            Change::Disable => {
                app.disabled = true;
                "app.disable"
            }
            Change::Enable => {
                app.disabled = false;
                "app.enable"
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
    /// [`Error::NotFound`], [`Error::Refused`], [`Error::Changed`] and AWS.
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
        app.rotate(secret, rotation, now).map_err(Error::Refused)?;
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
}
