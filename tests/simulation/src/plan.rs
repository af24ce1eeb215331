//! What a seed's world is like before anything happens: the apps, their orders,
//! and how bad the network will be.

mod merchant;
mod order;

pub(crate) use merchant::{MerchantPlan, STALE, Signing};
pub(crate) use order::{ByHand, OrderPlan, Purse, Story, Temper, Visitor, Way, Wish};

use shared::domain::order::ApiVersion;

use crate::cast::{ACCOUNTS, Standings};
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
    /// What follows an attempt goes by the version of the merchant's new ones.
    PresentVersion,
    /// What follows an order goes to the merchant of its app's new ones.
    PresentMerchant,
}

/// A third party, as the registry knows it.
#[derive(Debug, Clone)]
pub(crate) struct AppPlan {
    pub(crate) app_id: String,
    pub(crate) secret: String,
    /// Who is paid by its orders at first, by their place.
    pub(crate) merchant: usize,
    /// When that is the other one.
    pub(crate) moves_at: Option<i64>,
    /// Its accounts; none: the installation's first, for everything.
    pub(crate) accounts: Vec<&'static str>,
    /// Whether step 0 calls the synchronous address.
    pub(crate) skip_return_call: bool,
    /// Whether it gives back itself what does not fit.
    pub(crate) refund_by_hand: bool,
}

impl AppPlan {
    /// An app of the first merchant or, where there are `merchants` of them, another.
    fn new(random: &mut Random, merchants: usize) -> Self {
        let merchant = random.index(merchants);
        let is_plain = merchant == 0 && random.chance(300);
        let moves = merchants > 1 && !is_plain && random.chance(400);
        let mut accounts: Vec<&str> = Vec::new();
        let all = moves || random.chance(300);
        for account in ACCOUNTS.iter().filter(|_| !is_plain) {
            if all || account.merchants.contains(&merchant) {
                accounts.insert(random.index(accounts.len() + 1), account.id);
            }
        }
        Self {
            app_id: random.word(16),
            secret: random.word(32),
            merchant,
            moves_at: moves.then(|| EPOCH + random.within(0, 30 * MINUTE)),
            accounts,
            skip_return_call: random.chance(200),
            refund_by_hand: random.chance(250),
        }
    }

    /// Who is paid by its new orders then, by their place.
    pub(crate) fn merchant_at(&self, now: i64) -> usize {
        match self.moves_at {
            Some(at) if at <= now => 1 - self.merchant,
            _ => self.merchant,
        }
    }

    /// Whether it ever has this merchant.
    pub(crate) fn ever_has(&self, merchant: usize) -> bool {
        self.merchant == merchant || self.moves_at.is_some()
    }
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
    /// The second one has no apps in some worlds.
    pub(crate) merchants: [MerchantPlan; 2],
    /// With which keys WeChat signs by version 3.
    pub(crate) signing: Signing,
    /// How old an order must be before version 3 closes it, in seconds.
    pub(crate) v3_close_guard: i64,
    /// Whether version 3's codes are spelt as on WeChat's older pages.
    pub(crate) v3_older_codes: bool,
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
        let merchants = [MerchantPlan::new(random), MerchantPlan::new(random)];
        let paid = if random.chance(300) { 1 } else { 2 };
        let apps: Vec<AppPlan> = (0..random.within(1, 3))
            .map(|_| AppPlan::new(random, paid))
            .collect();
        let orders: Vec<OrderPlan> = (0..random.within(1, 4))
            .map(|_| order(random, &apps, &merchants))
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
            signing: Signing::new(random),
            v3_close_guard: if random.chance(500) { 300 } else { 0 },
            v3_older_codes: random.chance(500),
            merchants,
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

    /// How the merchants stand then.
    pub(crate) fn standings_at(&self, now: i64) -> Standings {
        merchant::standings(&self.merchants, now)
    }

    /// When a merchant begins to stand otherwise, the beginning among it.
    pub(crate) fn changes(&self) -> Vec<i64> {
        merchant::changes(&self.merchants)
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
