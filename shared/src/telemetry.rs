//! Logs: one JSON object per line, with the request's id. The alarms and
//! metrics in the template are filters over the fields `alarm` and `metric`.
//! Secrets, bodies and openids are never logged: nobody may pass them in.

use tracing_subscriber::filter::LevelFilter;

/// Starts logging at the level in `RUST_LOG`, `info` unless set.
pub fn init() {
    let level = crate::config::log_level()
        .and_then(|text| text.parse::<LevelFilter>().ok())
        .unwrap_or(LevelFilter::INFO);
    tracing_subscriber::fmt()
        .json()
        .with_max_level(level)
        .with_target(false)
        .with_current_span(true)
        .with_span_list(false)
        .init();
}
