//! What happens to a merchant: by which version new attempts go, and whether an
//! operator moves it to the other one, with orders open in both.

use shared::domain::order::ApiVersion;
use wechat_simulator::Signs;

use super::{EPOCH, HOUR, MINUTE};
use crate::cast::{Standing, Standings};
use crate::random::Random;

/// A process uses what it knows of a merchant for so long: it looks again after
/// five minutes, and behind the request.
pub(crate) const STALE: i64 = 10 * MINUTE;
/// The longest that a process works on something.
const WORK: i64 = 5 * MINUTE;

/// A merchant over time.
#[derive(Debug, Clone)]
pub(crate) struct MerchantPlan {
    /// How it stands since when, the first since the beginning.
    pub(crate) turns: Vec<(i64, Standing)>,
}

/// With which keys WeChat signs by version 3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signing {
    pub(crate) signs: Signs,
    /// How many platform certificates there are.
    pub(crate) certificates: usize,
}

const fn both(prefers_v3: bool) -> Standing {
    Standing {
        prefers_v3,
        has_v2: true,
        has_v3: true,
    }
}

const fn alone(is_v3: bool) -> Standing {
    Standing {
        prefers_v3: is_v3,
        has_v2: !is_v3,
        has_v3: is_v3,
    }
}

impl MerchantPlan {
    pub(super) fn new(random: &mut Random) -> Self {
        let switch = EPOCH + random.within(0, 40 * MINUTE);
        let end = switch + random.within(MINUTE, 3 * HOUR);
        let story = random.within(0, 9);
        let (before, after) = match story {
            0..=1 => (alone(false), None),
            2..=3 => (both(true), None),
            4 => (alone(true), None),
            5..=7 => (both(false), Some(both(true))),
            _ => (both(true), Some(both(false))),
        };
        let mut turns = vec![(EPOCH, before)];
        if let Some(after) = after {
            let is_forth = after.prefers_v3;
            if is_forth && random.chance(400) {
                // The new keys are imported before the switch.
                turns = vec![
                    (EPOCH, alone(false)),
                    (EPOCH + random.within(0, switch - EPOCH), before),
                ];
            }
            turns.push((switch, after));
            match random.within(0, 9) {
                // The old keys are taken away.
                0..=3 => turns.push((end, alone(is_forth))),
                4 => turns.push((end, before)),
                _ => {}
            }
        }
        Self { turns }
    }

    /// How it stands then.
    pub(crate) fn at(&self, now: i64) -> Standing {
        let begun = self.turns.iter().rev().find(|(from, _)| *from <= now);
        let first = self.turns.first();
        begun
            .or(first)
            .map_or(alone(false), |(_, standing)| *standing)
    }

    /// How it may be seen by whoever is at work within this time.
    fn seen(&self, from: i64, until: i64) -> impl Iterator<Item = Standing> {
        let from = from - STALE - WORK;
        let later = self.turns.iter();
        let later = later.filter(move |(at, _)| (from..=until).contains(at));
        std::iter::once(self.at(from)).chain(later.map(|(_, standing)| *standing))
    }

    /// Whether nobody can have missed this version's keys within this time.
    pub(crate) fn has_throughout(&self, version: ApiVersion, from: i64, until: i64) -> bool {
        self.seen(from, until).all(|seen| seen.has(version))
    }

    /// Whether somebody may open attempts by this version within this time.
    pub(crate) fn may_open_by(&self, version: ApiVersion, from: i64, until: i64) -> bool {
        let mut seen = self.seen(from, until);
        seen.any(|seen| seen.version() == version)
    }

    /// Whether no keys are taken away.
    pub(crate) fn keeps_keys(&self) -> bool {
        let mut pairs = self.turns.iter().zip(self.turns.iter().skip(1));
        pairs.all(|((_, was), (_, is))| was.has_v2 <= is.has_v2 && was.has_v3 <= is.has_v3)
    }

    /// Whether this version's keys are there all the time.
    pub(crate) fn always_has(&self, version: ApiVersion) -> bool {
        self.turns.iter().all(|(_, standing)| standing.has(version))
    }
}

/// When anything changes, the beginning among it.
pub(super) fn changes(merchants: &[MerchantPlan; 2]) -> Vec<i64> {
    let turns = merchants.iter().flat_map(|merchant| &merchant.turns);
    let mut at: Vec<i64> = turns.map(|(at, _)| *at).collect();
    at.sort_unstable();
    at.dedup();
    at
}

/// How both stand then.
pub(super) fn standings(merchants: &[MerchantPlan; 2], now: i64) -> Standings {
    merchants.each_ref().map(|merchant| merchant.at(now))
}

impl Signing {
    pub(super) fn new(random: &mut Random) -> Self {
        let signs = match random.within(0, 3) {
            0 => Signs::PublicKey,
            1 => Signs::Certificate,
            _ => Signs::Both,
        };
        let certificates = 1 + random.index(2);
        Self {
            signs,
            certificates,
        }
    }
}
