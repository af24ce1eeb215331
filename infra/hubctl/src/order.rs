//! An order's whole story in the order of time, from the ledger's rows and the
//! functions' log lines. Rows outlive logs, and tell the essential alone.

mod logs;
mod rows;

use clap::{Args, Subcommand};
use serde::{Serialize, Serializer};
use shared::ambient::Clock;
use shared::aws::ledger::Ledger;
use shared::aws::sdk_config_for_people;
use shared::domain::id::{AppId, OrderKey, OrderNo};
use shared::domain::time::Timestamp;

use crate::print::plain;
use crate::{Done, Stop};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Prints what happened to an order, from its creation to now.
    Show(Show),
}

#[derive(Args)]
#[command(after_help = "\
One line for each event: the time (UTC), who tells it (a function by its log, or
the ledger by its rows), and what happened. The last lines say how it stands.

  hubctl order show demo000000000001 A000000001 --stack wechat-pay-hub
  hubctl order show demo000000000001 A000000001 --no-logs --json")]
pub(crate) struct Show {
    /// The app's identifier.
    #[arg(value_parser = AppId::parse)]
    app_id: AppId,
    /// The app's number for the order.
    #[arg(value_parser = OrderNo::parse)]
    order_no: OrderNo,
    /// The ledger (the stack's output `LedgerTable`).
    #[arg(long, value_name = "TABLE", env = "LEDGER_TABLE")]
    ledger_table: String,
    /// The stack, by which its functions' logs are found.
    #[arg(long, env = "STACK_NAME")]
    stack: Option<String>,
    /// Show what the rows tell, and leave the logs alone.
    #[arg(long)]
    no_logs: bool,
    /// Print an array of {"at", "source", "what"} instead of lines.
    #[arg(long)]
    json: bool,
}

/// Something that happened, in the words of whoever tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Event {
    #[serde(serialize_with = "utc")]
    at: Timestamp,
    source: String,
    what: String,
}

/// What tells the ledger's events.
const LEDGER: &str = "ledger";

impl Event {
    /// Part of it is the app's own text, or a stranger's: it must not move the
    /// cursor of a terminal, nor turn or hide what stands beside it.
    fn new(at: Timestamp, source: &str, what: &str) -> Self {
        Self {
            at,
            source: source.to_owned(),
            what: plain(what),
        }
    }

    fn of_ledger(at: Timestamp, what: impl AsRef<str>) -> Self {
        Self::new(at, LEDGER, what.as_ref())
    }
}

fn utc<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*at))
}

/// Always with three digits, so that lines stand below each other.
fn written(at: Timestamp) -> String {
    let whole = Timestamp::default().plus_seconds(at.seconds()).rfc3339();
    let millis = at.millis().rem_euclid(1000);
    format!("{}.{millis:03}Z", whole.trim_end_matches('Z'))
}

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::Show(show) => tell(show).await,
    }
}

#[expect(clippy::print_stdout, reason = "a command line answers on stdout")]
async fn tell(show: Show) -> Done {
    let Show {
        app_id, order_no, ..
    } = show;
    let key = OrderKey { app_id, order_no };
    let config = sdk_config_for_people().await;
    let ledger = Ledger::new(&config, show.ledger_table.clone());
    let partition = ledger.partition(&key).await?.ok_or_else(|| {
        Stop::NotFound(format!(
            "{} has no order {} of app {}: is it the ledger of this stack, and are both written \
             as the app writes them?",
            show.ledger_table, key.order_no, key.app_id
        ))
    })?;
    let mut events = rows::events(&partition, Clock::System.now());
    match (show.no_logs, show.stack) {
        (true, _) => eprintln!("Without the logs, as asked."),
        (false, None) => eprintln!(
            "Without the logs: name the stack with --stack or STACK_NAME to have what the \
             functions logged, such as each question to WeChat."
        ),
        (false, Some(stack)) => {
            // A little earlier: clocks differ.
            let since = partition.order.created_at.plus_seconds(-60);
            match logs::events(&config, &stack, &key, since).await {
                Ok(logged) => events.extend(logged),
                Err(error) => eprintln!("Without the logs: {error}"),
            }
        }
    }
    events.sort_by_key(|event| event.at);
    if show.json {
        println!("{}", serde_json::to_string_pretty(&events)?);
        return Ok(());
    }
    let width = events.iter().map(|event| event.source.len()).max();
    let width = width.unwrap_or_default();
    for Event { at, source, what } in events {
        println!("{}  {source:width$}  {what}", written(at));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_of_one_width_and_cannot_move_a_cursor() {
        let at = Timestamp::from_millis(1_790_000_000_000);
        let event = Event::new(at, "deliver", "answer \u{1b}[2J\r\nsuccess");
        assert_eq!(event.what, "answer  [2J  success");
        // Each edge of what turns or hides text, and what stands beside it.
        let unseen =
            "\u{200b}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{61c}\u{feff}";
        let seen = "\u{200a}\u{2010}\u{2027}\u{202f}茶\u{e9}";
        let event = Event::new(at, "ledger", &format!("{unseen}{seen}"));
        assert_eq!(event.what, format!("{}{seen}", " ".repeat(10)));
        assert_eq!(written(at), "2026-09-21T14:13:20.000Z");
        let later = Timestamp::from_millis(at.millis() + 50);
        assert_eq!(written(later), "2026-09-21T14:13:20.050Z");
    }
}
