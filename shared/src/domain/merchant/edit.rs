//! What people change of a merchant or an account, but for whether it is disabled.

use serde::Deserialize;

use super::{Account, MchId, Merchant, SignType};
use crate::domain::app::Broken;
use crate::domain::id::Refused;
use crate::domain::order::ApiVersion;

/// What is named changes of a merchant, and the rest stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MerchantEdit {
    /// Its name, for people.
    pub name: Option<String>,
    /// By which version new attempts are opened.
    pub api_version: Option<ApiVersion>,
    /// Whether payers' codes are charged by version 3, too.
    pub codepay: Option<bool>,
    /// How version 2 signs.
    pub sign_type: Option<SignType>,
    /// Where its payments are asked for; empty for where all are.
    pub pay_base: Option<String>,
}

/// The same for an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountEdit {
    /// Its name, for people.
    pub name: Option<String>,
    /// More merchants that it is bound to in WeChat's platform.
    pub add_merchants: Vec<MchId>,
    /// Merchants that it is not bound to any more.
    pub remove_merchants: Vec<MchId>,
}

const NAME_MAX_BYTES: usize = 200;
const MERCHANTS_MAX: usize = 50;

/// Reads the address of a payment gateway: `https://` and a host; or nothing.
///
/// # Errors
/// When it is another address.
pub fn gateway(text: &str) -> Result<String, Refused> {
    let base = text.trim_end_matches('/');
    let host = base.strip_prefix("https://").unwrap_or_default();
    match base.is_empty() || !(host.is_empty() || host.contains(['/', '?', '#', '@', ' '])) {
        true => Ok(base.to_owned()),
        false => Err(Refused("must be https:// and a host")),
    }
}

impl Merchant {
    /// Changes the merchant.
    ///
    /// # Errors
    /// The rule that the edit breaks; the merchant may then be half changed.
    pub fn edit(&mut self, edit: &MerchantEdit) -> Result<(), Broken> {
        rename(&mut self.name, edit.name.as_deref())?;
        self.api_version = edit.api_version.unwrap_or(self.api_version);
        self.codepay = edit.codepay.unwrap_or(self.codepay);
        self.sign_type = edit.sign_type.unwrap_or(self.sign_type);
        if let Some(base) = &edit.pay_base {
            let base = gateway(base).map_err(|Refused(rule)| Broken {
                field: "pay_base",
                rule,
            })?;
            self.pay_base = (!base.is_empty()).then_some(base);
        }
        self.check().map_err(|Refused(rule)| Broken {
            field: "codepay",
            rule,
        })
    }
}

impl Account {
    /// Changes the account.
    ///
    /// # Errors
    /// The rule that the edit breaks; the account may then be half changed.
    pub fn edit(&mut self, edit: &AccountEdit) -> Result<(), Broken> {
        rename(&mut self.name, edit.name.as_deref())?;
        self.merchants
            .retain(|known| !edit.remove_merchants.contains(known));
        for merchant in &edit.add_merchants {
            if !self.merchants.contains(merchant) {
                self.merchants.push(merchant.clone());
            }
        }
        match self.merchants.len() {
            ..=MERCHANTS_MAX => Ok(()),
            _ => Err(Broken {
                field: "add_merchants",
                rule: "must not make more than 50",
            }),
        }
    }
}

fn rename(name: &mut String, new: Option<&str>) -> Result<(), Broken> {
    match new {
        Some(new) if new.len() > NAME_MAX_BYTES => Err(Broken {
            field: "name",
            rule: "must be at most 200 bytes",
        }),
        Some(new) => {
            new.clone_into(name);
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::merchant::{AccountId, AccountKind};

    #[test]
    fn what_is_named_changes_and_the_rest_stays() {
        let before = Merchant::new(MchId::parse("1").unwrap(), ApiVersion::V2);
        let edited = |edit: serde_json::Value| {
            let (mut merchant, edit) = (before.clone(), serde_json::from_value(edit).unwrap());
            merchant.edit(&edit).map(|()| merchant)
        };
        assert_eq!(edited(json!({})), Ok(before.clone()));
        let other = edited(json!({"name": "Tea", "api_version": "v3", "pay_base": "https://hk/"}));
        let other = other.unwrap();
        assert_eq!((&*other.name, other.api_version), ("Tea", ApiVersion::V3));
        assert_eq!(other.pay_base.as_deref(), Some("https://hk"));
        assert_eq!(other.sign_type, before.sign_type);
        for (bad, field) in [
            (json!({"name": "x".repeat(201)}), "name"),
            (json!({"codepay": true}), "codepay"),
            (json!({"pay_base": "http://hk"}), "pay_base"),
            (json!({"pay_base": "https://a@hk"}), "pay_base"),
            (json!({"pay_base": "https://"}), "pay_base"),
        ] {
            assert_eq!(edited(bad.clone()).unwrap_err().field, field, "{bad}");
        }
        for bad in [json!({"mch_id": "2"}), json!({"disabled": true})] {
            assert!(serde_json::from_value::<MerchantEdit>(bad).is_err());
        }
    }

    #[test]
    fn an_account_is_bound_to_each_merchant_once() {
        let mut account = Account::new(AccountId::parse("wx").unwrap(), AccountKind::Website);
        let mut edit = |edit: serde_json::Value| {
            let done = account.edit(&serde_json::from_value(edit).unwrap());
            done.map(|()| account.merchants.iter().map(MchId::to_string).collect())
        };
        let bound = |ids: &[&str]| Ok(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            edit(json!({"add_merchants": ["1", "2", "1"]})),
            bound(&["1", "2"])
        );
        assert_eq!(
            edit(json!({"remove_merchants": ["1"], "add_merchants": ["2"]})),
            bound(&["2"])
        );
        let many: Vec<String> = (10..60).map(|n| n.to_string()).collect();
        assert_eq!(
            edit(json!({"add_merchants": many})).unwrap_err().field,
            "add_merchants"
        );
    }
}
