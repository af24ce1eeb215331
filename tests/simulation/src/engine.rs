//! DynamoDB: an embedded engine that others maintain, spoken to in its own
//! JSON, and a second look at each row of the ledger after each write.

use std::collections::BTreeMap;

use dynoxide::{Database, DynoxideError};
use serde_json::{Value, json};

/// The ledger's name here.
pub const LEDGER: &str = "ledger";
/// The registry's name here.
pub const REGISTRY: &str = "registry";

/// A row's key: partition and sort key.
pub type Key = (String, String);

/// A row of the ledger that a write changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// The row's partition and sort key.
    pub key: Key,
    /// The row before the write; none when there was none.
    pub before: Option<Value>,
    /// The row after it; none when it was deleted.
    pub after: Option<Value>,
}

/// The tables of one run, in memory.
pub struct Engine {
    database: Database,
    /// The ledger as it is.
    pub rows: BTreeMap<Key, Value>,
}

impl Engine {
    /// Empty tables, as the template makes them.
    ///
    /// # Errors
    /// What the engine says.
    pub fn new() -> Result<Self, DynoxideError> {
        let engine = Self {
            database: Database::memory()?,
            rows: BTreeMap::new(),
        };
        let string = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
        engine.database.create_table(request(json!({
            "TableName": LEDGER, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [string("pk"), string("sk"), string("shard"),
                {"AttributeName": "wake", "AttributeType": "N"}],
            "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
            "GlobalSecondaryIndexes": [{
                "IndexName": "wake",
                "KeySchema": [key("shard", "HASH"), key("wake", "RANGE")],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["step", "due", "rings"]},
            }],
        }))?)?;
        engine.database.create_table(request(json!({
            "TableName": REGISTRY, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [string("pk")],
            "KeySchema": [key("pk", "HASH")],
        }))?)?;
        Ok(engine)
    }

    /// Puts an app into the registry, as the operator does.
    ///
    /// # Errors
    /// What the engine says.
    pub fn register(&self, item: &Value) -> Result<(), DynoxideError> {
        let put = json!({"TableName": REGISTRY, "Item": item});
        self.database.put_item(request(put)?).map(drop)
    }

    /// Does what a request asks: the answer's status and body, and the rows of
    /// the ledger that are different now.
    pub fn execute(&mut self, operation: &str, body: &Value) -> (u16, String, Vec<Change>) {
        match self.run(operation, body) {
            Ok(answer) => {
                let changes = touched(operation, body)
                    .into_iter()
                    .filter_map(|key| self.look(key))
                    .collect();
                (200, answer, changes)
            }
            Err(error) => (error.status_code(), error.to_json(), Vec::new()),
        }
    }

    /// Does what a request asks, and nothing else.
    ///
    /// # Errors
    /// What the engine says.
    pub fn run(&self, operation: &str, body: &Value) -> Result<String, DynoxideError> {
        let database = &self.database;
        let body = body.clone();
        match operation {
            "GetItem" => text(&database.get_item(request(body)?)?),
            "PutItem" => text(&database.put_item(request(body)?)?),
            "DeleteItem" => text(&database.delete_item(request(body)?)?),
            "UpdateItem" => text(&database.update_item(request(body)?)?),
            "Query" => text(&database.query(request(body)?)?),
            "Scan" => text(&database.scan(request(body)?)?),
            "TransactWriteItems" => text(&database.transact_write_items(request(body)?)?),
            other => Err(DynoxideError::ValidationException(format!(
                "the simulation does not know {other}"
            ))),
        }
    }

    /// Reads a row again; nothing when it is as it was.
    fn look(&mut self, key: Key) -> Option<Change> {
        let (pk, sk) = &key;
        let get = json!({"TableName": LEDGER, "Key": {"pk": {"S": pk}, "sk": {"S": sk}}});
        let answer = self.database.get_item(request(get).ok()?).ok()?;
        let after = serde_json::to_value(answer.item)
            .ok()
            .filter(|v| !v.is_null());
        let before = match &after {
            Some(row) => self.rows.insert(key.clone(), row.clone()),
            None => self.rows.remove(&key),
        };
        (before != after).then_some(Change { key, before, after })
    }

    /// The earliest moment at which a row wants to be looked at.
    #[must_use]
    pub fn earliest_wake(&self) -> Option<i64> {
        self.rows
            .values()
            .filter_map(|row| number(row, "wake"))
            .min()
    }

    /// The keys of the ledger as the engine itself counts them.
    #[must_use]
    pub fn scan(&self) -> Vec<Key> {
        let scan = json!({"TableName": LEDGER});
        let items = request(scan)
            .and_then(|scan| self.database.scan(scan))
            .ok()
            .and_then(|answer| serde_json::to_value(answer).ok());
        let rows = items.as_ref().and_then(|v| v.get("Items")?.as_array());
        let mut keys: Vec<Key> = rows
            .into_iter()
            .flatten()
            .filter_map(|row| Some((string(row, "pk")?.to_owned(), string(row, "sk")?.to_owned())))
            .collect();
        keys.sort();
        keys
    }
}

/// A string attribute of a row.
#[must_use]
pub fn string<'row>(row: &'row Value, name: &str) -> Option<&'row str> {
    row.get(name)?.get("S")?.as_str()
}

/// A number attribute of a row.
#[must_use]
pub fn number(row: &Value, name: &str) -> Option<i64> {
    row.get(name)?.get("N")?.as_str()?.parse().ok()
}

/// The ledger's rows that a write names.
fn touched(operation: &str, body: &Value) -> Vec<Key> {
    let key = |write: &Value, field: &str| -> Option<Key> {
        let in_ledger = write.get("TableName")?.as_str()? == LEDGER;
        let row = write.get(field)?;
        let key = (string(row, "pk")?.to_owned(), string(row, "sk")?.to_owned());
        in_ledger.then_some(key)
    };
    match operation {
        "PutItem" => key(body, "Item").into_iter().collect(),
        "UpdateItem" => key(body, "Key").into_iter().collect(),
        "TransactWriteItems" => {
            let writes = body.get("TransactItems").and_then(Value::as_array);
            writes
                .into_iter()
                .flatten()
                .filter_map(|write| {
                    let put = write.get("Put").and_then(|put| key(put, "Item"));
                    let update = write.get("Update").and_then(|update| key(update, "Key"));
                    put.or(update)
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

fn request<T: serde::de::DeserializeOwned>(body: Value) -> Result<T, DynoxideError> {
    serde_json::from_value(body)
        .map_err(|error| DynoxideError::ValidationException(error.to_string()))
}

fn text<T: serde::Serialize>(answer: &T) -> Result<String, DynoxideError> {
    serde_json::to_string(answer)
        .map_err(|error| DynoxideError::ValidationException(error.to_string()))
}
