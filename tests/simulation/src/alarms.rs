//! The alarms that the hub raises, taken from its log lines as the template's
//! filters take them.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Record};
use tracing::{Event, Id, Metadata, Subscriber};

/// An alarm: its name, the order's key, and which part of the order it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alarm {
    pub(crate) name: String,
    /// Its order's key, `app_id#order_no`.
    pub(crate) order: String,
    /// A refund's number, or WeChat's number of a payment.
    pub(crate) subject: String,
}

/// What was raised in this run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alarms(Arc<Mutex<BTreeSet<Alarm>>>);

impl Alarms {
    fn raised(&self) -> MutexGuard<'_, BTreeSet<Alarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the last seed.
    pub(crate) fn clear(&self) {
        self.raised().clear();
    }

    /// Whether this one was raised.
    pub(crate) fn has(&self, name: &str, order: &str, subject: &str) -> bool {
        self.raised().contains(&Alarm {
            name: name.to_owned(),
            order: order.to_owned(),
            subject: subject.to_owned(),
        })
    }

    /// Those of this name.
    pub(crate) fn named(&self, name: &str) -> Vec<Alarm> {
        let raised = self.raised();
        let named = raised.iter().filter(|alarm| alarm.name == name);
        named.cloned().collect()
    }
}

impl Visit for Alarm {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "alarm" => value.clone_into(&mut self.name),
            "order" => value.clone_into(&mut self.order),
            "refund_no" | "transaction_id" => value.clone_into(&mut self.subject),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl Subscriber for Alarms {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.fields().field("alarm").is_some()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::ERROR)
    }

    fn event(&self, event: &Event<'_>) {
        let mut alarm = Alarm::default();
        event.record(&mut alarm);
        self.raised().insert(alarm);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
