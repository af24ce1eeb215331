//! Operators, their sessions, the keys of machines, what waits for a second person,
//! and the pauses between log-ins, as rows of the registry. Only the function `operator` has a role that
//! names them.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem, Update};

use super::{Registry, built};
use crate::aws::Failure;
use crate::aws::audit::Audit;
use crate::aws::item::{self, Item, millis, number, refused, string};
use crate::domain::audit::Entry;
use crate::domain::operator::confirmation::Confirmation;
use crate::domain::operator::throttle::{Counted, Throttle};
use crate::domain::operator::{ApiKey, Operator, OperatorName, Session};
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

const WRITE: &str = "write an operator";

fn operator_key(name: &OperatorName) -> String {
    format!("operator#{name}")
}

fn session_key(hash: &str) -> String {
    format!("session#{hash}")
}

fn api_key_key(id: &str) -> String {
    format!("apikey#{id}")
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
            .condition_expression("revision = :read AND totp_step = :step")
            .expression_attribute_values(":read", number(before.revision))
            .expression_attribute_values(":step", number(before.totp_step));
        audit.commit(vec![built(put)?], entry).await
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
            .update_expression("SET totp_step = :step")
            .condition_expression("revision = :read AND totp_step < :step")
            .expression_attribute_values(":step", number(signed_in.totp_step))
            .expression_attribute_values(":read", number(operator.revision))
            .build()
            .map_err(Failure::of(WRITE))?;
        let update = TransactWriteItem::builder().update(update).build();
        let session = signed_in.session;
        let put = self.put_row(session_key(signed_in.hash), session, WRITE)?;
        let put = put.item("expires_at", number(session.ends_at.seconds()));
        audit.commit(vec![update, built(put)?], entry).await
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

    /// The key of a machine with this public half.
    pub async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, Failure> {
        self.row(api_key_key(id), "read an API key").await
    }

    /// Adds a key. False when its public half is taken, which is random.
    pub async fn add_api_key(
        &self,
        api_key: &ApiKey,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let put = self.put_row(api_key_key(&api_key.id), api_key, "write an API key")?;
        let put = put
            .item("expires_at", number(api_key.ends_at.seconds()))
            .condition_expression("attribute_not_exists(pk)");
        audit.commit(vec![built(put)?], entry).await
    }

    /// Ends a key before its time. False when there is none that has not ended.
    pub async fn revoke_api_key(
        &self,
        id: &str,
        audit: &Audit,
        entry: &Entry,
    ) -> Result<bool, Failure> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(api_key_key(id))))
            .update_expression("SET revoked = :yes")
            .condition_expression("revoked = :no")
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .expression_attribute_values(":no", AttributeValue::Bool(false))
            .build()
            .map_err(Failure::of("revoke an API key"))?;
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
