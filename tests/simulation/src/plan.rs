//! What a seed's world is like before anything happens: the apps, their orders,
//! and how bad the network will be.

mod order;

pub(crate) use order::{ByHand, OrderPlan, Purse, Story, Temper, Visitor, Wish};

use crate::random::Random;
use order::order;

/// Where every run's clock starts: 2026-09-21 in milliseconds.
pub(crate) const EPOCH: i64 = 1_790_000_000_000;
pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// A bug that is put between the code and the world on purpose, to know that
/// the run would notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// The commit reaches the ledger only after the doorbell has rung.
    RingBeforeCommit,
    /// A claim does not look at the lease.
    NoLease,
    /// The sweeper finds nothing in some shards.
    ShardSkipped,
    /// A commit does not look at the order's revision.
    BlindCommit,
    /// It is not written down that a payment is being taken back.
    ForgottenReversal,
    /// What WeChat does not close counts as closed.
    BlindClosing,
    /// A refused refund counts as refused for hours at once: its amount is free
    /// long before WeChat can be sure that it does not have it.
    HastyRefusal,
    /// An order is closed, and nobody is to be told.
    SilentClosing,
    /// The spare host is asked to charge a code that the main host may have charged.
    RepeatedCharge,
    /// Nobody looks whether the app of an order that was put back was told of a
    /// payment.
    ForgottenTelling,
}

/// A third party, as the registry knows it.
#[derive(Debug, Clone)]
pub(crate) struct AppPlan {
    pub(crate) app_id: String,
    pub(crate) secret: String,
    /// Whether step 0 calls the synchronous address.
    pub(crate) skip_return_call: bool,
    /// Whether it gives back itself what does not fit.
    pub(crate) refund_by_hand: bool,
}

/// Faults in a thousand calls, while there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rates {
    /// Calls that fail, hang or lose their answer.
    pub(crate) call: u32,
    /// Calls at which the process dies.
    pub(crate) death: u32,
    /// Messages that are lost, doubled or late.
    pub(crate) message: u32,
    /// Notifications that are lost.
    pub(crate) notification: u32,
}

/// Everything about a seed's world that is decided beforehand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) apps: Vec<AppPlan>,
    pub(crate) orders: Vec<OrderPlan>,
    /// How bad the network is.
    pub(crate) rates: Rates,
    /// When it becomes good for ever.
    pub(crate) calm_at: i64,
    /// No sweep runs in these times.
    pub(crate) unswept: Vec<(i64, i64)>,
    /// Nothing of AWS answers in these times.
    pub(crate) outages: Vec<(i64, i64)>,
    /// The merchant's balance is empty in these times.
    pub(crate) empty: Vec<(i64, i64)>,
    /// WeChat's main host cannot be reached in these times.
    pub(crate) cut_off: Vec<(i64, i64)>,
    /// It takes calls in these times, and answers none.
    pub(crate) mute: Vec<(i64, i64)>,
    /// Whether notifications are confirmed by a query.
    pub(crate) confirm: bool,
    /// The bug that was planted.
    pub(crate) plant: Option<Plant>,
}

impl Plan {
    /// The world of a seed.
    pub(crate) fn new(random: &mut Random, plant: Option<Plant>) -> Self {
        let rates = rates(random);
        let faulty = rates != Rates::default();
        let calm_at = match random.within(0, 9) {
            _ if !faulty => EPOCH,
            0 => EPOCH + random.within(2, 12) * HOUR,
            _ => EPOCH + random.within(5, 150) * MINUTE,
        };
        let apps: Vec<AppPlan> = (0..random.within(1, 3))
            .map(|_| AppPlan {
                app_id: random.word(16),
                secret: random.word(32),
                skip_return_call: random.chance(200),
                refund_by_hand: random.chance(250),
            })
            .collect();
        let orders: Vec<OrderPlan> = (0..random.within(1, 4))
            .map(|_| order(random, apps.len()))
            .collect();
        let windows = |random: &mut Random, most: i64, longest: i64| -> Vec<(i64, i64)> {
            let count = if faulty { random.within(0, most) } else { 0 };
            (0..count)
                .map(|_| {
                    let from = EPOCH + random.within(0, (calm_at - EPOCH).max(1));
                    let until = from + random.within(MINUTE, longest);
                    (from, until.min(calm_at))
                })
                .collect()
        };
        let unswept = windows(random, 2, HOUR);
        let outages = windows(random, 1, 4 * MINUTE);
        let empty = (0..random.within(-1, 1).max(0))
            .map(|_| {
                let from = EPOCH + random.within(0, 2 * HOUR);
                // A person fills it up, after days perhaps.
                (from, from + random.within(MINUTE, 50 * HOUR))
            })
            .collect();
        let confirm = random.chance(800);
        let cut_off = failing_hosts(&orders, random);
        let mut mute = failing_hosts(&orders, random);
        mute.retain(|_| faulty);
        Self {
            apps,
            orders,
            rates,
            calm_at,
            unswept,
            outages,
            empty,
            cut_off,
            mute,
            confirm,
            plant,
        }
    }

    /// Whether this moment lies in one of the windows.
    pub(crate) fn within(windows: &[(i64, i64)], now: i64) -> bool {
        windows
            .iter()
            .any(|(from, until)| (*from..*until).contains(&now))
    }
}

/// When WeChat's main host fails: around what the hub asks WeChat for, in most
/// worlds never, and seldom for hours.
fn failing_hosts(orders: &[OrderPlan], random: &mut Random) -> Vec<(i64, i64)> {
    let count = random.within(-1, 2).max(0);
    let window = |random: &mut Random| {
        let order = orders.get(random.index(orders.len()))?;
        let wish = order.wishes.get(random.index(order.wishes.len()));
        let moment = match random.within(0, 3) {
            0 => order.created_at,
            1 => order.paid_at,
            2 => wish.map_or(order.created_at, |wish| wish.at),
            _ => order.created_at + order.expires_in * SECOND,
        };
        let from = moment + random.within(-30 * SECOND, MINUTE);
        let lasts = match random.within(0, 4) {
            0 => random.within(MINUTE, 5 * HOUR),
            _ => random.within(5 * SECOND, 10 * MINUTE),
        };
        Some((from, from + lasts))
    };
    (0..count).filter_map(|_| window(random)).collect()
}

fn rates(random: &mut Random) -> Rates {
    let (call, death, message, notification) = match random.within(0, 9) {
        0 => (0, 0, 0, 0),
        1..=4 => (30, 5, 30, 50),
        5..=7 => (100, 15, 100, 150),
        8 => (250, 30, 250, 300),
        _ => (20, 100, 400, 100),
    };
    Rates {
        call,
        death,
        message,
        notification,
    }
}
