//! `simulation`: plays seeds until it has had enough, and says what broke.

#![expect(clippy::print_stdout, reason = "its answer is what it prints")]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simulation::{Options, Outcome, Plant, Stage, campaign};

/// Runs the hub through days of payments in which calls fail, hang and are
/// repeated, processes die and messages are lost, and checks its promises.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to play at most
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Plays this seed only and prints its whole story
    #[arg(long)]
    seed: Option<u64>,
    /// How many seconds to play at most
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// How many seeds to play at the same time
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Puts a known bug in, to see that it is found
    #[arg(long, value_enum)]
    plant: Option<Plant>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let played = match arguments.seed {
        Some(seed) => replay(seed, arguments.plant),
        None => play(&arguments),
    };
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("the simulation cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}

type Played = Result<bool, Box<dyn std::error::Error + Send + Sync>>;

fn replay(seed: u64, plant: Option<Plant>) -> Played {
    let options = Options { trace: true, plant };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async { Stage::open().await?.play(seed, options).await })?;
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("faults injected:\n{}", outcome.faults);
    println!("fingerprint {:016x}", outcome.fingerprint);
    Ok(report(&outcome))
}

fn report(outcome: &Outcome) -> bool {
    match &outcome.broken {
        None => true,
        Some(promise) => {
            println!("\nseed {}: BROKEN: {promise}", outcome.seed);
            println!(
                "replay: cargo run --profile local -p simulation -- --seed {}",
                outcome.seed
            );
            false
        }
    }
}

fn play(arguments: &Arguments) -> Played {
    let seeds = arguments.from..arguments.from.saturating_add(arguments.seeds);
    let limit = Duration::from_secs(arguments.seconds);
    let options = Options {
        trace: false,
        plant: arguments.plant,
    };
    let campaign = campaign::run(seeds, limit, arguments.threads, options)?;
    println!("{campaign}");
    for outcome in &campaign.broken {
        report(outcome);
    }
    Ok(campaign.broken.is_empty() && campaign.seeds > 0)
}
