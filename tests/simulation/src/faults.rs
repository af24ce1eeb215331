//! What goes wrong with a call, and the count of all that did.

use std::collections::BTreeMap;
use std::fmt;

use crate::plan::{Plan, Rates};
use crate::random::Random;

/// Between whom a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wire {
    /// To DynamoDB, about the ledger and the registry.
    DynamoDb,
    /// To SQS, which also decides when a message arrives.
    Sqs,
    /// To Secrets Manager.
    Secrets,
    /// To WeChat's payment API, at its main host.
    Wechat,
    /// The same at its spare host.
    Spare,
    /// To an app's callback addresses.
    App,
    /// From WeChat to the hub: notifications.
    Notification,
    /// The scheduler's event that starts a sweep each minute.
    Sweep,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Nothing is done; the connection breaks.
    BrokenBefore,
    /// It is done; the connection breaks before the answer.
    AnswerLost,
    /// The service answers that it cannot now.
    Refused,
    /// It is done, late but in time.
    Slow,
    /// Nothing is done and the caller's patience ends.
    HungBefore,
    /// It is done and the caller's patience ends.
    HungAfter,
    /// The calling process dies before it is done.
    DiedBefore,
    /// The calling process dies after it is done.
    DiedAfter,
    /// A message never arrives.
    Lost,
    /// A message arrives twice.
    Doubled,
    /// A message arrives much later.
    Late,
    /// A sweep does not run.
    Skipped,
    /// Many copies at once.
    Burst,
    /// An index shows what it showed before.
    Stale,
    /// WeChat answers with a code of its own, whether it has done it or not.
    Difficult,
}

/// How often each fault was injected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<(Wire, Fault), u64>);

impl Tally {
    /// Counts one more of this fault.
    pub fn note(&mut self, wire: Wire, fault: Fault) {
        *self.0.entry((wire, fault)).or_default() += 1;
    }

    /// Adds what another run has counted.
    pub fn add(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            *self.0.entry(*kind).or_default() += count;
        }
    }

    /// How often this one was.
    #[must_use]
    pub fn count(&self, wire: Wire, fault: Fault) -> u64 {
        self.0.get(&(wire, fault)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for ((wire, fault), count) in &self.0 {
            if last != Some(wire) {
                let line = if last.is_some() { "\n" } else { "" };
                write!(f, "{line}  {:<13}", format!("{wire:?}"))?;
                last = Some(wire);
            }
            write!(f, " {fault:?} {count}")?;
        }
        Ok(())
    }
}

/// The faults that a call can meet, the likeliest repeated.
const OF_CALLS: [Fault; 7] = [
    Fault::BrokenBefore,
    Fault::AnswerLost,
    Fault::AnswerLost,
    Fault::Refused,
    Fault::Slow,
    Fault::HungBefore,
    Fault::HungAfter,
];

/// A host that answers nobody.
const OF_A_MUTE_HOST: [Fault; 4] = [
    Fault::BrokenBefore,
    Fault::AnswerLost,
    Fault::HungBefore,
    Fault::HungAfter,
];
/// What has struck the main host often strikes the spare one, too: so many times in
/// a thousand.
const SPARE_RATE: u32 = 500;

/// Decides what goes wrong with a call now, if anything.
pub(crate) fn choose(plan: &Plan, wire: Wire, now: i64, random: &mut Random) -> Option<Fault> {
    if now >= plan.calm_at {
        return None;
    }
    let Rates { call, death, .. } = plan.rates;
    let is_aws = matches!(wire, Wire::DynamoDb | Wire::Sqs | Wire::Secrets);
    if is_aws && Plan::within(&plan.outages, now) {
        return Some(Fault::Refused);
    }
    if random.chance(death) {
        return random.pick(&[Fault::DiedBefore, Fault::DiedAfter]);
    }
    if wire == Wire::Wechat && Plan::within(&plan.mute, now) {
        return random.pick(&OF_A_MUTE_HOST);
    }
    let call = match wire {
        Wire::Spare if call > 0 => SPARE_RATE,
        _ => call,
    };
    if random.chance(call) {
        return random.pick(&OF_CALLS);
    }
    None
}
