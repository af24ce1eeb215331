//! Owns the start: reads the configuration, takes the port, serves. Refuses to
//! know anything of WeChat.

use clap::Parser as _;
use tokio::net::TcpListener;
use wechat_simulator::{Config, router};

/// Why the simulator does not start or does not go on.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the port cannot be taken or served: {0}")]
    Port(#[from] std::io::Error),
    #[error("the client for notifications cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

#[tokio::main]
async fn main() -> Result<(), Stopped> {
    let config = Config::parse();
    let listener = TcpListener::bind(("127.0.0.1", config.port)).await?;
    eprintln!(
        "wechat-simulator: listening on {} as {}",
        listener.local_addr()?,
        config.public_url()
    );
    axum::serve(listener, router(config)?).await?;
    Ok(())
}
