//! Every minute: rings every row whose time has come. This is what makes a
//! lost doorbell harmless. A row is put off before it is rung, so that a
//! backlog is not doubled; dying in between costs that delay.

use futures_util::stream::{self, StreamExt};
use shared::ambient::Clock;
use shared::aws::Failure;
use shared::aws::ledger::{Ledger, Owed, SHARDS};
use shared::aws::queue::Queue;
use shared::domain::delivery::{delay_seconds, ring_backoff_seconds};
use shared::domain::time::Timestamp;

/// Rows read from a shard at a time.
const PAGE: i32 = 200;
/// Rows rung at the same time.
const WIDTH: usize = 16;
/// Stop here; the next minute goes on. Below the function's time-out.
const BUDGET_SECONDS: i64 = 40;

/// What the function works with.
#[derive(Debug)]
pub struct Sweep {
    /// Where the time comes from; tests move it by hand.
    pub clock: Clock,
    /// The index of what is owed.
    pub ledger: Ledger,
    /// Where first tries of deliveries are rung.
    pub deliver_first: Queue,
    /// Where later tries are rung.
    pub deliver_retry: Queue,
    /// Where questions to WeChat are rung.
    pub reconcile: Queue,
    /// How long a doorbell is given.
    pub grace_seconds: i64,
}

/// What one sweep did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Rows that were put off and rung.
    pub rung: u32,
    /// Rows that could not be rung; they are tried again later.
    pub failed: u32,
    /// How late the latest row was, in seconds.
    pub oldest_overdue_seconds: i64,
}

/// Sweeps all shards once.
///
/// # Errors
/// When a shard cannot be read; the next minute tries again.
pub async fn sweep(state: &Sweep) -> Result<Swept, Failure> {
    let started = state.clock.now();
    let mut swept = Swept::default();
    let mut unread = None;
    for shard in 0..SHARDS {
        // One unreadable shard does not keep the others from being swept.
        if let Err(failure) = sweep_shard(state, shard, started, &mut swept).await {
            tracing::error!(shard, %failure, "a shard could not be swept");
            unread = Some(failure);
        }
    }
    tracing::info!(
        metric = "overdue",
        oldest_overdue_seconds = swept.oldest_overdue_seconds,
        rung = swept.rung,
        failed = swept.failed,
        "swept"
    );
    unread.map_or(Ok(swept), Err)
}

async fn sweep_shard(
    state: &Sweep,
    shard: u8,
    started: Timestamp,
    swept: &mut Swept,
) -> Result<(), Failure> {
    loop {
        let now = state.clock.now();
        if now > started.plus_seconds(BUDGET_SECONDS) {
            tracing::warn!(shard, "out of time, the next sweep goes on");
            return Ok(());
        }
        let rows = state.ledger.owed(shard, now, PAGE).await?;
        let full_page = usize::try_from(PAGE).is_ok_and(|page| rows.len() >= page);
        let late = rows
            .iter()
            .map(|row| overdue_seconds(row, now))
            .max()
            .unwrap_or_default();
        swept.oldest_overdue_seconds = swept.oldest_overdue_seconds.max(late);
        let results: Vec<Result<bool, Failure>> = stream::iter(rows)
            .map(|row| async move { ring(state, &row, now).await })
            .buffer_unordered(WIDTH)
            .collect()
            .await;
        let mut stuck = !results.is_empty();
        for result in results {
            match result {
                Ok(rung) => {
                    swept.rung += u32::from(rung);
                    stuck = false;
                }
                Err(failure) => {
                    tracing::warn!(%failure, "a row could not be rung");
                    swept.failed += 1;
                }
            }
        }
        if !full_page || stuck {
            return Ok(());
        }
    }
}

/// Puts the row off, then rings it. False when it has moved on.
async fn ring(state: &Sweep, row: &Owed, now: Timestamp) -> Result<bool, Failure> {
    let due = row.due.unwrap_or(now);
    let backoff = ring_backoff_seconds(row.rings, state.grace_seconds);
    let wake = due.max(now).plus_seconds(backoff);
    if !state.ledger.put_off(row, wake).await? {
        return Ok(false);
    }
    let queue = match (row.is_delivery(), row.step) {
        (false, _) => &state.reconcile,
        (true, 0) => &state.deliver_first,
        (true, _) => &state.deliver_retry,
    };
    let delay = delay_seconds(due, now).unwrap_or_default();
    queue.ring(&row.doorbell(), delay).await?;
    Ok(true)
}

fn overdue_seconds(row: &Owed, now: Timestamp) -> i64 {
    let due = row.due.unwrap_or(row.wake);
    now.seconds().saturating_sub(due.seconds()).max(0)
}
