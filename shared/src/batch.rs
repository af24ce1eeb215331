//! A batch of doorbells from SQS: each is handled on its own, at the same
//! time, and a failure or a panic fails its own record only.

use std::future::Future;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::aws::Failure;
use crate::aws::queue::Doorbell;

/// Runs `handle` for each doorbell and reports the records to repeat.
pub async fn each<H, F>(event: SqsEvent, handle: H) -> SqsBatchResponse
where
    H: Fn(Doorbell) -> F,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut unfinished: Vec<String> = Vec::new();
    for record in event.records {
        let id = record.message_id.unwrap_or_default();
        unfinished.push(id.clone());
        let body = record.body.unwrap_or_default();
        match serde_json::from_str::<Doorbell>(&body) {
            Ok(doorbell) => {
                let (order, row) = (doorbell.pk.clone(), doorbell.sk.clone());
                let work = handle(doorbell);
                let record = async move {
                    match work.await {
                        Ok(()) => Some(id),
                        Err(failure) => {
                            tracing::error!(order, row, %failure, "record failed, SQS will repeat it");
                            None
                        }
                    }
                };
                // A task has no span of its own: the request id would be lost.
                tasks.spawn(record.in_current_span());
            }
            Err(error) => tracing::error!(message_id = id, %error, "a message is no doorbell"),
        }
    }
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(Some(id)) => unfinished.retain(|other| *other != id),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "a record's handler panicked"),
        }
    }
    let mut response = SqsBatchResponse::default();
    for id in unfinished {
        let mut failed = BatchItemFailure::default();
        failed.item_identifier = id;
        response.batch_item_failures.push(failed);
    }
    response
}
