//! What apps are told: which deliveries are open or were given up, and giving the
//! latter another chance, one by one or all of an app's.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use shared::ambient::Clock;
use shared::aws::ledger::{Ledger, Listed, sort_key};
use shared::aws::{Failure, sdk_config_for_people};
use shared::domain::id::{AppId, OrderKey, OrderNo};
use shared::domain::time::Timestamp;
use shared::flows::pausing;
use shared::flows::redelivery::Batch;

use crate::audit::Trail;
use crate::{Done, Stop, confirm, print};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists an app's deliveries that are open or were given up.
    List(List),
    /// Gives an exhausted delivery its last step again, with the same event_id.
    Resend(Resend),
    /// The same for all of an app's since a time.
    ResendAll(ResendAll),
    /// Tells an app that was resumed what was kept for it, now.
    Wake(Wake),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// The app is still to be called.
    Pending,
    /// Every call was made in vain.
    Exhausted,
}

#[derive(Args)]
#[command(after_help = "\
Exhausted ones are read from an index that has nothing else. For the pending ones
all that is owed to anybody is read.

  hubctl delivery list teashop000000001 --since 2026-11-01T00:00:00Z
  hubctl delivery list teashop000000001 --state pending --json")]
pub(crate) struct List {
    /// The app's identifier.
    #[arg(value_parser = AppId::parse)]
    app_id: AppId,
    /// The ledger (the stack's output `LedgerTable`).
    #[arg(long, value_name = "TABLE", env = "LEDGER_TABLE")]
    ledger_table: String,
    /// Which.
    #[arg(long, value_enum, default_value = "exhausted")]
    state: State,
    /// Only those exhausted since then.
    #[arg(long, value_parser = Timestamp::parse_rfc3339)]
    since: Option<Timestamp>,
    /// Print an array of objects.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "\
The sweeper rings it within a minute, and the app's notify_url is called.

  hubctl delivery resend teashop000000001 A000000001 payment.succeeded
  hubctl delivery resend teashop000000001 A000000001 refund.failed R1")]
pub(crate) struct Resend {
    /// The app's identifier.
    #[arg(value_parser = AppId::parse)]
    app_id: AppId,
    /// The app's number for the order.
    #[arg(value_parser = OrderNo::parse)]
    order_no: OrderNo,
    /// The event, such as payment.succeeded.
    event: String,
    /// Which refund or payment it is about, where the event has several.
    subject: Option<String>,
    /// The ledger (the stack's output `LedgerTable`).
    #[arg(long, value_name = "TABLE", env = "LEDGER_TABLE")]
    ledger_table: String,
    #[command(flatten)]
    trail: Trail,
}

#[derive(Args)]
#[command(after_help = "\
What was resent is not exhausted any more: a run that was interrupted is resumed by
running it again.

  hubctl delivery resend-all teashop000000001 --since 2026-11-01T00:00:00Z --reason \"their outage\"")]
pub(crate) struct ResendAll {
    /// The app's identifier.
    #[arg(value_parser = AppId::parse)]
    app_id: AppId,
    /// Those exhausted since then.
    #[arg(long, value_parser = Timestamp::parse_rfc3339)]
    since: Timestamp,
    /// How many in a second: the app has just come back.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    per_second: u64,
    /// The ledger (the stack's output `LedgerTable`).
    #[arg(long, value_name = "TABLE", env = "LEDGER_TABLE")]
    ledger_table: String,
    #[command(flatten)]
    trail: Trail,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
#[command(after_help = "\
Without this it is told within a day. All that is owed to anybody in that time is
looked at. A run that was interrupted is resumed by running it again.

  hubctl app resume teashop000000001
  hubctl delivery wake teashop000000001")]
pub(crate) struct Wake {
    /// The app's identifier.
    #[arg(value_parser = AppId::parse)]
    app_id: AppId,
    /// How many in a second: the app has just come back.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(i64).range(1..=100))]
    per_second: i64,
    /// The ledger (the stack's output `LedgerTable`).
    #[arg(long, value_name = "TABLE", env = "LEDGER_TABLE")]
    ledger_table: String,
    #[command(flatten)]
    trail: Trail,
}

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::List(list) => show(list).await,
        Command::Resend(resend) => resend_one(resend).await,
        Command::ResendAll(resend) => resend_all(resend).await,
        Command::Wake(asked) => wake_all(asked).await,
    }
}

async fn show(list: List) -> Done {
    let ledger = Ledger::new(&sdk_config_for_people().await, list.ledger_table);
    let since = list.since.unwrap_or_default();
    let found = match list.state {
        State::Exhausted => exhausted(&ledger, &list.app_id, since).await?,
        State::Pending => ledger.pending(&list.app_id).await?,
    };
    if list.json {
        let found: Vec<Value> = found.iter().map(object).collect();
        return print::json(&found);
    }
    let rows = found.iter().map(|listed| {
        let at = listed.exhausted_at.or(listed.due);
        let step = listed.step.map(|step| (u32::from(step) + 1).to_string());
        [
            listed.order_no().to_owned(),
            listed.name().to_owned(),
            at.map(Timestamp::rfc3339).unwrap_or_default(),
            step.unwrap_or_default(),
        ]
    });
    let at = match list.state {
        State::Exhausted => "EXHAUSTED",
        State::Pending => "DUE",
    };
    print::table(["ORDER_NO", "EVENT", at, "ATTEMPT"], rows);
    Ok(())
}

fn object(listed: &Listed) -> Value {
    json!({
        "order_no": listed.order_no(),
        "event": listed.event().0,
        "subject": listed.event().1,
        "exhausted_at": listed.exhausted_at.map(Timestamp::rfc3339),
        "due": listed.due.map(Timestamp::rfc3339),
        "attempt": listed.step.map(|step| u32::from(step) + 1),
    })
}

/// All of an app's exhausted deliveries since then.
async fn exhausted(
    ledger: &Ledger,
    app_id: &AppId,
    since: Timestamp,
) -> Result<Vec<Listed>, Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    let now = Clock::System.now();
    loop {
        let page = ledger.exhausted(app_id, since, now, after.as_deref(), 1000);
        let page = page.await?;
        all.extend(page.listed);
        after = match page.next {
            None => return Ok(all),
            next => next,
        };
    }
}

async fn resend_one(asked: Resend) -> Done {
    let config = sdk_config_for_people().await;
    let redelivery = asked.trail.redelivery(&config, asked.ledger_table);
    let actor = asked.trail.actor(&config).await;
    let key = OrderKey {
        app_id: asked.app_id,
        order_no: asked.order_no,
    };
    let sk = sort_key(&asked.event, asked.subject.as_deref());
    if !redelivery
        .one(&key, &sk, &actor, Clock::System.now())
        .await?
    {
        let text =
            format!("{key} has no exhausted {sk}: `hubctl order show` tells what it was told of");
        return Err(Stop::Refused(text).into());
    }
    eprintln!("Due again: it is called within two minutes.");
    Ok(())
}

async fn resend_all(asked: ResendAll) -> Done {
    let config = sdk_config_for_people().await;
    let redelivery = asked.trail.redelivery(&config, asked.ledger_table);
    let actor = asked.trail.actor(&config).await;
    let found = exhausted(&redelivery.ledger, &asked.app_id, asked.since).await?;
    if found.is_empty() {
        eprintln!("Nothing is exhausted since then.");
        return Ok(());
    }
    let what = format!(
        "{} deliveries to {} are sent again.",
        found.len(),
        asked.app_id
    );
    confirm(&what, asked.yes)?;
    let bar = ProgressBar::new(u64::try_from(found.len())?);
    let mut batch = Batch {
        app_id: asked.app_id,
        since: asked.since,
        after: None,
        limit: i32::try_from(asked.per_second)?,
        per_second: i64::try_from(asked.per_second)?,
    };
    let (mut resent, mut left) = (0, 0);
    loop {
        let sent = redelivery.batch(&batch, &actor, Clock::System.now()).await;
        let sent = sent.map_err(|error| format!("{error}\nRun it again: it goes on."))?;
        resent += sent.resent;
        left += sent.left;
        bar.set_position(u64::from(resent + left));
        batch.after = match sent.next {
            None => break,
            next => next,
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bar.finish_and_clear();
    eprintln!("{resent} are due again, {left} were not exhausted any more.");
    Ok(())
}

async fn wake_all(asked: Wake) -> Done {
    let config = sdk_config_for_people().await;
    let ledger = Ledger::new(&config, asked.ledger_table);
    let entry = asked
        .trail
        .entry(&config, "delivery.wake", asked.app_id.to_string());
    asked.trail.table(&config).announce(&entry.await).await?;
    let (mut woken, mut after) = (0, None);
    loop {
        let now = Clock::System.now();
        let batch = pausing::wake(
            &ledger,
            &asked.app_id,
            after.as_deref(),
            asked.per_second,
            now,
        );
        let batch = batch.await?;
        woken += batch.woken;
        let pause = i64::from(batch.woken) / asked.per_second;
        after = match batch.next {
            None => break,
            next => next,
        };
        tokio::time::sleep(Duration::from_secs(u64::try_from(pause)?)).await;
    }
    eprintln!("{woken} are due now.");
    Ok(())
}
