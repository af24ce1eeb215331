//! What each of those who operate the hub may do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::id::Refused;

/// What somebody is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May do everything.
    Owner,
    /// Looks after apps, what they are told, and their orders.
    Operator,
    /// Gives money back.
    Finance,
    /// Reads everything but secrets.
    Auditor,
    /// Looks after its own apps. Nobody with a password is one: whoever is has a
    /// [`super::Pass`] that names the apps.
    AppOwner,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Owner,
        Self::Operator,
        Self::Finance,
        Self::Auditor,
        Self::AppOwner,
    ];

    /// Its name, as it is stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Finance => "finance",
            Self::Auditor => "auditor",
            Self::AppOwner => "app_owner",
        }
    }

    /// Parses a role's name.
    ///
    /// # Errors
    /// When there is no such role.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        let mut roles = Self::ALL.into_iter();
        roles.find(|role| role.as_str() == value).ok_or(Refused(
            "must be owner, operator, finance, auditor or app_owner",
        ))
    }

    /// The one table of who may do what.
    #[must_use]
    pub fn may(self, action: Action) -> bool {
        let allowed: &[Self] = match action {
            Action::OwnSession
            | Action::ListApps
            | Action::ReadApps
            | Action::ReadDeliveries
            | Action::FindOrders
            | Action::ReadOrders => &Self::ALL,
            Action::OwnPassword | Action::ReadWaiting => {
                &[Self::Owner, Self::Operator, Self::Finance, Self::Auditor]
            }
            Action::ManageStaff => &[Self::Owner],
            Action::ReadStaff | Action::ReadTrail => &[Self::Owner, Self::Auditor],
            Action::ReadLinks => &[Self::Owner, Self::Operator, Self::Auditor],
            Action::ManageLinks
            | Action::RegisterApps
            | Action::ChangeApps
            | Action::CloseOrders => &[Self::Owner, Self::Operator],
            Action::IssueSecrets | Action::Resend => &[Self::Owner, Self::Operator, Self::AppOwner],
            Action::QueryOrders | Action::Refund => &[Self::Owner, Self::Operator, Self::Finance],
            Action::ConfirmRefunds => &[Self::Owner, Self::Finance],
        };
        allowed.contains(&self)
    }
}

/// What can be done through the operators' API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// See who one is, and log out.
    OwnSession,
    /// Change one's own password.
    OwnPassword,
    /// See who operates the hub, and the keys of machines.
    ReadStaff,
    /// Let operators in or not, make and end the keys of machines.
    ManageStaff,
    /// See the links of apps' owners.
    ReadLinks,
    /// Make and end them.
    ManageLinks,
    /// See which apps there are.
    ListApps,
    /// See an app, without its secrets.
    ReadApps,
    /// Register apps, and see the secret of each once.
    RegisterApps,
    /// Edit apps, switch them off and on, pause their deliveries, wake what was kept
    /// for them, and annotate them.
    ChangeApps,
    /// Give an app another secret, and see it once.
    IssueSecrets,
    /// See what apps were told in vain.
    ReadDeliveries,
    /// Tell it again, and send test events.
    Resend,
    /// See who changed what.
    ReadTrail,
    /// Find an order by its number at WeChat.
    FindOrders,
    /// See an order with all that belongs to it.
    ReadOrders,
    /// Have WeChat asked about an order.
    QueryOrders,
    /// Give an order up.
    CloseOrders,
    /// Give money back, up to the limit alone.
    Refund,
    /// See what waits for a second person.
    ReadWaiting,
    /// Let go what another has asked for above the limit.
    ConfirmRefunds,
}

impl Action {
    /// Whether a machine's key never allows it.
    #[must_use]
    pub fn is_for_people(self) -> bool {
        matches!(
            self,
            Self::OwnSession
                | Self::OwnPassword
                | Self::ManageStaff
                | Self::ManageLinks
                | Self::ConfirmRefunds
        )
    }

    /// Whether it speaks of no app, or its request does not say of which in its path.
    /// Whoever reaches some apps only may do no other without an app in the path;
    /// these look themselves.
    #[must_use]
    pub fn looks_at_apps_itself(self) -> bool {
        matches!(self, Self::OwnSession | Self::ListApps | Self::FindOrders)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who may do it: owner, operator, finance, auditor, app owner.
    #[test]
    fn each_role_may_do_what_the_table_says_and_nothing_else() {
        use Action::*;
        for (action, may) in [
            (OwnSession, "oofaA"),
            (OwnPassword, "oofa."),
            (ReadStaff, "o..a."),
            (ManageStaff, "o...."),
            (ReadLinks, "oo.a."),
            (ManageLinks, "oo..."),
            (ListApps, "oofaA"),
            (ReadApps, "oofaA"),
            (RegisterApps, "oo..."),
            (ChangeApps, "oo..."),
            (IssueSecrets, "oo..A"),
            (ReadDeliveries, "oofaA"),
            (Resend, "oo..A"),
            (ReadTrail, "o..a."),
            (FindOrders, "oofaA"),
            (ReadOrders, "oofaA"),
            (QueryOrders, "oof.."),
            (CloseOrders, "oo..."),
            (Refund, "oof.."),
            (ReadWaiting, "oofa."),
            (ConfirmRefunds, "o.f.."),
        ] {
            let allowed = Role::ALL.map(|role| role.may(action));
            let expected: Vec<bool> = may.chars().map(|letter| letter != '.').collect();
            assert_eq!(allowed.to_vec(), expected, "{action:?}");
        }
    }

    #[test]
    fn a_role_reads_back_from_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.to_string());
        }
        assert!(Role::parse("root").is_err());
    }
}
