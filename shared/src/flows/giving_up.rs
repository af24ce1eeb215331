//! Giving an order up: nobody is asked to pay any more at once. WeChat does not
//! close an order in its first five minutes, so closing it there is a question for
//! later.

use crate::aws::Failure;
use crate::aws::ledger::Saved;
use crate::aws::queue::Queue;
use crate::domain::order::{Closure, Order, Refusal};
use crate::domain::time::Timestamp;
use crate::flows::ask::Asking;
use crate::flows::race::Race;

/// An order that was given up.
#[derive(Debug)]
pub struct GivenUp {
    /// As it is now.
    pub order: Order,
    /// How far that has come.
    pub closure: Closure,
}

/// Why it is not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is paid, say.
    #[error("the order's state does not allow it")]
    Refused(Refusal),
    /// AWS.
    #[error(transparent)]
    Aws(#[from] Failure),
}

impl Asking {
    /// Gives an order up, and rings for the question to WeChat.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn give_up(
        &self,
        mut order: Order,
        reconcile: &Queue,
        now: Timestamp,
    ) -> Result<GivenUp, Error> {
        let mut race = Race::new("give an order up");
        loop {
            let closure = order.give_up(now).map_err(Error::Refused)?;
            let saved = match closure {
                Closure::Repeated => return Ok(GivenUp { order, closure }),
                Closure::Closed => self.settler.close(&mut order, now).await?,
                Closure::Pending => self.settler.ledger.save(&mut order).await?,
            };
            match saved {
                Saved::Changed(row) => order = *row,
                Saved::Done => {
                    tracing::info!(order = %order.key(), "the order is given up");
                    reconcile.ring_for_order(&order, now).await;
                    return Ok(GivenUp { order, closure });
                }
            }
            race.lost().await?;
        }
    }
}
