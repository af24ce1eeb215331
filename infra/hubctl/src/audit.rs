//! Who changed what: the entries that every change leaves, and their list.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use clap::{Args, Subcommand};
use shared::ambient::{Clock, random_hex};
use shared::aws::audit::{Audit, Period};
use shared::aws::ledger::Ledger;
use shared::aws::sdk_config_for_people;
use shared::domain::audit::{Actor, Entry};
use shared::domain::id::AppId;
use shared::domain::time::Timestamp;
use shared::flows::redelivery::Redelivery;

use crate::{Done, print};

/// What each command that changes something is told.
#[derive(Debug, Args)]
pub(crate) struct Trail {
    /// The audit trail (the stack's output `AuditTable`).
    #[arg(long, value_name = "TABLE", env = "AUDIT_TABLE")]
    audit_table: String,
    /// Why; kept in the audit trail.
    #[arg(long, default_value = "")]
    reason: String,
    /// Who is at this terminal, where AWS does not tell.
    #[arg(long, env = "USER", default_value = "unknown", hide = true)]
    user: String,
}

impl Trail {
    /// Where the entries go.
    pub(crate) fn table(&self, config: &SdkConfig) -> Audit {
        Audit::new(config, self.audit_table.clone())
    }

    /// What sends again, and leaves its entries here.
    pub(crate) fn redelivery(&self, config: &SdkConfig, ledger_table: String) -> Redelivery {
        Redelivery {
            ledger: Ledger::new(config, ledger_table),
            audit: self.table(config),
        }
    }

    /// The entry of a change that is made now, without what changed.
    pub(crate) async fn entry(&self, config: &SdkConfig, action: &str, subject: String) -> Entry {
        let actor = self.actor(config).await;
        actor.entry(action, subject, Clock::System.now(), &random_hex())
    }

    /// Whose entries the trail gets.
    pub(crate) async fn actor(&self, config: &SdkConfig) -> Actor {
        Actor {
            who: self.who(config).await,
            through: concat!("hubctl ", env!("CARGO_PKG_VERSION")).to_owned(),
            from: String::new(),
            reason: self.reason.clone(),
        }
    }

    /// Whose credentials these are; the terminal's user where AWS does not say.
    async fn who(&self, config: &SdkConfig) -> String {
        let config = aws_sdk_sts::config::Builder::from(config).timeout_config(
            TimeoutConfig::builder()
                .operation_timeout(Duration::from_secs(10))
                .build(),
        );
        let client = aws_sdk_sts::Client::from_conf(config.build());
        let caller = client.get_caller_identity().send().await;
        match caller.ok().and_then(|caller| caller.arn) {
            Some(arn) => arn,
            None => format!("user:{}", self.user),
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists changes, the newest first.
    List(List),
}

#[derive(Args)]
#[command(after_help = "\
  hubctl audit list --since 2026-11-01T00:00:00Z --app teashop000000001
  hubctl audit list --json --limit 1000 > page1.json
  hubctl audit list --json --limit 1000 --before ID_OF_THE_LAST_ENTRY > page2.json")]
pub(crate) struct List {
    /// The audit trail (the stack's output `AuditTable`).
    #[arg(long, value_name = "TABLE", env = "AUDIT_TABLE")]
    audit_table: String,
    /// From this time on; 31 days ago unless given.
    #[arg(long, value_parser = Timestamp::parse_rfc3339)]
    since: Option<Timestamp>,
    /// Only what concerns this app.
    #[arg(long, value_name = "APP_ID", value_parser = AppId::parse)]
    app: Option<AppId>,
    /// Only what was before the entry with this id: the next page.
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Print an array of entries with all that they say.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command) -> Done {
    match command {
        Command::List(list) => show(list).await,
    }
}

/// Entries read at a time.
const PAGE: usize = 500;

async fn show(list: List) -> Done {
    let now = Clock::System.now();
    let audit = Audit::new(&sdk_config_for_people().await, list.audit_table);
    let mut period = Period {
        since: list.since.unwrap_or(now.plus_seconds(-31 * 86_400)),
        before: list.before.unwrap_or_else(|| Entry::id_ahead_of(now)),
    };
    let mut found: Vec<Entry> = Vec::new();
    while found.len() < list.limit {
        let page = audit.page(&period, list.app.as_ref(), PAGE).await?;
        found.extend(page.entries);
        match page.next {
            Some(next) => period.before = next,
            None => break,
        }
    }
    found.truncate(list.limit);
    if list.json {
        return print::json(&found);
    }
    let rows = found.iter().map(|entry| {
        let changes = match (entry.before.is_empty(), entry.after.is_empty()) {
            (true, true) => String::new(),
            _ => format!(
                "{} -> {}",
                serde_json::to_string(&entry.before).unwrap_or_default(),
                serde_json::to_string(&entry.after).unwrap_or_default()
            ),
        };
        [
            entry.at.rfc3339(),
            entry.who.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            entry.reason.clone(),
            changes,
        ]
    });
    print::table(
        ["AT", "WHO", "ACTION", "SUBJECT", "REASON", "CHANGES"],
        rows,
    );
    Ok(())
}
