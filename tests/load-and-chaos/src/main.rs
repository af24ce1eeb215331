//! Payments through a running stack, under load or under faults, and a
//! verdict. The stack is the one that `HUB_ENV` names; its apps are a demo shop
//! of this process, so that every callback can be spoilt and counted here.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a run that cannot go on has failed, and its answer is what it prints"
)]

mod buyer;
mod chaos;
mod faults;
mod figures;
mod judge;
mod load;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use demo_shop::{Config, Shop};
use journeys::Stack;
use tokio::net::TcpListener;

/// Proves that nothing is lost, on the stack that HUB_ENV names.
#[derive(Debug, Parser)]
enum Command {
    /// Payments at a steady rate, with and without a dead app
    Load {
        /// How many payments in both phases together
        #[arg(long, default_value_t = 2000)]
        payments: u32,
        /// How many of them a second
        #[arg(long, default_value_t = 8)]
        rate: u32,
        /// How many seconds at most, before what is bought is judged
        #[arg(long, default_value_t = 900)]
        seconds: u64,
    },
    /// Payments while AWS, WeChat, the shop and the hub's own processes fail
    Chaos {
        /// Where the stack keeps its logs and the record of its processes
        folder: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let good = match Command::parse() {
        Command::Load {
            payments,
            rate,
            seconds,
        } => load::run(payments, rate, Duration::from_secs(seconds)).await,
        Command::Chaos { folder } => chaos::run(folder).await,
    };
    println!("{}", if good { "proved" } else { "NOT PROVED" });
    match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The shop of all these apps, on a port of its own.
async fn open_shop(apps: &[Arc<Stack>]) -> Arc<Shop> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shop = Arc::new(Shop::new(Config {
        public_url: format!("http://{}", listener.local_addr().unwrap()),
        hub_url: apps[0].setting("HUB_URL").to_owned(),
        app: apps[0].app.clone(),
    }));
    for app in apps {
        shop.learn(app.app.clone());
    }
    let router = demo_shop::router(Arc::clone(&shop));
    tokio::spawn(async move { axum::serve(listener, router).await });
    shop
}
