//! `make bench`: the release binaries under a Lambda made here, and what a
//! million payments cost. It is no test: its figures belong to the machine, and
//! only ratios, sizes and counts are held against budgets.

#![expect(
    clippy::float_arithmetic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "figures for people: no money moves here, and an absent JSON field reads as null"
)]

mod backends;
mod cold;
mod cost;
mod functions;
mod micro;
mod payment;
mod report;
mod runtime;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use cold::Places;
use cost::Deployed;
use payment::{Stage, VERSIONS};
use report::Report;

/// Whatever stops the measurement.
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Start-up, memory, size and cost of the hub's functions.
#[derive(Parser)]
struct Options {
    /// The release binaries, each with its zip beside it.
    #[arg(long)]
    functions: PathBuf,
    /// The `MemorySize` that they are deployed with.
    #[arg(long)]
    memory_mb: u16,
    /// The folder that criterion wrote its estimates to.
    #[arg(long)]
    criterion: PathBuf,
    /// Node.js; without it there are no ratios to it.
    #[arg(long, requires = "script")]
    node: Option<OsString>,
    /// The function in Node.js.
    #[arg(long)]
    script: Option<OsString>,
    /// Cold starts of each program.
    #[arg(long, default_value_t = 30)]
    runs: u32,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    shared::tls::use_ring();
    let options = Options::parse();
    let places = Places {
        functions: &options.functions,
        node: options.node.as_ref().zip(options.script.as_ref()),
    };
    let mut report = Report::default();
    let mut stages = Vec::new();
    for version in VERSIONS {
        stages.push(Stage::start(version, &options).await?);
    }
    let deployed = Deployed {
        memory_mb: options.memory_mb,
    };
    cost::measure(&stages, deployed, &mut report).await?;
    cold::measure(&stages, &places, options.runs, &mut report).await?;
    micro::show(&options.criterion, &places).await?;
    for stage in &stages {
        stage.functions.stop()?;
    }
    let good = report.print();
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
