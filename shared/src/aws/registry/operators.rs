//! Operators, sessions, keys and links, what waits for a second person, and the
//! pauses between log-ins, as rows of the registry. Only the function `operator` has a
//! role that names them. Operators, keys and links are listed by the index `staff`.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem, Update};
use serde::de::DeserializeOwned;

use super::{KEYS_READ, Registry, built};
use crate::aws::Failure;
use crate::aws::audit::Audit;
use crate::aws::item::{self, Item, millis, number, refused, string};
use crate::domain::audit::Entry;
use crate::domain::operator::confirmation::Confirmation;
use crate::domain::operator::throttle::{Counted, Throttle};
use crate::domain::operator::{Operator, OperatorName, Pass, PassKind, Session};
use crate::domain::time::Timestamp;

/// A log-in that has passed every check but being the first with its code.
#[derive(Debug)]
pub struct SignedIn<'a> {
    /// Who, as the row was read.
    pub operator: &'a Operator,
    /// The step of the code.
    pub totp_step: u64,
    /// What begins.
    pub session: &'a Session,
    /// Its row's name.
    pub hash: &'a str,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// By their names.
    pub rows: Vec<T>,
    /// After which the next page begins, if there may be one.
    pub next: Option<String>,
}

const WRITE: &str = "write an operator";
/// The index's partition of operators; those of passes are named as their kinds.
const OPERATOR: &str = "operator";

fn operator_key(name: &OperatorName) -> String {
    format!("operator#{name}")
}

fn session_key(hash: &str) -> String {
    format!("session#{hash}")
}

fn pass_key(kind: PassKind, id: &str) -> String {
    format!("{}#{id}", kind.as_str())
}

fn confirmation_key(id: &str) -> String {
    format!("confirmation#{id}")
}

fn key(pk: String) -> Item {
    Item::from([("pk".to_owned(), string(pk))])
}

impl Registry {
    /// The operator of this name, as it is at this moment.
    pub async fn operator(&self, name: &OperatorName) -> Result<Option<Operator>, Failure> {
        self.row(operator_key(name), "read an operator").await
    }

    /// Adds an operator. False when the name is taken.
    pub async fn add_operator(
        &self,
        operator: &Operator,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let put = self.put_row(operator_key(&operator.name), operator, WRITE)?;
        let put = put.item("staff", string(OPERATOR));
        let put = put.condition_expression("attribute_not_exists(pk)");
        audit.commit(vec![built(put)?], entry).await
    }

    /// Writes an operator that was read as `before`, under the next revision, which
    /// ends all sessions. False when it has been changed meanwhile, or has logged in.
    pub async fn change_operator(
        &self,
        before: &Operator,
        mut operator: Operator,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        operator.revision = before.revision + 1;
        let put = self.put_row(operator_key(&operator.name), &operator, WRITE)?;
        let put = put
            .item("staff", string(OPERATOR))
            .condition_expression("revision = :read AND totp_step = :step")
            .expression_attribute_values(":read", number(before.revision))
            .expression_attribute_values(":step", number(before.totp_step));
        audit.commit(vec![built(put)?], entry).await
    }

    /// Removes an operator, and so ends all sessions. False when there is none.
    pub async fn remove_operator(
        &self,
        name: &OperatorName,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let delete = self.deleting(operator_key(name))?;
        audit.commit(vec![delete], entry).await
    }

    /// Operators by name, from the one after this on, at most as many.
    pub async fn operators_after(
        &self,
        after: Option<&str>,
        limit: i32,
    ) -> Result<Page<Operator>, Failure> {
        let mut page: Page<Operator> = self.listed(OPERATOR, after, limit).await?;
        page.rows.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(page)
    }

    /// Keys or links by their public halves, from the one after this on, at most as
    /// many.
    pub async fn passes_after(
        &self,
        kind: PassKind,
        after: Option<&str>,
        limit: i32,
    ) -> Result<Page<Pass>, Failure> {
        let mut page: Page<Pass> = self.listed(kind.as_str(), after, limit).await?;
        page.rows.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(page)
    }

    /// A page of the index `staff`, which has the keys of these rows and nothing else.
    async fn listed<T: DeserializeOwned>(
        &self,
        kind: &str,
        after: Option<&str>,
        limit: i32,
    ) -> Result<Page<T>, Failure> {
        const OPERATION: &str = "list operators, keys or links";
        let start = after.map(|after| {
            Item::from([
                ("pk".to_owned(), string(format!("{kind}#{after}"))),
                ("staff".to_owned(), string(kind)),
            ])
        });
        let index = self.client.query().table_name(&self.table);
        let index = index
            .index_name("staff")
            .key_condition_expression("staff = :kind")
            .expression_attribute_values(":kind", string(kind))
            .set_exclusive_start_key(start)
            .limit(limit.min(KEYS_READ));
        let index = index.send().await.map_err(Failure::of(OPERATION))?;
        let next = index.last_evaluated_key.as_ref();
        let next = next.and_then(|key| item::text(key, "pk")?.split_once('#'));
        let next = next.map(|(_, name)| name.to_owned());
        let rows = self.rows(index.items.unwrap_or_default(), OPERATION);
        let rows = rows.await?;
        Ok(Page { rows, next })
    }

    /// Begins a session with a code that nobody has used: of many at once with one
    /// code, one gets in. False for the others, and when the operator has changed.
    pub async fn sign_in(
        &self,
        signed_in: &SignedIn<'_>,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let operator = signed_in.operator;
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(operator_key(&operator.name))))
            // Rows of before are not in the index: a log-in lists them.
            .update_expression("SET totp_step = :step, signed_in_at = :now, staff = :staff")
            .expression_attribute_values(":staff", string(OPERATOR))
            .condition_expression("revision = :read AND totp_step < :step")
            .expression_attribute_values(":now", millis(signed_in.session.seen_at))
            .expression_attribute_values(":step", number(signed_in.totp_step))
            .expression_attribute_values(":read", number(operator.revision))
            .build()
            .map_err(Failure::of(WRITE))?;
        let update = TransactWriteItem::builder().update(update).build();
        let put = self.session_put(signed_in.hash, signed_in.session)?;
        audit.commit(vec![update, put], entry).await
    }

    /// Begins a session of somebody with a link.
    pub async fn open_session(
        &self,
        hash: &str,
        session: &Session,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<(), Failure> {
        let put = self.session_put(hash, session)?;
        audit.commit(vec![put], entry).await.map(drop)
    }

    fn session_put(&self, hash: &str, session: &Session) -> Result<TransactWriteItem, Failure> {
        let put = self.put_row(session_key(hash), session, "begin a session")?;
        built(put.item("expires_at", number(session.ends_at.seconds())))
    }

    /// The session that is named by this hash, whether it is still good or not.
    pub async fn session(&self, hash: &str) -> Result<Option<Session>, Failure> {
        self.row(session_key(hash), "read a session").await
    }

    /// Writes down that a session is used. One that has ended stays ended.
    pub async fn see_session(&self, hash: &str, now: Timestamp) -> Result<(), Failure> {
        let update = self.client.update_item().table_name(&self.table);
        let update = update
            .set_key(Some(key(session_key(hash))))
            .update_expression("SET seen_at = :now")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":now", millis(now));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) => refused(error, "see a session").map(drop),
        }
    }

    /// Ends a session, if it has not ended.
    pub async fn end_session(
        &self,
        hash: &str,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<(), Failure> {
        let delete = self.deleting(session_key(hash))?;
        audit.commit(vec![delete], entry).await.map(drop)
    }

    /// The key or link with this public half.
    pub async fn pass(&self, kind: PassKind, id: &str) -> Result<Option<Pass>, Failure> {
        self.row(pass_key(kind, id), "read a key or a link").await
    }

    /// Adds a key or a link. False when its public half is taken, which is random.
    pub async fn add_pass(
        &self,
        kind: PassKind,
        pass: &Pass,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let put = self.put_row(pass_key(kind, &pass.id), pass, "write a key or a link")?;
        let put = put
            .item("staff", string(kind.as_str()))
            .item("expires_at", number(pass.ends_at.seconds()))
            .condition_expression("attribute_not_exists(pk)");
        audit.commit(vec![built(put)?], entry).await
    }

    /// Ends a key or a link before its time. False when there is none that has not
    /// ended.
    pub async fn revoke_pass(
        &self,
        kind: PassKind,
        id: &str,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(pass_key(kind, id))))
            .update_expression("SET revoked = :yes")
            .condition_expression("revoked = :no")
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .expression_attribute_values(":no", AttributeValue::Bool(false))
            .build()
            .map_err(Failure::of("revoke a key or a link"))?;
        let update = TransactWriteItem::builder().update(update).build();
        audit.commit(vec![update], entry).await
    }

    /// What waits for a second person, by its name, perhaps too long.
    pub async fn confirmation(&self, id: &str) -> Result<Option<Confirmation>, Failure> {
        self.row(confirmation_key(id), "read what waits").await
    }

    /// Lets something wait. False when something of this name waits already.
    pub async fn add_confirmation(
        &self,
        waiting: &Confirmation,
        now: Timestamp,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let put = self.put_row(confirmation_key(&waiting.id), waiting, "let a refund wait")?;
        let put = put
            .item("expires_at", number(waiting.ends_at.seconds()))
            // DynamoDB removes what has ended late.
            .condition_expression("attribute_not_exists(pk) OR ends_at <= :now")
            .expression_attribute_values(":now", millis(now));
        audit.commit(vec![built(put)?], entry).await
    }

    /// Takes back what waits. False when nothing does.
    pub async fn reject_confirmation(
        &self,
        id: &str,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let delete = self.deleting(confirmation_key(id))?;
        audit.commit(vec![delete], entry).await
    }

    /// Forgets what was confirmed.
    pub async fn forget_confirmation(&self, id: &str) -> Result<(), Failure> {
        let delete = self.client.delete_item().table_name(&self.table);
        let delete = delete.set_key(Some(key(confirmation_key(id))));
        let forgotten = delete.send().await;
        forgotten.map_err(Failure::of("forget what was confirmed"))?;
        Ok(())
    }

    fn deleting(&self, pk: String) -> Result<TransactWriteItem, Failure> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(key(pk)))
            .condition_expression("attribute_exists(pk)")
            .build()
            .map_err(Failure::of("delete a row"))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// What is remembered of somebody's tries to get in.
    pub async fn throttle(&self, counted: &Counted) -> Result<Throttle, Failure> {
        let row = self.row(counted.row.clone(), "read a throttle").await?;
        Ok(row.unwrap_or_default())
    }

    /// Counts a try. False when another was counted since `read`.
    pub async fn count_try(
        &self,
        counted: &Counted,
        read: &Throttle,
        next: &Throttle,
    ) -> Result<bool, Failure> {
        const OPERATION: &str = "count a try to get in";
        let put = self.client.put_item().table_name(&self.table);
        let put = put
            .set_item(Some(item::write(next, OPERATION)?))
            .item("pk", string(&counted.row))
            .item("expires_at", number(next.forget_at.seconds()))
            .condition_expression("attribute_not_exists(pk) OR (tries = :read AND forget_at = :at)")
            .expression_attribute_values(":read", number(read.tries))
            .expression_attribute_values(":at", millis(read.forget_at));
        match put.send().await {
            Ok(_) => Ok(true),
            // The SDK repeats a call whose answer was lost; then a try counts twice.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(Failure::of(OPERATION)(error)),
        }
    }

    /// Forgets somebody's tries, because the last one was right.
    pub async fn forget_tries(&self, counted: &Counted) -> Result<(), Failure> {
        let delete = self.client.delete_item().table_name(&self.table);
        let delete = delete.set_key(Some(key(counted.row.clone())));
        let forgotten = delete.send().await;
        forgotten.map_err(Failure::of("forget tries to get in"))?;
        Ok(())
    }
}
