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
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Operator, Self::Finance, Self::Auditor];

    /// Its name, as it is stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Finance => "finance",
            Self::Auditor => "auditor",
        }
    }

    /// Parses a role's name.
    ///
    /// # Errors
    /// When there is no such role.
    pub fn parse(value: &str) -> Result<Self, Refused> {
        let mut roles = Self::ALL.into_iter();
        roles
            .find(|role| role.as_str() == value)
            .ok_or(Refused("must be owner, operator, finance or auditor"))
    }

    /// The one table of who may do what.
    #[must_use]
    pub fn may(self, action: Action) -> bool {
        let allowed: &[Self] = match action {
            Action::OwnAccount => &Self::ALL,
            Action::ManageKeys => &[Self::Owner],
            Action::ReadApps | Action::ReadDeliveries | Action::ReadOrders => &Self::ALL,
            Action::ChangeApps | Action::IssueSecrets | Action::Resend | Action::CloseOrders => {
                &[Self::Owner, Self::Operator]
            }
            Action::QueryOrders | Action::Refund => &[Self::Owner, Self::Operator, Self::Finance],
            Action::ConfirmRefunds => &[Self::Owner, Self::Finance],
            Action::ReadTrail => &[Self::Owner, Self::Auditor],
        };
        allowed.contains(&self)
    }
}

/// What can be done through the operators' API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// See who one is, log out, change one's own password.
    OwnAccount,
    /// Make and end the keys of machines.
    ManageKeys,
    /// See apps, without their secrets.
    ReadApps,
    /// Edit apps, switch them off and on, pause their deliveries, and annotate them.
    ChangeApps,
    /// Register apps, give them secrets, and see each once.
    IssueSecrets,
    /// See what apps were told in vain.
    ReadDeliveries,
    /// Tell it again, wake what was kept for them, and send test events.
    Resend,
    /// See who changed what.
    ReadTrail,
    /// See orders with all that belongs to them.
    ReadOrders,
    /// Have WeChat asked about an order.
    QueryOrders,
    /// Give an order up.
    CloseOrders,
    /// Give money back, up to the limit alone.
    Refund,
    /// Let go what another has asked for above the limit.
    ConfirmRefunds,
}

impl Action {
    /// Whether a machine's key never allows it.
    #[must_use]
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::OwnAccount | Self::ConfirmRefunds)
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

    /// Who may do it: owner, operator, finance, auditor.
    #[test]
    fn each_role_may_do_what_the_table_says_and_nothing_else() {
        use Action::*;
        for (action, may) in [
            (OwnAccount, "oofa"),
            (ManageKeys, "o..."),
            (ReadApps, "oofa"),
            (ChangeApps, "oo.."),
            (IssueSecrets, "oo.."),
            (ReadDeliveries, "oofa"),
            (Resend, "oo.."),
            (ReadTrail, "o..a"),
            (ReadOrders, "oofa"),
            (QueryOrders, "oof."),
            (CloseOrders, "oo.."),
            (Refund, "oof."),
            (ConfirmRefunds, "o.f."),
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
