//! Who operates the hub: operators come, change and go, and machines get keys. The
//! same for `hubctl` and for the operators' API.

use serde_json::json;

use super::race::Race;
use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::audit::Audit;
use crate::aws::registry::Registry;
use crate::domain::audit::Actor;
use crate::domain::id::Refused;
use crate::domain::operator::{ApiKey, Enrolment, NewApiKey, Operator, OperatorName, Role};
use crate::domain::time::Timestamp;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is an operator of this name.
    #[error("there is an operator of this name already")]
    Taken,
    /// There is no such operator, or no such key that has not ended.
    #[error("there is none of this name")]
    NotFound,
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
    /// [`Error::Taken`] and AWS.
    pub async fn add(
        &self,
        name: OperatorName,
        role: Role,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<String, Error> {
        let token = random_hex();
        let operator = Operator::new(name, role, Enrolment::new(&token, now));
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
    /// [`Error::NotFound`] and AWS.
    pub async fn change(
        &self,
        name: &OperatorName,
        change: Change,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (action, apply): (_, &dyn Fn(&mut Operator)) = match change {
            Change::Disable => ("operator.disable", &|operator| operator.disabled = true),
            Change::Enable => ("operator.enable", &|operator| operator.disabled = false),
            Change::Become(role) => ("operator.role", &move |operator| operator.role = role),
        };
        self.write(name, action, apply, actor, now).await
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
        apply: &dyn Fn(&mut Operator),
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut race = Race::new("change an operator");
        loop {
            let before = self.registry.operator(name).await?;
            let before = before.ok_or(Error::NotFound)?;
            let mut operator = before.clone();
            apply(&mut operator);
            let entry = actor.entry(action, format!("operator:{name}"), now, &random_hex());
            let entry = entry.between(&before.shown(now), &operator.shown(now));
            let (registry, audit) = (&self.registry, &self.audit);
            let written = registry.change_operator(&before, operator, audit, &entry);
            if written.await? {
                return Ok(());
            }
            race.lost().await?;
        }
    }

    /// Makes a key, and gives its text, which is not kept.
    ///
    /// # Errors
    /// [`Error::Refused`] and AWS.
    pub async fn add_key(
        &self,
        new: NewApiKey,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(ApiKey, String), Error> {
        let made = ApiKey::new(new, &random_hex(), &random_hex(), now);
        let (key, text) = made.map_err(Error::Refused)?;
        let subject = format!("apikey:{}", key.id);
        let entry = actor.entry("apikey.create", subject, now, &random_hex());
        let entry = entry.between(&json!({}), &key.shown());
        match self.registry.add_api_key(&key, &self.audit, &entry).await? {
            true => Ok((key, text)),
            false => Err(Failure::contended("add an API key").into()),
        }
    }

    /// Ends a key before its time.
    ///
    /// # Errors
    /// [`Error::NotFound`] and AWS.
    pub async fn revoke_key(&self, id: &str, actor: &Actor, now: Timestamp) -> Result<(), Error> {
        let entry = actor.entry("apikey.revoke", format!("apikey:{id}"), now, &random_hex());
        match self
            .registry
            .revoke_api_key(id, &self.audit, &entry)
            .await?
        {
            true => Ok(()),
            false => Err(Error::NotFound),
        }
    }
}
