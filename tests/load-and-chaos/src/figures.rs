//! Percentiles of what was measured.

use std::fmt;
use std::time::Duration;

/// A sorted set of measurements.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    /// The figures of these measurements, which may come in any order.
    pub(crate) fn of(measured: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = measured.collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    /// The measurement that so many of a hundred do not exceed; zero of none.
    pub(crate) fn percentile(&self, hundredth: usize) -> Duration {
        let rank = (self.0.len() * hundredth).div_ceil(100);
        let at = self.0.get(rank.saturating_sub(1));
        at.copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, worst] = [50, 99, 100].map(|p| self.percentile(p).as_millis());
        let count = self.0.len();
        write!(
            f,
            "p50 {half:>6} ms   p99 {most:>6} ms   max {worst:>6} ms   of {count}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measurements_that_were_made() {
        let figures = Figures::of((1..=200).rev().map(Duration::from_millis));
        let millis = [50, 99, 100].map(|p| figures.percentile(p).as_millis());
        assert_eq!(millis, [100, 198, 200]);
        let one = Figures::of([Duration::from_millis(7)].into_iter());
        assert_eq!(one.percentile(50), one.percentile(99));
        assert_eq!(Figures::default().percentile(99), Duration::ZERO);
    }
}
