//! Who operates the hub: operators come, change and go, machines get keys, and apps'
//! owners get links. The same for `hubctl` and for the operators' API.

use serde_json::json;

use super::race::Race;
use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::audit::Audit;
use crate::aws::registry::Registry;
use crate::domain::audit::{Actor, Entry};
use crate::domain::id::AppId;
use crate::domain::id::Refused;
use crate::domain::operator::{Enrolment, NewPass, Operator, OperatorName, Pass, PassKind, Role};
use crate::domain::time::Timestamp;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is an operator of this name.
    #[error("there is an operator of this name already")]
    Taken,
    /// There is no such operator.
    #[error("there is no operator of this name")]
    NotFound,
    /// There is no such key or link that has not ended.
    #[error("there is none of this id that has not ended")]
    NoPass(PassKind),
    /// There is no such app.
    #[error("there is no app {0}")]
    NoApp(AppId),
    /// What is asked for breaks this rule.
    #[error("it {0}")]
    Refused(Refused),
    /// AWS.
    #[error(transparent)]
    Aws(#[from] Failure),
}

/// What becomes of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nobody gets in under the name any more.
    Disable,
    /// They get in again, with the password and codes of before.
    Enable,
    /// They may do something else from now on.
    Become(Role),
}

/// Looks after operators and keys.
#[derive(Debug, Clone)]
pub struct Staff {
    /// Where they are.
    pub registry: Registry,
    /// Who changed what.
    pub audit: Audit,
}

impl Staff {
    /// Adds an operator, and gives the token of the enrolment, which is not kept.
    ///
    /// # Errors
    /// [`Error::Taken`], [`Error::Refused`] and AWS.
    pub async fn add(
        &self,
        name: OperatorName,
        role: Role,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<String, Error> {
        check_role(role)?;
        let token = random_hex();
        let operator = Operator::new(name, role, &token, now);
        let subject = format!("operator:{}", operator.name);
        let entry = actor.entry("operator.create", subject, now, &random_hex());
        let entry = entry.between(&json!({}), &operator.shown(now));
        let added = self
            .registry
            .add_operator(&operator, &self.audit, &entry)
            .await?;
        added.then_some(token).ok_or(Error::Taken)
    }

    /// Changes an operator, which ends all sessions.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] and AWS.
    pub async fn change(
        &self,
        name: &OperatorName,
        change: Change,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Operator, Error> {
        if let Change::Become(role) = change {
            check_role(role)?;
        }
        let (action, apply): (_, &(dyn Fn(&mut Operator) + Sync)) = match change {
            Change::Disable => ("operator.disable", &|operator| operator.disabled = true),
            Change::Enable => ("operator.enable", &|operator| operator.disabled = false),
            Change::Become(role) => ("operator.role", &move |operator| operator.role = role),
        };
        self.write(name, action, apply, actor, now).await
    }

    /// Removes an operator, which ends all sessions. The name is free again.
    ///
    /// # Errors
    /// [`Error::NotFound`] and AWS.
    pub async fn remove(
        &self,
        name: &OperatorName,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), Error> {
        let before = self.registry.operator(name).await?;
        let before = before.ok_or(Error::NotFound)?;
        let subject = format!("operator:{name}");
        let entry = actor.entry("operator.remove", subject, now, &random_hex());
        let entry = entry.between(&before.shown(now), &json!({}));
        match self
            .registry
            .remove_operator(name, &self.audit, &entry)
            .await?
        {
            true => Ok(()),
            false => Err(Error::NotFound),
        }
    }

    /// Gives somebody a new token: the password or the telephone is lost. Those of
    /// before are good until it is used, unless they are disabled.
    ///
    /// # Errors
    /// [`Error::NotFound`] and AWS.
    pub async fn enrol_again(
        &self,
        name: &OperatorName,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<String, Error> {
        let token = random_hex();
        let enrolment = Enrolment::new(&token, now);
        let apply = |operator: &mut Operator| operator.enrolment = Some(enrolment.clone());
        self.write(name, "operator.enrol_again", &apply, actor, now)
            .await?;
        Ok(token)
    }

    async fn write(
        &self,
        name: &OperatorName,
        action: &str,
        apply: &(dyn Fn(&mut Operator) + Sync),
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Operator, Error> {
        let mut race = Race::new("change an operator");
        loop {
            let before = self.registry.operator(name).await?;
            let before = before.ok_or(Error::NotFound)?;
            let mut operator = before.clone();
            apply(&mut operator);
            let entry = actor.entry(action, format!("operator:{name}"), now, &random_hex());
            let entry = entry.between(&before.shown(now), &operator.shown(now));
            let (registry, audit) = (&self.registry, &self.audit);
            let written = registry.change_operator(&before, operator.clone(), audit, &entry);
            if written.await? {
                return Ok(operator);
            }
            race.lost().await?;
        }
    }

    /// Makes a key or a link, and gives its text, which is not kept.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::NoApp`] and AWS.
    pub async fn add_pass(
        &self,
        new: NewPass,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(Pass, String), Error> {
        let kind = new.kind;
        let made = Pass::new(new, &random_hex(), &random_hex(), now);
        let (pass, text) = made.map_err(Error::Refused)?;
        for app_id in &pass.apps {
            if self.registry.app(app_id).await?.is_none() {
                return Err(Error::NoApp(app_id.clone()));
            }
        }
        let entry = pass_entry(kind, "create", &pass.id, actor, now);
        let entry = entry.between(&json!({}), &pass.shown());
        let added = self.registry.add_pass(kind, &pass, &self.audit, &entry);
        match added.await? {
            true => Ok((pass, text)),
            false => Err(Failure::contended("add a key or a link").into()),
        }
    }

    /// Ends a key or a link, with all its sessions, before its time.
    ///
    /// # Errors
    /// [`Error::NoPass`] and AWS.
    pub async fn revoke_pass(
        &self,
        kind: PassKind,
        id: &str,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), Error> {
        let entry = pass_entry(kind, "revoke", id, actor, now);
        let revoked = self.registry.revoke_pass(kind, id, &self.audit, &entry);
        match revoked.await? {
            true => Ok(()),
            false => Err(Error::NoPass(kind)),
        }
    }
}

/// An app's owner has no password: it has no apps either.
fn check_role(role: Role) -> Result<(), Error> {
    match role {
        Role::AppOwner => Err(Error::Refused(Refused(
            "must not be app_owner: make a link instead",
        ))),
        Role::Owner | Role::Operator | Role::Finance | Role::Auditor => Ok(()),
    }
}

fn pass_entry(kind: PassKind, action: &str, id: &str, actor: &Actor, now: Timestamp) -> Entry {
    let kind = kind.as_str();
    let (action, subject) = (format!("{kind}.{action}"), format!("{kind}:{id}"));
    actor.entry(&action, subject, now, &random_hex())
}
