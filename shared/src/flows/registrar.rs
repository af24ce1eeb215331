//! The merchants that are paid and the accounts that payers meet, the same for
//! `hubctl` and for the operators' API: registered, listed and changed, each with its
//! entry in the trail. Their keys and secrets are `hubctl credentials`'s.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;

use serde::Serialize;
use serde_json::json;

use crate::ambient::random_hex;
use crate::aws::Failure;
use crate::aws::audit::Audit;
use crate::aws::registry::Registry;
use crate::aws::registry::operators::Page;
use crate::domain::app::Broken;
use crate::domain::audit::{Actor, Entry};
use crate::domain::id::Refused;
use crate::domain::merchant::{Account, AccountEdit, AccountId, MchId, Merchant, MerchantEdit};
use crate::domain::time::Timestamp;

/// What is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A merchant.
    Merchant,
    /// One of WeChat's accounts.
    Account,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Merchant => "merchant",
            Self::Account => "account",
        })
    }
}

/// Why a row is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("there is no {0} {1}")]
    NotFound(Kind, String),
    /// It is there.
    #[error("{0} {1} is registered already")]
    Exists(Kind, String),
    /// The edit breaks a rule.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// Somebody else has changed it since it was read.
    #[error("somebody else has changed the {0} just now: look at it, and try again")]
    Changed(Kind),
    /// AWS.
    #[error(transparent)]
    Aws(#[from] Failure),
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<E> {
    /// This is changed.
    Edit(E),
    /// Nobody pays it, or through it, any more.
    Disable,
    /// People do again.
    Enable,
}

/// A row that operators register.
pub trait Registered: Clone + PartialEq + Serialize + Send + Sync {
    /// What it is.
    const KIND: Kind;
    /// Its name at WeChat.
    type Id: Clone + Ord + fmt::Display + Send + Sync;
    /// What people change of it.
    type Edit: Send + Sync;

    /// Its name.
    fn id(&self) -> &Self::Id;

    /// Reads a name.
    ///
    /// # Errors
    /// When it is none.
    fn parse(text: &str) -> Result<Self::Id, Refused>;

    /// Changes it.
    ///
    /// # Errors
    /// The rule that the edit breaks.
    fn edit(&mut self, edit: &Self::Edit) -> Result<(), Broken>;

    /// Whether it is switched off.
    fn disabled(&mut self) -> &mut bool;

    /// The row, if there is one.
    fn find(
        of: &Registrar,
        id: &Self::Id,
    ) -> impl Future<Output = Result<Option<Self>, Failure>> + Send;

    /// The names of all.
    fn names(of: &Registrar) -> impl Future<Output = Result<BTreeSet<Self::Id>, Failure>> + Send;

    /// The rows of these, at most a hundred, in no order.
    fn rows(
        of: &Registrar,
        ids: &[Self::Id],
    ) -> impl Future<Output = Result<Vec<Self>, Failure>> + Send;

    /// Writes it as it was read. False when somebody else was faster.
    fn save(
        self,
        of: &Registrar,
        entry: &Entry,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;
}

/// Looks after merchants and accounts.
#[derive(Debug, Clone)]
pub struct Registrar {
    /// Where they are.
    pub registry: Registry,
    /// Who changed what.
    pub audit: Audit,
    /// The installation's first merchant, as the stack's parameters say: it becomes a
    /// row when it is changed.
    pub first: Option<Merchant>,
}

impl Registrar {
    /// A row as it is at this moment.
    ///
    /// # Errors
    /// [`Error::NotFound`] and AWS.
    pub async fn read<R: Registered>(&self, id: &R::Id) -> Result<R, Error> {
        let row = R::find(self, id).await?;
        row.ok_or_else(|| Error::NotFound(R::KIND, id.to_string()))
    }

    /// Rows by their names, from the one after this on; at most a hundred.
    ///
    /// # Errors
    /// AWS.
    pub async fn page<R: Registered>(
        &self,
        after: Option<&R::Id>,
        limit: usize,
    ) -> Result<Page<R>, Error> {
        let names = R::names(self).await?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut ids: Vec<R::Id> = names
            .range((from, Bound::Unbounded))
            .take(limit + 1)
            .cloned()
            .collect();
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().filter(|_| more).map(R::Id::to_string);
        let mut rows = R::rows(self, &ids).await?;
        rows.sort_by(|one, other| one.id().cmp(other.id()));
        Ok(Page { rows, next })
    }

    /// Registers a merchant or an account.
    ///
    /// # Errors
    /// [`Error::Exists`], the rule that an edit breaks, and AWS.
    pub async fn create<R: Registered>(
        &self,
        mut row: R,
        edit: &R::Edit,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<R, Error> {
        row.edit(edit)?;
        let exists = Error::Exists(R::KIND, row.id().to_string());
        if R::find(self, row.id()).await?.is_some() {
            return Err(exists);
        }
        let entry = entry(&row, "create", actor, now).between(&json!({}), &row);
        match row.clone().save(self, &entry).await? {
            true => Ok(row),
            false => Err(exists),
        }
    }

    /// Changes a merchant or an account. What is so already leaves no entry.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Changed`], the rule that an edit breaks, and AWS.
    pub async fn change<R: Registered>(
        &self,
        id: &R::Id,
        change: &Change<R::Edit>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<R, Error> {
        let before: R = self.read(id).await?;
        let mut row = before.clone();
        let verb = match change {
            Change::Edit(edit) => {
                row.edit(edit)?;
                "edit"
            }
            Change::Disable => {
                *row.disabled() = true;
                "disable"
            }
            Change::Enable => {
                *row.disabled() = false;
                "enable"
            }
        };
        if row == before {
            return Ok(row);
        }
        let entry = entry(&row, verb, actor, now).between(&before, &row);
        match row.clone().save(self, &entry).await? {
            true => Ok(row),
            false => Err(Error::Changed(R::KIND)),
        }
    }
}

fn entry<R: Registered>(row: &R, verb: &str, actor: &Actor, now: Timestamp) -> Entry {
    let action = format!("{}.{verb}", R::KIND);
    actor.entry(&action, row.id().to_string(), now, &random_hex())
}

impl Registered for Merchant {
    const KIND: Kind = Kind::Merchant;
    type Id = MchId;
    type Edit = MerchantEdit;

    fn id(&self) -> &MchId {
        &self.mch_id
    }

    fn parse(text: &str) -> Result<MchId, Refused> {
        MchId::parse(text)
    }

    fn edit(&mut self, edit: &MerchantEdit) -> Result<(), Broken> {
        self.edit(edit)
    }

    fn disabled(&mut self) -> &mut bool {
        &mut self.disabled
    }

    async fn find(of: &Registrar, id: &MchId) -> Result<Option<Self>, Failure> {
        let row = of.registry.merchant(id).await?;
        let first = of.first.as_ref().filter(|first| first.mch_id == *id);
        Ok(row.or_else(|| first.cloned()))
    }

    async fn names(of: &Registrar) -> Result<BTreeSet<MchId>, Failure> {
        let mut names = of.registry.directory().await?.merchants;
        names.extend(of.first.as_ref().map(|first| first.mch_id.clone()));
        Ok(names)
    }

    async fn rows(of: &Registrar, ids: &[MchId]) -> Result<Vec<Self>, Failure> {
        let mut rows = of.registry.merchants(ids).await?;
        let first = of.first.as_ref();
        let first = first.filter(|first| ids.contains(&first.mch_id));
        let is_row = |first: &&Self| rows.iter().any(|row| row.mch_id == first.mch_id);
        rows.extend(first.filter(|first| !is_row(first)).cloned());
        Ok(rows)
    }

    async fn save(self, of: &Registrar, entry: &Entry) -> Result<bool, Failure> {
        of.registry.save_merchant(self, &of.audit, entry).await
    }
}

impl Registered for Account {
    const KIND: Kind = Kind::Account;
    type Id = AccountId;
    type Edit = AccountEdit;

    fn id(&self) -> &AccountId {
        &self.account
    }

    fn parse(text: &str) -> Result<AccountId, Refused> {
        AccountId::parse(text)
    }

    fn edit(&mut self, edit: &AccountEdit) -> Result<(), Broken> {
        self.edit(edit)
    }

    fn disabled(&mut self) -> &mut bool {
        &mut self.disabled
    }

    async fn find(of: &Registrar, id: &AccountId) -> Result<Option<Self>, Failure> {
        of.registry.account(id).await
    }

    async fn names(of: &Registrar) -> Result<BTreeSet<AccountId>, Failure> {
        Ok(of.registry.directory().await?.accounts)
    }

    async fn rows(of: &Registrar, ids: &[AccountId]) -> Result<Vec<Self>, Failure> {
        of.registry.accounts(ids).await
    }

    async fn save(self, of: &Registrar, entry: &Entry) -> Result<bool, Failure> {
        of.registry.save_account(self, &of.audit, entry).await
    }
}
