//! The rows of merchants and accounts, and the one row that lists them: there are
//! few, and nothing else may be read to find them.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use serde::{Deserialize, Serialize};

use super::Registry;
use crate::aws::Failure;
use crate::aws::audit::Audit;
use crate::aws::item::{self, number, string};
use crate::domain::audit::Entry;
use crate::domain::merchant::{Account, AccountId, MchId, Merchant};

const WRITE: &str = "write a merchant or an account";
const DIRECTORY: &str = "directory";

/// All merchants and accounts that are registered.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Directory {
    /// The merchants.
    pub merchants: BTreeSet<MchId>,
    /// The accounts.
    pub accounts: BTreeSet<AccountId>,
}

fn merchant_key(mch_id: &MchId) -> String {
    format!("merchant#{mch_id}")
}

fn account_key(account: &AccountId) -> String {
    format!("account#{account}")
}

impl Registry {
    /// The merchant with this number, if it is registered.
    pub async fn merchant(&self, mch_id: &MchId) -> Result<Option<Merchant>, Failure> {
        self.row(merchant_key(mch_id), "read a merchant").await
    }

    /// The account with this appid, if it is registered.
    pub async fn account(&self, account: &AccountId) -> Result<Option<Account>, Failure> {
        self.row(account_key(account), "read an account").await
    }

    /// These accounts, in no order; at most a hundred.
    pub async fn accounts<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a AccountId>,
    ) -> Result<Vec<Account>, Failure> {
        let keys = ids.into_iter().map(account_key).collect();
        self.rows_of(keys, "read accounts").await
    }

    /// Which there are.
    pub async fn directory(&self) -> Result<Directory, Failure> {
        let row = self.row(DIRECTORY.to_owned(), "list merchants and accounts");
        Ok(row.await?.unwrap_or_default())
    }

    /// Writes a merchant that was read at its `revision`, or is new with revision 0.
    /// False when somebody else has written it meanwhile.
    pub async fn save_merchant(
        &self,
        mut merchant: Merchant,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let read = merchant.revision;
        merchant.revision += 1;
        let put = self.put(merchant_key(&merchant.mch_id), &merchant, read)?;
        let list = self.list("merchants", merchant.mch_id.as_str())?;
        audit.commit(vec![put, list], entry).await
    }

    /// The same for an account.
    pub async fn save_account(
        &self,
        mut account: Account,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let read = account.revision;
        account.revision += 1;
        let put = self.put(account_key(&account.account), &account, read)?;
        let list = self.list("accounts", account.account.as_str())?;
        audit.commit(vec![put, list], entry).await
    }

    fn put(
        &self,
        key: String,
        row: &impl Serialize,
        read: u64,
    ) -> Result<TransactWriteItem, Failure> {
        let put = Put::builder().table_name(&self.table);
        let put = put.set_item(Some(item::write(row, WRITE)?));
        let put = put.item("pk", string(key));
        let put = match read {
            0 => put.condition_expression("attribute_not_exists(pk)"),
            _ => put
                .condition_expression("revision = :read")
                .expression_attribute_values(":read", number(read)),
        };
        let put = put.build().map_err(Failure::of(WRITE))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn list(&self, what: &str, id: &str) -> Result<TransactWriteItem, Failure> {
        let ids = aws_sdk_dynamodb::types::AttributeValue::Ss(vec![id.to_owned()]);
        let update = Update::builder()
            .table_name(&self.table)
            .key("pk", string(DIRECTORY))
            .update_expression("ADD #what :ids")
            .expression_attribute_names("#what", what)
            .expression_attribute_values(":ids", ids)
            .build()
            .map_err(Failure::of(WRITE))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}
