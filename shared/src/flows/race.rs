//! The other half of the optimistic lock: whoever loses a race for a row decides
//! again on the row as it is, after a pause that lets the others write.

use std::time::Duration;

use crate::aws::Failure;

/// Twenty writers of one row at once get through within as many tries.
const TRIES: u32 = 25;

/// The tries at one write.
#[derive(Debug)]
pub struct Race {
    operation: &'static str,
    lost: u32,
}

impl Race {
    /// Nobody has been in the way yet.
    #[must_use]
    pub fn new(operation: &'static str) -> Self {
        Self { operation, lost: 0 }
    }

    /// Somebody else wrote first.
    ///
    /// # Errors
    /// When that has happened too often: whoever asked asks again.
    pub async fn lost(&mut self) -> Result<(), Failure> {
        let pause = u64::from(self.lost.min(5)) * 20;
        self.lost += 1;
        if self.lost == TRIES {
            return Err(Failure::contended(self.operation));
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_race_is_given_up_after_twenty_five_tries_and_two_seconds() {
        let started = tokio::time::Instant::now();
        let mut race = Race::new("write a row");
        let mut tries = 1;
        while race.lost().await.is_ok() {
            tries += 1;
        }
        assert_eq!(tries, 25);
        assert_eq!(started.elapsed(), Duration::from_millis(2100));
    }
}
