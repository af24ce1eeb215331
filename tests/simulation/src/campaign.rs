//! Many seeds on a few threads, within a time, and what they came to together.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::faults::Tally;
use crate::{Options, Outcome, Results, Stage};

/// After so many broken seeds there is enough to look at.
const BROKEN_MAX: usize = 5;

/// The merchant's secret is good for five minutes of real time; no seed may
/// see it grow old.
const STAGE_LIFE: Duration = Duration::from_secs(120);

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Campaign {
    /// How many seeds were played.
    pub seeds: u64,
    /// Those that broke a promise.
    pub broken: Vec<Outcome>,
    /// The faults that were injected.
    pub faults: Tally,
    /// What WeChat's spare host has done: how often.
    pub by_spare: BTreeMap<&'static str, u64>,
    /// What WeChat was asked and has told, by version: how often.
    pub by_version: BTreeMap<&'static str, u64>,
    /// What became of the orders.
    pub results: Results,
    /// How many network calls were made.
    pub calls: u64,
    /// Time lived, in milliseconds.
    pub lasted: i64,
    /// How long it took by a real clock.
    pub took: Duration,
}

/// Plays seeds until they or the time are used up, or enough have failed.
///
/// # Errors
/// When a thread could not set itself up.
pub fn run(
    seeds: Range<u64>,
    limit: Duration,
    threads: u64,
    options: Options,
) -> Result<Campaign, Box<dyn Error + Send + Sync>> {
    let started = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let enough = AtomicBool::new(false);
    // A planted bug needs to be found once.
    let most = options.plant.map_or(BROKEN_MAX, |_| 1);
    let work = || -> Result<Campaign, Box<dyn Error + Send + Sync>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut stage = Stage::open().await?;
            let mut opened = Instant::now();
            let mut own = Campaign::default();
            while started.elapsed() < limit && !enough.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !seeds.contains(&seed) {
                    break;
                }
                if opened.elapsed() > STAGE_LIFE {
                    (stage, opened) = (Stage::open().await?, Instant::now());
                }
                own.count(stage.play(seed, options).await?);
                if own.broken.len() >= most {
                    enough.store(true, Ordering::Relaxed);
                }
            }
            Ok(own)
        })
    };
    let mut all = Campaign::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let own = thread.join().map_err(|_| "a thread panicked")??;
            all.add(own);
        }
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    })?;
    all.broken.sort_by_key(|outcome| outcome.seed);
    all.took = started.elapsed();
    Ok(all)
}

impl Campaign {
    fn count(&mut self, outcome: Outcome) {
        self.add(Self {
            seeds: 1,
            faults: outcome.faults.clone(),
            by_spare: outcome.by_spare.clone(),
            by_version: outcome.by_version.clone(),
            results: outcome.results,
            calls: outcome.calls,
            lasted: outcome.lasted,
            took: Duration::ZERO,
            broken: outcome
                .broken
                .is_some()
                .then_some(outcome)
                .into_iter()
                .collect(),
        });
    }

    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.faults.add(&other.faults);
        for (own, others) in [
            (&mut self.by_spare, other.by_spare),
            (&mut self.by_version, other.by_version),
        ] {
            for (what, count) in others {
                *own.entry(what).or_default() += count;
            }
        }
        self.results.add(other.results);
        self.calls += other.calls;
        self.lasted += other.lasted;
        self.broken.extend(other.broken);
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.took.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let Results {
            paid,
            anomalies,
            closed,
            failed,
            taken_back,
            late,
            found,
            put_back,
            refunded,
            refused,
            delivered,
            exhausted,
            switched,
            in_both,
        } = self.results;
        writeln!(
            f,
            "{} seeds in {} s, {} a second, {} network calls, {} days lived",
            self.seeds,
            millis / 1000,
            self.seeds.saturating_mul(1000) / millis,
            self.calls,
            self.lasted / 86_400_000,
        )?;
        writeln!(
            f,
            "{paid} orders paid, {closed} closed, {anomalies} anomalies kept, {failed} codes failed, \
             {taken_back} taken back, {late} charged late, {put_back} put back and found again, \
             {refunded} refunds made, {found} of them by people, \
             {refused} refused, {delivered} deliveries made, {exhausted} given up, \
             {switched} open while their merchant went to another version, {in_both} tried by both"
        )?;
        for (name, counts) in [
            ("asked of WeChat and told by it", &self.by_version),
            ("done by WeChat's spare host", &self.by_spare),
        ] {
            let counts = counts.iter();
            let counts: Vec<String> = counts.map(|(what, n)| format!("{what} {n}")).collect();
            writeln!(f, "{name}: {}", counts.join(", "))?;
        }
        writeln!(f, "faults injected:\n{}", self.faults)?;
        write!(f, "broken promises: {}", self.broken.len())
    }
}
