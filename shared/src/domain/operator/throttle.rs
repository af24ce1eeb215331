//! The pauses between log-ins that fail, for an account and for an address: a
//! few are free, then each doubles the pause. A try is counted before it is made,
//! so that many at once are many.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// A longer one would be a way to keep somebody out.
const PAUSE_MAX_SECONDS: i64 = 900;
/// After so long without a try nothing is remembered.
const MEMORY_SECONDS: i64 = 86_400;
/// Accounts, and addresses, share so many rows: strangers cannot make more.
const ROWS: u64 = 65_536;

/// Whose tries are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The row's name.
    pub row: String,
    /// How many may fail without a pause.
    free: u32,
}

impl Counted {
    /// The tries at a name, whether anybody has it or not.
    #[must_use]
    pub fn account(name: &str) -> Self {
        Self {
            row: format!("throttle#account#{}", bucket(&name)),
            free: 5,
        }
    }

    /// The tries from an address: many people may sit behind one. Of version 6 the
    /// network counts, which is one person's.
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        let bucket = match ip {
            IpAddr::V4(ip) => bucket(&ip),
            IpAddr::V6(ip) => bucket(&(ip.to_bits() >> 64)),
        };
        Self {
            row: format!("throttle#address#{bucket}"),
            free: 20,
        }
    }
}

/// A compiler that hashes otherwise forgets pauses of a day, no more.
fn bucket(whose: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    whose.hash(&mut hasher);
    hasher.finish() % ROWS
}

/// The tries since the last one that succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// How many.
    pub tries: u32,
    /// Nobody tries before.
    blocked_until: Timestamp,
    /// Until then they count.
    pub forget_at: Timestamp,
}

impl Throttle {
    /// What is remembered once another try is made now.
    ///
    /// # Errors
    /// The seconds that are left of the pause.
    pub fn try_again(&self, counted: &Counted, now: Timestamp) -> Result<Self, i64> {
        if now < self.blocked_until {
            let left = self.blocked_until.millis().saturating_sub(now.millis());
            return Err(left.saturating_add(999) / 1000);
        }
        let tries = match now < self.forget_at {
            true => self.tries.saturating_add(1),
            false => 1,
        };
        let pause = match tries.checked_sub(counted.free + 1) {
            None => 0,
            Some(doublings) => (1_i64 << doublings.min(10)).min(PAUSE_MAX_SECONDS),
        };
        Ok(Self {
            tries,
            blocked_until: now.plus_seconds(pause),
            forget_at: now.plus_seconds(MEMORY_SECONDS),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_123);

    /// Tries as soon as they are let, and says how long each had to wait.
    fn pauses(counted: &Counted, tries: usize) -> Vec<i64> {
        let (mut row, mut now) = (Throttle::default(), NOW);
        let mut waited: Vec<i64> = Vec::new();
        while waited.len() < tries {
            match row.try_again(counted, now) {
                Ok(next) => {
                    waited.push(now.seconds_apart(NOW).try_into().unwrap());
                    row = next;
                }
                Err(left) => now = now.plus_seconds(left),
            }
        }
        let gaps = waited.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.collect()
    }

    #[test]
    fn a_few_are_free_then_each_pause_doubles_to_a_quarter_of_an_hour() {
        let account = pauses(&Counted::account("ann"), 18);
        let expected = [
            0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900,
        ];
        assert_eq!(account, expected);
        let address = pauses(&Counted::address("203.0.113.7".parse().unwrap()), 23);
        assert_eq!(address[..20], [0; 20]);
        assert_eq!(address[20..], [1, 2]);
    }

    #[test]
    fn a_pause_is_told_in_whole_seconds_and_forgotten_after_a_day() {
        let counted = Counted::account("ann");
        let row = Throttle {
            tries: 8,
            blocked_until: NOW.plus_seconds(2),
            forget_at: NOW.plus_seconds(86_400),
        };
        assert_eq!(row.try_again(&counted, NOW), Err(2));
        let later = Timestamp::from_millis(NOW.millis() + 1500);
        assert_eq!(row.try_again(&counted, later), Err(1));
        assert_eq!(
            row.try_again(&counted, NOW.plus_seconds(2)).unwrap().tries,
            9
        );
        let next_day = NOW.plus_seconds(86_400);
        assert_eq!(row.try_again(&counted, next_day).unwrap().tries, 1);
    }

    #[test]
    fn an_address_of_version_6_counts_by_its_network_and_rows_are_bounded() {
        let row = |ip: &str| Counted::address(ip.parse().unwrap()).row;
        assert_eq!(row("2001:db8::1"), row("2001:db8::ffff:1"));
        assert_ne!(row("2001:db8::1"), row("2001:db8:0:1::1"));
        assert_ne!(row("203.0.113.7"), row("203.0.113.8"));
        let names = (0..500_000).map(|number| number.to_string());
        let rows: BTreeSet<String> = names.map(|name| Counted::account(&name).row).collect();
        assert!((60_000..=65_536).contains(&rows.len()), "{}", rows.len());
    }
}
