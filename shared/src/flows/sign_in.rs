//! How an operator gets in: by a token of `hubctl` to a password and codes, and by
//! these to a session. Every try is counted before it is made, and every answer to
//! a wrong one is the same and takes the same time.

use std::net::IpAddr;

use super::race::Race;
use crate::ambient::{random_bytes, random_hex};
use crate::aws::Failure;
use crate::aws::audit::Audit;
use crate::aws::registry::Registry;
use crate::aws::registry::operators::SignedIn;
use crate::domain::audit::{Actor, Entry};
use crate::domain::id::Refused;
use crate::domain::operator::password::{PasswordHash, is_right};
use crate::domain::operator::throttle::Counted;
use crate::domain::operator::totp::TotpSecret;
use crate::domain::operator::{Enrolment, Operator, OperatorName, Pass, PassKind, Session, digest};
use crate::domain::time::Timestamp;

/// Why somebody does not get in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has tried too often, under this name or from this address.
    #[error("too many tries; the next one in {retry_after_seconds} s")]
    TooManyTries {
        /// When the pause ends.
        retry_after_seconds: i64,
    },
    /// The name, the password or the code is wrong, or the code was used.
    #[error("the name, the password or the code is wrong")]
    Wrong,
    /// The enrolment's token is unknown, used or too old.
    #[error("the enrolment is unknown, used or too old")]
    EnrolmentInvalid,
    /// The link is unknown, revoked or too old.
    #[error("the link is unknown, revoked or too old")]
    LinkInvalid,
    /// The new password breaks this rule.
    #[error("the password {0}")]
    Weak(Refused),
    /// AWS.
    #[error(transparent)]
    Aws(#[from] Failure),
}

/// The way in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Where operators and sessions are.
    pub registry: Registry,
    /// Who got in, and when.
    pub audit: Audit,
    /// The hub's own host, by which an authenticator names it.
    pub hub: String,
}

/// What somebody who wants in says.
#[derive(Debug)]
pub struct Given<'a> {
    /// Their name.
    pub name: &'a str,
    /// Their password.
    pub password: &'a str,
    /// The code that their telephone shows.
    pub code: &'a str,
    /// From where they come.
    pub from: IpAddr,
}

/// A session that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Who.
    pub operator: Operator,
    /// For the browser's cookie, and for nobody else.
    pub cookie: String,
    /// Until when it lasts at most.
    pub ends_at: Timestamp,
}

/// A session that has begun with a link.
#[derive(Debug)]
pub struct Opened {
    /// With which.
    pub link: Pass,
    /// For the browser's cookie, and for nobody else.
    pub cookie: String,
    /// Until when it lasts at most.
    pub ends_at: Timestamp,
}

/// What somebody needs for their telephone, shown once.
#[derive(Debug)]
pub struct Offer {
    /// What codes are made from.
    pub secret: TotpSecret,
    /// The same as an address, for a QR code.
    pub address: String,
}

impl SignIn {
    /// Begins a session.
    ///
    /// # Errors
    /// [`Error::TooManyTries`], [`Error::Wrong`] and AWS.
    pub async fn sign_in(&self, given: &Given<'_>, now: Timestamp) -> Result<Begun, Error> {
        let tries = self.count(given, now).await?;
        let (operator, totp_step) = self.verified(given, now).await?;
        let cookie = random_hex();
        let session = Session::new(&operator, now);
        let signed_in = SignedIn {
            operator: &operator,
            totp_step,
            session: &session,
            hash: &digest(&cookie),
        };
        let entry = entry(&who(&operator.name), given.from, "session.begin", now);
        if !self
            .registry
            .sign_in(&signed_in, &self.audit, &entry)
            .await?
        {
            return Err(Error::Wrong);
        }
        self.forget(&tries).await;
        Ok(Begun {
            ends_at: session.ends_at,
            operator,
            cookie,
        })
    }

    /// Begins a session of whoever holds this link.
    ///
    /// # Errors
    /// [`Error::TooManyTries`], [`Error::LinkInvalid`] and AWS.
    pub async fn open_link(
        &self,
        text: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Opened, Error> {
        let counted = Counted::address(from);
        self.count_one(&counted, now).await?;
        let halves = Pass::split(PassKind::OwnerLink, text);
        let (id, secret) = halves.ok_or(Error::LinkInvalid)?;
        let link = self.registry.pass(PassKind::OwnerLink, id).await?;
        let link = link.filter(|link| link.admits(secret, now));
        let link = link.ok_or(Error::LinkInvalid)?;
        let (cookie, session) = (random_hex(), Session::of_link(&link, now));
        let entry = entry(&format!("link:{id}"), from, "session.begin", now);
        let (registry, audit) = (&self.registry, &self.audit);
        registry
            .open_session(&digest(&cookie), &session, audit, &entry)
            .await?;
        // The try stays counted: a link must not lift the limit of its address.
        Ok(Opened {
            link,
            cookie,
            ends_at: session.ends_at,
        })
    }

    /// Offers a secret for the codes of whoever holds this token. Each offer ends
    /// the one before.
    ///
    /// # Errors
    /// [`Error::TooManyTries`], [`Error::EnrolmentInvalid`] and AWS.
    pub async fn offer(
        &self,
        name: &str,
        token: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Offer, Error> {
        self.count_one(&Counted::address(from), now).await?;
        let (before, enrolment) = self.enrolment(name, token, now).await?;
        let secret = TotpSecret::of(random_bytes());
        let operator = Operator {
            enrolment: Some(Enrolment {
                totp: Some(secret.clone()),
                ..enrolment
            }),
            ..before.clone()
        };
        let entry = entry(&who(&before.name), from, "operator.offer_codes", now);
        self.change(&before, operator, &entry).await?;
        let address = secret.address(&self.hub, &before.name);
        Ok(Offer { secret, address })
    }

    /// Sets the password, and the codes that were offered last; `given.code` shows
    /// that the telephone has them. The token is used up, and all sessions end.
    ///
    /// # Errors
    /// [`Error::TooManyTries`], [`Error::EnrolmentInvalid`], [`Error::Weak`],
    /// [`Error::Wrong`] for the code, and AWS.
    pub async fn enrol(&self, token: &str, given: &Given<'_>, now: Timestamp) -> Result<(), Error> {
        self.count_one(&Counted::address(given.from), now).await?;
        let (before, enrolment) = self.enrolment(given.name, token, now).await?;
        let totp = enrolment.totp.ok_or(Error::EnrolmentInvalid)?;
        let totp_step = totp.step_of(given.code, 0, now).ok_or(Error::Wrong)?;
        let password = PasswordHash::new(given.password, &random_bytes()).map_err(Error::Weak)?;
        let operator = Operator {
            password: Some(password),
            totp: Some(totp),
            totp_step,
            enrolment: None,
            ..before.clone()
        };
        let entry = entry(&who(&before.name), given.from, "operator.enrol", now);
        self.change(&before, operator, &entry).await
    }

    /// Changes the password of somebody who knows the one before. All sessions end.
    ///
    /// # Errors
    /// [`Error::TooManyTries`], [`Error::Wrong`], [`Error::Weak`] and AWS.
    pub async fn change_password(
        &self,
        given: &Given<'_>,
        new: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let tries = self.count(given, now).await?;
        let (before, totp_step) = self.verified(given, now).await?;
        let password = PasswordHash::new(new, &random_bytes()).map_err(Error::Weak)?;
        let operator = Operator {
            password: Some(password),
            totp_step,
            ..before.clone()
        };
        let entry = entry(
            &who(&before.name),
            given.from,
            "operator.change_password",
            now,
        );
        self.change(&before, operator, &entry).await?;
        self.forget(&tries).await;
        Ok(())
    }

    /// Whoever this is, if everything is right, and the step of the code.
    async fn verified(&self, given: &Given<'_>, now: Timestamp) -> Result<(Operator, u64), Error> {
        let operator = match OperatorName::parse(given.name) {
            Ok(name) => self.registry.operator(&name).await?,
            Err(_) => None,
        };
        let stored = operator.as_ref().and_then(|known| known.password.as_ref());
        let is_right = is_right(stored, given.password);
        let operator = operator.filter(|known| is_right && !known.disabled);
        let operator = operator.ok_or(Error::Wrong)?;
        let totp = operator.totp.as_ref();
        let step = totp.and_then(|totp| totp.step_of(given.code, operator.totp_step, now));
        Ok((operator, step.ok_or(Error::Wrong)?))
    }

    async fn enrolment(
        &self,
        name: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<(Operator, Enrolment), Error> {
        let name = OperatorName::parse(name).map_err(|_| Error::EnrolmentInvalid)?;
        let operator = self.registry.operator(&name).await?;
        let operator = operator.ok_or(Error::EnrolmentInvalid)?;
        let enrolment = operator.enrolment(token, now).cloned();
        Ok((operator, enrolment.ok_or(Error::EnrolmentInvalid)?))
    }

    async fn change(
        &self,
        before: &Operator,
        operator: Operator,
        entry: &Entry,
    ) -> Result<(), Error> {
        let (registry, audit) = (&self.registry, &self.audit);
        match registry
            .change_operator(before, operator, audit, entry)
            .await?
        {
            true => Ok(()),
            // Somebody else has used the token or the code meanwhile.
            false => Err(Error::Wrong),
        }
    }

    /// Counts a try at an account from an address.
    async fn count(&self, given: &Given<'_>, now: Timestamp) -> Result<[Counted; 2], Error> {
        let tries = [Counted::address(given.from), Counted::account(given.name)];
        for counted in &tries {
            self.count_one(counted, now).await?;
        }
        Ok(tries)
    }

    async fn count_one(&self, counted: &Counted, now: Timestamp) -> Result<(), Error> {
        let mut race = Race::new("count a try to get in");
        loop {
            let read = self.registry.throttle(counted).await?;
            let next = read.try_again(counted, now);
            let next = next.map_err(|retry_after_seconds| Error::TooManyTries {
                retry_after_seconds,
            })?;
            if self.registry.count_try(counted, &read, &next).await? {
                return Ok(());
            }
            race.lost().await?;
        }
    }

    /// Whoever got in has no pause before the next time. That an address is let go
    /// on by one account's password does not help against the others: each counts.
    async fn forget(&self, tries: &[Counted]) {
        for counted in tries {
            if let Err(failure) = self.registry.forget_tries(counted).await {
                tracing::warn!(%failure, "the tries of somebody who got in are remembered");
            }
        }
    }
}

fn who(name: &OperatorName) -> String {
    format!("operator:{name}")
}

/// What somebody does to themselves.
fn entry(who: &str, from: IpAddr, action: &str, now: Timestamp) -> Entry {
    let actor = Actor {
        who: who.to_owned(),
        through: "api".to_owned(),
        from: from.to_string(),
        reason: String::new(),
    };
    actor.entry(action, who.to_owned(), now, &random_hex())
}
