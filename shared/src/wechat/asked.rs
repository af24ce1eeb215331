//! The line that each question to WeChat leaves in the log, with the answer in a
//! word: an order's story is put together from them. What the word is belongs to
//! the version that was spoken.

use crate::domain::id::{OrderKey, OutRefundNo, OutTradeNo, TransactionId};

/// What a question is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    Trade(&'a OutTradeNo),
    Refund(&'a OutRefundNo),
    /// By WeChat's own number, which names no order.
    Payment {
        order: &'a OrderKey,
        transaction_id: &'a str,
    },
    /// By the same, to learn of which order it is.
    Search(&'a TransactionId),
}

/// Says what was asked, and the answer in a word.
pub(super) fn log(path: &str, subject: Subject<'_>, answer: &str) {
    match subject {
        Subject::Trade(OutTradeNo { order, attempt }) => {
            tracing::info!(%order, attempt, path, answer, "asked WeChat");
        }
        Subject::Refund(OutRefundNo { order, refund_no }) => {
            tracing::info!(%order, %refund_no, path, answer, "asked WeChat");
        }
        Subject::Payment {
            order,
            transaction_id,
        } => {
            tracing::info!(%order, transaction_id, path, answer, "asked WeChat");
        }
        Subject::Search(transaction_id) => {
            tracing::info!(%transaction_id, path, answer, "asked WeChat");
        }
    }
}
