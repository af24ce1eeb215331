//! The simulation in `make test`: a bounded number of seeds, the proof that a
//! seed replays exactly, and the proof that known bugs are found.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on stops, and says what was played"
)]

use std::ops::Range;
use std::time::Duration;

use simulation::campaign::{self, Campaign};
use simulation::faults::{Fault, Wire};
use simulation::{Options, Outcome, Plant, Stage};

/// The seeds played here, always the same; `make sim` plays more.
const SEEDS: u64 = 1000;
/// A machine this slow has other troubles.
const SECONDS: u64 = 400;

#[test]
fn no_seed_breaks_a_promise_and_every_fault_fires() {
    let played = run(0..SEEDS, SECONDS, None);
    println!("{played}");
    let promises: Vec<_> = played
        .broken
        .iter()
        .map(|outcome| (outcome.seed, &outcome.broken))
        .collect();
    assert!(promises.is_empty(), "replay with --seed: {promises:?}");
    for wire in [
        Wire::DynamoDb,
        Wire::Sqs,
        Wire::Wechat,
        Wire::Spare,
        Wire::App,
    ] {
        for fault in [
            Fault::BrokenBefore,
            Fault::AnswerLost,
            Fault::Refused,
            Fault::Slow,
            Fault::HungBefore,
            Fault::HungAfter,
            Fault::DiedBefore,
            Fault::DiedAfter,
        ] {
            assert!(played.faults.count(wire, fault) > 0, "{wire:?} {fault:?}");
        }
    }
    for (wire, fault) in [
        (Wire::Sqs, Fault::Lost),
        (Wire::Sqs, Fault::Doubled),
        (Wire::Sqs, Fault::Late),
        (Wire::Notification, Fault::Lost),
        (Wire::Notification, Fault::AnswerLost),
        (Wire::Notification, Fault::Burst),
        (Wire::Wechat, Fault::Difficult),
        (Wire::Sweep, Fault::Skipped),
    ] {
        assert!(played.faults.count(wire, fault) > 0, "{wire:?} {fault:?}");
    }
    for what in [
        "v2 charge",
        "v2 reverse",
        "v2 refund",
        "v2 close",
        "v3 order",
        "v3 query",
        "v3 close",
        "v3 refund",
        "v3 refund query",
    ] {
        assert!(played.by_spare.contains_key(what), "{what}");
    }
    for what in [
        "v2 order",
        "v2 query",
        "v2 close",
        "v2 refund",
        "v2 refund query",
        "v2 payment told",
        "v2 refund told",
        "v3 order",
        "v3 query",
        "v3 close",
        "v3 refund",
        "v3 refund query",
        "v3 payment told",
        "v3 refund told",
    ] {
        assert!(played.by_version.contains_key(what), "{what}");
    }
    let results = played.results;
    assert!(results.paid > 0 && results.anomalies > 0, "{results:?}");
    assert!(results.refunded > 0 && results.refused > 0, "{results:?}");
    assert!(results.late > 0 && results.found > 0, "{results:?}");
    assert!(results.closed > 0 && results.put_back > 0, "{results:?}");
    assert!(results.switched > 0 && results.in_both > 0, "{results:?}");
    assert!(
        results.delivered > 0 && results.exhausted > 0,
        "{results:?}"
    );
}

#[test]
fn a_seed_replays_exactly() {
    let first: Vec<Outcome> = (0..25).map(alone).collect();
    for outcome in first.iter().rev() {
        let again = alone(outcome.seed);
        let mut lines = outcome.trace.iter().zip(&again.trace);
        let differs = lines.find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {}", outcome.seed);
        assert_eq!(outcome.fingerprint, again.fingerprint);
    }
}

#[test]
fn a_doorbell_that_rings_before_the_commit_is_noticed() {
    is_noticed(Plant::RingBeforeCommit);
}

#[test]
fn a_claim_without_a_lease_is_noticed() {
    is_noticed(Plant::NoLease);
}

#[test]
fn a_sweeper_that_skips_a_shard_is_noticed() {
    is_noticed(Plant::ShardSkipped);
}

#[test]
fn a_commit_that_overwrites_another_is_noticed() {
    is_noticed(Plant::BlindCommit);
}

#[test]
fn an_attempt_that_counts_as_closed_and_can_be_paid_is_noticed() {
    is_noticed(Plant::BlindClosing);
}

#[test]
fn an_amount_that_is_free_at_the_first_refusal_is_noticed() {
    is_noticed(Plant::HastyRefusal);
}

#[test]
fn an_order_that_is_closed_in_silence_is_noticed() {
    is_noticed(Plant::SilentClosing);
}

#[test]
fn a_code_that_the_spare_host_charges_again_is_noticed() {
    is_noticed(Plant::RepeatedCharge);
}

#[test]
fn a_restored_order_that_does_not_look_at_what_was_told_is_noticed() {
    is_noticed(Plant::ForgottenTelling);
}

#[test]
fn an_attempt_that_goes_by_the_merchants_version_of_today_is_noticed() {
    is_noticed(Plant::PresentVersion);
}

#[test]
fn an_order_that_goes_to_its_apps_merchant_of_today_is_noticed() {
    is_noticed(Plant::PresentMerchant);
}

fn is_noticed(plant: Plant) {
    let played = run(0..100, SECONDS, Some(plant));
    let outcome = played.broken.first();
    assert!(outcome.is_some(), "{plant:?} in {} seeds", played.seeds);
    println!("{plant:?}: {:?}", outcome.map(|o| (o.seed, &o.broken)));
}

fn run(seeds: Range<u64>, seconds: u64, plant: Option<Plant>) -> Campaign {
    let options = Options {
        trace: false,
        plant,
    };
    campaign::run(seeds, Duration::from_secs(seconds), 2, options).unwrap()
}

fn alone(seed: u64) -> Outcome {
    let options = Options {
        trace: true,
        plant: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { Stage::open().await.unwrap().play(seed, options).await })
        .unwrap()
}
