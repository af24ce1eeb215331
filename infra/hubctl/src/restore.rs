//! Puts rows back from a restored table, while the hub runs on the live one.
//! Which row is put, and what makes it safe, is `rule`'s; every write names the
//! live row it looked at, and whoever else writes first wins.

mod journal;
mod rule;
mod tables;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use shared::ambient::{Clock, random_hex};
use shared::aws::ledger::ORDER;
use shared::aws::sdk_config_for_people;
use shared::domain::id::{AppId, OrderKey, OrderNo};
use tokio::time::Instant;

use crate::Done;
use crate::audit::Trail;
use journal::{Errand, Journal};
use rule::{Mark, Outcome, Overwrite, Row, Verdict, decide, is_kept, text};
use tables::{Key, Part, Result, Tables, Wrote};

/// Scans at once; a run that goes on needs the same number.
const SEGMENTS: i32 = 8;
/// Writes at once, in each of them.
const WIDTH: usize = 4;
/// Looks at one row before it is left to its writers.
const TRIES: u32 = 5;
/// How often a run without a terminal says where it is.
const REPORT: Duration = Duration::from_secs(5);

const EXAMPLE: &str = "\
Without --overwrite only rows come back that the live table does not have, which
is safe at any time. Look first, then copy:

  hubctl restore --from wechat-pay-hub-ledger-restored --to wechat-pay-hub-ledger --dry-run
  hubctl restore --from wechat-pay-hub-ledger-restored --to wechat-pay-hub-ledger

One order goes back to its state in the backup, whatever has happened since:

  hubctl restore --from ... --to ... --overwrite all --app-id APP_ID --order-no ORDER_NO

The last line counts the backup's rows: copied (were missing), replaced, same,
restored_before (by an earlier run, and the hub has gone on), older and newer
(differ, and were left), contended (kept changing, and were left). It exits with
1 when something failed or was left as contended: run it again. An interrupted
run goes on where it was; beginning again does no harm.";

#[derive(Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Restore {
    /// The table that AWS restored. It is only read.
    #[arg(long, value_name = "TABLE")]
    from: String,
    /// The live table.
    #[arg(long, value_name = "TABLE", env = "LEDGER_TABLE")]
    to: String,
    /// Also replace rows that are there and differ.
    #[arg(long, value_name = "WHICH")]
    overwrite: Option<Overwrite>,
    /// Only this app's rows.
    #[arg(long, value_parser = AppId::parse)]
    app_id: Option<AppId>,
    /// Only this order's rows.
    #[arg(long, value_parser = OrderNo::parse, requires = "app_id")]
    order_no: Option<OrderNo>,
    /// Say what would happen, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where it is kept how far the copying came.
    #[arg(long, value_name = "FILE", default_value = "hubctl-restore.json")]
    state: PathBuf,
    #[command(flatten)]
    trail: Trail,
}

#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
pub(crate) async fn run(restore: Restore) -> Done {
    if restore.from == restore.to {
        return Err("--from and --to name the same table".into());
    }
    let config = sdk_config_for_people().await;
    let tables = Tables::new(&config, restore.from, restore.to);
    let backup = tables.backup().await?;
    let order_no = restore.order_no.clone();
    let parts = match (&restore.app_id, restore.order_no) {
        (Some(app_id), Some(order_no)) => {
            let app_id = app_id.clone();
            vec![Part::Partition(OrderKey { app_id, order_no }.to_string())]
        }
        _ => (0..SEGMENTS)
            .map(|number| Part::Segment {
                number,
                of: SEGMENTS,
            })
            .collect(),
    };
    // One order is soon read again, and a dry run leaves nothing behind.
    let is_long = parts.len() > 1 && !restore.dry_run;
    let errand = Errand {
        from: backup.identity.clone(),
        to: tables.to.clone(),
        overwrite: restore.overwrite,
        app_id: restore.app_id.as_ref().map(AppId::to_string),
        parts: parts.len(),
    };
    let journal = Journal::open(is_long.then(|| restore.state.clone()), errand)?;
    if journal.is_resumed() {
        let file = restore.state.display();
        eprintln!("Going on after {} rows, as {file} says.", journal.read());
    }
    if !restore.dry_run {
        let trail = &restore.trail;
        let what = json!({
            "from": backup.identity,
            "overwrite": restore.overwrite,
            "app_id": restore.app_id,
            "order_no": order_no,
        });
        let entry = trail.entry(&config, "restore", tables.to.clone());
        let entry = entry.await.between(&json!({}), &what);
        trail.table(&config).announce(&entry).await?;
    }
    // Of one app's there may be any number.
    let rows = restore.app_id.as_ref().map_or(backup.rows, |_| 0);
    let copying = Copying {
        tables,
        overwrite: restore.overwrite,
        app_id: restore.app_id,
        dry_run: restore.dry_run,
        mark: Mark {
            from: backup.identity,
            at: Clock::System.now(),
            token: random_hex(),
        },
        progress: Progress::new(rows, &journal),
        journal: RefCell::new(journal),
    };
    let parts = parts.iter().enumerate();
    try_join_all(parts.map(|(index, part)| copying.copy(index, part)))
        .await
        .map_err(|error| format!("{error}\nRun it again: it goes on where it was."))?;
    copying.progress.bar.finish_and_clear();

    let journal = copying.journal.into_inner();
    let count = |outcome: Outcome| journal.counts().get(&outcome).copied().unwrap_or_default();
    let counts = Outcome::ALL.map(|outcome| format!("{}={}", outcome.as_str(), count(outcome)));
    println!("read={} {}", journal.read(), counts.join(" "));
    if copying.dry_run {
        eprintln!("Nothing was written.");
    }
    journal.close()?;
    match count(Outcome::Contended) {
        0 => Ok(()),
        rows => Err(format!("{rows} rows kept changing and were left: run it again").into()),
    }
}

/// One run.
struct Copying {
    tables: Tables,
    overwrite: Option<Overwrite>,
    app_id: Option<AppId>,
    dry_run: bool,
    mark: Mark,
    progress: Progress,
    journal: RefCell<Journal>,
}

impl Copying {
    /// Copies one part of the backup, page by page.
    async fn copy(&self, index: usize, part: &Part) -> Result<()> {
        loop {
            let Some(after) = self.journal.borrow().place(index) else {
                return Ok(());
            };
            let page = self.tables.page(part, after).await?;
            let mut rows = page.rows;
            rows.retain(|row| is_kept(row) && self.is_wanted(row));
            let outcomes = self.put_back(rows).await?;
            let mut journal = self.journal.borrow_mut();
            journal.advance(index, &outcomes, page.last.as_ref())?;
            self.progress.tell(&journal);
        }
    }

    fn is_wanted(&self, row: &Row) -> bool {
        let pk = text(row, "pk");
        self.app_id.as_ref().is_none_or(|app_id| {
            pk.strip_prefix(app_id.as_str())
                .is_some_and(|rest| rest.starts_with('#'))
                || pk.strip_prefix("app#") == Some(app_id.as_str())
        })
    }

    /// What belongs to an order comes before the order: the hub should not meet
    /// it without what it owes. Where a page ends in between, the rest follows
    /// at once, and WeChat's own sums are above ours.
    async fn put_back(&self, rows: Vec<Row>) -> Result<Vec<Outcome>> {
        let live = self.tables.live(&rows).await?;
        let (orders, others): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| text(row, "sk") == ORDER);
        let mut outcomes = Vec::new();
        for rows in [others, orders] {
            let rows = stream::iter(&rows);
            let done: Vec<Outcome> = rows
                .map(|row| self.put_row_back(row, live.get(&Key::of(row)).cloned()))
                .buffer_unordered(WIDTH)
                .try_collect()
                .await?;
            outcomes.extend(done);
        }
        Ok(outcomes)
    }

    /// Looks and writes until nobody writes in between.
    async fn put_row_back(&self, backup: &Row, mut live: Option<Row>) -> Result<Outcome> {
        for _ in 0..TRIES {
            let (row, outcome) = match decide(backup, live.as_ref(), self.overwrite, &self.mark) {
                Verdict::Leave(outcome) => return Ok(outcome),
                Verdict::Put(row, outcome) => (row, outcome),
            };
            let wrote = match self.dry_run {
                true => Wrote::Done,
                false => self.tables.put(&row, live.as_ref()).await?,
            };
            match wrote {
                Wrote::Done => {
                    self.progress.note(backup, outcome, self.dry_run);
                    return Ok(outcome);
                }
                Wrote::Refused(now) => live = now,
                Wrote::Busy => {
                    let rows = std::slice::from_ref(backup);
                    live = self.tables.live(rows).await?.into_values().next();
                }
            }
        }
        Ok(Outcome::Contended)
    }
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    last: RefCell<Instant>,
}

impl Progress {
    fn new(rows: u64, journal: &Journal) -> Self {
        // AWS counts the rows of a new table hours later.
        let (bar, template) = match rows {
            0 => (
                ProgressBar::new_spinner(),
                "{spinner} {human_pos} rows, {per_sec}, {msg}",
            ),
            rows => (
                ProgressBar::new(rows),
                "{wide_bar} {human_pos} of about {human_len} rows, {eta} left, {msg}",
            ),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(journal.read());
        bar.reset_eta();
        Self {
            bar,
            last: RefCell::new(Instant::now()),
        }
    }

    fn tell(&self, journal: &Journal) {
        let count = |outcome| journal.counts().get(&outcome).copied().unwrap_or_default();
        let put = count(Outcome::Copied) + count(Outcome::Replaced);
        if !self.bar.is_hidden() {
            self.bar.set_position(journal.read());
            self.bar.set_message(format!("{put} put back"));
        } else if self.last.borrow().elapsed() >= REPORT {
            self.last.replace(Instant::now());
            eprintln!("{} rows read, {put} put back", journal.read());
        }
    }

    /// Names a row that is no longer what it was.
    #[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
    fn note(&self, row: &Row, outcome: Outcome, dry_run: bool) {
        if outcome == Outcome::Replaced {
            let what = if dry_run { "would replace" } else { "replaced" };
            self.bar
                .suspend(|| println!("{what} {} {}", text(row, "pk"), text(row, "sk")));
        }
    }
}
