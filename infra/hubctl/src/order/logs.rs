//! What the functions logged about an order: the lines whose field `order` is its
//! key, or that of the request they belong to, from each function's log group.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::retry::RetryConfig;
use aws_sdk_cloudwatchlogs::config::timeout::TimeoutConfig;
use aws_sdk_cloudwatchlogs::error::ProvideErrorMetadata;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use shared::domain::id::OrderKey;
use shared::domain::time::Timestamp;
use shared::error::causes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Event;

/// AWS allows few such searches at the same time.
const WIDTH: usize = 4;

/// What the rows tell as well, and better.
const TOLD_BY_ROWS: [&str; 4] = [
    "order created",
    "app called",
    "refund promised",
    "refund ended",
];

type Result<T> = std::result::Result<T, String>;

/// The events of all functions since then, each by its function.
pub(super) async fn events(
    config: &SdkConfig,
    stack: &str,
    key: &OrderKey,
    since: Timestamp,
) -> Result<Vec<Event>> {
    let config = aws_sdk_cloudwatchlogs::config::Builder::from(config)
        .retry_config(RetryConfig::standard().with_max_attempts(6))
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(Duration::from_secs(30))
                .build(),
        );
    let client = Client::from_conf(config.build());
    let prefix = format!("/aws/lambda/{stack}/");
    let groups = groups(&client, &prefix).await?;
    if groups.is_empty() {
        return Err(format!(
            "there is no log group {prefix}*, is the stack's name right?"
        ));
    }
    let groups = stream::iter(&groups);
    let lines: Vec<Vec<Event>> = groups
        .map(|group| async {
            let function = group.trim_start_matches(&prefix);
            let lines = lines(&client, group, key, since).await?;
            let events = lines.iter().filter_map(|line| read(function, line, key));
            Ok::<_, String>(events.collect())
        })
        .buffer_unordered(WIDTH)
        .try_collect()
        .await?;
    Ok(lines.into_iter().flatten().collect())
}

async fn groups(client: &Client, prefix: &str) -> Result<Vec<String>> {
    let found = client.describe_log_groups().log_group_name_prefix(prefix);
    let mut found = found.into_paginator().items().send();
    let mut groups = Vec::new();
    while let Some(group) = found.next().await {
        let group = group.map_err(|error| plain("logs:DescribeLogGroups", &error))?;
        groups.extend(group.log_group_name);
    }
    Ok(groups)
}

async fn lines(
    client: &Client,
    group: &str,
    key: &OrderKey,
    since: Timestamp,
) -> Result<Vec<String>> {
    let found = client
        .filter_log_events()
        .log_group_name(group)
        .start_time(since.millis())
        // Quoted, because of the `#`.
        .filter_pattern(format!("\"{key}\""));
    let mut pages = found.into_paginator().send();
    let mut lines = Vec::new();
    // Pages may be empty, and the next one is not.
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| plain("logs:FilterLogEvents", &error))?;
        let events = page.events.unwrap_or_default();
        lines.extend(events.into_iter().filter_map(|event| event.message));
    }
    Ok(lines)
}

/// A line as an event. The key may stand in it by chance: only the field counts.
fn read(function: &str, line: &str, key: &OrderKey) -> Option<Event> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields")?.as_object()?;
    let span = || line.get("span")?.get("order");
    if fields.get("order").or_else(span)?.as_str()? != key.to_string() {
        return None;
    }
    let message = fields.get("message")?.as_str()?;
    if TOLD_BY_ROWS.contains(&message) {
        return None;
    }
    let at = OffsetDateTime::parse(line.get("timestamp")?.as_str()?, &Rfc3339).ok()?;
    let millis = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()?;
    let mut what = message.to_owned();
    match line.get("level").and_then(Value::as_str) {
        None | Some("INFO") => {}
        Some(level) => what = format!("{level} {what}"),
    }
    let rest = fields.iter();
    let rest = rest.filter(|(name, _)| !matches!(name.as_str(), "message" | "order"));
    for (index, (name, value)) in rest.enumerate() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let before = if index == 0 { ": " } else { ", " };
        what.extend([before, name, " ", &value]);
    }
    Some(Event::new(Timestamp::from_millis(millis), function, &what))
}

/// Who may not read the logs is told which right it takes.
fn plain<E: ProvideErrorMetadata + std::error::Error + 'static>(right: &str, error: &E) -> String {
    match error.code() {
        Some("AccessDeniedException" | "AccessDenied") => {
            format!("these credentials lack {right} on the functions' log groups")
        }
        _ => format!("{right}: {}", causes(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> OrderKey {
        OrderKey::parse("demo000000000001#A000000001").unwrap()
    }

    fn line(fields: &str) -> String {
        format!(
            r#"{{"timestamp":"2026-09-21T14:13:20.123456Z","level":"WARN","fields":{{{fields}}}}}"#
        )
    }

    #[test]
    fn a_line_is_an_event_with_its_fields() {
        let line = line(
            r#""message":"asked WeChat","order":"demo000000000001#A000000001","answer":"NOTPAY","attempt":1"#,
        );
        let event = read("reconcile", &line, &key()).unwrap();
        assert_eq!(event.at, Timestamp::from_millis(1_790_000_000_123));
        assert_eq!(event.source, "reconcile");
        assert_eq!(event.what, "WARN asked WeChat: answer NOTPAY, attempt 1");
    }

    #[test]
    fn a_line_of_a_request_about_the_order_is_an_event_too() {
        let of_request = |order: &str| {
            format!(
                r#"{{"timestamp":"2026-09-21T14:13:20.123456Z","level":"INFO",
                "fields":{{"message":"request refused","code":"order_paid"}},
                "span":{{"app_id":"demo000000000001","order":"{order}","name":"request"}}}}"#
            )
        };
        let event = read("orders", &of_request("demo000000000001#A000000001"), &key());
        assert_eq!(event.unwrap().what, "request refused: code order_paid");
        let other = of_request("demo000000000001#A000000002");
        assert_eq!(read("orders", &other, &key()), None);
    }

    #[test]
    fn lines_of_others_and_what_the_rows_tell_are_left_out() {
        for fields in [
            r#""message":"x","order":"demo000000000001#A000000002""#,
            r#""message":"x","reason":"demo000000000001#A000000001""#,
            r#""message":"app called","order":"demo000000000001#A000000001""#,
        ] {
            assert_eq!(read("deliver", &line(fields), &key()), None);
        }
        assert_eq!(read("deliver", "START RequestId: 1", &key()), None);
    }
}
