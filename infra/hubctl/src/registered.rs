//! What is the same for merchants and accounts: how a row of the registry is made
//! and changed, each with its entry in the trail.

use aws_config::SdkConfig;
use serde::Serialize;
use serde_json::json;
use shared::aws::Failure;
use shared::aws::registry::Registry;
use shared::domain::audit::Entry;

use crate::audit::Trail;
use crate::{Done, Stop};

/// A row that operators register.
pub(crate) trait Registered: Clone + Serialize {
    /// What it is, for people and for the trail.
    const WHAT: &str;

    fn id(&self) -> &str;

    /// False when somebody else was faster.
    async fn save(self, desk: &Desk<'_>, entry: &Entry) -> Result<bool, Failure>;
}

/// What changes are made with.
pub(crate) struct Desk<'a> {
    pub(crate) config: SdkConfig,
    pub(crate) registry: Registry,
    pub(crate) trail: &'a Trail,
}

impl<'a> Desk<'a> {
    pub(crate) const fn new(registry: Registry, config: SdkConfig, trail: &'a Trail) -> Self {
        Self {
            config,
            registry,
            trail,
        }
    }

    pub(crate) async fn create<R: Registered>(&self, row: R) -> Done {
        let taken = format!("{} {} is registered already", R::WHAT, row.id());
        let entry = self.entry(&row, "create").await.between(&json!({}), &row);
        match row.save(self, &entry).await? {
            true => Ok(()),
            false => Err(Stop::Refused(taken).into()),
        }
    }

    pub(crate) async fn change<R: Registered>(
        &self,
        before: R,
        verb: &str,
        apply: impl Fn(&mut R),
    ) -> Done {
        let mut after = before.clone();
        apply(&mut after);
        let entry = self.entry(&after, verb).await.between(&before, &after);
        match after.save(self, &entry).await? {
            true => Ok(()),
            false => Err(Stop::lost_race(R::WHAT).into()),
        }
    }

    async fn entry<R: Registered>(&self, row: &R, verb: &str) -> Entry {
        let action = format!("{}.{verb}", R::WHAT);
        self.trail
            .entry(&self.config, &action, row.id().to_owned())
            .await
    }
}

/// In a list.
pub(crate) fn state(disabled: bool) -> String {
    if disabled { "disabled" } else { "" }.to_owned()
}
