//! An operator puts an order's row back to a state from before its payment, while
//! the hub runs: what `hubctl restore --overwrite all` does with a backup that has
//! none of the rows that came later. They stay as they are.

use serde_json::{Value, json};

use crate::cast::FIRST;
use crate::engine::{LEDGER, number, string};
use crate::events::Event;
use crate::ledger::{ORDER, TELLING, attempt_rows};
use crate::plan::SECOND;
use crate::world::World;

/// How far above both rows' the new revision is, so that whoever has read one of
/// them writes nothing.
const LEAP: i64 = 1000;

impl World {
    /// The row is put back, once its app is told of the payment.
    pub(crate) fn put_back(&mut self, index: usize, tries: u32) {
        let Some(pk) = self.key_of(index) else { return };
        let key = (pk.clone(), ORDER.to_owned());
        let told = (pk.clone(), TELLING.to_owned());
        let is_told = self.engine.rows.contains_key(&told);
        let live = self.engine.rows.get(&key).cloned();
        let Some(live) = live.filter(|_| is_told) else {
            if let Some(tries) = tries.checked_sub(1) {
                let at = self.now() + 10 * SECOND;
                self.plan_for(at, Event::PutBack(index, tries));
            }
            return;
        };
        let past = self.past.get(&pk).map(Vec::as_slice).unwrap_or_default();
        // Of a payment that went through another account than the installation's
        // first the hub must have kept which.
        let through = |row: &Value| -> Vec<String> {
            let accounts = attempt_rows(row).filter_map(|attempt| string(attempt, "account"));
            accounts.map(str::to_owned).collect()
        };
        let is_first = through(&live).iter().all(|account| account == FIRST);
        let unpaid = past.iter().take_while(|row| row.get("payment").is_none());
        let unpaid = unpaid.filter(|row| is_first || !through(row).is_empty());
        let mut unpaid = unpaid.collect::<Vec<_>>().into_iter();
        let chosen = self.random.index(unpaid.len());
        let Some(mut row) = unpaid.nth(chosen).cloned() else {
            return;
        };
        let revisions = [&row, &live].map(|row| number(row, "revision"));
        let revision = revisions.into_iter().flatten().max().unwrap_or_default() + LEAP;
        let (serial, now) = (self.next_serial(), self.now());
        for (name, value) in [
            ("revision", json!({"N": revision.to_string()})),
            ("token", json!({"S": format!("hubctl-{serial}")})),
            ("restored_from", json!({"S": format!("backup-{serial}")})),
            ("restored_at", json!({"N": now.to_string()})),
        ] {
            if let Some(row) = row.as_object_mut() {
                row.insert(name.to_owned(), value);
            }
        }
        self.judge.put_back(&pk, &live, &row);
        self.wechat.put_back(&pk);
        self.note(|| format!("put back {pk}"));
        let put = json!({"TableName": LEDGER, "Item": row});
        let (status, answer, _) = self.engine.execute("PutItem", &put);
        self.judge.hold(status == 200, || answer);
    }
}
