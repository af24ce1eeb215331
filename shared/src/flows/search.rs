//! Of which order a payment is, by WeChat's number: WeChat is asked, because the
//! ledger has no index of it. Each of the hub's merchants is asked about its own.

use std::time::Duration;

use tokio::task::JoinSet;
use tracing::Instrument;

use crate::aws::Failure;
use crate::aws::merchants::Merchants;
use crate::aws::registry::Registry;
use crate::domain::id::{OutTradeNo, TransactionId};
use crate::domain::merchant::{Account, AccountId, MchId};
use crate::domain::time::Timestamp;
use crate::wechat;

/// So many merchants are asked for one question.
pub const MERCHANTS_MAX: usize = 20;
/// So many accounts are looked at for one that each merchant is bound to.
const ACCOUNTS_MAX: usize = 100;
/// They are asked at the same time, in a function that ends after 15 s.
const DEADLINE: Duration = Duration::from_secs(8);

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody must say whose payment it is.
    #[error("there are more merchants than are asked at once")]
    TooMany,
    /// No merchant has it that WeChat has told of, and of one it told nothing.
    #[error("WeChat gave no usable answer")]
    Wechat(#[from] wechat::Error),
    /// The same for AWS.
    #[error(transparent)]
    Aws(#[from] Failure),
}

/// A payment as WeChat knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The hub's number.
    pub number: OutTradeNo,
    /// Who was paid.
    pub merchant: MchId,
}

/// What one merchant is asked for.
struct Question {
    merchants: Merchants,
    merchant: MchId,
    /// Through which it may be asked.
    account: Option<AccountId>,
    id: TransactionId,
    is_named: bool,
    now: Timestamp,
}

/// Asks by this merchant, or by each that is not disabled. None: WeChat says of all of
/// them that they have no such payment of this hub's.
///
/// # Errors
/// When that cannot be said. One merchant's silence hides no other's payment.
pub async fn search(
    merchants: &Merchants,
    registry: &Registry,
    id: &TransactionId,
    of: Option<&MchId>,
    now: Timestamp,
) -> Result<Option<Found>, Error> {
    let directory = registry.directory().await?;
    let mut asked = directory.merchants;
    asked.extend(merchants.first().cloned());
    if let Some(of) = of {
        asked.retain(|known| known == of);
    }
    if asked.len() > MERCHANTS_MAX {
        return Err(Error::TooMany);
    }
    let known = directory.accounts.iter().take(ACCOUNTS_MAX);
    let accounts = registry.accounts(known).await?;
    let mut tasks = JoinSet::new();
    for merchant in asked {
        let bound = |account: &&Account| account.merchants.contains(&merchant);
        let account = accounts.iter().find(bound);
        let question = Question {
            merchants: merchants.clone(),
            account: account.map(|bound| bound.account.clone()),
            merchant,
            id: id.clone(),
            is_named: of.is_some(),
            now,
        };
        tasks.spawn(ask(question).in_current_span());
    }
    let mut silence = None;
    while let Some(answer) = tasks.join_next().await {
        // A task that panicked has said nothing either.
        match answer.unwrap_or_else(|_| Err(silent())) {
            Ok(None) => {}
            Ok(Some(found)) => return Ok(Some(found)),
            Err(error) => silence = Some(error),
        }
    }
    silence.map_or(Ok(None), Err)
}

async fn ask(question: Question) -> Result<Option<Found>, Error> {
    let mch_id = &question.merchant;
    let answer = tokio::time::timeout(DEADLINE, number(&question)).await;
    let answer = answer.unwrap_or_else(|_| Err(silent()));
    match answer {
        Ok(number) => Ok(number.map(|number| Found {
            number,
            merchant: mch_id.clone(),
        })),
        Err(error) => {
            tracing::warn!(%mch_id, %error, "a merchant's payments could not be searched");
            Err(error)
        }
    }
}

fn silent() -> Error {
    wechat::Error::Unknown(None).into()
}

async fn number(question: &Question) -> Result<Option<OutTradeNo>, Error> {
    let Some(wechat) = question.merchants.find(&question.merchant).await? else {
        return Ok(None);
    };
    if !question.is_named && wechat.merchant().disabled {
        return Ok(None);
    }
    let account = question.account.as_ref();
    Ok(wechat
        .number_of(&question.id, account, question.now)
        .await?)
}
