//! Who changed what: the entries that every change leaves, and their list.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use clap::{Args, Subcommand};
use shared::ambient::{Clock, random_hex};
use shared::aws::audit::{Audit, Period};
use shared::aws::sdk_config_for_people;
use shared::domain::audit::{Actor, Entry};
use shared::domain::id::AppId;
use shared::domain::time::Timestamp;

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
    let since = list.since.unwrap_or(now.plus_seconds(-31 * 86_400));
    let audit = Audit::new(&sdk_config_for_people().await, list.audit_table);
    let mut period = Period {
        since,
        // Clocks differ: what another computer has just written is shown, too.
        before: list
            .before
            .unwrap_or_else(|| Entry::id_at(now.plus_seconds(3600))),
    };
    let mut found: Vec<Entry> = Vec::new();
    let mut month = month_of(&period.before)?;
    let first = month_of(&Entry::id_at(since))?;
    while month >= first && found.len() < list.limit {
        let entries = audit.entries(&month.written(), &period, PAGE).await?;
        let is_last = entries.len() < PAGE;
        if let Some(last) = entries.last() {
            period.before.clone_from(&last.id);
        }
        let wanted = |entry: &Entry| match &list.app {
            Some(app_id) => entry.app_id() == app_id.as_str(),
            None => true,
        };
        found.extend(entries.into_iter().filter(wanted));
        if is_last {
            month = month.before();
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

/// A month, as the trail's partitions are named. It sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Month {
    year: u16,
    month: u8,
}

impl Month {
    fn written(self) -> String {
        format!("{:04}-{:02}", self.year, self.month)
    }

    fn before(self) -> Self {
        match self.month {
            1 => Self {
                year: self.year.saturating_sub(1),
                month: 12,
            },
            month => Self {
                year: self.year,
                month: month - 1,
            },
        }
    }
}

/// The month of an entry with this name.
fn month_of(id: &str) -> Result<Month, String> {
    let millis = id.get(..15).and_then(|digits| digits.parse().ok());
    let at = Timestamp::from_millis(millis.ok_or("--before must be the id of an entry")?);
    let at = at.rfc3339();
    let part = |range| {
        at.get(range)
            .and_then(|text: &str| text.parse::<u16>().ok())
    };
    let month = part(5..7).and_then(|month| u8::try_from(month).ok());
    match (part(0..4), month) {
        (Some(year), Some(month)) => Ok(Month { year, month }),
        _ => Err("--before must be the id of an entry".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_walked_back_over_the_new_year() {
        let id = Entry::id_at(Timestamp::parse_rfc3339("2027-02-28T23:59:59Z").unwrap());
        let february = month_of(&id).unwrap();
        let written = |month: Month| month.written();
        assert_eq!(written(february), "2027-02");
        assert_eq!(written(february.before().before()), "2026-12");
        assert!(february.before() > february.before().before());
        for bad in ["", "1", "x01790000000123"] {
            assert!(month_of(bad).is_err(), "{bad}");
        }
    }
}
