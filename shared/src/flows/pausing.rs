//! Waking what an app was not told while its deliveries were paused. Each wakes by
//! itself within a day of its parking; this is for those who do not wait.

use crate::aws::Failure;
use crate::aws::ledger::{Ledger, Parked};
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// What became of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Due now.
    pub woken: u32,
    /// Where the next batch begins, if there may be one.
    pub next: Option<String>,
}

/// How many rows of the index a batch looks at: they are everybody's.
const LOOKED_AT: i32 = 500;

/// Wakes an app's parked deliveries, so many in a second.
pub async fn wake(
    ledger: &Ledger,
    app_id: &AppId,
    after: Option<&str>,
    per_second: i64,
    now: Timestamp,
) -> Result<Woken, Failure> {
    let Parked { rows, next } = ledger.parked(app_id, after, LOOKED_AT, now).await?;
    let mut woken = Woken {
        next,
        ..Woken::default()
    };
    for row in rows {
        let millis = i64::from(woken.woken) * 1000 / per_second.max(1);
        let due = Timestamp::from_millis(now.millis() + millis);
        woken.woken += u32::from(ledger.unpark(&row, due, now).await?);
    }
    Ok(woken)
}
